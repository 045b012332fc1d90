"""Rows that are one event land or are rejected together; times are read in whatever form they are written."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import tests.planted.kuaishou_archives as make
from livealign.landing.run import LandingRun
from livealign.landing.summary import failures
from livealign.landing.validate import validate_landing
from livealign.operation_config import LandingConfig
from livealign.platforms.registry import land

DAY = date(2025, 9, 22)
NOON = 1_758_542_400_000  # 2025-09-22 12:00 UTC
NOW = datetime(2025, 10, 1)


def comments(sent_at: pa.Array) -> pa.Table:
    n = len(sent_at)
    ids = {name: np.arange(n) for name in ("comment_id", "user_id", "author_id", "room_id")}
    return pa.table({**ids, "sent_at": sent_at, "text": ["hi"] * n, "is_bot": [False] * n})


def landed_times(tmp_path: Path, sent_at: pa.Array) -> tuple[list[datetime], LandingRun]:
    with LandingRun(tmp_path, [DAY], NOW) as run:
        run.add("comments", comments(sent_at), "c", file_day=DAY)
    return [row["sent_at"] for row in make.landed(tmp_path, "comments")], run


NOON_TEXTS = [
    *("2025-09-22T12:00:00Z", "2025-09-22T20:00:00+08:00", "2025-09-22 12:00:00", "2025-09-22T12:00:00.000999Z"),
    *("2025-09-22 20:00:00.000 +0800", "2025-09-22T20:00:00+08:00[Asia/Shanghai]", "2025-09-22 12:00:00 UTC"),
    *("2025-09-22T12:00:00", "2025-09-22T06:30:00-05:30", str(NOON), f"{NOON}.0", "2025-09-22T12:00Z"),
]
FORMS = {
    "mixed text": pa.array(NOON_TEXTS),
    "dictionary of text": pa.array(NOON_TEXTS).dictionary_encode(),
    "bytes": pa.array([text.encode() for text in NOON_TEXTS], pa.binary()),
    "milliseconds": pa.array([NOON]),
    "floats": pa.array([float(NOON)]),
    **{f"naive {unit}": pa.array([NOON], pa.timestamp("ms")).cast(pa.timestamp(unit)) for unit in ("s", "us", "ns")},
    **{
        f"{unit} of a zone": pa.array([NOON], pa.timestamp("ms"))
        .cast(pa.timestamp(unit))
        .cast(pa.timestamp(unit, "Asia/Tokyo"))
        for unit in ("s", "ms", "us", "ns")
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_noon_is_noon_in_every_form_that_it_is_written_in(tmp_path, form):
    times, run = landed_times(tmp_path, FORMS[form])
    assert run.summary.rejected == 0
    assert times == [datetime(2025, 9, 22, 12)] * len(FORMS[form])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (NOON // 1_000, "seconds since 1970, not milliseconds: multiply it by 1,000"),
        (NOON * 1_000, "microseconds since 1970, not milliseconds: divide it by 1,000"),
        (NOON * 1_000_000, "nanoseconds since 1970, not milliseconds: divide it by 1,000,000"),
    ],
)
@pytest.mark.parametrize("type_", [pa.int64(), pa.timestamp("ms"), pa.string(), pa.float64()])
def test_times_in_another_unit_are_rejected_with_the_unit_and_the_remedy(tmp_path, value, says, type_):
    column = pa.array([value, value, NOON], pa.int64()).cast(type_) if type_ != pa.float64() else pa.array([float(value)] * 2)
    times, run = landed_times(tmp_path, column)
    assert run.summary.reasons == {"wrong_time_unit": 2}
    assert says in run.summary.tables["comments"].details["wrong_time_unit"]
    assert len(times) == len(column) - 2


@pytest.mark.parametrize("odd", ["yesterday", "2025-09-22T12:00:00+99:99", "+08:00", "12:00Z", "", "9" * 25])
def test_text_that_is_no_time_is_rejected_alone(tmp_path, odd):
    times, run = landed_times(tmp_path, pa.array([odd, "2025-09-22T12:00:00Z"]))
    assert run.summary.tables["comments"].rejected == 1
    assert times == [datetime(2025, 9, 22, 12)]


def play_and_list(play_times: list[int], shown_times: list[int]) -> dict:
    """A play for each time, and as many impressions for each play as there are times for them."""
    n, m = len(play_times), len(shown_times)
    who = {name: np.zeros(n, np.int64) for name in ("user_id", "author_id", "room_id")}
    plays = pa.table({**who, "play_id": np.arange(n), "impression_id": np.arange(n) * m, "entered_at": play_times})
    who = {name: np.zeros(n * m, np.int64) for name in ("user_id", "author_id", "room_id")}
    shown = pa.table({**who, "impression_id": np.arange(n * m), "shown_at": np.tile(shown_times, n)})
    lines = np.arange(n) + 1
    return {"plays": (plays, lines, lines), "impressions": (shown, np.repeat(lines, m), np.repeat(lines, m))}


def test_a_list_lands_or_is_rejected_as_a_whole(tmp_path):
    with LandingRun(tmp_path, [DAY], NOW) as run:
        run.add_linked(play_and_list([NOON, 5, NOON, NOON // 1_000], [NOON - 1, NOON - 2, NOON - 3]), "chat", DAY)
        run.add_linked(play_and_list([], []), "empty", DAY)
    plays, impressions = run.summary.tables["plays"], run.summary.tables["impressions"]
    assert (plays.read, plays.landed, plays.rejected) == (4, 2, 2)
    assert (impressions.read, impressions.landed, impressions.rejected) == (12, 6, 6)
    assert impressions.reasons == {"linked_row_rejected": 6}
    rejects = [row for row in make.rejects(tmp_path) if row["table"] == "impressions"]
    assert {row["line"]: row["detail"].split(",")[0] for row in rejects} == {
        2: "of plays: time_before_2000",
        4: "of plays: wrong_time_unit",
    }
    assert {row["impression_id"] // 3 for row in make.landed(tmp_path, "impressions")} == {0, 2}


def test_a_bad_impression_takes_its_play_along(tmp_path):
    linked = play_and_list([NOON, NOON], [NOON])
    linked["impressions"] = (linked["impressions"][0].set_column(4, "shown_at", pa.array([NOON, None])), [1, 2], [1, 2])
    with LandingRun(tmp_path, [DAY], NOW) as run:
        run.add_linked(linked, "chat", DAY)
    assert run.summary.tables["plays"].reasons == {"linked_row_rejected": 1}
    assert run.summary.tables["impressions"].reasons == {"missing_value": 1}


@pytest.mark.parametrize("platform", ["kuailive", "kuailive_m3"])
def test_an_unknown_watch_time_is_a_click_that_ended_nobody_knows_when(tmp_path, platform):
    archive, landing = tmp_path / "a", tmp_path / "l"
    if platform == "kuailive":
        make.write_kuailive(archive)
        file = archive / "click.csv"
        header, *rows = file.read_text().splitlines()
        column = header.split(",").index("watch_live_time")
        changed = [",".join([*(cells := row.split(","))[:column], "-1", *cells[column + 1 :]]) for row in rows]
        file.write_text("\n".join([header, *changed]) + "\n")
    else:
        make.write_m3(archive, layout="flat")
        file = archive / "live_interaction.csv"
        header, *rows = file.read_text().splitlines()
        end, duration = header.split(",").index("live_play_end_timestamp"), header.split(",").index("play_duration")
        changed = []
        for row in rows:
            cells = row.split(",")
            cells[end], cells[duration] = "", "-1"
            changed.append(",".join(cells))
        file.write_text("\n".join([header, *changed]) + "\n")
    summary = land(platform, archive, landing)
    plays = make.landed(landing, "plays")
    assert len(plays) == summary.tables["plays"].read > 0
    assert all(play["left_at"] is None for play in plays)
    errors = [problem for problem in validate_landing(landing) if problem.severity == "error"]
    # Gifts and follows of KuaiLive-M3 are dated to the end of their play: without one they are rejected for themselves.
    assert {problem.table for problem in errors} <= {"gifts", "follows"}


def test_a_click_that_does_not_fit_takes_its_impression_along(tmp_path):
    make.write_kuailive(tmp_path / "a")
    file = tmp_path / "a" / "click.csv"
    header, first, *rows = file.read_text().splitlines()
    cells = first.split(",")
    cells[header.split(",").index("watch_live_time")] = "-5000"
    file.write_text("\n".join([header, ",".join(cells), *rows]) + "\n")
    before = land("kuailive", tmp_path / "a", tmp_path / "l")
    assert before.tables["plays"].reasons == {"negative_duration": 1}
    assert before.tables["impressions"].reasons == {"linked_row_rejected": 1}
    shown = {row["impression_id"] for row in make.landed(tmp_path / "l", "impressions")}
    assert {row["impression_id"] for row in make.landed(tmp_path / "l", "plays")} <= shown


def test_a_landing_fails_where_a_table_lost_too_much_or_all(tmp_path):
    with LandingRun(tmp_path, [DAY], NOW) as run:
        run.add("comments", comments(pa.array([NOON] * 8 + [NOON // 1_000] * 2)), "c", file_day=DAY)
        run.reject("speech", "s.parquet", 0, "unreadable_file", "damaged; fetch the file again", day=DAY)
    (line,) = failures(run.summary, tmp_path, LandingConfig(max_rejected_share=0.2))
    assert "speech: 100.0% of 1 rows" in line
    assert "fetch the file again" in line
    lines = failures(run.summary, tmp_path, LandingConfig(max_rejected_share=0.19))
    assert any(
        "comments: 20.0% of 10 rows were rejected: wrong_time_unit 2 (sent_at looks like seconds" in one for one in lines
    )
    assert failures(run.summary, tmp_path, LandingConfig(max_rejected_share=1.0))  # nothing of a table is never enough
