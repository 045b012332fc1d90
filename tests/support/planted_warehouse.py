"""The planted landing and the warehouse that dbt builds from it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import duckdb

from livealign.dataset.marts import MARTS
from tests.support.run_dbt import DbtRun


@dataclass(frozen=True)
class Built:
    """The planted landing and the warehouse built from it, all days at once, with all dbt tests."""

    landing: Path
    warehouse: Path
    run: DbtRun


def contents(warehouse: Path) -> dict[str, str]:
    """A hash of each mart's ordered rows."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return {
            mart: hashlib.sha256(repr(connection.table(f"marts.{mart}").order("all").fetchall()).encode()).hexdigest()
            for mart in MARTS
        }
