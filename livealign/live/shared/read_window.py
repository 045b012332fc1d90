"""One window of a room as a reader publishes it: text, counts, vector, codes, content.

    data = to_bytes(read_window(state, room))
    take(state, [from_bytes(data)])            # in another process, whose room then has the same content

The bytes are the length of a header (4 bytes), the header as JSON, and little-endian float32: the aligned vector [dim], then
the content [Σ sources] of the window, of the room's average with it, and of the average without it where there is one.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.features import WINDOW_COUNTS
from livealign.dataset.recent_content import RecentContent
from livealign.errors import EventLogError
from livealign.files import refuse_newer
from livealign.formats import VECTORS_FORMAT
from livealign.live.state.coded_windows import CodedWindow
from livealign.live.state.rooms import LiveRoom, RoomContent, named_counts
from livealign.live.state.state import LiveState

Floats = NDArray[np.float32]

_LENGTH = struct.Struct("<I")
_FLOAT = np.dtype("<f4")


class ReadWindow(NamedTuple):
    """The newest encoded window of a room, by one release."""

    room_id: int
    author_id: int
    segment_id: int
    ended_at: int  # epoch milliseconds
    counts: tuple[float, ...]  # by WINDOW_COUNTS, NaN where unknown
    codes: list[int]
    vector: Floats  # [dim]
    content: RoomContent


class Taken(NamedTuple):
    """The outcome of `take`."""

    windows: list[ReadWindow]  # that are newer than what the rooms had
    ages_ms: list[int]  # of the codes that they replace
    unknown: list[int]  # ids of rooms that the state does not know, or not yet


def read_window(state: LiveState, room: LiveRoom) -> ReadWindow | None:
    """The newest encoded window of a room, or None if it has none.

    The caller holds the state's lock.
    """
    if room.content is None:
        return None
    row = int(state.table["coded_row"][room.row])
    coded, counts = state.coded_windows, tuple(state.table["counts"][room.row].tolist())
    return ReadWindow(
        room.room_id,
        room.author_id,
        int(coded["segment_id"][row]),
        int(state.table["content_at"][room.row]),
        counts,
        coded["codes"][row].tolist(),
        coded["vector"][row].copy(),
        room.content,
    )


def take(state: LiveState, windows: Sequence[ReadWindow], now: int) -> Taken:
    """Give rooms the content that another process has read.

    What is older than the room's content is left out. The caller holds the state's lock, and publishes the view.

    Args:
        now: epoch milliseconds.
    """
    unknown = [window.room_id for window in windows if window.room_id not in state.rooms]
    newer = [(state.rooms[window.room_id], window) for window in windows if window.room_id in state.rooms]
    newer = [(room, window) for room, window in newer if _is_newer(state, room, window)]
    if not newer:
        return Taken([], [], unknown)
    rows = state.coded_windows.add(
        np.array([window.segment_id for _, window in newer], dtype=np.int64),
        np.array([window.author_id for _, window in newer], dtype=np.int64),
        np.array([window.ended_at for _, window in newer], dtype=np.int64),
        np.stack([window.vector for _, window in newer]),
        np.array([window.codes for _, window in newer], dtype=np.int64),
    )
    before = [int(state.table["content_at"][room.row]) for room, _ in newer]
    for (room, window), row in zip(newer, rows.tolist(), strict=True):
        text, counts = window.content.text, named_counts(window.counts)
        state.set_coded(room, row, window.ended_at, window.counts)
        room.content = window.content
        room.add_coded(CodedWindow(window.segment_id, window.ended_at, text, window.codes, counts), state.config.windows_kept)
        settle(state, room)
    return Taken([window for _, window in newer], [now - at for at in before if at], unknown)


def settle(state: LiveState, room: LiveRoom) -> None:
    """Let a room wait no more for a window that its content is of.

    The caller holds the state's lock.
    """
    waiting = room.waiting
    if waiting is None or room.content is None:
        return
    if (waiting.text.window + 1) * state.window_ms <= state.table["content_at"][room.row]:
        room.encoded, room.waiting = waiting, None
        state.table["waiting"][room.row] = False


def to_bytes(window: ReadWindow) -> bytes:
    """The window as one value."""
    content = window.content
    averages = [content.average, *([] if content.before is None else [content.before])]
    header = {
        "format": VECTORS_FORMAT,
        "room_id": window.room_id,
        "author_id": window.author_id,
        "segment_id": window.segment_id,
        "ended_at": window.ended_at,
        "counts": [None if count != count else count for count in window.counts],
        "codes": window.codes,
        "dim": len(window.vector),
        "text": content.text,
        "picture": content.picture,
        "averages": [[average.weight, average.started_at] for average in averages],
    }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    vectors = np.concatenate([window.vector, content.vector, *(average.average for average in averages)])
    return _LENGTH.pack(len(encoded)) + encoded + vectors.astype(_FLOAT).tobytes()


def from_bytes(data: bytes, dim: int, levels: int, content_dim: int) -> ReadWindow:
    """The window of a value.

    Args:
        dim, levels, content_dim: sizes of the release's vectors, codes and content.

    Raises:
        EventLogError: the value is damaged, or of another release or a newer version.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        header: dict[str, Any] = json.loads(data[_LENGTH.size : _LENGTH.size + length])
        refuse_newer("a published vector", header["format"], VECTORS_FORMAT, "upgrade this process", EventLogError)
        return _parsed(header, np.frombuffer(data, dtype=_FLOAT, offset=_LENGTH.size + length), dim, levels, content_dim)
    except (struct.error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise EventLogError(f"a published vector cannot be read ({error!r}); look at what writes to Redis") from error


def _parsed(header: dict[str, Any], numbers: Floats, dim: int, levels: int, content_dim: int) -> ReadWindow:
    counts = tuple(np.nan if count is None else float(count) for count in header["counts"])
    codes = [int(code) for code in header["codes"]]
    if (int(header["dim"]), len(codes), len(counts)) != (dim, levels, len(WINDOW_COUNTS)):
        raise ValueError("it is not of this release")
    averages = header["averages"]
    if not 1 <= len(averages) <= 2 or not np.isfinite(numbers).all():
        raise ValueError("its numbers are not finite, or not all there")
    vector, parts = numbers[:dim].copy(), numbers[dim:].reshape(1 + len(averages), content_dim)
    average, *before = (
        RecentContent(part.copy(), float(weight), int(started_at))
        for part, (weight, started_at) in zip(parts[1:], averages, strict=True)
    )
    content = RoomContent(str(header["text"]), parts[0].copy(), before[0] if before else None, average, str(header["picture"]))
    room_id, author_id, segment_id, ended_at = (
        int(header[name]) for name in ("room_id", "author_id", "segment_id", "ended_at")
    )
    return ReadWindow(room_id, author_id, segment_id, ended_at, counts, codes, vector, content)


def _is_newer(state: LiveState, room: LiveRoom, window: ReadWindow) -> bool:
    content_at = int(state.table["content_at"][room.row])
    return content_at < window.ended_at or (room.content is None and content_at == window.ended_at)
