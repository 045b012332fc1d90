"""The type of a mart's file is the contract's, whatever values a day holds and whichever days are built together.

The project's own contracts and materialization, with models that read planted rows.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dbt.contracts.graph.nodes import ModelNode

from livealign.dataset.marts import MARTS, publish_marts, read_mart
from livealign.days import partition
from livealign.files import duckdb_path
from tests.support.run_dbt import PROJECT, Dbt

TYPES = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "tinyint": pa.int8(),
    "double": pa.float64(),
    "varchar": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "float[]": pa.list_(pa.field("element", pa.float32())),
}
FIRST = date(2025, 6, 1)
ROWS = 3  # of each day that is not empty
Nulls = Callable[[pa.Schema], set[str]]
"""The contract of a mart → the columns that are null on a day."""


def nullable(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if field.nullable]


def no_column(schema: pa.Schema) -> set[str]:
    return set()


def every_column(schema: pa.Schema) -> set[str]:
    return set(nullable(schema))


def column(number: int) -> Nulls:
    """The nullable column of this number alone, in turn."""

    def chosen(schema: pa.Schema) -> set[str]:
        names = nullable(schema)
        return {names[number % len(names)]} if names else set()

    return chosen


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> "Planted":
    return Planted(tmp_path_factory.mktemp("planted"))


class Planted:
    """The project with models that read `<landing>/<mart>.parquet`, and the contract of each mart."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project, self.landing = root / "project", root / "planted"
        self.landing.mkdir()
        kept = shutil.ignore_patterns("target", "logs", "*.sql", "*unit_tests.yml", "intermediate")
        shutil.copytree(PROJECT, self.project, ignore=kept)
        for folder in ("macros", "tests/generic"):
            shutil.copytree(PROJECT / folder, self.project / folder, dirs_exist_ok=True)
        for yml in (self.project / "models" / "staging").glob("*.yml"):
            yml.unlink()
        self._model("staging", "stg_ledger", "", "")
        for mart in MARTS:
            config = (PROJECT / "models" / "marts" / f"{mart}.sql").read_text().partition("\n")[0]
            assert config.startswith("{{ config(")
            within = "-- depends_on: {{ ref('stg_ledger') }}\nwhere dt between {{ first_day() }} and {{ last_day() }}"
            self._model("marts", mart, config, within)
        self.dbt = Dbt(root)
        self.plant([])
        self.build([FIRST], "--select", "stg_ledger")
        nodes = self.dbt.manifests[self.project].nodes.values()
        self.contracts = {node.name: _schema(node) for node in nodes if isinstance(node, ModelNode) and node.name in MARTS}
        assert set(self.contracts) == set(MARTS)

    def _model(self, layer: str, name: str, config: str, within: str) -> None:
        path = self.project / "models" / layer / f"{name}.sql"
        path.parent.mkdir(exist_ok=True)
        file = "{{ env_var('LIVEALIGN_LANDING') }}/" + f"{name}.parquet"
        path.write_text(f"{config}\nselect * from read_parquet('{file}')\n{within}\n")

    def plant(self, days: Sequence[tuple[date, Nulls | None]]) -> None:
        """Rows of these days with the columns that are null on each; None is a day without rows."""
        for mart, schema in getattr(self, "contracts", {}).items():
            rows = [row for day, nulls in days if nulls for row in _rows(schema, day, nulls(schema))]
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), self.landing / f"{mart}.parquet")
        ledger = pa.table({"dt": pa.array([day for day, _ in days], pa.date32()), "n_landed": [1] * len(days)})
        pq.write_table(ledger, self.landing / "stg_ledger.parquet")

    def build(self, days: list[date], *more: str, warehouse: str = "first") -> Path:
        """Build these days in one run; the folder of dbt's files."""
        folder = self.root / warehouse
        folder.mkdir(exist_ok=True)
        run = self.dbt.run("run", self.landing, folder / "warehouse.duckdb", days, *more, project=self.project)
        assert run.success, run.messages
        return folder / "tables"


