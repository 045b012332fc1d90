"""Inspection: the format is recognised, everything is counted, and what cannot come of it is said."""

import json

import pytest

import tests.planted.kuaishou_archives as make
from livealign.errors import ArchiveError
from livealign.landing.schema import TABLES
from livealign.platforms.inspect import FORMATS, inspect_archive, recognise
from livealign.platforms.inspect_tables import TABLES_OF
from livealign.platforms.registry import PLATFORMS, land


def test_every_platform_says_something_of_every_table():
    assert set(TABLES_OF) == set(PLATFORMS)
    assert {*PLATFORMS, "landing"} == set(FORMATS)
    for tables in TABLES_OF.values():
        assert set(tables) == set(TABLES)
        assert {given.can for given in tables.values()} <= {"yes", "partly", "no"}


@pytest.mark.parametrize("layout", ["folders", "flat"])
def test_m3_is_counted_file_by_file_with_its_clock(tmp_path, layout):
    world = make.write_m3(tmp_path, layout=layout)
    found = inspect_archive(tmp_path)
    assert found.platform == "kuailive_m3"
    assert found.days == [make.DAY_ONE, make.DAY_TWO]
    rows = {count.file.rpartition("/")[2]: count.rows for count in found.files}
    assert rows["live_interaction.csv"] == len(world.plays)
    assert rows["live_comment.csv"] == len(world.comments)  # newlines inside quotes are no rows
    assert rows["live_show.parquet"] == len(world.shows)
    assert rows["live_questionnaire.csv"] == 1
    assert any("clock of shanghai" in note for note in found.notes)
    assert "JSON arrays" in next(count.becomes for count in found.files if "questionnaire" in count.file)
    assert found.tables["speech"].can == "no"
    assert found.tables["content_vectors"].can == "yes"


def test_a_missing_file_shows_in_the_tables_it_would_fill(tmp_path):
    make.write_m3(tmp_path, layout="flat")
    (tmp_path / "live_like.csv").unlink()
    (tmp_path / "live_comment.csv").unlink()
    tables = inspect_archive(tmp_path).tables
    assert tables["comments"].can == "no"
    assert "no live_comment" in tables["comments"].says
    assert tables["likes"].can == "partly"
    assert "no live_like" in tables["likes"].says


def test_kuailive_is_told_apart_and_its_titles_are_counted(tmp_path):
    make.write_kuailive(tmp_path)
    found = inspect_archive(tmp_path)
    assert found.platform == "kuailive"
    assert {count.file: count.rows for count in found.files}["title_embeddings.npy"] == 2
    assert found.tables["comments"].can == "partly"
    assert any("Shanghai" in note for note in found.notes)


def test_counts_of_the_inspection_are_those_of_the_landing(tmp_path):
    make.write_kuailive(tmp_path / "a")
    make.rewrite(tmp_path / "a" / "click.csv", lambda text: text + "1,2\n")
    counts = {count.file: count for count in inspect_archive(tmp_path / "a").files}
    summary = land("kuailive", tmp_path / "a", tmp_path / "l")
    assert counts["click.csv"].rows + counts["click.csv"].bad_rows == summary.tables["plays"].read
    assert counts["click.csv"].bad_rows == 1
    again = inspect_archive(tmp_path / "l")
    assert again.platform == "landing"
    assert {count.becomes: count.rows for count in again.files}["plays"] == summary.tables["plays"].landed


def test_a_damaged_file_is_named_and_the_others_are_counted(tmp_path):
    make.write_m3(tmp_path, layout="flat")
    (tmp_path / "live_show.parquet").write_bytes(b"PAR1 no more")
    counts = {count.file: count for count in inspect_archive(tmp_path).files}
    assert "cannot be read" in counts["live_show.parquet"].problem
    assert counts["live_interaction.csv"].rows


def test_twitch_is_recognised_and_says_that_impressions_are_inferred(tmp_path):
    folder = tmp_path / "channel1" / "2025-08-01_20-00-22_1"
    folder.mkdir(parents=True)
    vod = {"vod_id": "1", "title": "t", "description": {}, "created_at": "2025-08-01 20:00:22", "duration": 60}
    (folder / "vod.json").write_text(json.dumps(vod))
    found = inspect_archive(tmp_path)
    assert found.platform == "twitch"
    assert found.tables["impressions"].can == "partly"
    assert any(count.problem for count in found.files)  # there is no chat


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_an_unknown_folder_is_refused_with_what_is_expected(tmp_path, content):
    if content:
        (tmp_path / content).write_text("hello")
    with pytest.raises(ArchiveError, match=r"no known format.*live_interaction\.csv"):
        recognise(tmp_path)
    with pytest.raises(ArchiveError, match="no folder"):
        recognise(tmp_path / "nowhere")
