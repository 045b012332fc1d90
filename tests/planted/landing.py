"""A landing folder with a planted truth: rooms whose marts are known, and a random crowd.

The rooms of the crowd have ids from 1000 on; `tests/planted/slow_warehouse.py` computes their marts the slow and obvious way.
"""

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from tests.planted.landing_rows import at

DAYS = [date(2025, 6, day) for day in (1, 2, 3)]
ACTION = {"author_id": 10, "room_id": 1}


def hand_made() -> dict[str, list[dict[str, Any]]]:
    """Rows of three rooms whose marts are known by hand.

    Room 1 on the first day, room 2 over the midnight after it, room 3 live when the last day ends.
    """
    seen = {"author_id": 10, "room_id": 1, "surface": "feed"}
    return {
        "rooms": [
            {"room_id": 1, "author_id": 10, "title": "Cooking", "started_at": at("01 12:00:10"), "ended_at": at("01 12:20:00")},
            {"room_id": 2, "author_id": 20, "title": "Night", "started_at": at("01 23:58:00"), "ended_at": at("02 00:02:00")},
            {"room_id": 3, "author_id": 30, "title": "Open end", "started_at": at("03 23:50:00"), "ended_at": None},
        ],
        "impressions": [
            # Before any window of room 1 has ended; not clicked.
            {"impression_id": 11, "user_id": 1, "shown_at": at("01 12:00:20"), "position": 0, "request_id": "a", **seen},
            # The window 12:00:00 ended 12 s earlier; user 1 stays 150 s, likes after 100 s, writes after 200 s (too late).
            {"impression_id": 12, "user_id": 1, "shown_at": at("01 12:00:42"), "position": 1, "request_id": "b", **seen},
            # The platform names the impression; user 2 stays 40 s and gives a gift.
            {"impression_id": 13, "user_id": 2, "shown_at": at("01 12:00:50"), "position": 0, "request_id": "c", **seen},
            # Entered 61 s later: no click.
            {"impression_id": 14, "user_id": 3, "shown_at": at("01 12:02:00"), "position": 2, "request_id": "d", **seen},
            # Shown before midnight, entered after it; user 1 has clicked room 1 before.
            {"impression_id": 21, "user_id": 1, "author_id": 20, "room_id": 2, "shown_at": at("01 23:59:50")},
            # After midnight; the window before it is room 2's last.
            {"impression_id": 22, "user_id": 2, "author_id": 20, "room_id": 2, "shown_at": at("02 00:00:10")},
            # Late on the last day: still watching at the horizon, long enough for a long view, too short for "no like".
            {"impression_id": 31, "user_id": 1, "author_id": 30, "room_id": 3, "shown_at": at("03 23:55:00")},
            # Entered 30 s before the horizon: a long view is unknown.
            {"impression_id": 32, "user_id": 2, "author_id": 30, "room_id": 3, "shown_at": at("03 23:59:20")},
            # Shown 50 s before the horizon: even the click is unknown.
            {"impression_id": 33, "user_id": 3, "author_id": 30, "room_id": 3, "shown_at": at("03 23:59:10")},
        ],
        "plays": [
            # User 9 is there from the start and gone before the second window ends.
            {"play_id": 9, "user_id": 9, **ACTION, "entered_at": at("01 12:00:12"), "left_at": at("01 12:00:42")},
            {"play_id": 12, "user_id": 1, **ACTION, "entered_at": at("01 12:00:45"), "left_at": at("01 12:03:15")},
            {
                "play_id": 13,
                "user_id": 2,
                **ACTION,
                "impression_id": 13,
                "entered_at": at("01 12:00:55"),
                "left_at": at("01 12:01:35"),
            },
            {"play_id": 14, "user_id": 3, **ACTION, "entered_at": at("01 12:03:01"), "left_at": at("01 12:30:00")},
            # User 2 comes back in the window in which they left, with no impression in the last minute.
            {"play_id": 15, "user_id": 2, **ACTION, "entered_at": at("01 12:01:58"), "left_at": at("01 12:02:10")},
            {
                "play_id": 21,
                "user_id": 1,
                "author_id": 20,
                "room_id": 2,
                "entered_at": at("02 00:00:20"),
                "left_at": at("02 00:01:10"),
            },
            {
                "play_id": 23,
                "user_id": 4,
                "author_id": 20,
                "room_id": 2,
                "entered_at": at("01 23:59:10"),
                "left_at": at("02 00:00:40"),
            },
            {"play_id": 31, "user_id": 1, "author_id": 30, "room_id": 3, "entered_at": at("03 23:55:05"), "left_at": None},
            {"play_id": 32, "user_id": 2, "author_id": 30, "room_id": 3, "entered_at": at("03 23:59:30"), "left_at": None},
        ],
        "likes": [{"action_id": 1, "user_id": 1, **ACTION, "at": at("01 12:02:25"), "count": 3}],
        "gifts": [{"action_id": 1, "user_id": 2, **ACTION, "at": at("01 12:01:05"), "count": 2, "value": 9.5}],
        "shares": [{"action_id": 1, "user_id": 2, **ACTION, "at": at("01 12:01:05.500")}],
        "follows": [{"action_id": 1, "user_id": 1, **ACTION, "at": at("01 12:02:26")}],
        "comments": [
            # A room that was never landed.
            {
                "comment_id": 9,
                "user_id": 5,
                "author_id": 10,
                "room_id": 99,
                "sent_at": at("01 12:00:00"),
                "text": "?",
                "is_bot": False,
            },
            {"comment_id": 2, "user_id": 5, **ACTION, "sent_at": at("01 12:01:10"), "text": "second", "is_bot": False},
            {"comment_id": 1, "user_id": 5, **ACTION, "sent_at": at("01 12:01:05"), "text": "first", "is_bot": False},
            {"comment_id": 3, "user_id": 6, **ACTION, "sent_at": at("01 12:01:20"), "text": "BUY", "is_bot": True},
            {"comment_id": 4, "user_id": 1, **ACTION, "sent_at": at("01 12:04:05"), "text": "x" * 3_000, "is_bot": False},
        ],
        "speech": [
            {
                "speech_id": 1,
                "author_id": 10,
                "room_id": 1,
                "started_at": at("01 12:00:25"),
                "ended_at": at("01 12:00:31"),
                "text": "hello all",
            },
            {
                "speech_id": 2,
                "author_id": 10,
                "room_id": 1,
                "started_at": at("01 12:00:40"),
                "ended_at": at("01 12:01:00"),
                "text": "we cook",
            },
            {
                "speech_id": 3,
                "author_id": 20,
                "room_id": 2,
                "started_at": at("01 23:59:50"),
                "ended_at": at("02 00:00:05"),
                "text": "good night",
            },
        ],
    }


