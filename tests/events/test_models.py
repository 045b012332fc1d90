"""Items from outside become event models, or are rejected with a reason."""

import math
from typing import Any

import pytest

from livealign.events.models import event_of, record_of
from livealign.events.parsing import TimeBounds, parse_events

NOW = 1_750_000_000_000


def comment(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "comment",
        "event_id": "c1",
        "at": NOW,
        "room_id": 5,
        "author_id": 3,
        "user_id": 7,
        "text": "well played",
    } | changes


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        "text",
        {},
        comment(kind="dance"),
        comment(event_id=""),
        comment(event_id="x" * 65),
        comment(room_id=-1),
        comment(room_id=2**63),
        comment(room_id="5"),
        comment(room_id=True),
        comment(at="yesterday"),
        comment(at=math.nan),
        comment(text="x" * 2_001),
        comment(text="\ud800"),
        comment(unknown=1),
        comment(is_bot="yes"),
        comment(is_bot=1),
        *(
            {"kind": "gift", "event_id": "g", "at": NOW, "room_id": 5, "author_id": 3, "user_id": 7, "value": value}
            for value in (math.inf, "2.5", True)
        ),
        {"kind": "impression", "event_id": "i", "at": NOW, "room_id": 5, "author_id": 3, "user_id": 7, "score": "0.5"},
    ],
)
def test_what_is_no_event_is_rejected_and_the_rest_of_the_batch_is_taken(bad: object) -> None:
    placed, rejected = parse_events([comment(event_id="a"), bad, comment(event_id="b")], NOW)
    assert [(one.place, one.event.event_id) for one in placed] == [(0, "a"), (2, "b")]
    assert [(one.place, one.reason) for one in rejected] == [(1, "invalid")]
    assert rejected[0].detail


def test_a_rejection_never_repeats_the_text_of_a_user() -> None:
    _, rejected = parse_events([comment(text="secret" * 1_000)], NOW)
    assert "text" in rejected[0].detail
    assert "secret" not in rejected[0].detail


def test_events_of_the_far_future_and_the_far_past_are_rejected_with_their_distance() -> None:
    bounds = TimeBounds(future_ms=1_000, late_ms=2_000)
    at = [NOW + 1_000, NOW + 1_001, NOW - 2_000, NOW - 2_001]
    placed, rejected = parse_events([comment(event_id=f"e{i}", at=one) for i, one in enumerate(at)], NOW, bounds)
    assert [one.event.event_id for one in placed] == ["e0", "e2"]
    assert [(one.place, one.event_id, one.reason) for one in rejected] == [(1, "e1", "in_future"), (3, "e3", "too_late")]


def test_a_time_may_be_iso_text_in_any_zone() -> None:
    texts = ["2025-06-15T15:06:40", "2025-06-15T15:06:40Z", "2025-06-15T17:06:40+02:00", "2025-06-15T15:06:40.000"]
    placed, rejected = parse_events([comment(at=text) for text in texts], NOW)
    assert not rejected
    assert {one.event.at for one in placed} == {NOW}


def test_a_record_is_one_line_and_reads_back_as_the_same_event() -> None:
    ((_, event),), _ = parse_events([comment(text="two\nlines \u2028 ‮ 🎉")], NOW)
    assert b"\n" not in record_of(event)
    assert event_of(record_of(event)) == event
