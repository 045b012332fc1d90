"""KuaiLive-M3 (Kuaishou, 2026) → landing tables.

Files lie flat or in `live/`; the `photo_*` files (short video) have no place in a live landing and are not opened.
How the tables come about, where the files do not say it outright:

- times: the written ones are on a clock that the dataset does not name; it is found for every file by comparison with
  the columns in Unix milliseconds (`livealign.platforms.kuaishou.clocks`) and logged. Days are UTC days of the event; p_date
  is a Shanghai day, so one p_date covers parts of two of ours.
- rooms: live_room_meta. Rows with one live_id are one broadcast, from the earliest start to the latest end.
- plays: live_interaction, with an impression for each, shown when it was entered. left_at is the end, or the start plus
  play_duration where there is no end, null where neither is known. A play that does not fit is rejected with its impression.
- impressions: those of the plays, and live_show: shown and not entered. Position, surface and request are null for all:
  live_show has none, so a surface would say which impressions were entered.
- likes, comments, shares: live_like, live_comment, live_share. Where live_like or live_share is not in the archive, the
  counts of live_interaction stand in, one row a play. A share that did not succeed is rejected (share_failed).
- gifts (count = sendings, no value), follows, and those stand-ins: only counted per play, so they are dated to its end,
  the first moment at which they are known to have happened.
- users, authors: user_id_set, author_profile; undated snapshots, observed at the start of the archive's first day.
- content_vectors: `segment_128` at the end of its segment; `room_64` describes the whole broadcast and therefore
  may know its future: it is dated to the broadcast's END, and rejected (room_still_live) where there is none yet.

Ids of plays and impressions are hashed from user, room and time; those of actions from their row, because the same
action can repeat within a millisecond.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from livealign.landing.run import LandingRun, Progress
from livealign.platforms.event_ids import event_ids
from livealign.platforms.kuaishou.files import FOLDERS, SUFFIXES, Source, has_files, size_of
from livealign.platforms.kuaishou.landing_pass import Pass, first_of, known_watch, mask_mentions
from livealign.platforms.kuaishou.m3_survey import FILES, Survey
from livealign.platforms.kuaishou.rooms import OPEN_END, whole_numbers

PLATFORM = "kuailive_m3"

NO_TABLE = {
    "live_room_set": "nothing: live_room_meta has the same ids",
    "live_questionnaire": "nothing: the landing contract has no table for surveys (its options are JSON arrays)",
    "photo_*": "nothing: short video is no live streaming",
}
SEGMENT_DIMENSION, ROOM_DIMENSION = 128, 64
UNKNOWN_ROOM = ("unknown_room", "live_room_meta has no such live_id")
_log = logging.getLogger(__name__)


def recognises(archive: Path) -> bool:
    """Whether at least two of the dataset's telling files are there."""
    return has_files(archive, FILES, ("rooms", "plays", "shows", "segment_vectors"))


def notes(archive: Path) -> list[str]:
    """The notes that a user should read before landing.

    Raises:
        ArchiveError: see `archive_days`.
    """
    clocks = Survey(archive).clocks.items()
    return [
        *(f"{file}: its times are on the clock of {clock.name} ({clock.because})" for file, clock in clocks),
        "our days are UTC, while p_date is a day in Shanghai (16:00 UTC to 16:00 UTC)",
        "profiles are undated snapshots: they land on the first day, though they may know later days",
    ]


def archive_days(archive: Path) -> list[date]:
    """All UTC days on which the archive has anything, sorted.

    Every dated file is read once; the process caches the result.

    Raises:
        ArchiveError: it is no such archive, or its times cannot be placed.
    """
    return Survey(archive).days()