def _schema(node: ModelNode) -> pa.Schema:
    """What the contract says of a mart's columns, in its order."""
    return pa.schema(
        [
            pa.field(
                one.name, TYPES[one.data_type], nullable="not_null" not in {str(two.type.value) for two in one.constraints}
            )
            for one in node.columns.values()
        ]
    )


def _rows(schema: pa.Schema, day: date, nulls: set[str]) -> Iterator[dict[str, Any]]:
    for number in range(ROWS):
        values = {
            pa.int64(): number,
            pa.int32(): number,
            pa.int8(): number % 2,
            pa.float64(): number / 2,
            pa.string(): f"text {number}",
            pa.date32(): day,
            pa.timestamp("us"): datetime(day.year, day.month, day.day, 12) + timedelta(seconds=number),
            TYPES["float[]"]: [1.0, number],
        }
        yield {field.name: None if field.name in nulls else values[field.type] for field in schema}


def check(planted: Planted, days: Sequence[tuple[date, Nulls | None]], tables: Path, marts: Path) -> None:
    """Every file has its contract's type and its own rows, and all readers read all days as one."""
    publish_marts(tables, marts)
    for mart, contract in planted.contracts.items():
        files = [partition(marts, mart, day) for day, _ in days]
        expected = {day: list(_rows(contract, day, nulls(contract))) if nulls else [] for day, nulls in days}
        for file, (day, _) in zip(files, days, strict=True):
            assert pq.read_schema(file).equals(contract), (mart, day)
            assert sorted(pq.ParquetFile(file).read().to_pylist(), key=repr) == sorted(expected[day], key=repr), (mart, day)
        everything = sorted((row for rows in expected.values() for row in rows), key=repr)
        together = read_mart(marts, mart, [day for day, _ in days])
        apart = pa.concat_tables([read_mart(marts, mart, [day]) for day, _ in days])
        with duckdb.connect(str(tables.parent / "warehouse.duckdb"), read_only=True) as connection:
            view = connection.table(f"marts.{mart}").to_arrow_table()
            names = [duckdb_path(file) for file in files]
            found = [
                connection.read_parquet(names, hive_partitioning=False, union_by_name=by_name).to_arrow_table()
                for by_name in (False, True)
            ]
        for table in (together, apart, view, *found):
            assert sorted(table.to_pylist(), key=repr) == everything, mart


@pytest.mark.parametrize(
    "grouping",
    [
        pytest.param([[0, 1, 2]], id="together"),
        pytest.param([[0], [1], [2]], id="each alone"),
        pytest.param([[1], [0, 2]], id="the full day first", marks=pytest.mark.slow),
        pytest.param([[2], [1], [0]], id="the empty day first", marks=pytest.mark.slow),
    ],
)
def test_a_file_has_the_type_of_its_contract_with_nulls_without_and_without_rows(
    planted: Planted, grouping: list[list[int]], tmp_path: Path
) -> None:
    # Every second day, for a run builds the day before too.
    days = [(FIRST + timedelta(days=2 * place), nulls) for place, nulls in enumerate((every_column, no_column, None))]
    planted.plant(days)
    for group in grouping:
        named = [days[place][0] for place in group]
        tables = planted.build([min(named), max(named)], warehouse=tmp_path.name)
    check(planted, days, tables, planted.root / f"{tmp_path.name}_marts")


@pytest.mark.slow
@pytest.mark.parametrize("alone", [False, True], ids=["together", "each alone"])
def test_each_column_may_be_null_on_one_day_and_not_on_another(planted: Planted, alone: bool, tmp_path: Path) -> None:
    most = max(len(nullable(contract)) for contract in planted.contracts.values())
    days = [(FIRST + timedelta(days=2 * place), column(place)) for place in range(most)]
    planted.plant(days)
    groups = [[day] for day, _ in days] if alone else [[days[0][0], days[-1][0]]]
    for group in groups:
        tables = planted.build(group, warehouse=tmp_path.name)
    check(planted, days, tables, planted.root / f"{tmp_path.name}_marts")
