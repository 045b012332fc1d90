"""What the service logged lands as the tables that the platform's own archive would have given."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from livealign.days import partition
from livealign.errors import ArchiveError
from livealign.events.intake import EventIntake
from livealign.events.log import EventLog
from livealign.events.log_files import log_files
from livealign.events.models import ListShown, record_of
from livealign.ids import hashed_id
from livealign.landing.schema import TABLES
from livealign.landing.validate import validate_landing
from livealign.platforms.inspect import inspect_archive
from livealign.platforms.registry import land
from livealign.platforms.served import archive_days

DAY, NEXT = date(2025, 6, 9), date(2025, 6, 10)
EVENING = int(datetime(2025, 6, 9, 23, 50, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000


def event(kind: str, name: str, minute: float, **fields: Any) -> dict[str, Any]:
    at = EVENING + int(minute * MINUTE)
    return {"kind": kind, "event_id": name, "at": at, "room_id": 10, "author_id": 1} | fields


EVENTS = [
    event("room_started", "r", 0, title="Ranked", category="chess", language="en"),
    event("impression", "q1:10", 1, user_id=7, request_id="q1", position=0, surface="home", score=0.4, model_version="m"),
    event("impression", "q2:10", 1, user_id=8, request_id="q2", position=3),
    event("play_started", "p", 2, user_id=7, request_id="q1", source="home"),
    event("play_started", "walk-in", 3, user_id=8),
    event("speech", "s", 3, ended_at=EVENING + 3 * MINUTE + 5_000, text="the queen is lost"),
    event("comment", "c", 4, user_id=7, text="oh no"),
    event("comment", "bot", 4, user_id=9, text="!rules", is_bot=True),
    event("like", "l", 5, user_id=7, count=4),
    event("gift", "g", 5, user_id=7, value=2.5),
    event("share", "sh", 6, user_id=7),
    event("follow", "f", 6, user_id=7),
    event("comment", "tomorrow", 12, user_id=7, text="past midnight"),
    event("play_ended", "pe", 15, user_id=7, play_id="p"),
    event("room_ended", "re", 20),
]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Logged in two sittings, so that the ends lie in a later file than the beginnings."""
    folder = tmp_path / "log"
    for part in (EVENTS[:8], EVENTS[8:]):
        with EventLog(folder) as log:
            assert len(EventIntake.open(log, clock=lambda: EVENING / 1000 + 1_200).ingest(part).accepted) == len(part)
    return folder


def rows(landing: Path, table: str, day: date = DAY) -> list[dict[str, Any]]:
    return pq.ParquetFile(partition(landing, table, day)).read().to_pylist()


def test_wishes_and_hidden_rooms_are_logged_and_land_as_people_alone(tmp_path: Path) -> None:
    events = [
        event("room_started", "r", 0, title="Ranked"),
        event("not_interested", "n", 1, user_id=7),
        event("author_blocked", "b", 1, user_id=8, author_id=5),
        event("author_unblocked", "u", 1, user_id=9, author_id=6),
        event("room_hidden", "h", 1),
        event("room_unhidden", "v", 2),
    ]
    with EventLog(tmp_path / "log") as log:
        assert len(EventIntake.open(log, clock=lambda: EVENING / 1000 + 600).ingest(events).accepted) == len(events)
    summary = land("served", tmp_path / "log", tmp_path / "landing")
    counts = {name: summary.tables[name].landed for name in TABLES if summary.tables[name].landed}
    assert counts == {"rooms": 1, "authors": 3, "users": 3}
    assert summary.rejected == 0


def test_everything_served_lands_and_keeps_the_landing_contract(archive: Path, tmp_path: Path) -> None:
    assert archive_days(archive) == [DAY, NEXT]
    summary = land("served", archive, tmp_path / "landing")
    assert summary.rejected == 0
    counts = {name: summary.tables[name].landed for name in TABLES if summary.tables[name].landed}
    assert counts == {
        "rooms": 1,
        "authors": 2,
        "users": 4,
        "impressions": 2,
        "plays": 2,
        "comments": 3,
        "speech": 1,
        "likes": 1,
        "gifts": 1,
        "shares": 1,
        "follows": 1,
    }
    assert [problem for problem in validate_landing(tmp_path / "landing") if problem.severity == "error"] == []