def land_days(archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
    """Hand everything of the days to the run.

    Raises:
        ArchiveError: see `archive_days`.
    """
    survey = Survey(archive)
    for file, clock in survey.clocks.items():
        _log.info("%s: times are on the clock of %s (%s)", file, clock.name, clock.because)
    paths = [source.path for sources in survey.sources.values() for source in sources]
    work = Pass(PLATFORM, run, days, first_of(survey.days(), archive), size_of(paths), progress)
    work.book_unfit(survey.unfit)
    for path in unused_files(archive):
        run.used(path.relative_to(archive).as_posix())
    steps: dict[str, Callable[[Pass, Survey, Source], None]] = {
        "rooms": _land_rooms,
        "plays": _land_plays,
        "shows": _land_shows,
        "comments": _land_comments,
        "likes": _land_likes,
        "shares": _land_shares,
        "authors": _land_authors,
        "users": _land_users,
        "segment_vectors": _land_segment_vectors,
        "room_vectors": _land_room_vectors,
    }
    for name, step in steps.items():
        for source in survey.sources[name]:
            step(work, survey, source)


def unused_files(archive: Path) -> dict[Path, str]:
    """Published files that no landing table has a place for, and why."""
    return {
        path: why
        for name, why in NO_TABLE.items()
        for part in (*FOLDERS, "short_video")
        for suffix in SUFFIXES
        for path in sorted((archive / part).glob(name + suffix))
    }


def _land_rooms(work: Pass, survey: Survey, source: Source) -> None:
    for rows, lines in work.batches(source, survey.offset_ms(source)):
        titles = {"title": mask_mentions(rows.column("live_name"))} if "live_name" in rows.schema.names else {}
        work.land_rooms(survey.rooms, source, rows, lines, titles)


def _land_plays(work: Pass, survey: Survey, source: Source) -> None:
    counted = {"gifts": "send_gift_cnt", "follows": "follow_author_cnt"}
    counted |= {} if survey.sources["likes"] else {"likes": "like_cnt"}
    counted |= {} if survey.sources["shares"] else {"shares": "share_cnt"}
    unread = {"p_date", "like_cnt", "share_cnt"} - set(counted.values())
    for rows, lines in work.batches(source, survey.offset_ms(source), unread):
        start, end = rows.column("live_play_start_timestamp"), rows.column("live_play_end_timestamp")
        if "play_duration" in rows.schema.names:
            end = pc.coalesce(end, pc.add(start, known_watch(rows.column("play_duration"))))
        entered, left = whole_numbers(start), whole_numbers(end)
        key = (whole_numbers(rows.column("user_id")), whole_numbers(rows.column("live_id")), entered)
        who = _who(work, rows)
        shown = {**who, "impression_id": event_ids("m3_play_impression", *key)}
        here = work.wanted(entered)
        source_name = {"source": rows.column("live_source_category")} if "live_source_category" in rows.schema.names else {}
        plays = {**shown, "play_id": event_ids("m3_play", *key), "entered_at": start, "left_at": end, **source_name}
        work.add_linked({"plays": plays, "impressions": {**shown, "shown_at": start}}, source.file, lines, here)
        for table, column in counted.items():
            if column in rows.schema.names:
                count = whole_numbers(rows.column(column), 0)
                acted = (count != 0) & work.wanted(left)
                action = {**who, "action_id": event_ids(f"m3_play_{table}", *key), "at": end}
                action |= {"count": count} if table in ("gifts", "likes") else {}
                work.add(table, action, source.file, lines, acted)


def _land_shows(work: Pass, survey: Survey, source: Source) -> None:
    for rows, lines in work.batches(source, survey.offset_ms(source)):
        shown_at = whole_numbers(rows.column("show_timestamp"))
        here = work.wanted(shown_at)
        key = (whole_numbers(rows.column("user_id")), whole_numbers(rows.column("live_id")), shown_at)
        shown = {**_who(work, rows), "impression_id": event_ids("m3_show", *key), "shown_at": rows.column("show_timestamp")}
        work.add("impressions", shown, source.file, lines, here)


def _land_comments(work: Pass, _: Survey, source: Source) -> None:
    for rows, lines in work.batches(source):
        comments = {
            **_who(work, rows),
            "comment_id": event_ids("m3_comment", lines),
            "sent_at": rows.column("comment_ts"),
            "text": mask_mentions(rows.column("content")),
            "is_bot": pa.repeat(False, len(lines)),
        }
        work.add("comments", comments, source.file, lines, work.wanted(whole_numbers(rows.column("comment_ts"))))


def _land_likes(work: Pass, survey: Survey, source: Source) -> None:
    """The author of likes, from their room: the file has none."""
    for rows, lines in work.batches(source, survey.offset_ms(source)):
        at = whole_numbers(rows.column("like_timestamp"))
        room_ids = whole_numbers(rows.column("live_id"))
        index, known = survey.rooms.find(room_ids)
        here = work.wanted(at)
        homeless = here & ~known & (room_ids >= 0)
        work.reject("likes", source.file, UNKNOWN_ROOM, homeless, rows, lines, at)
        authors = np.zeros(len(lines), np.int64)
        authors[known] = survey.rooms.authors[index[known]]
        likes = {
            "user_id": work.people(rows.column("user_id"), work.users),
            "author_id": work.authors.of(authors),
            "room_id": rows.column("live_id"),
            "action_id": event_ids("m3_like", lines),
            "at": rows.column("like_timestamp"),
            "count": np.ones(len(lines), np.int32),
        }
        work.add("likes", likes, source.file, lines, here & (known | (room_ids < 0)))


def _land_shares(work: Pass, survey: Survey, source: Source) -> None:
    for rows, lines in work.batches(source, survey.offset_ms(source)):
        at = whole_numbers(rows.column("share_timestamp"))
        here, done = work.wanted(at), np.ones(len(lines), np.bool_)
        if "is_share_success" in rows.schema.names:
            done = whole_numbers(rows.column("is_share_success"), 1) != 0
        work.reject("shares", source.file, ("share_failed", "is_share_success is 0"), here & ~done, rows, lines, at)
        shares = {**_who(work, rows), "action_id": event_ids("m3_share", lines), "at": rows.column("share_timestamp")}
        work.add("shares", shares, source.file, lines, here & done)


def _land_authors(work: Pass, _: Survey, source: Source) -> None:
    bands = {"gender": "gender", "age_band": "age_segment", "followers_band": "fans_user_num"}
    for rows, lines in work.batches(source):
        known = {ours: rows.column(theirs) for ours, theirs in bands.items() if theirs in rows.schema.names}
        authors = {
            "author_id": work.people(rows.column("author_id"), work.authors),
            "observed_at": work.profile_times(lines),
            **known,
        }
        work.add("authors", authors, source.file, lines)


def _land_users(work: Pass, _: Survey, source: Source) -> None:
    for rows, lines in work.batches(source):
        users = {"user_id": work.people(rows.column("user_id"), work.users), "observed_at": work.profile_times(lines)}
        work.add("users", users, source.file, lines)


def _land_segment_vectors(work: Pass, _: Survey, source: Source) -> None:
    for rows, lines in work.batches(source):
        ended_at = whole_numbers(rows.column("timestamp"))
        vectors = {
            "room_id": rows.column("live_id"),
            "ended_at": rows.column("timestamp"),
            "vector": rows.column("feature_128"),
        }
        work.add_vectors(vectors, "segment_128", SEGMENT_DIMENSION, source.file, lines, ended_at)


def _land_room_vectors(work: Pass, survey: Survey, source: Source) -> None:
    for rows, lines in work.batches(source):
        room_ids = whole_numbers(rows.column("live_id"))
        index, known = survey.rooms.find(room_ids)
        ended_at = np.full(len(lines), -1, np.int64)
        ended_at[known] = survey.rooms.ended[index[known]]
        over = known & (ended_at != OPEN_END)
        started = np.full(len(lines), -1, np.int64)
        started[known] = survey.rooms.started[index[known]]
        named = rows.select(["live_id"])
        work.reject("content_vectors", source.file, UNKNOWN_ROOM, ~known, named, lines, started)
        early = ("room_still_live", "it describes the whole broadcast, whose end is not known")
        work.reject("content_vectors", source.file, early, known & ~over, named, lines, started)
        kept = rows.filter(pa.array(over))
        vectors = {"room_id": kept.column("live_id"), "ended_at": ended_at[over], "vector": kept.column("embedding")}
        work.add_vectors(vectors, "room_64", ROOM_DIMENSION, source.file, lines[over], ended_at[over])


def _who(work: Pass, rows: pa.Table) -> dict[str, pa.Array | pa.ChunkedArray]:
    return {
        "user_id": work.people(rows.column("user_id"), work.users),
        "author_id": work.people(rows.column("author_id"), work.authors),
        "room_id": rows.column("live_id"),
    }
