"""KuaiLive (Kuaishou, 5–25 May 2025) → landing tables.

Hosts are called streamers or authors, files and columns alike; both are read. How the tables come about, where the files
do not say it outright:

- times: Unix milliseconds, so UTC. p_date is a day in Asia/Shanghai: it covers 16:00 UTC of the day before to 16:00 UTC
  of its own date, while `dt` of our partitions is the UTC day of the event; p_date itself is not used.
- rooms: room. Rows with one live_id (a stream over midnight has two) are one broadcast, from the earliest start to the
  latest end. There is no title text; category is live_content_category.
- plays: click, with an impression for each, shown when it was entered; left_at = timestamp + watch_live_time,
  null where that is unknown (-1). A click whose play does not fit is rejected with its impression, or it would be a skip.
- impressions: those of the clicks, and negative: shown and not entered. Position, surface and request are not given.
- comments: without text ("") because none is published. likes: one by one. gifts: one sending each, value = gift_price.
- users, authors: undated snapshots, observed at the start of the archive's first day; bands stay text (`100-500`).
- content_vectors: the vector of the title, row live_name_id of title_embeddings.npy, at the room's start (source title).

Ids of plays and impressions are hashed from user, room and time; those of actions from their row, because the same
action can repeat within a millisecond.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from livealign.days import end_of
from livealign.errors import ArchiveError
from livealign.landing.run import LandingRun, Progress
from livealign.platforms.event_ids import People, event_ids
from livealign.platforms.kuaishou.files import FileSpec, Source, has_files, open_sources, scan, size_of
from livealign.platforms.kuaishou.kuailive_titles import Titles, land_titles
from livealign.platforms.kuaishou.landing_pass import Columns, Pass, first_of, known_watch
from livealign.platforms.kuaishou.rooms import Ints, Mask, Rooms, read_rooms, whole_numbers
from livealign.platforms.typed_values import Kind

PLATFORM = "kuailive"
_INTEGER, _TEXT = Kind.INTEGER, Kind.TEXT
_EVENT = {"user_id": _INTEGER, "live_id": _INTEGER, "author_id": _INTEGER, "timestamp": _INTEGER}
_ONEHOT = frozenset(f"onehot_feat{i}" for i in range(7))

FILES: dict[str, FileSpec] = {
    "rooms": FileSpec(
        ("room", "mapped_room"),
        "rooms",
        {
            "live_id": _INTEGER,
            "author_id": _INTEGER,
            "start_timestamp": _INTEGER,
            "end_timestamp": _INTEGER,
            "live_content_category": _TEXT,
            "live_name_id": _INTEGER,
        },
        "broadcasts with their category; the title only as a vector",
        "start_timestamp",
        frozenset({"live_content_category", "live_name_id"}),
        frozenset({"p_date", "live_type"}),
    ),
    "clicks": FileSpec(
        ("click",), "plays", {**_EVENT, "watch_live_time": _INTEGER}, "watch sessions, an impression for each", "timestamp"
    ),
    "negatives": FileSpec(("negative",), "impressions", _EVENT, "impressions that were not entered", "timestamp"),
    "comments": FileSpec(("comment",), "comments", _EVENT, "comments, without their text", "timestamp"),
    "likes": FileSpec(("like",), "likes", _EVENT, "likes, one by one", "timestamp"),
    "gifts": FileSpec(
        ("gift",),
        "gifts",
        {**_EVENT, "gift_price": Kind.NUMBER},
        "gifts with their price",
        "timestamp",
        frozenset({"gift_price"}),
    ),
    "authors": FileSpec(
        ("streamer", "author"),
        "authors",
        {"author_id": _INTEGER, "gender": _TEXT, "age": _TEXT, "country": _TEXT, "fans_user_num": _TEXT},
        "hosts: gender, age, country and follower bands",
        None,
        frozenset({"gender", "age", "country", "fans_user_num"}),
        frozenset(
            {
                "device_brand",
                "device_price",
                "live_operation_tag",
                "fans_group_fans_num",
                "follow_user_num",
                "first_live_timestamp",
                "accu_live_cnt",
                "accu_live_duration",
                "accu_play_cnt",
                "accu_play_duration",
                "reg_timestamp",
                *_ONEHOT,
            }
        ),
    ),
    "users": FileSpec(
        ("user",),
        "users",
        {"user_id": _INTEGER, "gender": _TEXT, "age": _TEXT, "country": _TEXT, "fans_num": _TEXT},
        "viewers: gender, age, country and follower bands",
        None,
        frozenset({"gender", "age", "country", "fans_num"}),
        frozenset(
            {
                "device_brand",
                "device_price",
                "reg_timestamp",
                "follow_num",
                "first_watch_live_timestamp",
                "accu_watch_live_cnt",
                "accu_watch_live_duration",
                "is_live_streamer",
                "is_photo_author",
                *_ONEHOT,
            }
        ),
    ),
}


def recognises(archive: Path) -> bool:
    """Whether at least two of the dataset's telling files are there."""
    return has_files(archive, FILES, ("rooms", "clicks"))


def notes(archive: Path) -> list[str]:
    """The notes that a user should read before landing."""
    return [
        "times are Unix milliseconds; our days are UTC, while p_date is a day in Shanghai (16:00 UTC to 16:00 UTC)",
        "profiles are undated snapshots: they land on the first day, though they may know later days",
    ]


def archive_days(archive: Path) -> list[date]:
    """All UTC days on which the archive has anything, sorted.

    Every dated file is read once; the process caches the result.

    Raises:
        ArchiveError: it is no such archive.
    """
    return _days(_open(archive)[0])


