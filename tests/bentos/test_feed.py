"""A landed day as new events: valid, in order, each room before what happens in it."""

import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from bentos.feed import Clock, busiest_quarter, feed, feed_events
from livealign.errors import LiveAlignError
from livealign.events.models import MAX_TEXT
from livealign.events.parsing import parse_events
from tests.planted.landing import DAYS, planted_rows
from tests.planted.landing_rows import write_landing

NOON = int(datetime(2025, 6, 1, 12, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landing")
    write_landing(folder, DAYS, planted_rows())
    return folder


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_every_event_is_valid_when_its_time_comes_and_no_room_is_spoken_of_before_it_began(landing: Path, speed: float) -> None:
    now = int(time.time() * 1000)
    events = feed_events(landing, DAYS[0], Clock(NOON, now, speed), minutes=30, run="run")
    assert {event.item["kind"] for event in events} >= {
        "room_started",
        "room_ended",
        "comment",
        "speech",
        "play_started",
        "play_ended",
    }
    assert [event.at for event in events] == sorted(event.at for event in events)
    begun: set[int] = set()
    for event in events:
        parsed, rejected = parse_events([event.item], max(now, event.at))
        assert (len(parsed), rejected) == (1, [])
        assert event.item["kind"] == "room_started" or event.item["room_id"] in begun
        assert event.at == event.item["ended_at" if event.item["kind"] == "speech" else "at"]
        begun.add(event.item["room_id"])
    assert len({event.item["event_id"] for event in events}) == len(events)
    assert max(event.at for event in events) <= now + 30 * 60_000 / speed


def test_a_comment_keeps_its_words_its_user_and_its_place_in_time(landing: Path) -> None:
    clock = Clock(NOON, 10_000_000_000, 2.0)
    events = [event.item for event in feed_events(landing, DAYS[0], clock, minutes=30, run="run")]
    texts = {event["text"] for event in events if event["kind"] == "comment"}
    rows = [row for row in planted_rows()["comments"] if row["room_id"] == 1]
    assert texts >= {row["text"][-MAX_TEXT:] for row in rows if row["text"]}
    first = next(event for event in events if event["kind"] == "comment" and event["text"] == rows[0]["text"])
    sent = int(rows[0]["sent_at"].replace(tzinfo=UTC).timestamp() * 1000)
    assert first["at"] == 10_000_000_000 + (sent - NOON) // 2
    assert first["user_id"] == rows[0]["user_id"]


def test_the_same_day_played_twice_is_two_days(landing: Path) -> None:
    one, two = ([event.item for event in feed_events(landing, DAYS[0], Clock(NOON, 0, 1.0), 30, run)] for run in ("one", "two"))
    assert not {event["event_id"] for event in one} & {event["event_id"] for event in two}
    assert not {event["room_id"] for event in one} & {event["room_id"] for event in two}
    assert {event["author_id"] for event in one} == {event["author_id"] for event in two}


def test_it_begins_shortly_before_most_is_said(landing: Path) -> None:
    start = busiest_quarter(landing, DAYS[0])
    assert start.date() in (DAYS[0], date(2025, 5, 31))
    assert start.minute % 15 == 10


def test_a_day_that_is_not_landed_is_told_so(landing: Path) -> None:
    with pytest.raises(LiveAlignError, match="livealign land --days 2020-01-01"):
        feed_events(landing, date(2020, 1, 1), Clock(NOON, 0, 1.0), 30, "run")


def test_an_address_that_is_none_is_told_so(landing: Path) -> None:
    with pytest.raises(LiveAlignError, match="is no address of a service"):
        feed("ftp://somewhere", "key", landing, DAYS[0])
