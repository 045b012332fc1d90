"""A wall of rooms with hostile words.

Long words, other directions, markup, marks that stack, and letters without ink.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bentos.smoke import Server
from tests.planted.live_release import plant_live_releases
from tests.support.browser import until
from tests.support.service_client import release_server

MARKUP = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='taken over'</script>"
ROOMS = 30  # more than a page has
TICK_SECONDS = 60  # a window, its lateness, and time for a busy machine
ZALGO = "z̷̡̛̗̖̩̠̳͖̯̲̔̐͌̈́̈́̚͝͠ą̶̧͓͖̱̝̜͂̎̂͛̏̑̕͝l̵̡̨̫̫̖̬͔͂͐̾̄̆̎͘g̵̡̢̗̤̗̞͙̥̎̽̆̑̀̄͝o̴̧̞̙̱̞̜͈̓̈́̐̉̌̇̕"
TITLES = (
    "W" * 200,
    MARKUP,
    "\u202egnihtyna ot netsil\u202c \u2066" + "عنوان طويل جدا عن الطبخ والموسيقى " * 4,
    ZALGO * 2,
    "日本語の長いタイトル" * 18,
    "🔥" * 90,
    "An ordinary title of a broadcast about chess endgames",
    "a",
    "http://example.org/" + "path/" * 35,
    "  \u200b ",
)
CATEGORIES = ("C" * 200, "games", "cooking & <b>baking</b>", "فئة" * 50, None)
SPEECH = ("and now the rook takes the queen, which nobody here had seen coming", "s" * 1_500, MARKUP, "غنّى " * 90, "今" * 600)
CHAT = ("gg", "c" * 1_500, MARKUP, "شكرا " * 60, "😂" * 300, "line\nbreak\tand tab")


def room_starts() -> list[dict[str, Any]]:
    """The starts of the rooms, ten minutes ago."""
    at = int(time.time() * 1000) - 10 * 60_000
    return [
        {
            "kind": "room_started",
            "event_id": f"start-{room}",
            "at": at,
            "room_id": room,
            "author_id": 900 + room % 20,
            "title": TITLES[room % len(TITLES)],
            "language": "en",
        }
        | ({} if (category := CATEGORIES[room % len(CATEGORIES)]) is None else {"category": category})
        for room in range(1, ROOMS + 1)
    ]


def words(batch: int, speech: str | None = None) -> list[dict[str, Any]]:
    """Something is said in every room now: the tick at the end of the window reads it."""
    at = int(time.time() * 1000)
    events: list[dict[str, Any]] = []
    for room in range(1, ROOMS + 1):
        about = {"at": at, "room_id": room, "author_id": 900 + room % 20}
        said = SPEECH[room % len(SPEECH)] if speech is None else f"{speech} {room} {MARKUP}"
        events.append({**about, "kind": "speech", "event_id": f"{batch}-s-{room}", "ended_at": at + 1_000, "text": said})
        for place in range(2):
            text = CHAT[(room + place) % len(CHAT)]
            events.append(
                {**about, "kind": "comment", "event_id": f"{batch}-c{place}-{room}", "user_id": 500 + place, "text": text}
            )
    return events


@contextmanager
def hostile_wall(folder: Path) -> Iterator[Server]:
    """A service whose rooms have been read once."""
    (release,) = plant_live_releases(folder)
    with release_server(release.bundle) as server:
        assert server.request("POST", "/events", {"events": room_starts()})[0] == 200
        assert server.request("POST", "/events", {"events": words(1)})[0] == 200
        until(lambda: server.request("GET", "/status")[1]["last_tick_at"], TICK_SECONDS, "a refresh")
        until(lambda: all_read(server), TICK_SECONDS, "codes of every room")
        yield server


def all_read(server: Server) -> bool:
    """Whether every room has been read."""
    rooms = server.request("GET", "/rooms?limit=200")[1]["rooms"]
    return len(rooms) == ROOMS and all(room["said"] and room["content_age_seconds"] is not None for room in rooms)
