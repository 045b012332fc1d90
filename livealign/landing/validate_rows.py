"""The checks of `livealign.landing.validate` that look into rows, as DuckDB queries.

Each yields the file, the first such row and the count.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from livealign.files import duckdb_path
from livealign.landing.rules import MAX_TEXT_BYTES
from livealign.landing.schema import TABLES, TIMESTAMP, Table
from livealign.landing.times import UNITS, unit_range, wrong_unit

MEMORY_LIMIT = "2GB"
ROOM_SLACK_MINUTES = 10  # events are logged a little before and after their room's life
LEAST_ROWS_FOR_UNITS = 30  # fewer say nothing about a unit
_PEOPLE = {"user_id": "users", "author_id": "authors"}


@dataclass(frozen=True)
class ContractBreach:
    """One breach of the contract in one file, with its first row and its count.

    `row` is 1 for the file's first row; 0 is the whole file.

    An "error" breaks the contract; a "warning" may be meant, but a person should look.
    """

    severity: str
    table: str
    check: str
    file: str  # relative to the landing folder
    row: int
    count: int  # how many rows of the file
    detail: str


@contextmanager
def open_landing(root: Path, files: dict[str, list[Path]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A view for each table, its rows with `file` and `row`, and the rooms by id."""
    with tempfile.TemporaryDirectory(prefix="livealign-validate-") as spill, duckdb.connect() as database:
        database.execute("set memory_limit = $limit", {"limit": MEMORY_LIMIT})
        database.execute("set temp_directory = $folder", {"folder": spill})
        database.execute("set preserve_insertion_order = false")
        for name, paths in files.items():
            source = (
                database.read_parquet(
                    [duckdb_path(path) for path in paths], filename=True, file_row_number=True, union_by_name=True
                )
                if paths
                else None
            )
            if source is None:
                database.register(f"{name}_empty", TABLES[name].schema.empty_table())
                database.execute(f"create view {name} as select *, '' as file, 0 as row from {name}_empty")  # noqa: S608
            else:
                source.create_view(f"{name}_files")
                there = set(source.columns)  # without those that were added later
                columns = ", ".join(
                    f'"{column}"' if column in there else f'null::varchar as "{column}"' for column in TABLES[name].schema.names
                )
                database.execute(
                    f"create view {name} as select {columns}, filename as file, file_row_number + 1 as row from {name}_files"  # noqa: S608
                )
        database.execute(
            "create table room_lives as select room_id, any_value(author_id) as author_id, min(started_at) as started_at, "
            "max(ended_at) as ended_at from rooms group by room_id"
        )
        yield database


def check_rows(database: duckdb.DuckDBPyConnection, root: Path, table: Table, now: datetime) -> list[ContractBreach]:
    """The breaches of the rules for single rows, from one pass over the table."""
    rules = list(_row_rules(table, now))
    counts = ", ".join(f"count(*) filter ({wrong}), min(row) filter ({wrong})" for _, wrong, _ in rules)
    breaches = []
    for file, *found in database.execute(f"select file, {counts} from {table.name} group by file order by file").fetchall():  # noqa: S608
        for (check, _, detail), count, row in zip(rules, found[::2], found[1::2], strict=True):
            if count:
                breaches.append(ContractBreach("error", table.name, check, _relative(root, file), row, count, detail))
    return breaches


