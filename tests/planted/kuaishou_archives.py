"""Small archives in Kuaishou's published formats, with their quirks and their truth."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import DAY_MS

HOUR, MINUTE = 3_600_000, 60_000
SHANGHAI = 8 * HOUR
DAY_ONE, DAY_TWO, DAY_THREE = date(2025, 5, 5), date(2025, 5, 6), date(2025, 5, 7)
NOON = 1_746_446_400_000  # 2025-05-05 12:00 UTC
NASTY_TEXT = 'good, very "good"\nsee @somebody_42 !'


@dataclass
class Room:
    """One broadcast; times are UTC milliseconds."""

    live_id: int
    author_id: int
    name: str
    start: int
    end: int | None


@dataclass
class World:
    """The events of an archive, before they are put into one format or another."""

    rooms: list[Room]
    plays: list[tuple[int, int, int, int | None]] = field(default_factory=list)  # user, live, entered, left
    shows: list[tuple[int, int, int]] = field(default_factory=list)  # user, live, at
    comments: list[tuple[int, int, int, str]] = field(default_factory=list)
    likes: list[tuple[int, int, int]] = field(default_factory=list)

    def author_of(self, live_id: int) -> int:
        return next(room.author_id for room in self.rooms if room.live_id == live_id)


def small_world() -> World:
    """Four broadcasts of three hosts on two UTC days, and four viewers.

    Some cross UTC and Shanghai midnight, one is still live.
    """
    rooms = [
        Room(9001, 71, "唱歌, 聊天", NOON, NOON + 2 * HOUR),
        Room(9002, 72, "game @fan_1 night", NOON + HOUR, NOON + 5 * HOUR),  # over 16:00 UTC, midnight in Shanghai
        Room(9003, 73, "over midnight", NOON + 11 * HOUR, NOON + 14 * HOUR),  # 23:00 to 02:00 UTC
        Room(9004, 71, "still live", NOON + 20 * HOUR, None),  # 2025-05-06 08:00 UTC
    ]
    world = World(rooms)
    for user in range(101, 105):
        for i, room in enumerate(rooms):
            at = room.start + (user - 100) * 7 * MINUTE + 123
            if (user + i) % 3:
                left = None if room.end is None and user == 104 else at + 5 * MINUTE + 77
                world.plays.append((user, room.live_id, at, left))
                world.likes += [(user, room.live_id, at + MINUTE), (user, room.live_id, at + MINUTE)]
                world.comments.append((user, room.live_id, at + 2 * MINUTE, NASTY_TEXT if user == 101 else f"hello {user}"))
            else:
                world.shows.append((user, room.live_id, at))
    return world


def csv_time(milliseconds: int | None, clock_ms: int) -> str:
    """A time as the CSV files write it, on a clock `clock_ms` ahead of UTC; empty for None."""
    if milliseconds is None:
        return ""
    time = datetime.fromtimestamp((milliseconds + clock_ms) / 1_000, UTC)
    return time.strftime("%Y-%m-%d %H:%M:%S.") + f"{milliseconds % 1_000:03d}"


def shanghai_date(milliseconds: int) -> str:
    """The day in Shanghai, as YYYYMMDD."""
    return datetime.fromtimestamp((milliseconds + SHANGHAI) / 1_000, UTC).strftime("%Y%m%d")


def write_csv(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], end: str = "\n", packed: bool = False
) -> None:
    """Write a CSV as pandas does: quotes only where needed, doubled inside; None is empty."""

    def cell(value: object) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text

    data = "".join(",".join(map(cell, row)) + end for row in [header, *rows]).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def write_m3(
    archive: Path, world: World | None = None, layout: str = "folders", clock_ms: int = SHANGHAI, packed: bool = False
) -> World:
    """A KuaiLive-M3 archive, in `live/` and `short_video/` as published, or flat.

    The loader expects the flat layout.
    """
    world = world or small_world()
    live = archive / "live" if layout == "folders" else archive
    photo = archive / "short_video" if layout == "folders" else archive
    authors = sorted({room.author_id for room in world.rooms})
    users = sorted({row[0] for rows in (world.plays, world.shows) for row in rows})

    def write(name: str, header: str, rows: Sequence[Sequence[object]]) -> None:
        write_csv(live / name, header.split(), rows, packed=packed)

    write("user_id_set.csv", "user_id", [[user] for user in users])
    write("live_room_set.csv", "live_id", [[room.live_id] for room in world.rooms])
    write(
        "author_profile.csv",
        "author_id is_photo_author is_live_author gender age_segment fans_user_num",
        [[author, 0, 1, "MFU"[author % 3], "24-30", "100-500"] for author in authors],
    )
    write(
        "live_interaction.csv",
        "user_id author_id live_id live_play_start_timestamp live_play_end_timestamp p_date live_source_category "
        "enter_live_action is_auto_play is_follow_enter is_follow_leave play_duration like_cnt comment_cnt send_gift_cnt "
        "send_gift_num follow_author_cnt cancel_follow_author_cnt share_cnt report_live_cnt",
        [
            [
                *(user, world.author_of(live), live, csv_time(at, clock_ms), csv_time(left, clock_ms), shanghai_date(at)),
                *("feed", "slide", 0, 0, 0, "" if left is None else left - at, 2, 1),
                *(int(user == 102) * 2, int(user == 102) * 9, int(user == 101), 0, 0, 0),
            ]
            for user, live, at, left in world.plays
        ],
    )
    write(
        "live_comment.csv",
        "live_stream_id user_id author_id content comment_ts",
        [[live, user, world.author_of(live), text, at] for user, live, at, text in world.comments],
    )
    write("live_like.csv", "user_id live_id like_timestamp", [[u, r, csv_time(at, clock_ms)] for u, r, at in world.likes])
    write(
        "live_share.csv",
        "user_id live_id author_id share_timestamp is_share_success",
        [
            [user, live, world.author_of(live), csv_time(at + MINUTE, clock_ms), int(user != 103)]
            for user, live, at, _ in world.plays
        ],
    )
    write(
        "live_questionnaire.csv",
        "author_id live_stream_id user_id select_option second_select_option",
        [[71, 9001, 101, json.dumps(["喜欢主播", "内容"], ensure_ascii=False), json.dumps([], ensure_ascii=False)]],
    )
    write_m3_parquet(live, world, clock_ms)
    write_csv(photo / "photo_interaction.csv", ["user_id", "photo_id", "p_date"], [[101, 5, "20250505"]])
    return world


def write_m3_parquet(live: Path, world: World, clock_ms: int) -> None:
    """Write the Parquet files: times on the same unnamed clock, string ids in the shards."""
    times = pa.timestamp("ms")

    def clock(values: Sequence[int | None]) -> pa.Array:
        return pa.array([None if value is None else value + clock_ms for value in values], times)

    rooms = world.rooms
    meta = {
        "live_id": [room.live_id for room in rooms],
        "author_id": [room.author_id for room in rooms],
        "live_name": [room.name for room in rooms],
        "start_timestamp": clock([room.start for room in rooms]),
        "end_timestamp": clock([room.end for room in rooms]),
        "live_duration": [None if room.end is None else room.end - room.start for room in rooms],
    }
    pq.write_table(pa.table(meta), live / "live_room_meta.parquet")
    shows = {
        "live_id": [live_id for _, live_id, _ in world.shows],
        "user_id": [user for user, _, _ in world.shows],
        "author_id": [world.author_of(live_id) for _, live_id, _ in world.shows],
        "show_timestamp": clock([at for _, _, at in world.shows]),
    }
    pq.write_table(pa.table(shows), live / "live_show.parquet")
    vectors = np.random.default_rng(5).standard_normal((len(rooms), 64)).astype(np.float32)
    whole = {"live_id": [room.live_id for room in rooms], "embedding": pa.array(list(vectors), pa.list_(pa.float32()))}
    pq.write_table(pa.table(whole), live / "live_emb_64.parquet")
    shards = live / "live_emb_128_ts"
    shards.mkdir(exist_ok=True)
    for number in range(2):
        part = rooms[number::2]
        moments = [(room, room.start + 30_000 * (i + 1)) for room in part for i in range(3)]
        features = np.random.default_rng(number).standard_normal((len(moments), 128)).astype(np.float32)
        shard = {
            "live_stream_id": pa.array([str(room.live_id) for room, _ in moments], pa.string()),
            "segment_id": pa.array([f"{room.live_id}_{i}" for i, (room, _) in enumerate(moments)], pa.string()),
            "feature_128": pa.array(list(features), pa.list_(pa.float32())),
            "timestamp": pa.array([at for _, at in moments], pa.int64()),
        }
        pq.write_table(pa.table(shard), shards / f"live_emb_128_ts_part{number}.parquet")


def write_kuailive(archive: Path, world: World | None = None, spelling: str = "streamer", packed: bool = False) -> World:
    """A KuaiLive archive in one of its two spellings.

    "streamer" as the documentation has it, or "author" as the published scripts do. A stream over (Shanghai) midnight lies
    under both of its dates; the second row begins where the day does.
    """
    world = world or small_world()
    host = f"{spelling}_id"
    titles = 2

    def write(name: str, header: str, rows: Sequence[Sequence[object]]) -> None:
        write_csv(archive / name, header.split(), rows, packed=packed)

    onehot = " ".join(f"onehot_feat{i}" for i in range(7))
    write(
        f"{spelling}.csv",
        f"{host} gender age country device_brand device_price live_operation_tag fans_user_num fans_group_fans_num "
        "follow_user_num first_live_timestamp accu_live_cnt accu_live_duration accu_play_cnt accu_play_duration "
        f"reg_timestamp {onehot}",
        [
            [
                *(author, "F", "24-30", "China", "HUAWEI", "3000-4000", "music", "100-500", "0-10", "10-50", "2022-01-02"),
                *("10-50", "100-500", "1000+", "100-500", "2021-11-30", *range(7)),
            ]
            for author in sorted({room.author_id for room in world.rooms})
        ],
    )
    rows: list[list[object]] = []
    for i, room in enumerate(world.rooms):
        rows.append(
            [shanghai_date(room.start), room.live_id, room.author_id, 1, room.start, room.end, "talk,music", i % titles]
        )
        midnight = (room.start + SHANGHAI) // DAY_MS * DAY_MS + DAY_MS - SHANGHAI
        if room.end is not None and room.end > midnight:
            rows[-1][5] = None  # the first day did not know the end yet
            second = [shanghai_date(midnight), room.live_id, room.author_id, 1, midnight, room.end, "talk,music", i % titles]
            rows.append(second)
    write(
        "room.csv" if spelling == "streamer" else "mapped_room.csv",
        f"p_date live_id {host} live_type start_timestamp end_timestamp live_content_category live_name_id",
        rows,
    )
    write(
        "user.csv",
        "user_id age gender country device_brand device_price reg_timestamp fans_num follow_num first_watch_live_timestamp "
        f"accu_watch_live_cnt accu_watch_live_duration is_live_streamer is_photo_author {onehot}",
        [
            [
                *(user, "18-23", "M", "China", "OPPO", "1000-2000", "2020-02-02", "0-10", "50-100", "2021-03-04"),
                *("100-500", "1000-5000", 0, 1, *range(7)),
            ]
            for user in sorted({play[0] for play in world.plays})
        ],
    )
    event = f"user_id live_id {host} timestamp"

    def events(moments: Sequence[tuple[int, int, int]]) -> list[list[object]]:
        return [[user, live, world.author_of(live), at] for user, live, at in moments]

    watched = [0 if left is None else left - at for _, _, at, left in world.plays]
    clicks = events([(user, live, at) for user, live, at, _ in world.plays])
    write("click.csv", f"{event} watch_live_time", [[*row, length] for row, length in zip(clicks, watched, strict=True)])
    write("comment.csv", event, events([(user, live, at) for user, live, at, _ in world.comments]))
    write("like.csv", event, events(world.likes))
    write("gift.csv", f"{event} gift_price", [[*row, 0.5 + i] for i, row in enumerate(clicks[:3])])
    write("negative.csv", event, events(world.shows))
    np.save(archive / "title_embeddings.npy", np.arange(titles * 128, dtype=np.float32).reshape(titles, 128))
    return world


def landed(landing: Path, table: str) -> list[dict]:
    """All rows of a landed table, of every day."""
    return [
        row
        for path in sorted(landing.glob(f"{table}/dt=*/part-0.parquet"))
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]


def rejects(landing: Path, table: str = "*") -> list[dict]:
    """All rejects, warnings too."""
    paths = sorted(landing.glob(f"rejects/{table}/dt=*/part-0.parquet"))
    return [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Change a text file in place."""
    path.write_text(change(path.read_text()))
