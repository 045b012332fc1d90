"""Inspection: the platform is recognised, and what is said of files and tables is what landing does with them."""

import gzip
import json
from pathlib import Path

import pytest

import tests.planted.kuaishou_archives as make
from livealign.errors import ArchiveError
from livealign.landing.schema import TABLES
from livealign.platforms import inspect
from livealign.platforms.inspect import inspect_archive
from livealign.platforms.inspect_tables import TABLES_OF
from livealign.platforms.registry import PLATFORMS, land, recognise


def test_every_platform_says_something_of_every_table():
    assert set(TABLES_OF) == set(PLATFORMS)
    for tables in TABLES_OF.values():
        assert set(tables) == set(TABLES)
        assert {given.can for given in tables.values()} <= {"yes", "partly", "no"}


@pytest.mark.parametrize("layout", ["folders", "flat"])
def test_m3_is_counted_file_by_file_with_its_clock(tmp_path, layout):
    world = make.write_m3(tmp_path, layout=layout)
    before = sorted(tmp_path.rglob("*"))
    found = inspect_archive(tmp_path)
    assert found.platform == "kuailive_m3"
    assert found.days == [make.DAY_ONE, make.DAY_TWO]
    read = {(count.file.rpartition("/")[2], count.table): count.read for count in found.files}
    assert read["live_interaction.csv", "plays"] == len(world.plays)
    assert read["live_interaction.csv", "impressions"] == len(world.plays)
    assert read["live_comment.csv", "comments"] == len(world.comments)  # newlines inside quotes are no rows
    assert any("clock of shanghai" in note for note in found.notes)
    assert found.tables["speech"].can == "no"
    assert found.tables["content_vectors"].can == "yes"
    assert found.summary.not_read == []  # surveys and short video are known, and left out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_file_shows_in_the_tables_it_would_fill(tmp_path):
    make.write_m3(tmp_path, layout="flat")
    (tmp_path / "live_like.csv").unlink()
    (tmp_path / "live_comment.csv").unlink()
    tables = inspect_archive(tmp_path).tables
    assert tables["comments"].can == "no"
    assert "no live_comment" in tables["comments"].says
    assert tables["likes"].can == "partly"
    assert "no live_like" in tables["likes"].says


def test_the_inspection_says_what_the_landing_does_and_why(tmp_path):
    make.write_kuailive(tmp_path / "a")
    make.rewrite(tmp_path / "a" / "click.csv", lambda text: text + "1,2\n")
    make.rewrite(tmp_path / "a" / "like.csv", lambda text: text.replace("1746", "1.746e", 1))
    (tmp_path / "a" / "readme [of mine].txt").write_text("hello")
    found = inspect_archive(tmp_path / "a")
    summary = land("kuailive", tmp_path / "a", tmp_path / "l")
    for name, counts in summary.tables.items():
        of_table = [count for count in found.files if count.table == name]
        assert sum(count.read for count in of_table) == counts.read
        assert sum(count.landed for count in of_table) == counts.landed
        assert sum(count.rejected for count in of_table) == counts.rejected
    clicks = next(count for count in found.files if (count.file, count.table) == ("click.csv", "plays"))
    assert clicks.why == "malformed_row 1: 2 fields instead of 5"
    assert found.summary.not_read == summary.not_read == ["readme [of mine].txt"]
    again = inspect_archive(tmp_path / "l")
    assert again.platform == inspect.LANDING
    assert [count.landed for count in again.files if count.file == "click.csv"] == [
        count.landed for count in found.files if count.file == "click.csv"
    ]


def test_a_table_that_would_be_rejected_is_not_given(tmp_path):
    make.write_kuailive(tmp_path)
    make.rewrite(tmp_path / "like.csv", lambda text: "\n".join(line.replace("1746", "46", 1) for line in text.splitlines()))
    tables = inspect_archive(tmp_path).tables
    assert tables["likes"].can == "no"
    assert tables["likes"].says.startswith("all of it is rejected")


def test_a_damaged_file_is_named_and_the_others_are_counted(tmp_path):
    make.write_m3(tmp_path, layout="flat")
    (tmp_path / "live_show.parquet").write_bytes(b"PAR1 no more")
    found = inspect_archive(tmp_path)
    shows = next(count for count in found.files if count.file == "live_show.parquet")
    assert "cannot be read" in shows.why
    assert any("live_show.parquet" in line and "fetch it again" in line for line in found.summary.unreadable)
    assert next(count for count in found.files if count.file == "live_interaction.csv").landed


def test_many_files_are_reported_by_kind(tmp_path):
    for number in range(inspect.MANY_FILES + 1):
        write_broadcast(tmp_path, number)
    found = inspect_archive(tmp_path)
    assert found.platform == "twitch"
    assert found.tables["impressions"].can == "partly"
    rooms = [count for count in found.files if count.table == "rooms"]
    assert [(count.file, count.landed) for count in rooms] == [("*/*/vod.json", inspect.MANY_FILES + 1)]


def write_broadcast(archive: Path, number: int) -> None:
    folder = archive / "channel1" / f"2025-08-01_20-00-22_{number}"
    folder.mkdir(parents=True)
    vod = {"vod_id": str(number), "title": "t", "description": {}, "created_at": "2025-08-01 20:00:22", "duration": 60}
    (folder / "vod.json").write_text(json.dumps(vod))
    message = {
        "id": f"m{number}",
        "createdAt": "2025-08-01T20:00:30Z",
        "contentOffsetSeconds": 5,
        "commenter": {"id": "1", "login": "fan", "displayName": "Fan"},
        "message": {"fragments": [{"text": "hi", "emote": None}], "userBadges": []},
    }
    (folder / "verbose_chat.json.gz").write_bytes(gzip.compress(json.dumps([message]).encode()))


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_an_unknown_folder_is_refused_with_what_is_expected(tmp_path, content):
    if content:
        (tmp_path / content).write_text("hello")
    with pytest.raises(ArchiveError, match=r"no known format.*live_interaction\.csv"):
        recognise(tmp_path)
    with pytest.raises(ArchiveError, match="no folder"):
        recognise(tmp_path / "nowhere")


def test_a_folder_of_two_formats_needs_the_platform_said(tmp_path):
    make.write_kuailive(tmp_path)
    write_broadcast(tmp_path, 1)
    with pytest.raises(ArchiveError, match="looks like twitch and kuailive at once; say which one by --platform"):
        inspect_archive(tmp_path)
    assert inspect_archive(tmp_path, platform="kuailive").tables["plays"].can == "yes"
