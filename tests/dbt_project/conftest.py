"""One warehouse of the planted landing for the tests of a process, and copies of it to spoil."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.planted.landing import DAYS, REJECTS, planted_rows
from tests.planted.landing_rows import write_landing
from tests.support.planted_warehouse import Built
from tests.support.run_dbt import Dbt, copy_warehouse


@pytest.fixture(scope="session")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    return Dbt(tmp_path_factory.mktemp("dbt"))


@pytest.fixture(scope="session")
def built(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("warehouse")
    write_landing(root / "landing", DAYS, planted_rows(), REJECTS)
    run = dbt.run("build", root / "landing", root / "warehouse.duckdb", DAYS)
    assert run.success, run.messages
    return Built(root / "landing", root / "warehouse.duckdb", run)


@pytest.fixture
def copied(built: Built, tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        (tmp_path / name).mkdir()
        return copy_warehouse(built.warehouse, tmp_path / name)

    return copy
