"""LiveRec's files: steps become times, rows become plays, lists are inferred from what was live; bad rows stand alone."""

import gzip
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

import tests.planted.kuaishou_archives as make
from livealign.errors import ArchiveError
from livealign.landing.validate import validate_landing
from livealign.operation_config import LandingConfig
from livealign.platforms.liverec import adapter as liverec
from livealign.platforms.liverec.rows import Reader, Survey
from livealign.platforms.registry import land

START = datetime(2019, 4, 1)
CASE = [
    f"{user},{stream},{name},{150 + user + 6 * i},{152 + user + 6 * i}"
    for user in range(1, 6)
    for i, (stream, name) in enumerate(
        [(33842865000, "alpha"), (33842872919, "beta"), (33842880838, "gamma"), (33842888757, "delta")]
    )
]


@pytest.fixture(autouse=True)
def no_start_in_the_environment(monkeypatch):
    monkeypatch.delenv(liverec.VARIABLE, raising=False)


def write(archive, lines, name="100k.csv", start="2019-04-01T00:00:00Z"):
    archive.mkdir(exist_ok=True)
    text = ("\n".join(lines) + "\n").encode()
    (archive / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    if start:
        (archive / "liverec.json").write_text(json.dumps({"start": start}))
    return archive


def at(step):
    return START + timedelta(minutes=10 * step)


@pytest.mark.parametrize("name", ["100k.csv", "full_a.csv.gz"])
def test_the_published_rows_land_whole(tmp_path, name):
    write(tmp_path / "a", CASE, name)
    assert liverec.recognises(tmp_path / "a")
    assert liverec.archive_days(tmp_path / "a") == [date(2019, 4, 2)]
    summary = land("liverec", tmp_path / "a", tmp_path / "l")
    assert summary.rejected == 0
    assert {table: counts.landed for table, counts in summary.tables.items() if counts.landed} == {
        "rooms": 4,
        "authors": 4,
        "users": 5,
        "plays": 20,
        "impressions": 20 + len(others_live()),
    }
    first = make.landed(tmp_path / "l", "plays")[0]
    assert (first["user_id"], first["entered_at"], first["left_at"]) == (1, at(151), at(153))
    rooms = sorted(make.landed(tmp_path / "l", "rooms"), key=lambda room: room["started_at"])
    assert [(room["started_at"], room["ended_at"]) for room in rooms] == [(at(151 + 6 * i), at(157 + 6 * i)) for i in range(4)]
    assert validate_landing(tmp_path / "l") == []


def others_live():
    """(row, streamer) of everything that was live beside what a row entered, from the rows themselves."""
    rows = [line.split(",") for line in CASE]
    spans = {
        name: (min(int(r[3]) for r in rows if r[2] == name), max(int(r[4]) for r in rows if r[2] == name))
        for name in {r[2] for r in rows}
    }
    return [
        (row[0], name) for row in rows for name, (begin, end) in spans.items() if name != row[2] and begin <= int(row[3]) < end
    ]


def test_a_play_and_its_list_belong_together(tmp_path):
    rng = np.random.default_rng(5)
    lines = [
        f"{user},{streamer},s{streamer},{step},{step + 3}"
        for user, streamer, step in zip(
            rng.integers(0, 50, 600), rng.integers(0, 60, 600), rng.integers(0, 40, 600), strict=True
        )
    ]
    lines = list(dict.fromkeys(lines))
    land("liverec", write(tmp_path / "a", lines), tmp_path / "l")
    impressions = make.landed(tmp_path / "l", "impressions")
    rooms = {room["room_id"]: room for room in make.landed(tmp_path / "l", "rooms")}
    plays = {f"{play['play_id']:016x}": play for play in make.landed(tmp_path / "l", "plays")}
    sizes = Counter(row["request_id"] for row in impressions)
    assert set(sizes) == set(plays)
    assert max(sizes.values()) == 21  # the usual twenty sampled beside the one that was entered
    by_id = {row["impression_id"]: row for row in impressions}
    for request, play in plays.items():
        chosen = by_id[play["impression_id"]]
        assert (chosen["request_id"], chosen["room_id"], chosen["shown_at"]) == (request, play["room_id"], play["entered_at"])
    for row in impressions:
        assert rooms[row["room_id"]]["started_at"] <= row["shown_at"] < rooms[row["room_id"]]["ended_at"]
        assert rooms[row["room_id"]]["author_id"] == row["author_id"]


def test_days_landed_alone_are_the_days_landed_together(tmp_path):
    lines = [f"{user},{10 * user + day},s{user},{144 * day + 140},{144 * day + 150}" for user in range(9) for day in range(3)]
    write(tmp_path / "a", lines)
    days = liverec.archive_days(tmp_path / "a")
    assert days == [date(2019, 4, day) for day in (1, 2, 3)]
    land("liverec", tmp_path / "a", tmp_path / "whole")
    for day in days:
        land("liverec", tmp_path / "a", tmp_path / "alone", [day])
    for table in ("rooms", "plays", "impressions", "users", "authors"):
        assert make.landed(tmp_path / "whole", table) == make.landed(tmp_path / "alone", table)


def test_the_number_of_negatives_is_a_setting(tmp_path):
    lines = [f"1,{streamer},s{streamer},0,5" for streamer in range(30)]
    config = LandingConfig(negatives_per_play=2)
    summary = land("liverec", write(tmp_path / "a", lines), tmp_path / "l", config=config)
    assert summary.tables["impressions"].landed == 3 * 30


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,a,5,3", "negative_duration"),
        ("1,2,a,-5,3", "step_out_of_range"),
        ("1,2,a,5,99999999999999", "step_out_of_range"),
        ("1,2,a,5", "malformed_row"),
        ("1,2,a,5,6,7", "malformed_row"),
        ("x,2,a,5,6", "wrong_type"),
        ("1,2,a,5.5,6", "wrong_type"),
        ("1,2,a,nan,6", "not_finite"),
        ("1,2,,5,6", "missing_value"),
        (",2,a,5,6", "missing_value"),
        ("-1,2,a,5,6", "id_out_of_range"),
        ("1,2,a,4000000,4000001", "time_in_future"),
        (CASE[0], "duplicate_key"),
    ],
)
def test_a_bad_row_is_rejected_alone_with_its_line(tmp_path, line, reason):
    write(tmp_path / "a", [*CASE[:7], line, *CASE[7:]])
    summary = land("liverec", tmp_path / "a", tmp_path / "l", [date(2019, 4, 2)])
    assert summary.tables["plays"].reasons == Counter({reason: 1})
    assert summary.tables["plays"].landed == 20
    assert all(table.read == table.landed + table.rejected for table in summary.tables.values())
    assert [row["line"] for row in make.rejects(tmp_path / "l", "plays")] == [8]


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_truncated_file_gives_the_rows_before_the_damage(tmp_path, cut):
    rng = np.random.default_rng(1)
    lines = [
        f"{user},{user},s{rng.integers(10**9)},{step},{step + 1}"
        for user, step in zip(range(40_000), rng.integers(0, 140, 40_000), strict=True)
    ]
    write(tmp_path / "a", lines, "full_a.csv.gz")
    path = tmp_path / "a" / "full_a.csv.gz"
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    summary = land("liverec", tmp_path / "a", tmp_path / "l")
    assert summary.reasons["unreadable_file"] == 1
    assert all(table.read == table.landed + table.rejected for table in summary.tables.values())