def land_days(archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
    """Hand everything of the days to the run.

    Raises:
        ArchiveError: it is no such archive.
    """
    sources, unfit = _open(archive)
    paths = [source.path for of_name in sources.values() for source in of_name]
    work = Pass(PLATFORM, run, days, first_of(_days(sources), archive), size_of(paths), progress)
    work.book_unfit(unfit)
    titles = Titles(archive, work)
    rooms = read_rooms(sources["rooms"][0].batches(("live_id", "author_id", "start_timestamp", "end_timestamp")))
    _land_rooms(work, rooms, titles, sources["rooms"][0])
    steps: dict[str, Callable[[Pass, Source], None]] = {
        "clicks": _land_clicks,
        "negatives": _land_negatives,
        "comments": _land_comments,
        "likes": _land_likes,
        "gifts": _land_gifts,
        "authors": _land_authors,
        "users": _land_users,
    }
    for name, step in steps.items():
        for source in sources[name]:
            step(work, source)


def _open(archive: Path) -> tuple[dict[str, list[Source]], list]:
    sources, unfit = open_sources(archive, FILES)
    if not sources["rooms"]:
        trouble = next((f" ({file.problem.detail})" for file in unfit if file.spec is FILES["rooms"]), "")
        raise ArchiveError(
            f"{archive} has no room.csv or mapped_room.csv that can be read{trouble}; add it, for every event needs its room"
        )
    return sources, unfit


def _days(sources: dict[str, list[Source]]) -> list[date]:
    latest = end_of(datetime.now(UTC).date()) - 1
    dated = [source for of_name in sources.values() for source in of_name if source.spec.time]
    return sorted(set().union(*(scan(source, 0, latest).days.keys() for source in dated)))


def _land_rooms(work: Pass, rooms: Rooms, titles: Titles, source: Source) -> None:
    for rows, lines in work.batches(source):
        categories = {"category": rows.column("live_content_category")} if "live_content_category" in rows.schema.names else {}
        started, own = work.land_rooms(rooms, source, rows, lines, categories)
        if titles.vectors is not None and "live_name_id" in rows.schema.names:
            land_titles(work, titles.file, titles.vectors, rows, lines, started, own & work.wanted(started))


def _land_clicks(work: Pass, source: Source) -> None:
    for rows, lines in work.batches(source):
        at = rows.column("timestamp")
        key, here = _key(rows), work.wanted(whole_numbers(at))
        shown = {**_who(work, rows), "impression_id": event_ids("kuailive_click_impression", *key)}
        left = pc.add(at, known_watch(rows.column("watch_live_time")))
        plays = {**shown, "play_id": event_ids("kuailive_play", *key), "entered_at": at, "left_at": left}
        work.add_linked({"plays": plays, "impressions": {**shown, "shown_at": at}}, source.file, lines, here)


def _land_negatives(work: Pass, source: Source) -> None:
    for rows, lines in work.batches(source):
        at = rows.column("timestamp")
        shown = {**_who(work, rows), "impression_id": event_ids("kuailive_negative", *_key(rows)), "shown_at": at}
        work.add("impressions", shown, source.file, lines, work.wanted(whole_numbers(at)))


def _land_comments(work: Pass, source: Source) -> None:
    for rows, lines in work.batches(source):
        at = rows.column("timestamp")
        texts = {"text": pa.repeat("", len(lines)), "is_bot": pa.repeat(False, len(lines))}
        comments = {**_who(work, rows), "comment_id": event_ids("kuailive_comment", lines), "sent_at": at, **texts}
        work.add("comments", comments, source.file, lines, work.wanted(whole_numbers(at)))


def _land_likes(work: Pass, source: Source) -> None:
    for rows, lines in work.batches(source):
        work.add("likes", _action(work, rows, lines, "kuailive_like"), source.file, lines, _here(work, rows))


def _land_gifts(work: Pass, source: Source) -> None:
    for rows, lines in work.batches(source):
        value = {"value": rows.column("gift_price")} if "gift_price" in rows.schema.names else {}
        gifts = {**_action(work, rows, lines, "kuailive_gift"), **value}
        work.add("gifts", gifts, source.file, lines, _here(work, rows))


def _land_authors(work: Pass, source: Source) -> None:
    _land_people(work, source, "authors", "author_id", work.authors, "fans_user_num")


def _land_users(work: Pass, source: Source) -> None:
    _land_people(work, source, "users", "user_id", work.users, "fans_num")


def _land_people(work: Pass, source: Source, table: str, key: str, people: People, followers: str) -> None:
    bands = {"gender": "gender", "age_band": "age", "country": "country", "followers_band": followers}
    for rows, lines in work.batches(source):
        known = {ours: rows.column(theirs) for ours, theirs in bands.items() if theirs in rows.schema.names}
        persons = {key: work.people(rows.column(key), people), "observed_at": work.profile_times(lines), **known}
        work.add(table, persons, source.file, lines)


def _who(work: Pass, rows: pa.Table) -> Columns:
    return {
        "user_id": work.people(rows.column("user_id"), work.users),
        "author_id": work.people(rows.column("author_id"), work.authors),
        "room_id": rows.column("live_id"),
    }


def _action(work: Pass, rows: pa.Table, lines: Ints, kind: str) -> Columns:
    one = {"action_id": event_ids(kind, lines), "at": rows.column("timestamp"), "count": np.ones(len(lines), np.int32)}
    return {**_who(work, rows), **one}


def _key(rows: pa.Table) -> tuple[Ints, Ints, Ints]:
    user, room, at = (whole_numbers(rows.column(name)) for name in ("user_id", "live_id", "timestamp"))
    return user, room, at


def _here(work: Pass, rows: pa.Table) -> Mask:
    return work.wanted(whole_numbers(rows.column("timestamp")))
