"""The guide is true: its contract is the code's, and its example lands."""

import re
import types
from datetime import date
from pathlib import Path

import duckdb
import pytest

import tests.planted.kuaishou_archives as make
from livealign.cli.main import app
from livealign.home import Home
from livealign.landing.run import LandingRun
from livealign.landing.schema import TABLES
from livealign.landing.validate import validate_landing
from livealign.platforms.registry import land

GUIDE = (Path(__file__).parents[2] / "docs" / "bring-your-own-platform.md").read_text()
DAY = date(2025, 5, 5)
NOON = make.NOON // 1_000


def contract_row(table):
    cells = []
    for field in table.schema:
        marks = "*" * (field.name in table.primary_key) + "†" * (field.name == table.time_column) + "?" * field.nullable
        cells.append(f"{field.name}{marks} {field.type}")
    return " · ".join(cells)


@pytest.mark.parametrize("name", TABLES)
def test_the_guides_contract_is_that_of_the_schemas(name):
    (row,) = re.findall(rf"^\| {name} \| .+ \| (.+) \|$", GUIDE, re.MULTILINE)
    assert row == contract_row(TABLES[name])


@pytest.fixture
def example():
    (code,) = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)
    assert len(code.splitlines()) <= 72
    module = types.ModuleType("shop")
    exec(compile(code, "docs/bring-your-own-platform.md", "exec"), module.__dict__)  # noqa: S102
    return module


def write_shop(archive):
    folder = archive / DAY.isoformat()
    folder.mkdir(parents=True)
    (folder / "rooms.csv").write_text(f"stream,seller,title,opened,closed\ns-1,anna,Shoes,{NOON},{NOON + 3600}\n")
    views = ["shopper,stream,seller,shown,entered,left"]
    views += [f"bob,s-1,anna,{NOON + 10},,", f"eve,s-1,anna,{NOON + 20},{NOON + 21},{NOON + 80}"]
    views += [f"eve,s-1,anna,{NOON + 90},{NOON + 95},{NOON + 60}"]  # left before entering
    (folder / "views.csv").write_text("\n".join(views) + "\n")


def test_the_example_adapter_lands_what_the_contract_asks_for(example, tmp_path):
    write_shop(tmp_path / "a")
    days = example.archive_days(tmp_path / "a")
    assert days == [DAY]
    with LandingRun(tmp_path / "l", days) as run:
        example.land_days(tmp_path / "a", run, days)
    assert example.recognises(tmp_path / "a")
    assert not example.recognises(tmp_path)
    assert run.summary.reasons == {"negative_duration": 1, "linked_row_rejected": 1}
    (room,) = make.landed(tmp_path / "l", "rooms")
    assert (room["title"], room["started_at"].hour) == ("Shoes", 12)
    assert len(make.landed(tmp_path / "l", "impressions")) == 2  # that of the rejected play is no skip
    (play,) = make.landed(tmp_path / "l", "plays")
    assert (play["left_at"] - play["entered_at"]).seconds == 59
    rejects = make.rejects(tmp_path / "l")
    assert {(row["table"], row["file"], row["line"]) for row in rejects} == {
        ("plays", "2025-05-05/views.csv", 3),
        ("impressions", "2025-05-05/views.csv", 3),
    }
    assert validate_landing(tmp_path / "l") == []


def test_the_example_adapter_books_a_file_that_it_cannot_read(example, tmp_path):
    write_shop(tmp_path / "a")
    (tmp_path / "a" / DAY.isoformat() / "views.csv").write_text("a,b\n1\n")
    with LandingRun(tmp_path / "l", [DAY]) as run:
        example.land_days(tmp_path / "a", run, [DAY])
    assert run.summary.reasons == {"unreadable_file": 1}
    assert run.summary.tables["rooms"].landed == 1


def write_shop_warehouse(warehouse):
    """The three tables that the guide's SQL reads: two days, text ids, a view that was not entered."""
    warehouse.execute("""
        CREATE TABLE streams AS SELECT * FROM (VALUES
            ('s-1', 'anna', 'Shoes', 'fashion', TIMESTAMP '2025-05-05 12:00', TIMESTAMP '2025-05-05 14:00'),
            ('s-2', 'ben', 'Pots', 'kitchen', TIMESTAMP '2025-05-06 09:00', NULL)
        ) AS t(id, seller, title, topic, opened, closed);
        CREATE TABLE views AS SELECT * FROM (VALUES
            ('v-1', 'eve', 's-1', TIMESTAMP '2025-05-05 12:10', TIMESTAMP '2025-05-05 12:11', TIMESTAMP '2025-05-05 12:30'),
            ('v-2', 'bob', 's-1', TIMESTAMP '2025-05-05 12:12', NULL, NULL),
            ('v-3', 'eve', 's-2', TIMESTAMP '2025-05-06 09:10', TIMESTAMP '2025-05-06 09:11', NULL)
        ) AS t(id, shopper, stream, shown, entered, left_at);
        CREATE TABLE chat AS SELECT * FROM (VALUES
            ('c-1', 'eve', 's-1', TIMESTAMP '2025-05-05 12:15', 'size 38?', false)
        ) AS t(id, shopper, stream, sent, words, by_bot);
    """)


def test_the_guides_sql_writes_an_archive_that_lands_and_is_valid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archive").mkdir()
    with duckdb.connect() as warehouse:
        write_shop_warehouse(warehouse)
        for code in re.findall(r"```sql\n(.+?)```", GUIDE, re.DOTALL):
            warehouse.execute(code)
    summary = land("parquet", tmp_path / "archive", tmp_path / "l")
    assert (summary.days, summary.rejected) == ([DAY, date(2025, 5, 6)], 0)
    landed = {name: counts.landed for name, counts in summary.tables.items() if counts.landed}
    assert landed == {"rooms": 2, "impressions": 3, "plays": 2, "comments": 1, "authors": 2, "users": 3}
    impressions = {row["impression_id"] for row in make.landed(tmp_path / "l", "impressions")}
    assert {row["impression_id"] for row in make.landed(tmp_path / "l", "plays")} < impressions
    assert validate_landing(tmp_path / "l") == []


def test_the_guides_commands_are_those_of_the_program():
    (commands,) = re.findall(r"```sh\n(.+?)```", GUIDE, re.DOTALL)
    known = {command.callback.__name__ for command in app.registered_commands}
    assert {line.split()[1] for line in commands.splitlines() if line.startswith("livealign ")} <= known
    assert set(re.findall(r"--platform (\w+)|PLATFORM=(\w+)", commands)) == {("parquet", ""), ("", "parquet")}
    assert Home.from_environment("parquet").landing.parts[-3:] == ("platforms", "parquet", "landing")
