"""A made-up archive in the format and size of KuaiLive-M3, times a scale.

Of the published files it has `live_room_meta`, `live_interaction`, `live_show`, `live_like`, `live_comment`, `author_profile`
and `user_id_set`; shares, questionnaires and the vectors are left out. It is written in chunks, so that memory stays small.
Times are on the clock of Shanghai, which the adapter has to detect. Few rooms have most of the audience, few sessions have most
of the likes; everything else is drawn evenly.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from livealign.days import DAY_MS

SEED = 17
FIRST_DAY = date(2025, 5, 5)
DAYS = 21
PLAYS, SHOWS, LIKES, COMMENTS, ROOMS, USERS = 35_000_000, 92_000_000, 49_000_000, 8_300_000, 6_600_000, 22_000
ROOMS_PER_AUTHOR = 15
LIKERS = 0.05  # of the sessions, have all likes
CHUNK_ROWS = 500_000
SHANGHAI_MS = 8 * 3_600_000
MINUTE_MS = 60_000
WORDS = np.array(["来了", "好听", "主播好", "666", "哈哈哈, 真的吗", "再来一首", '他说 "好"', "晚安"])

Ints = npt.NDArray[np.int64]
_TIME = pa.timestamp("ms")


@dataclass(frozen=True)
class _Rooms:
    """Broadcasts, their times in Unix milliseconds, and the running share of the audience of each."""

    ids: Ints
    authors: Ints
    started: Ints
    ended: Ints
    audience: npt.NDArray[np.float64]

    def visited(self, rng: np.random.Generator, count: int) -> Ints:
        """[count] which rooms are seen, by their share of the audience."""
        return np.searchsorted(self.audience, rng.random(count), side="right").clip(max=len(self.ids) - 1)


def write_m3(live: Path, scale: float, seed: int = SEED) -> dict[str, int]:
    """Write the archive into the folder.

    Returns:
        Rows, by file.
    """
    live.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rooms = _rooms(rng, round(ROOMS * scale))
    users = np.arange(1, max(50, round(USERS * scale)) + 1)
    _write_profiles(live, rooms, users, rng)
    rows = {"live_room_meta": len(rooms.ids), "live_interaction": 0, "live_like": 0, "live_comment": 0, "live_show": 0}
    with (
        _csv(live / "live_interaction.csv", _PLAYS) as plays,
        _csv(live / "live_like.csv", _LIKES) as likes,
        _csv(live / "live_comment.csv", _COMMENTS) as comments,
    ):
        for count in _chunks(round(PLAYS * scale)):
            made = _sessions(rng, rooms, users, count)
            for name, file, batch in zip(("interaction", "like", "comment"), (plays, likes, comments), made, strict=True):
                file.write_table(batch)
                rows[f"live_{name}"] += batch.num_rows
    with pq.ParquetWriter(live / "live_show.parquet", _SHOWS) as shows:
        for count in _chunks(round(SHOWS * scale)):
            shows.write_table(_shown(rng, rooms, users, count))
            rows["live_show"] += count
    return rows


def _rooms(rng: np.random.Generator, count: int) -> _Rooms:
    """Broadcasts of two minutes to six hours that lie within the archive's days."""
    lasted = np.clip(rng.lognormal(np.log(40 * MINUTE_MS), 1.0, count), 2 * MINUTE_MS, 360 * MINUTE_MS).astype(np.int64)
    first = int(datetime.combine(FIRST_DAY, datetime.min.time(), UTC).timestamp() * 1_000)
    started = first + (rng.random(count) * (DAYS * DAY_MS - lasted)).astype(np.int64)
    audience = np.cumsum(rng.lognormal(0.0, 1.5, count) * lasted)
    authors = 1 + rng.integers(0, max(1, count // ROOMS_PER_AUTHOR), count)
    return _Rooms(np.arange(count) + 10_000_000, authors, started, started + lasted, audience / audience[-1])


def _write_profiles(live: Path, rooms: _Rooms, users: Ints, rng: np.random.Generator) -> None:
    titles = pa.array(np.char.add(rng.choice(WORDS, len(rooms.ids)), (rooms.authors % 997).astype(str)))
    meta = {
        "live_id": rooms.ids,
        "author_id": rooms.authors,
        "live_name": titles,
        "start_timestamp": _written(rooms.started),
        "end_timestamp": _written(rooms.ended),
        "live_duration": rooms.ended - rooms.started,
    }
    pq.write_table(pa.table(meta), live / "live_room_meta.parquet")
    authors = np.unique(rooms.authors)
    profiles = {
        "author_id": authors,
        "is_photo_author": authors % 2,
        "is_live_author": np.ones_like(authors),
        "gender": np.array(["M", "F", "U"])[authors % 3],
        "age_segment": np.array(["18-23", "24-30", "31-40"])[authors % 3],
        "fans_user_num": np.array(["0-100", "100-500", "500-1000"])[authors % 3],
    }
    pyarrow.csv.write_csv(pa.table(profiles), live / "author_profile.csv")
    pyarrow.csv.write_csv(pa.table({"user_id": users}), live / "user_id_set.csv")


def _sessions(rng: np.random.Generator, rooms: _Rooms, users: Ints, count: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """So many plays, with the likes and comments that happened in them."""
    room, user = rooms.visited(rng, count), rng.choice(users, count)
    entered = rooms.started[room] + (rng.random(count) * (rooms.ended - rooms.started - 1)[room]).astype(np.int64)
    left = np.minimum(entered + 1 + rng.lognormal(np.log(20_000), 1.6, count).astype(np.int64), rooms.ended[room])
    n_likes = np.where(rng.random(count) < LIKERS, rng.poisson(LIKES / PLAYS / LIKERS, count), 0)
    n_comments = rng.poisson(COMMENTS / PLAYS, count)
    nothing = np.zeros(count, np.int8)
    plays = {
        "user_id": user,
        "author_id": rooms.authors[room],
        "live_id": rooms.ids[room],
        "live_play_start_timestamp": _written(entered),
        "live_play_end_timestamp": _written(left),
        "p_date": pa.array((entered + SHANGHAI_MS) // DAY_MS, pa.int32()).cast(pa.date32()),
        "live_source_category": np.array(["feed", "follow", "search"])[user % 3],
        "enter_live_action": np.full(count, "slide"),
        "play_duration": left - entered,
        "like_cnt": n_likes,
        "comment_cnt": n_comments,
        "send_gift_cnt": (rng.random(count) < 0.005).astype(np.int8),
        "follow_author_cnt": (rng.random(count) < 0.01).astype(np.int8),
        **dict.fromkeys(_COUNTS, nothing),
    }
    plays["p_date"] = pa.compute.strftime(plays["p_date"], "%Y%m%d")
    liked, said = np.repeat(np.arange(count), n_likes), np.repeat(np.arange(count), n_comments)
    likes = {
        "user_id": user[liked],
        "live_id": rooms.ids[room[liked]],
        "like_timestamp": _written(_within(rng, entered, left, liked)),
    }
    comments = {
        "live_stream_id": rooms.ids[room[said]],
        "user_id": user[said],
        "author_id": rooms.authors[room[said]],
        "content": rng.choice(WORDS, len(said)),
        "comment_ts": _within(rng, entered, left, said),
    }
    return (
        pa.table([plays[name] for name in _PLAYS.names], schema=_PLAYS),
        pa.table(likes, schema=_LIKES),
        pa.table(comments, schema=_COMMENTS),
    )


def _shown(rng: np.random.Generator, rooms: _Rooms, users: Ints, count: int) -> pa.Table:
    room = rooms.visited(rng, count)
    at = rooms.started[room] + (rng.random(count) * (rooms.ended - rooms.started)[room]).astype(np.int64)
    shown = {
        "live_id": rooms.ids[room],
        "user_id": rng.choice(users, count),
        "author_id": rooms.authors[room],
        "show_timestamp": _written(at),
    }
    return pa.table(shown, schema=_SHOWS)


def _within(rng: np.random.Generator, entered: Ints, left: Ints, of: Ints) -> Ints:
    return entered[of] + (rng.random(len(of)) * (left - entered)[of]).astype(np.int64)


def _written(unix_ms: Ints) -> pa.Array:
    return pa.array(unix_ms + SHANGHAI_MS, pa.int64()).cast(_TIME)


def _chunks(rows: int) -> list[int]:
    return [min(CHUNK_ROWS, rows - begin) for begin in range(0, rows, CHUNK_ROWS)]


def _csv(path: Path, schema: pa.Schema) -> pyarrow.csv.CSVWriter:
    return pyarrow.csv.CSVWriter(path, schema)


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


_ID = pa.int64()
_COUNTS = (
    *("is_auto_play", "is_follow_enter", "is_follow_leave", "send_gift_num", "cancel_follow_author_cnt"),
    *("share_cnt", "report_live_cnt"),
)
_PLAYS = _schema(
    user_id=_ID,
    author_id=_ID,
    live_id=_ID,
    live_play_start_timestamp=_TIME,
    live_play_end_timestamp=_TIME,
    p_date=pa.string(),
    live_source_category=pa.string(),
    enter_live_action=pa.string(),
    play_duration=_ID,
    like_cnt=_ID,
    comment_cnt=_ID,
    send_gift_cnt=pa.int8(),
    follow_author_cnt=pa.int8(),
    **dict.fromkeys(_COUNTS, pa.int8()),
)
_LIKES = _schema(user_id=_ID, live_id=_ID, like_timestamp=_TIME)
_COMMENTS = _schema(live_stream_id=_ID, user_id=_ID, author_id=_ID, content=pa.string(), comment_ts=_ID)
_SHOWS = _schema(live_id=_ID, user_id=_ID, author_id=_ID, show_timestamp=_TIME)