REJECTS = [
    {"dt": DAYS[0], "table": "plays", "file": "plays.csv", "line": 7, "reason": "wrong_type", "detail": "user_id", "row": "{}"},
    {"dt": DAYS[0], "table": "plays", "file": "plays.csv", "line": 0, "reason": "unknown_field", "detail": "mood", "row": None},
    {"dt": DAYS[1], "table": "likes", "file": "likes.csv", "line": 2, "reason": "duplicate_key", "detail": "", "row": "{}"},
]


def crowd(seed: int = 5, rooms: int = 9, users: int = 8, plays: int = 260) -> dict[str, list[dict[str, Any]]]:
    """A random crowd in rooms of all three days, some over midnight.

    Its sessions are short, long, repeated and overlapping.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("rooms", "impressions", "plays", "likes", "gifts", "comments", "speech", "content_vectors")
    }
    made["room_changes"] = []
    first = datetime(2025, 6, 1, 22)
    for n in range(rooms):
        start = first + timedelta(milliseconds=int(rng.integers(0, 40 * 3_600_000)))
        length = timedelta(milliseconds=int(rng.integers(4 * 60_000, 240 * 60_000)))
        made["rooms"].append(
            {
                "room_id": 1_000 + n,
                "author_id": 100 + n % 5,
                "title": f"room {n}",
                "started_at": start,
                "ended_at": start + length if n % 4 else None,
            }
        )
        for step in range(0, 40, 2 + n % 3):  # every minute or so of the first twenty, some on the grid of windows
            at_step = start.replace(microsecond=0, second=0) + timedelta(seconds=30 * step + (n % 2) * 7)
            vector = {"room_id": 1_000 + n, "ended_at": at_step, "vector": [float(n), float(step)], "source": "segment_2"}
            made["content_vectors"].append(vector)
            if step % 3 == n % 3:  # some at the start of the room or of a window, each of a title, a category or both
                texts = {name: f"{name} {step}" for name, skip in (("title", 0), ("category", 1)) if step % 4 != skip}
                made["room_changes"].append({"room_id": 1_000 + n, "changed_at": max(start, at_step), **texts})
        title = {"room_id": 1_000 + n, "ended_at": start, "vector": [float(n)] * 3, "source": "title"}
        made["content_vectors"].append(title)
    for n in range(plays):
        room = made["rooms"][int(rng.integers(rooms))]
        seconds = ((room["ended_at"] or room["started_at"] + timedelta(hours=2)) - room["started_at"]).total_seconds()
        who = {"user_id": 500 + int(rng.integers(users)), "author_id": room["author_id"], "room_id": room["room_id"]}
        # Whole seconds, often on the grid of windows, so that borders are met.
        step = int(rng.choice([1, 30]))
        entered = room["started_at"].replace(microsecond=0, second=0) + timedelta(
            seconds=int(rng.uniform(-40, seconds + 40)) // step * step
        )
        shown = entered - timedelta(seconds=int(rng.integers(0, 90)))
        made["impressions"].append({"impression_id": 10_000 + n, **who, "shown_at": shown, "position": n % 8})
        stay = timedelta(seconds=int(rng.choice([0, 5, 30, 61, 400, 3_000, 30_000])))
        if rng.random() < 0.8:
            made["plays"].append(
                {
                    "play_id": 20_000 + n,
                    **who,
                    "impression_id": 10_000 + n if rng.random() < 0.4 else None,
                    "entered_at": entered,
                    "left_at": None if rng.random() < 0.1 else entered + stay,
                }
            )
        acted = entered + timedelta(seconds=int(rng.integers(0, 700)))
        if rng.random() < 0.4:
            made["likes"].append({"action_id": 30_000 + n, **who, "at": acted, "count": int(rng.integers(1, 4))})
        if rng.random() < 0.2:
            made["gifts"].append({"action_id": 40_000 + n, **who, "at": acted, "count": 1, "value": float(rng.uniform(0, 9))})
        if rng.random() < 0.3:
            made["comments"].append(
                {"comment_id": 50_000 + n, **who, "sent_at": acted, "text": f"message {n}", "is_bot": bool(rng.random() < 0.2)}
            )
        if rng.random() < 0.3:
            made["speech"].append(
                {
                    "speech_id": 60_000 + n,
                    "author_id": room["author_id"],
                    "room_id": room["room_id"],
                    "started_at": acted,
                    "ended_at": acted + timedelta(seconds=int(rng.integers(0, 45))),
                    "text": f"sentence {n}",
                }
            )
    profiles = [{"user_id": 500 + n, "country": ("Chile", None, "Japan")[n % 3]} for n in range(users)]
    made["users"] = [{**who, "observed_at": datetime.combine(day, datetime.min.time())} for day in DAYS for who in profiles]
    # Pictures in windows with a message, so that the segments are those without pictures; some windows have several.
    taken = {(row["room_id"], row["sent_at"] + timedelta(milliseconds=n % 2)): n for n, row in enumerate(made["comments"])}
    made["frames"] = [
        {"room_id": room_id, "at": at_step, "path": f"{n}.png"} for (room_id, at_step), n in taken.items() if n % 3
    ]
    return made


def planted_rows() -> dict[str, list[dict[str, Any]]]:
    """The rows of both together."""
    rows = hand_made()
    for name, more in crowd().items():
        rows[name] = [*rows.get(name, []), *more]
    return rows