def _row_rules(table: Table, now: datetime) -> Iterator[tuple[str, str, str]]:
    """(check, SQL that is true where it is broken, detail)."""
    for column in table.schema:
        name = f'"{column.name}"'
        if not column.nullable:
            yield "missing_value", f"{name} is null", f"{column.name} is null"
        if column.name.endswith("_id") and column.type == pa.int64():
            yield "id_out_of_range", f"{name} < 0", f"{column.name} is negative"
        if column.type == TIMESTAMP:
            wrong_units = []
            for unit in UNITS:
                first, last = unit_range(unit, now)
                wrong_units.append(f"epoch_ms({name}) between {first} and {last}")
                yield "wrong_time_unit", wrong_units[-1], wrong_unit(column.name, unit)
            of_no_unit = f"not ({' or '.join(wrong_units)})"
            early, late = f"{name} < timestamp '2000-01-01'", f"{name} > timestamp '{now.isoformat(sep=' ')}'"
            yield "time_before_2000", f"{early} and {of_no_unit}", f"{column.name} is before 2000"
            yield "time_in_future", f"{late} and {of_no_unit}", f"{column.name} is in the future"
        if column.type == pa.string():
            yield "text_too_long", f"strlen({name}) > {MAX_TEXT_BYTES}", f"{column.name} is longer than {MAX_TEXT_BYTES} bytes"
        if pa.types.is_list(column.type):
            odd = f"len(list_filter({name}, lambda x: x is null or not isfinite(x))) > 0"
            yield "not_finite", odd, f"{column.name} has a value that is no finite number"
        if column.type == pa.float64():
            yield "not_finite", f"not isfinite({name})", f"{column.name} is no finite number"
    times = table.time_columns
    if len(times) == 2:
        yield "negative_duration", f'"{times[1]}" < "{times[0]}"', f"{times[1]} is before {times[0]}"
    if "count" in table.schema.names:
        yield "not_positive", '"count" < 1', "count is below 1"
    if "value" in table.schema.names:
        yield "negative_value", '"value" < 0', "value is below 0"
    day = r"regexp_extract(file, 'dt=(\d{4}-\d{2}-\d{2})', 1)"
    wrong_day = f"strftime(\"{table.time_column}\", '%Y-%m-%d') <> {day}"
    yield "wrong_day", wrong_day, f"{table.time_column} is not of the day of its partition"


def check_keys(database: duckdb.DuckDBPyConnection, root: Path, table: Table) -> list[ContractBreach]:
    """The primary key is unique over all days (a person's over one day: their state may change)."""
    key = list(table.primary_key)
    if table.name in _PEOPLE.values():
        key.append("file")
    names = ", ".join(f'"{name}"' for name in key)
    query = f"""
        with twice as (select {names} from {table.name} group by {names} having count(*) > 1),
        numbered as (
            select file, row, row_number() over (partition by {names} order by file, row) as nth
            from {table.name} inner join twice using ({names})
        )
        select file, min(row), count(*) from numbered where nth > 1 group by file order by file
    """  # noqa: S608
    detail = f"an earlier row has the same {', '.join(table.primary_key)}"
    found = database.execute(query).fetchall()
    return [
        ContractBreach("error", table.name, "duplicate_key", _relative(root, file), row, n, detail) for file, row, n in found
    ]


def check_references(database: duckdb.DuckDBPyConnection, root: Path, table: Table, first_day: str) -> list[ContractBreach]:
    """Rooms and people that a row names are there and agree; the event lies in its room's life."""
    breaches: list[ContractBreach] = []

    def look(severity: str, check: str, joined: str, wrong: str, detail: str) -> None:
        query = f"select file, min(row), count(*) from {table.name} as t {joined} where {wrong} group by file order by file"  # noqa: S608
        for file, row, count in database.execute(query).fetchall():
            breaches.append(ContractBreach(severity, table.name, check, _relative(root, file), row, count, detail))

    columns = table.schema.names
    if "room_id" in columns and table.name != "rooms":
        anti, inner = "anti join room_lives using (room_id)", "inner join room_lives as r using (room_id)"
        early = f"t.file like '%dt={first_day}%'"
        missing = "no room of this id is landed"
        look("error", "unknown_room", anti, f"not ({early})", missing)
        look("warning", "unknown_room", anti, early, f"{missing}; it may have started before the first landed day")
        if "author_id" in columns:
            look("error", "wrong_author", inner, "t.author_id <> r.author_id", "the room is another author's")
        slack, at = f"interval {ROOM_SLACK_MINUTES} minute", f't."{table.time_column}"'
        outside = f"{at} < r.started_at - {slack} or {at} > r.ended_at + {slack}"
        life = f"more than {ROOM_SLACK_MINUTES} minutes outside its room's life; is there a time zone or unit mixed up?"
        look("warning", "outside_room", inner, outside, f"{table.time_column} is {life}")
    for column, people in _PEOPLE.items():
        if column in columns and table.name != people and _has_rows(database, people):
            detail = f"{people} has no such {column}"
            look("warning", f"unknown_{people[:-1]}", f"anti join {people} using ({column})", "true", detail)
    return breaches