def test_rooms_and_plays_find_their_ends_and_plays_the_impression_of_their_request(archive: Path, tmp_path: Path) -> None:
    land("served", archive, tmp_path / "landing", [DAY])
    (room,) = rows(tmp_path / "landing", "rooms")
    assert (room["title"], room["ended_at"]) == ("Ranked", datetime(2025, 6, 10, 0, 10))
    shown = {row["request_id"]: row for row in rows(tmp_path / "landing", "impressions")}
    assert (shown["q1"]["score"], shown["q1"]["model_version"], shown["q2"]["score"]) == (0.4, "m", None)
    plays = {row["user_id"]: row for row in rows(tmp_path / "landing", "plays")}
    assert plays[7]["impression_id"] == shown["q1"]["impression_id"] == hashed_id("impression", "q1:10")
    assert (plays[7]["left_at"], plays[8]["left_at"]) == (datetime(2025, 6, 10, 0, 5), room["ended_at"])
    assert plays[8]["impression_id"] is None
    assert [row["text"] for row in rows(tmp_path / "landing", "comments")] != []
    assert not (tmp_path / "landing" / "comments" / f"dt={NEXT}").exists()


def test_the_context_of_a_list_lands_with_it_and_its_country_with_the_viewer(tmp_path: Path) -> None:
    shown = {"user_id": 7, "release": "m", "rooms": (10,), "propensities": (1.0,)}
    contexts = [{}, {"language": "es", "country": "chile"}, {"language": "en"}]
    lists = [
        ListShown(event_id=f"list:{number}", at=EVENING + number, request_id=str(number), **shown, **context)
        for number, context in enumerate(contexts)
    ]
    with EventLog(tmp_path / "log") as log:
        EventIntake.open(log, clock=lambda: EVENING / 1000 + 1_200).ingest(EVENTS)
        log.append([record_of(one) for one in lists])
    assert land("served", tmp_path / "log", tmp_path / "landing").rejected == 0
    landed = [(row["language"], row["country"]) for row in rows(tmp_path / "landing", "lists")]
    assert landed == [(None, None), ("es", "chile"), ("en", None)]
    countries = {row["user_id"]: row["country"] for row in rows(tmp_path / "landing", "users")}
    assert countries == {7: "chile", 8: None, 9: None}


def test_a_room_that_is_sent_to_start_again_has_changed_its_title_and_category(tmp_path: Path) -> None:
    again = [
        event("room_started", "r2", 4, title="Blitz"),
        event("room_started", "r3", 12, category="go", language="en"),
        event("room_started", "r4", 13, language="de"),  # names neither: no row
        event("room_started", "r5", 0, title="Repeated"),  # the start once more
    ]
    with EventLog(tmp_path / "log") as log:
        taken = EventIntake.open(log, clock=lambda: EVENING / 1000 + 1_200).ingest([*EVENTS, *again])
        assert len(taken.accepted) == len(EVENTS) + len(again)
    summary = land("served", tmp_path / "log", tmp_path / "landing")
    assert summary.tables["rooms"].reasons == {"duplicate_key": 1}
    assert [row["title"] for row in rows(tmp_path / "landing", "rooms")] == ["Ranked"]
    found = [row for day in (DAY, NEXT) for row in rows(tmp_path / "landing", "room_changes", day)]
    assert [(row["room_id"], row["title"], row["category"]) for row in found] == [(10, "Blitz", None), (10, None, "go")]
    assert [row["changed_at"] for row in found] == [datetime(2025, 6, 9, 23, 54), datetime(2025, 6, 10, 0, 2)]
    # The start is known also where its day is not landed.
    land("served", tmp_path / "log", tmp_path / "late", [NEXT])
    assert (len(rows(tmp_path / "late", "rooms", NEXT)), len(rows(tmp_path / "late", "room_changes", NEXT))) == (0, 1)


def test_a_damaged_record_is_rejected_with_file_and_line_and_a_repeated_one_lands_once(archive: Path, tmp_path: Path) -> None:
    first, second = log_files(archive)
    first.write_bytes(first.read_bytes().replace(b"oh no", b"oh yes"))
    second.write_bytes(second.read_bytes() + second.read_bytes().splitlines(keepends=True)[0])
    summary = land("served", archive, tmp_path / "landing", [DAY])
    assert summary.tables["comments"].reasons == {"damaged_record": 1}
    (reject,) = rows(tmp_path / "landing" / "rejects", "comments")
    assert (reject["file"], reject["line"]) == (first.name, 7)
    assert (summary.tables["likes"].landed, summary.tables["likes"].reasons) == (1, {"duplicate_key": 1})


def test_inspect_recognises_a_log_and_a_folder_without_closed_files_is_refused(archive: Path, tmp_path: Path) -> None:
    found = inspect_archive(archive)
    assert (found.platform, found.days) == ("served", [DAY, NEXT])
    assert {count.file for count in found.files} == {path.name for path in log_files(archive)}
    assert found.summary.tables["comments"].landed == sum(event["kind"] == "comment" for event in EVENTS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match="no closed file"):
        archive_days(tmp_path / "empty")
