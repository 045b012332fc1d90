"""The seeded traffic of a serving benchmark: lists, batches of events, rooms that speak."""

import json
import secrets
import time
from collections import deque
from typing import Any

import numpy as np

from benchmarks.load.bench_server import Server
from benchmarks.load.large_release import FIRST_ROOM, FIRST_USER
from livealign.release.snapshot import WINDOW_MILLISECONDS
from tests.support.repeated import InThread

SEED = 1  # of requests; events and words have SEED + 1 and SEED + 2
WINDOW = WINDOW_MILLISECONDS / 1000
WORDS = ("boss", "low", "dodge", "left", "now", "what", "play", "chat", "this", "run", "again", "heal", "first", "try", "nice")


def recommend_bodies(users: int, count: int = 4_000, k: int = 10) -> list[bytes]:
    """Requests of different users, seeded."""
    drawn = np.random.default_rng(SEED).integers(0, users, count)
    return [json.dumps({"user_id": FIRST_USER + int(user), "k": k, "surface": "bench"}).encode() for user in drawn]


def event_bodies(batches: int, size: int, authors: list[int], users: int) -> list[bytes]:
    """Batches of new comments, likes and plays at the present time.

    A play ends some batches after its start.
    """
    rng, run = np.random.default_rng(SEED + 1), secrets.token_hex(4)
    now = int(time.time() * 1000)
    bodies, watching = [], deque[dict[str, Any]]()
    for batch in range(batches):
        kinds = rng.choice(["comment", "like", "play_started", "play_ended"], size, p=[0.5, 0.3, 0.1, 0.1])
        room, user = rng.integers(0, len(authors), size), rng.integers(0, users, size)
        events, ready = [], len(watching)
        for place, kind in enumerate(kinds.tolist()):
            about: dict[str, Any] = {"kind": kind, "event_id": f"{run}-{batch}-{place}", "at": now}
            about |= {"room_id": FIRST_ROOM + int(room[place]), "author_id": authors[room[place]]}
            about["user_id"] = FIRST_USER + int(user[place])
            if kind == "play_ended" and ready:
                ready, play = ready - 1, watching.popleft()
                about |= {name: play[name] for name in ("room_id", "author_id", "user_id")} | {"play_id": play["event_id"]}
            elif kind == "play_started":
                watching.append(about)
            elif kind != "like":
                about |= {"kind": "comment", "text": " ".join(rng.choice(WORDS, 8))}
            events.append(about)
        bodies.append(json.dumps({"events": events}).encode())
    return bodies


class Speakers(InThread):
    """Speech and comments in every window of some rooms until the block ends.

    They are the input of the refresh.
    """

    def __init__(self, server: Server, rooms: int) -> None:
        super().__init__()
        self._server, self._rooms = server, rooms
        self._rng, self._run = np.random.default_rng(SEED + 2), secrets.token_hex(4)
        self.problem: str | None = None
        self.acknowledged: list[str] = []  # ids of events

    def work(self) -> None:
        """Send the words of a sixtieth of the rooms every half second.

        Each room has its own place in every window. The steps are due by the clock: a sender that waited half a second after
        each would fall behind, and rooms would have windows without words.
        """
        steps = int(WINDOW * 2)
        begins = (time.time() // WINDOW + 1) * WINDOW + 0.25  # no words on the edge of a window
        step = 0
        while not self.over.wait(max(0.0, begins + step / 2 - time.time())):
            now = int((begins + step / 2) * 1000)
            events = []
            for room in range(step % steps, self._rooms, steps):
                about = {"room_id": FIRST_ROOM + room, "author_id": self._server.authors[room], "at": now}
                speech = {"kind": "speech", "ended_at": now, "text": " ".join(self._rng.choice(WORDS, 40))}
                events.append({**speech, "event_id": f"{self._run}-{step}-{room}", **about})
                for viewer in range(3):
                    comment = {"kind": "comment", "text": " ".join(self._rng.choice(WORDS, 12)), "user_id": FIRST_USER + viewer}
                    events.append({**comment, "event_id": f"{self._run}-{step}-{room}-{viewer}", **about})
            for start in range(0, len(events), 500):
                batch = events[start : start + 500]
                status, answer = self._server.ask("POST", "/events", {"events": batch})
                if status != 200 or answer["rejected"]:
                    self.problem = f"{status} {str(answer)[:300]}"
                else:
                    self.acknowledged += [str(event["event_id"]) for event in batch]
            step += 1
