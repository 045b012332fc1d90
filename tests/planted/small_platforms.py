"""Small and odd platforms as archives of platform `parquet`.

One room, one user, no clicks, no text, a day without anything.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.landing.schema import TABLES

FIRST = date(2025, 6, 2)
TOPICS = ("chess", "cooking", "boxing", "painting")
WORDS = {
    "chess": ("knight", "bishop", "castle", "checkmate", "opening"),
    "cooking": ("soup", "oven", "salt", "garlic", "dough"),
    "boxing": ("jab", "ring", "hook", "glove", "round"),
    "painting": ("brush", "canvas", "ochre", "sketch", "easel"),
}
WINDOW = timedelta(seconds=30)


@dataclass(frozen=True)
class SmallPlatform:
    """What a small platform has.

    Each evening its rooms are on together, and users are shown lists of them.
    """

    users: int = 12
    rooms: int = 4  # of a day, each of another author
    topics: int = 2
    days: int = 3
    windows: int = 8  # of a room
    lists: int = 3  # of a user and day
    click: float = 0.3  # of the cards
    text: bool = True
    categories: bool = True
    empty_days: tuple[int, ...] = ()  # counted from 0
    seed: int = 0

    def write(self, archive: Path) -> date:
        """Write the archive; returns its last day."""
        rng = np.random.default_rng(self.seed)
        for number in range(self.days):
            day = FIRST + timedelta(days=number)
            folder = archive / f"dt={day}"
            folder.mkdir(parents=True)
            rows = {name: [] for name in TABLES} if number in self.empty_days else self._rows(day, number, rng)
            for name, table in TABLES.items():
                if name not in ("content_vectors", "frames", "room_changes"):
                    pq.write_table(pa.Table.from_pylist(rows[name], table.schema), folder / f"{name}.parquet")
        return FIRST + timedelta(days=self.days - 1)

    def _rows(self, day: date, number: int, rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        evening = datetime(day.year, day.month, day.day, 20, tzinfo=UTC).replace(tzinfo=None)
        length = self.windows * WINDOW
        for room in range(self.rooms):
            self._room(rows, evening, number, room, rng)
        for user in range(self.users):
            for each in range(self.lists):
                shown_at = evening + WINDOW + float(rng.uniform(0, 1)) * (length - 2 * WINDOW)
                listed = rng.permutation(self.rooms)[:3].tolist()
                for place, room in enumerate(listed):
                    self._card(rows, number, user, each, place, room, shown_at, evening + length, rng)
        return rows

    def _room(
        self, rows: dict[str, list[dict[str, Any]]], evening: datetime, number: int, room: int, rng: np.random.Generator
    ) -> None:
        topic = TOPICS[(room + number) % self.topics]
        about = {"room_id": 1_000 * (number + 1) + room, "author_id": 100 + room}
        rows["rooms"].append(
            {
                **about,
                "title": f"{topic} tonight" if self.text else None,
                "category": topic if self.categories else None,
                "language": "en" if self.text else None,
                "started_at": evening,
                "ended_at": evening + self.windows * WINDOW,
            }
        )
        for window in range(self.windows if self.text else 0):
            said = " ".join(rng.choice(WORDS[topic], 3))
            began = evening + window * WINDOW
            key = 100_000 * (number + 1) + 1_000 * room + window
            rows["speech"].append(
                {**about, "speech_id": key, "started_at": began, "ended_at": began + WINDOW / 2, "text": f"now the {said}"}
            )
            comment = {**about, "comment_id": key, "user_id": 500 + window % self.users, "sent_at": began + WINDOW / 3}
            rows["comments"].append({**comment, "text": f"more {rng.choice(WORDS[topic])}", "is_bot": False})

    def _card(
        self,
        rows: dict[str, list[dict[str, Any]]],
        number: int,
        user: int,
        each: int,
        place: int,
        room: int,
        shown_at: datetime,
        ended_at: datetime,
        rng: np.random.Generator,
    ) -> None:
        key = 100_000 * (number + 1) + 1_000 * user + 10 * each + place
        about = {"user_id": 500 + user, "author_id": 100 + room, "room_id": 1_000 * (number + 1) + room}
        shown = {"impression_id": key, "shown_at": shown_at, "position": place, "request_id": f"{number}-{user}-{each}"}
        rows["impressions"].append({**about, **shown, "surface": "feed"})
        if rng.random() < self.click:
            left_at = min(shown_at + timedelta(seconds=float(rng.uniform(5, 120))), ended_at)
            rows["plays"].append({**about, "play_id": key, "impression_id": key, "entered_at": shown_at, "left_at": left_at})
