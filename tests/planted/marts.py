"""Marts of any size with a planted truth: known topics, tastes and content vectors.

Rooms move between topics as a Markov chain; whether a user enters depends on their taste for the topic *at that time*, on the
author, and on the position. Content vectors are a topic direction, an author's style and noise.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.days import midnight, partition

WINDOW = 30_000  # milliseconds
FIRST_DAY = date(2025, 3, 1)


@dataclass(frozen=True)
class Planted:
    """The folder of the marts and their truth."""

    marts: Path
    days: tuple[date, ...]
    segment_ids: NDArray[np.int64]  # [segments]
    segment_topic: NDArray[np.int64]  # [segments]
    vectors: NDArray[np.float32]  # [segments, d]
    impression_id: NDArray[np.int64]  # [impressions] sorted
    p_click: NDArray[np.float64]  # [impressions] true, at the mean position
    p_static: NDArray[np.float64]  # [impressions] the best from user and author alone

    def truth(self, impression_ids: NDArray) -> tuple[NDArray, NDArray]:
        """p_click and p_static of these impressions."""
        rows = np.searchsorted(self.impression_id, impression_ids)
        return self.p_click[rows], self.p_static[rows]


def _sigmoid(x: NDArray) -> NDArray:
    return 1.0 / (1.0 + np.exp(-x))


def plant_marts(
    marts: Path,
    users: int = 120,
    authors: int = 20,
    topics: int = 6,
    days: int = 3,
    rooms_per_day: int = 12,
    requests_per_day: int = 200,
    list_length: int = 8,
    dim: int = 24,
    noise: float = 0.2,
    taste_scale: float = 1.0,
    base_logit: float = -2.2,
    topics_of_author: int = 4,
    steady_authors: int = 0,
    seed: int = 0,
) -> Planted:
    """Write the marts of `days` days from FIRST_DAY on."""
    rng = np.random.default_rng(seed)
    room_minutes = 55
    windows = room_minutes * 2
    favourites = rng.random((users, topics)).argsort(1) < max(1, topics // 6)
    taste = np.where(favourites, 1.8, -0.4) * taste_scale + 0.3 * rng.normal(size=(users, topics))
    affinity = np.where(rng.random((users, authors)) < 0.03, 1.5, 0.0) + 0.3 * rng.normal(size=authors)
    mix_size = min(topics_of_author, topics)
    author_topics = rng.random((authors, topics)).argsort(1)[:, :mix_size]
    author_mix = rng.dirichlet(np.ones(mix_size) * 2, size=authors)
    author_mix[:steady_authors] = np.eye(mix_size)[0]
    popularity = 1.0 / (1 + np.arange(authors)) ** 0.7
    directions = rng.normal(size=(topics, dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    style = rng.normal(size=(authors, dim))
    style *= 1.5 / np.linalg.norm(style, axis=1, keepdims=True)
    common = rng.normal(size=dim)

    running = {"authors": np.zeros((authors, 3)), "users": np.zeros((users, 3))}  # impressions, clicks, long views
    all_ids, all_topics, all_vectors, truths = [], [], [], []
    all_days = tuple(FIRST_DAY + timedelta(days=d) for d in range(days))
    for d, day in enumerate(all_days):
        start = midnight(day) + 19 * 3_600_000
        room_author = rng.choice(authors, size=rooms_per_day, replace=rooms_per_day > authors, p=popularity / popularity.sum())
        room_start = start + rng.integers(0, 3 * 120, size=rooms_per_day) * WINDOW - 60 * WINDOW
        room_id = 10_000 * (d + 1) + np.arange(rooms_per_day)
        topic = np.empty((rooms_per_day, windows), dtype=np.int64)
        for room in range(rooms_per_day):
            lengths = rng.integers(12, 21, size=windows // 12 + 1)
            which = rng.choice(mix_size, size=len(lengths), p=author_mix[room_author[room]])
            topic[room] = np.repeat(author_topics[room_author[room]][which], lengths)[:windows]
        segment_id = 1 + (room_id[:, None] * 1_000 + np.arange(windows)) * 7
        vectors = directions[topic] + style[room_author][:, None] + common + noise * rng.normal(size=(*topic.shape, dim))
        highlight = rng.random(topic.shape) < 0.1

        request_at = np.sort(start + rng.integers(0, 3 * 3_600_000, size=requests_per_day))
        request_user = rng.choice(users, size=requests_per_day)
        window = (request_at[:, None] - room_start) // WINDOW
        live = (window >= 0) & (window < windows)
        keys = np.log(popularity[room_author]) * 0.5 + rng.gumbel(size=live.shape)
        shown = np.argsort(np.where(live, -keys, np.inf), axis=1)[:, :list_length]
        q, p = np.nonzero(np.take_along_axis(live, shown, axis=1))
        room, user, at = shown[q, p], request_user[q], request_at[q]
        author, now = room_author[room], window[q, room]
        n = len(room)
        base = base_logit + affinity[user, author]
        logit = base + taste[user, topic[room, now]] + 0.5 * highlight[room, now]
        static = (_sigmoid(base[:, None] + taste[user[:, None], author_topics[author]]) * author_mix[author]).sum(1)
        truth = _sigmoid(logit)
        click = rng.random(n) < _sigmoid(logit + 0.8 * (1.5 - p / 2) / 1.5)
        long_view = click & (rng.random(n) < 0.5 * _sigmoid(taste[user, topic[room, now]]) + 0.2)
        like, comment, gift = (click & (rng.random(n) < rate) for rate in (0.15, 0.1, 0.03))
        seen = now - 1  # the last window that has ended
        segment = np.where(seen >= 0, segment_id[room, np.maximum(seen, 0)], -1)
        impression = (d + 1) * 10_000_000 + np.arange(n)
        known = np.where(click, at + 5_000, at + 60_000)

        late = known + 60_000
        _write(
            marts,
            "interactions",
            day,
            {
                "impression_id": impression,
                "user_id": 500 + user,
                "author_id": 900 + author,
                "room_id": room_id[room],
                "segment_id": pa.array(segment, mask=segment < 0),
                "segment_age_seconds": pa.array(((at - room_start[room]) % WINDOW) / 1000, mask=segment < 0),
                "shown_at": pa.array(at, pa.timestamp("ms")),
                "position": pa.array(p, pa.int32()),
                "request_id": [f"{d}-{one}" for one in q],
                "minute_in_room": (at - room_start[room]) / 60_000,
                **_label("click", click, known),
                **_label("long_view", long_view, late),
                **_label("like", like, late),
                **_label("comment", comment, late),
                **_label("gift", gift, late),
            },
        )
        engagements = {
            "impression_id": impression[click],
            "user_id": 500 + user[click],
            "engaged_at": pa.array(known[click], pa.timestamp("ms")),  # no click is known after midnight here
            "author_id": 900 + author[click],
            "segment_id": pa.array(segment[click], mask=segment[click] < 0),
        }
        _write(marts, "user_histories", day, engagements)
        viewers = 20 + 20 * highlight
        flat = {
            "segment_id": segment_id,
            "room_id": np.repeat(room_id[:, None], windows, axis=1),
            "author_id": np.repeat(900 + room_author[:, None], windows, axis=1),
            "segment_index": np.repeat(np.arange(windows)[None], rooms_per_day, axis=0),
            "n_viewers": viewers,
            **{name: rng.poisson(viewers / 10) for name in ("n_comments", "n_commenters", "n_likes", "n_entered", "n_left")},
            "n_gifts": rng.poisson(viewers / 40),
        }
        _write(
            marts,
            "segments",
            day,
            {
                **{name: values.reshape(-1) for name, values in flat.items()},
                "started_at": pa.array((room_start[:, None] + np.arange(windows) * WINDOW).reshape(-1), pa.timestamp("ms")),
                "retention": rng.random(topic.size),
            },
        )
        for person, first, ids in (("authors", 900, author), ("users", 500, user)):
            names = ("impressions", "clicks", "long_views")
            columns = {name: running[person][:, k].copy() for k, name in enumerate(names)}
            _write(marts, f"{person}_daily", day, {f"{person[:-1]}_id": first + np.arange(len(running[person])), **columns})
            for k, counted in enumerate((np.ones(n), click, long_view)):
                np.add.at(running[person][:, k], ids, counted)
        all_ids.append(segment_id.reshape(-1))
        all_topics.append(topic.reshape(-1))
        all_vectors.append(vectors.reshape(-1, dim).astype(np.float32))
        truths.append((impression, truth, static))
    impression, truth, static = (np.concatenate(part) for part in zip(*truths, strict=True))
    return Planted(
        marts,
        all_days,
        np.concatenate(all_ids),
        np.concatenate(all_topics),
        np.concatenate(all_vectors),
        impression,
        truth,
        static,
    )


def _label(name: str, values: NDArray, known_at: NDArray) -> dict[str, pa.Array]:
    return {name: pa.array(values.astype(np.int8)), f"{name}_known_at": pa.array(known_at, pa.timestamp("ms"))}


def _write(marts: Path, mart: str, day: date, columns: dict) -> None:
    path = partition(marts, mart, day)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