def check_impressions_of_plays(database: duckdb.DuckDBPyConnection, root: Path) -> list[ContractBreach]:
    """The impression that a play names is there, of the same user and room, and earlier."""
    query = """
        select
            p.file,
            case
                when i.impression_id is null then 'unknown_impression'
                when i.user_id <> p.user_id or i.room_id <> p.room_id then 'wrong_impression'
                else 'shown_after_entered'
            end as problem,
            min(p.row),
            count(*)
        from plays as p
        left join impressions as i on p.impression_id = i.impression_id
        where
            p.impression_id is not null
            and (i.impression_id is null or i.user_id <> p.user_id or i.room_id <> p.room_id or i.shown_at > p.entered_at)
        group by all
        order by all
    """
    details = {
        "unknown_impression": "no impression of this id is landed",
        "wrong_impression": "the impression is of another user or room",
        "shown_after_entered": "the impression is later than the play it led to",
    }
    return [
        ContractBreach("error", "plays", check, _relative(root, file), row, count, details[check])
        for file, check, row, count in database.execute(query).fetchall()
    ]


def check_inferred_lists(database: duckdb.DuckDBPyConnection, root: Path) -> list[ContractBreach]:
    """A list that was inferred from a watch session needs that session.

    Without it, the click of the list would be learned as a skip.
    """
    query = """
        with played as (
            select distinct i.request_id from impressions as i inner join plays as p using (impression_id)
            where i.surface = 'inferred'
        )
        select file, min(row), count(*)
        from impressions anti join played using (request_id)
        where surface = 'inferred'
        group by file
        order by file
    """
    detail = "no play is landed of the list that was inferred from it: a click is turned into skips"
    found = database.execute(query).fetchall()
    return [
        ContractBreach("error", "impressions", "inferred_without_play", _relative(root, file), row, n, detail)
        for file, row, n in found
    ]


def check_units(database: duckdb.DuckDBPyConnection) -> list[ContractBreach]:
    """Magnitudes that cannot be meant: medians over all days."""
    breaches: list[ContractBreach] = []
    for name, start, end, shortest, longest in (
        ("plays", "entered_at", "left_at", "100 millisecond", "12 hour"),
        ("rooms", "started_at", "ended_at", "10 second", "2 day"),
        ("speech", "started_at", "ended_at", "20 millisecond", "10 minute"),
    ):
        query = f"""
            select count(*), median(epoch_ms({end}) - epoch_ms({start})) as middle,
                middle < epoch_ms(timestamp '1970-01-01' + interval {shortest}),
                middle > epoch_ms(timestamp '1970-01-01' + interval {longest})
            from {name} where {end} is not null
        """  # noqa: S608
        count, median, short, long = database.execute(query).fetchall()[0]
        if count >= LEAST_ROWS_FOR_UNITS and (short or long):
            hint = "were seconds taken for milliseconds?" if short else "were milliseconds taken for seconds?"
            detail = f"the median from {start} to {end} is {median:.0f} ms; {hint}"
            breaches.append(ContractBreach("warning", name, "unit_of_duration", name, 0, count, detail))
    for table in TABLES.values():
        if table.name in _PEOPLE.values():
            continue
        whole = f'date_trunc(\'day\', "{table.time_column}") = "{table.time_column}"'
        count, dates = database.execute(f"select count(*), count(*) filter ({whole}) from {table.name}").fetchall()[0]  # noqa: S608
        if count >= LEAST_ROWS_FOR_UNITS and dates > 0.5 * count:
            detail = f"{dates} of {count} rows have {table.time_column} at midnight: dates instead of times?"
            breaches.append(ContractBreach("warning", table.name, "times_are_dates", table.name, 0, dates, detail))
    return breaches


def _has_rows(database: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(database.execute(f"select 1 from {table} limit 1").fetchall())  # noqa: S608


def _relative(root: Path, file: str) -> str:
    return Path(file).relative_to(root).as_posix()