def test_a_header_is_no_row(tmp_path):
    write(tmp_path / "a", ["user,stream,streamer,start,stop", *CASE])
    assert land("liverec", tmp_path / "a", tmp_path / "l").tables["plays"].landed == 20


def test_without_a_start_every_way_to_give_one_is_named(tmp_path):
    write(tmp_path, CASE, start=None)
    with pytest.raises(ArchiveError, match=r"--start 2019-04-01.*LIVEALIGN_LIVEREC_START.*liverec\.json"):
        liverec.archive_days(tmp_path)


@pytest.mark.parametrize("start", ["2019-04-01", "2019-04-01T00:00:00", "2019-04-01T00:00:00Z", "2019-04-01T08:00:00+08:00"])
def test_a_start_may_be_written_in_any_iso_way(tmp_path, monkeypatch, start):
    write(tmp_path, CASE, start=start)
    assert liverec.start_ms(tmp_path) == int(START.replace(tzinfo=UTC).timestamp() * 1_000)
    monkeypatch.setenv(liverec.VARIABLE, "2020-01-01")  # what is said last counts
    assert liverec.start_ms(tmp_path) == int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1_000)


@pytest.mark.parametrize(
    "content", ['{"start": 5}', '{"start": "soon"}', '{"start": "1970-01-01"}', '{"start": "2970-01-01"}', "{", "[]", "{}"]
)
def test_a_start_that_is_no_date_is_an_error_that_says_how(tmp_path, content):
    write(tmp_path, CASE, start=None)
    (tmp_path / "liverec.json").write_text(content)
    with pytest.raises(ArchiveError, match=r"--start 2019-04-01"):
        liverec.start_ms(tmp_path)


@pytest.mark.parametrize("text", ["a,b,c\n1,2,3\n", "1,2,3,4,5,6\n", "", "user,item,rating,time,x\n1,2,3,4,5\n", "x,1,a,2,3\n"])
def test_other_csvs_are_not_taken_for_liverec(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    assert not liverec.recognises(tmp_path)
    with pytest.raises(ArchiveError):
        liverec.archive_days(write(tmp_path, [], name="y.csv"))


def test_what_is_not_read_is_named(tmp_path):
    write(tmp_path / "a", CASE)
    (tmp_path / "a" / "other.csv").write_text("a,b\n1,2\n")
    assert land("liverec", tmp_path / "a", tmp_path / "l").not_read == ["other.csv"]


def test_with_a_secret_key_no_number_of_a_viewer_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVEALIGN_ID_KEY", "secret")
    land("liverec", write(tmp_path / "a", [*CASE, "3,2,a,5,3"]), tmp_path / "l", [date(2019, 4, 2)])
    assert not {1, 2, 3, 4, 5} & {row["user_id"] for row in make.landed(tmp_path / "l", "plays")}
    assert [row["row"] for row in make.rejects(tmp_path / "l", "plays")] == [None]


def test_a_survey_in_pieces_is_the_survey_at_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    lines = [f"{user},{streamer},s{streamer},{step},{step + 2}" for user, streamer, step in rng.integers(0, 30, (500, 3))]
    paths = [write(tmp_path, lines) / "100k.csv"]
    whole = Survey.of(paths)
    real = Reader.batches

    def by_row(self, path, advance=None):
        for views, bad in real(self, path, advance):
            for i in range(len(views.line)):
                yield type(views)(*(column[i : i + 1] for column in views)), bad

    monkeypatch.setattr(Reader, "batches", by_row)
    monkeypatch.setattr("livealign.platforms.liverec.rows.MERGE_ROWS", 7)
    pieces = Survey.of(paths)
    for name in ("key", "extra", "start", "stop", "file", "line"):
        assert (getattr(whole.rooms, name) == getattr(pieces.rooms, name)).all()
    assert len(whole.rooms.key) == len({line.split(",")[1] for line in lines})
