"""The landing contract: tables with their columns, types, units and keys.

All times are UTC in milliseconds, stored without a zone. All ids are int64; string ids are hashed (`livealign.ids`).
A table lies in `landing/<table>/dt=YYYY-MM-DD/`, where `dt` is the UTC day of the table's `time_column`.
"""

from dataclasses import dataclass

import pyarrow as pa

TIMESTAMP = pa.timestamp("ms")


def _required(name: str, type_: pa.DataType) -> pa.Field:
    return pa.field(name, type_, nullable=False)


def _id(name: str) -> pa.Field:
    return _required(name, pa.int64())


@dataclass(frozen=True)
class Table:
    """One landing table: its columns, its unique key, and the time that decides a row's day."""

    name: str
    schema: pa.Schema
    primary_key: tuple[str, ...]
    time_column: str

    @property
    def time_columns(self) -> tuple[str, ...]:
        """All columns that hold an instant; each must lie between 2000-01-01 and now."""
        return tuple(field.name for field in self.schema if field.type == TIMESTAMP)


_ACTION = [_id("action_id"), _id("user_id"), _id("author_id"), _id("room_id"), _required("at", TIMESTAMP)]
_PERSON = [
    _required("observed_at", TIMESTAMP),
    pa.field("gender", pa.string()),
    pa.field("age_band", pa.string()),
    pa.field("country", pa.string()),
    pa.field("followers_band", pa.string()),
]

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "rooms",
            pa.schema(
                [
                    _id("room_id"),
                    _id("author_id"),
                    pa.field("title", pa.string()),
                    pa.field("category", pa.string()),
                    pa.field("language", pa.string()),
                    _required("started_at", TIMESTAMP),
                    pa.field("ended_at", TIMESTAMP),  # null while the room is live
                ]
            ),
            ("room_id",),
            "started_at",
        ),
        Table(
            "room_changes",
            pa.schema(
                [
                    _id("room_id"),
                    _required("changed_at", TIMESTAMP),
                    pa.field("title", pa.string()),  # null: unchanged
                    pa.field("category", pa.string()),  # null: unchanged
                ]
            ),
            ("room_id", "changed_at"),
            "changed_at",
        ),
        Table("authors", pa.schema([_id("author_id"), *_PERSON]), ("author_id",), "observed_at"),
        Table("users", pa.schema([_id("user_id"), *_PERSON]), ("user_id",), "observed_at"),
        Table(
            "impressions",
            pa.schema(
                [
                    _id("impression_id"),
                    _id("user_id"),
                    _id("author_id"),
                    _id("room_id"),
                    _required("shown_at", TIMESTAMP),
                    pa.field("position", pa.int32()),  # 0 is the first place of the list
                    pa.field("surface", pa.string()),
                    pa.field("request_id", pa.string()),  # impressions of one list share it
                    pa.field("score", pa.float64()),  # of the model that served it, where we did
                    pa.field("model_version", pa.string()),
                ]
            ),
            ("impression_id",),
            "shown_at",
        ),
        Table(
            "lists",
            pa.schema(
                [
                    _id("list_id"),
                    _id("user_id"),
                    _required("shown_at", TIMESTAMP),
                    _required("request_id", pa.string()),  # of its impressions
                    _required("release", pa.string()),  # that ranked it
                    pa.field("experiment", pa.string()),  # null: no other release was served
                    _required("challenger", pa.bool_()),  # false: by the champion
                    _required("share", pa.float64()),  # probability that the user was served by this release
                    _required("rooms", pa.list_(pa.int64())),  # best first
                    _required("propensities", pa.list_(pa.float64())),  # of each: probability that it is in the list
                    pa.field("language", pa.string()),  # of the viewer, where the app gave it with the request
                    pa.field("country", pa.string()),
                ]
            ),
            ("list_id",),
            "shown_at",
        ),
        Table(
            "plays",
            pa.schema(
                [
                    _id("play_id"),
                    _id("user_id"),
                    _id("author_id"),
                    _id("room_id"),
                    pa.field("impression_id", pa.int64()),  # the impression that led here, where the platform logs it
                    _required("entered_at", TIMESTAMP),
                    pa.field("left_at", TIMESTAMP),  # null while watching, or where it is unknown
                    pa.field("source", pa.string()),
                ]
            ),
            ("play_id",),
            "entered_at",
        ),
        Table(
            "comments",
            pa.schema(
                [
                    _id("comment_id"),
                    _id("user_id"),
                    _id("author_id"),
                    _id("room_id"),
                    _required("sent_at", TIMESTAMP),
                    _required("text", pa.string()),
                    _required("is_bot", pa.bool_()),
                ]
            ),
            ("comment_id",),
            "sent_at",
        ),
        Table(
            "speech",
            pa.schema(
                [
                    _id("speech_id"),
                    _id("author_id"),
                    _id("room_id"),
                    _required("started_at", TIMESTAMP),
                    _required("ended_at", TIMESTAMP),
                    _required("text", pa.string()),
                ]
            ),
            ("speech_id",),
            "started_at",
        ),
        Table("likes", pa.schema([*_ACTION, _required("count", pa.int32())]), ("action_id",), "at"),
        Table(
            "gifts",
            pa.schema([*_ACTION, _required("count", pa.int32()), pa.field("value", pa.float64())]),  # null: no price given
            ("action_id",),
            "at",
        ),
        Table("shares", pa.schema(_ACTION), ("action_id",), "at"),
        Table("follows", pa.schema(_ACTION), ("action_id",), "at"),
        Table(
            "content_vectors",
            pa.schema(
                [
                    _id("room_id"),
                    _required("ended_at", TIMESTAMP),  # end of the moment that the vector describes
                    _required("vector", pa.list_(pa.float32())),
                    _required("source", pa.string()),
                ]
            ),
            ("room_id", "ended_at", "source"),
            "ended_at",
        ),
        Table(
            "frames",
            pa.schema(
                [_id("room_id"), _required("at", TIMESTAMP), pa.field("path", pa.string()), pa.field("bytes", pa.binary())]
            ),
            ("room_id", "at"),
            "at",
        ),
    )
}

# Days landed before have no such columns, which means no values.
COLUMNS_ADDED_LATER = {"lists": frozenset({"language", "country"})}
ADDED_LATER = frozenset({"room_changes", "lists"})  # days landed before these tables have no file of them, which means no rows
