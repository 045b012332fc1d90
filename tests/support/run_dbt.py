"""The dbt project run in this process, with all its files in a folder of its own."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

PROJECT = Path(__file__).parents[2] / "dbt_project"


@dataclass(frozen=True)
class DbtRun:
    """The result of a dbt command: success, the status of each node by name, and messages."""

    success: bool
    statuses: dict[str, str]
    messages: str

    def named(self, *statuses: str) -> set[str]:
        """Names of the nodes with one of these statuses."""
        return {name for name, status in self.statuses.items() if status in statuses}


@dataclass
class Dbt:
    """The dbt project on one landing folder at a time.

    The project is parsed once for all runs, which takes most of the time of a small one. So its landing folder is always
    `root/landing`, a link that `run` points to the wanted folder, and every warehouse file is `warehouse.duckdb`.
    """

    root: Path
    manifests: dict[Path, Manifest] = field(default_factory=dict)  # by project, once it has been run

    def run(
        self, command: str, landing: Path, warehouse: Path, days: list[date], *more: str, project: Path = PROJECT
    ) -> DbtRun:
        """Run `dbt <command>` for the first to the last of `days` on the warehouse file.

        Args:
            more: further arguments of dbt.
        """
        assert warehouse.name == "warehouse.duckdb"
        link = self.root / "landing"
        link.unlink(missing_ok=True)
        link.symlink_to(landing)
        common = ["--quiet", "--project-dir", str(project), "--profiles-dir", str(project)]
        with _environment(
            LIVEALIGN_LANDING=str(link),
            LIVEALIGN_WAREHOUSE_FILE=str(warehouse),
            LIVEALIGN_WAREHOUSE_MEMORY="1GB",
            LIVEALIGN_START_DAY=str(days[0]),
            LIVEALIGN_END_DAY=str(days[-1]),
            DBT_TARGET_PATH=str(self.root / "target"),
            DBT_LOG_PATH=str(self.root / "logs"),
        ):
            if project not in self.manifests:
                parsed = dbtRunner().invoke(["parse", *common])
                assert parsed.success, parsed.exception
                self.manifests[project] = parsed.result
            done = dbtRunner(manifest=self.manifests[project]).invoke([command, *common, "--no-write-json", *more])
            DuckDBConnectionManager.close_all_connections()  # dbt would keep the file open until the process ends
        if done.exception is not None:
            raise done.exception
        nodes = {node.node.name: node for node in done.result.results}
        return DbtRun(
            done.success,
            {name: str(node.status.value) for name, node in nodes.items()},
            "\n".join(f"{name}: {node.status} {node.message}" for name, node in nodes.items()),
        )


def document(folder: Path, landing: Path, warehouse: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`dbt docs generate`: the catalogue of the warehouse and the manifest."""
    where = [
        "--project-dir",
        str(PROJECT),
        "--profiles-dir",
        str(PROJECT),
        "--target-path",
        str(folder),
        "--log-path",
        str(folder),
    ]
    with _environment(LIVEALIGN_LANDING=str(landing), LIVEALIGN_WAREHOUSE_FILE=str(warehouse)):
        done = dbtRunner().invoke(["docs", "generate", "--quiet", *where])
        DuckDBConnectionManager.close_all_connections()
    assert done.success, done.exception
    assert (folder / "index.html").exists()
    catalog, manifest = (json.loads((folder / f"{name}.json").read_text()) for name in ("catalog", "manifest"))
    return catalog, manifest


def copy_warehouse(warehouse: Path, folder: Path) -> Path:
    """A copy of the warehouse and its tables in `folder`, with views of its own files."""
    shutil.copytree(warehouse.parent / "tables", folder / "tables")
    copy = Path(shutil.copy(warehouse, folder))
    with duckdb.connect(str(copy)) as connection:
        views = connection.execute("select sql from duckdb_views() where sql like '%/tables/%'").fetchall()
        for (view,) in views:
            here = view.replace(str(warehouse.parent), str(folder))
            connection.execute(here.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    return copy


def spoil(warehouse: Path, mart: str, statement: str) -> None:
    """Change rows of a mart behind dbt's back.

    The statement changes the table `spoilt`, whose rows then become the mart's.
    """
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(f"create temp table spoilt as select * from marts.{mart}")  # noqa: S608  a name from a test
        connection.execute(statement)
        for file in (warehouse.parent / "tables" / mart).glob("dt=*/part-0.parquet"):
            day = date.fromisoformat(file.parent.name.removeprefix("dt="))
            relation = connection.table("spoilt").filter(duckdb.ColumnExpression("dt") == duckdb.ConstantExpression(day))
            relation.write_parquet(str(file))


def rows(warehouse: Path, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """The rows of a query as dicts."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = connection.execute(query, parameters)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
