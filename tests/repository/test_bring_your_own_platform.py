"""The guide is true: its contract is the code's, and its example lands."""

import re
import types
from datetime import date
from pathlib import Path

import pytest

import tests.planted.kuaishou_archives as make
from livealign.landing.run import LandingRun
from livealign.landing.schema import TABLES
from livealign.landing.validate import validate_landing

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
    assert run.summary.reasons == {"negative_duration": 1}
    (room,) = make.landed(tmp_path / "l", "rooms")
    assert (room["title"], room["started_at"].hour) == ("Shoes", 12)
    assert len(make.landed(tmp_path / "l", "impressions")) == 3
    (play,) = make.landed(tmp_path / "l", "plays")
    assert (play["left_at"] - play["entered_at"]).seconds == 59
    (reject,) = make.rejects(tmp_path / "l")
    assert (reject["file"], reject["line"]) == ("2025-05-05/views.csv", 3)
    assert validate_landing(tmp_path / "l") == []


def test_the_example_adapter_books_a_file_that_it_cannot_read(example, tmp_path):
    write_shop(tmp_path / "a")
    (tmp_path / "a" / DAY.isoformat() / "views.csv").write_text("a,b\n1\n")
    with LandingRun(tmp_path / "l", [DAY]) as run:
        example.land_days(tmp_path / "a", run, [DAY])
    assert run.summary.reasons == {"unreadable_file": 1}
    assert run.summary.tables["rooms"].landed == 1
