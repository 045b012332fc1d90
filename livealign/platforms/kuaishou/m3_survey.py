"""The contents of a KuaiLive-M3 archive: its files, rooms, clocks and days."""

from datetime import UTC, date, datetime
from pathlib import Path

from livealign.days import end_of
from livealign.errors import ArchiveError
from livealign.platforms.kuaishou.clocks import Clock, file_clock, room_clock
from livealign.platforms.kuaishou.files import FileSpec, Source, open_sources, scan
from livealign.platforms.kuaishou.rooms import read_rooms
from livealign.platforms.typed_values import Kind

_ID, _COUNT, _TIME, _TEXT = Kind.INTEGER, Kind.INTEGER, Kind.TIME, Kind.TEXT

FILES: dict[str, FileSpec] = {
    "rooms": FileSpec(
        ("live_room_meta",),
        "rooms",
        {"live_id": _ID, "author_id": _ID, "live_name": _TEXT, "start_timestamp": _TIME, "end_timestamp": _TIME},
        "broadcasts with their titles",
        "start_timestamp",
        frozenset({"live_name"}),
        frozenset({"live_duration"}),
    ),
    "plays": FileSpec(
        ("live_interaction",),
        "plays",
        {
            "user_id": _ID,
            "author_id": _ID,
            "live_id": _ID,
            "live_play_start_timestamp": _TIME,
            "live_play_end_timestamp": _TIME,
            "p_date": Kind.INTEGER,
            "live_source_category": _TEXT,
            "play_duration": Kind.INTEGER,
            "like_cnt": _COUNT,
            "send_gift_cnt": _COUNT,
            "follow_author_cnt": _COUNT,
            "share_cnt": _COUNT,
        },
        "watch sessions, an impression for each; gifts and follows, dated to the session's end",
        "live_play_start_timestamp",
        frozenset(
            {"p_date", "live_source_category", "play_duration", "like_cnt", "send_gift_cnt", "follow_author_cnt", "share_cnt"}
        ),
        frozenset(
            {
                "enter_live_action",
                "is_auto_play",
                "is_follow_enter",
                "is_follow_leave",
                "comment_cnt",
                "send_gift_num",
                "cancel_follow_author_cnt",
                "report_live_cnt",
            }
        ),
    ),
    "shows": FileSpec(
        ("live_show",),
        "impressions",
        {"live_id": _ID, "user_id": _ID, "author_id": _ID, "show_timestamp": _TIME},
        "impressions that were not entered",
        "show_timestamp",
    ),
    "comments": FileSpec(
        ("live_comment",),
        "comments",
        {"live_id": _ID, "user_id": _ID, "author_id": _ID, "content": _TEXT, "comment_ts": Kind.INTEGER},
        "comments with their text",
        "comment_ts",
    ),
    "likes": FileSpec(
        ("live_like",),
        "likes",
        {"user_id": _ID, "live_id": _ID, "like_timestamp": _TIME},
        "likes, one by one",
        "like_timestamp",
    ),
    "shares": FileSpec(
        ("live_share",),
        "shares",
        {"user_id": _ID, "live_id": _ID, "author_id": _ID, "share_timestamp": _TIME, "is_share_success": Kind.INTEGER},
        "shares that succeeded",
        "share_timestamp",
        frozenset({"is_share_success"}),
    ),
    "authors": FileSpec(
        ("author_profile",),
        "authors",
        {"author_id": _ID, "gender": _TEXT, "age_segment": _TEXT, "fans_user_num": _TEXT},
        "hosts: gender, age and follower bands",
        None,
        frozenset({"gender", "age_segment", "fans_user_num"}),
        frozenset({"is_photo_author", "is_live_author"}),
    ),
    "users": FileSpec(("user_id_set",), "users", {"user_id": _ID}, "viewers, without any attribute"),
    "segment_vectors": FileSpec(
        ("live_emb_128_ts/live_emb_128_ts_part*", "live_emb_128_ts_part*"),
        "content_vectors",
        {"live_id": _ID, "feature_128": Kind.VECTOR, "timestamp": Kind.INTEGER},
        "a 128-d vector of each segment, dated to its end (source segment_128)",
        "timestamp",
        frozenset(),
        frozenset({"segment_id"}),
    ),
    "room_vectors": FileSpec(
        ("live_emb_64",),
        "content_vectors",
        {"live_id": _ID, "embedding": Kind.VECTOR},
        "a 64-d vector of each broadcast; it may know the broadcast's future and is dated to its end (source room_64)",
    ),
}
WRITTEN_TIMES = ("plays", "shows", "likes", "shares")  # whose clock is found beside that of the rooms


class Survey:
    """The facts of an archive before a row of it lands: files, rooms, clocks and days."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.sources, self.unfit = open_sources(archive, FILES)
        if not self.sources["rooms"]:
            trouble = next((f": {unfit.problem.detail}" for unfit in self.unfit if unfit.spec is FILES["rooms"]), "")
            raise ArchiveError(
                f"{archive} has no live_room_meta.parquet that can be read{trouble}; add it, every event needs its room"
            )
        room_source = self.sources["rooms"][0]
        local = read_rooms(room_source.batches(("live_id", "author_id", "start_timestamp", "end_timestamp")))
        shards = self.sources["segment_vectors"]
        unix = [(source, "comment_ts") for source in self.sources["comments"]]
        unix += [(shard, "timestamp") for shard in shards[:: max(1, len(shards) // 3)]]
        plays = next(iter(self.sources["plays"]), None)
        of_rooms = room_clock(local, unix, plays, room_source.file)
        self.rooms = local.shifted(of_rooms.offset_ms)
        self.clocks: dict[str, Clock] = {room_source.file: of_rooms}
        for name in WRITTEN_TIMES:
            for source in self.sources[name]:
                self.clocks[source.file] = file_clock(self.rooms, source, str(source.spec.time), of_rooms)

    def offset_ms(self, source: Source) -> int:
        """A file's clock minus UTC; 0 for files in Unix milliseconds."""
        clock = self.clocks.get(source.file)
        return clock.offset_ms if clock else 0

    def days(self) -> list[date]:
        """All UTC days on which a row of any dated file lies, sorted."""
        latest = end_of(datetime.now(UTC).date()) - 1
        found: set[date] = set()
        for sources in self.sources.values():
            for source in sources:
                if source.spec.time:
                    found |= scan(source, self.offset_ms(source), latest).days.keys()
        return sorted(found)
