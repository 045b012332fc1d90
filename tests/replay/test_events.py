"""A landed day as events: texts as in the mart, in order, and only the period asked for."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from livealign.days import midnight
from livealign.errors import LandingError
from livealign.events.models import MAX_NAME, MAX_TEXT
from livealign.events.parsing import parse_events
from livealign.live.state.windows import TEXT_CHARACTERS, OpenWindow
from livealign.replay.events import OTHER_USER, day_events, day_frames, landed_rooms
from tests.planted.landing import DAYS, planted_rows
from tests.planted.landing_rows import at, write_landing

LONG = "begin" + "x" * MAX_TEXT + "end"


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted days; a message and an utterance are longer than an event may be, another message is empty."""
    folder, rows = tmp_path_factory.mktemp("landing"), planted_rows()
    texts = {("comments", "comment_id", 2): LONG, ("comments", "comment_id", 1): "", ("speech", "speech_id", 1): LONG}
    for (table, key, number), text in texts.items():
        rows[table] = [{**row, "text": text} if row[key] == number else row for row in rows[table]]
    write_landing(folder, DAYS, rows)
    return folder


def events_of(landing: Path, day: int = 0, **options: Any) -> list[tuple[int, dict[str, Any]]]:
    return [tuple(one) for one in day_events(landing, landed_rooms(landing, DAYS[day]), DAYS[day], **options)]


def test_every_event_of_a_landed_day_is_one_that_the_service_takes(landing: Path) -> None:
    found = [one for day in range(len(DAYS)) for one in events_of(landing, day)]
    for when, item in found:
        parsed, rejected = parse_events([item], when)
        assert (len(parsed), rejected) == (1, [])
    kinds = {item["kind"] for _, item in found}
    assert kinds >= {"room_started", "room_ended", "comment", "speech", "play_started", "play_ended", "impression"}
    assert " " in {item.get("text") for _, item in found}, "an empty message still counts"


def test_of_a_long_text_the_end_is_kept_as_in_the_mart(landing: Path) -> None:
    texts = [item["text"] for _, item in events_of(landing) if item["kind"] in ("comment", "speech")]
    assert texts.count(LONG[-MAX_TEXT:]) == 2
    whole, cut = OpenWindow(), OpenWindow()
    whole.comment(0, 0, 1, LONG, False)
    cut.comment(0, 0, 1, LONG[-MAX_TEXT:], False)
    assert cut.chat_text() == whole.chat_text()
    assert MAX_TEXT >= TEXT_CHARACTERS, "else a window would lack what an event left out"


def test_what_was_shown_of_a_room_before_midnight_is_shown_to_nobody(landing: Path) -> None:
    first = midnight(DAYS[1])
    found = events_of(landing, 1)
    before = [item for at, item in found if at < first and item["kind"] == "impression"]
    assert before
    assert {(item["user_id"], item["request_id"]) for item in before} == {(OTHER_USER, None)}
    assert all(item["user_id"] != OTHER_USER for at, item in found if at >= first and item["kind"] == "impression")
    assert all(item["request_id"] is None for at, item in found if at < first and item["kind"] == "play_started")


def test_pictures_of_a_day_have_those_before_midnight_of_the_rooms_that_were_live_then(landing: Path) -> None:
    rooms, first = landed_rooms(landing, DAYS[1]), midnight(DAYS[1])
    found = day_frames(landing, rooms, DAYS[1])
    assert [frame.at for frame in found] == sorted(frame.at for frame in found)
    before = {frame.item["room_id"] for frame in found if frame.at < first}
    assert before
    assert all(rooms[room]["started_at"] < first < (rooms[room]["ended_at"] or first + 1) for room in before)
    ended = {key: {**room, "ended_at": first} for key, room in rooms.items()}
    assert [frame for frame in found if frame.at >= first] == day_frames(landing, ended, DAYS[1])
    assert min(frame.at for frame in day_frames(landing, rooms, DAYS[0])) >= midnight(DAYS[0])


def test_of_a_period_there_is_what_happened_in_it_and_all_rooms(landing: Path) -> None:
    everything = events_of(landing)
    middle = everything[len(everything) // 2][0]
    rooms = ("room_started", "room_ended")
    found = events_of(landing, period=(middle, everything[-1][0]))
    inside = [item["event_id"] for at, item in everything if middle <= at < everything[-1][0] or item["kind"] in rooms]
    assert [item["event_id"] for _, item in found] == inside
    assert len(found) < len(everything)


def test_changes_of_title_and_category_are_told_at_their_time_and_those_before_the_start_with_it(tmp_path: Path) -> None:
    rows = planted_rows()
    rows["room_changes"] = [
        {"room_id": 2, "changed_at": at("01 23:58:00"), "title": None, "category": "sleep"},  # with the start
        {"room_id": 2, "changed_at": at("01 23:59:00"), "title": "t" * 300, "category": None},
        {"room_id": 2, "changed_at": at("02 00:01:00"), "title": None, "category": "dreams"},
    ]
    write_landing(tmp_path, DAYS, rows)
    told = [(when, item) for when, item in events_of(tmp_path, 1) if item["kind"] == "room_started" and item["room_id"] == 2]
    texts = [{name: item[name] for name in ("title", "category", "language") if name in item} for _, item in told]
    assert texts == [{"title": "Night", "category": "sleep"}, {"title": "t" * MAX_NAME}, {"category": "dreams"}]
    assert [(when - midnight(DAYS[1])) // 1_000 for when, _ in told] == [-120, -60, 60]
    assert len({item["event_id"] for _, item in told}) == 3
    (tmp_path / "room_changes" / f"dt={DAYS[0]}" / "part-0.parquet").unlink()  # landed before there were any
    told = [item for _, item in events_of(tmp_path, 1) if item["kind"] == "room_started" and item["room_id"] == 2]
    assert [item.get("category") for item in told] == [None, "dreams"]


def test_a_day_that_is_not_landed_is_named_with_the_remedy(landing: Path) -> None:
    day = DAYS[-1] + timedelta(days=9)
    with pytest.raises(LandingError, match=f"livealign land --days {day}"):
        landed_rooms(landing, day)
