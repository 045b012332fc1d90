"""The refresh: windows that are over become texts, vectors and codes, and the rooms are about something else.

    close_windows(state, window)                 # gather; no LLM
    refresher.refresh(state, rooms_with_news(state, now), deadline)

A room's content is the average over its windows (`livealign.dataset.recent_content`), taken as training takes it: over those
that
somebody was shown, the room's first, and the present one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from livealign.config import SegmentConfig
from livealign.dataset.features import AUTHOR_COUNTS, WINDOW_COUNTS
from livealign.dataset.recent_content import RecentContent
from livealign.days import DAY_MS
from livealign.errors import BackboneError
from livealign.ids import segment_ids
from livealign.live.recommender import Recommender
from livealign.live.state.state import N_VIEWERS, ClosedWindow, CodedMoment, LiveRoom, LiveState, RoomContent
from livealign.live.state.windows import OpenWindow, moment_of
from livealign.llm.encoder import Encoder
from livealign.llm.segment_text import compose_text, remember

Floats = NDArray[np.float32]

_LONG_VIEWS = AUTHOR_COUNTS.index("long_views")
_ALL_WINDOWS = 10  # after a longer pause only windows in which something was said or done are gone through
_FAILURES = 3  # passes of the LLM in a row that may fail before a tick gives up


@dataclass
class Refreshed:
    """What one refresh did; rooms are counted once."""

    encoded: int = 0
    deferred: int = 0
    distinct_texts: int = 0
    encode_seconds: float = 0.0
    batch_sizes: list[int] = field(default_factory=list)
    ages_ms: list[int] = field(default_factory=list)  # of the codes of each room just before they gave way
    error: str | None = None


class _Encoded(NamedTuple):
    room: LiveRoom
    window: ClosedWindow
    content: RoomContent


def close_windows(state: LiveState, until: int, config: SegmentConfig) -> int:
    """Gather the windows up to `until` that are still open; each room keeps the newest that has something to tell.

    Returns:
        How many windows gave way to a newer one of their room before they were encoded.
    """
    dropped = 0
    with state.lock:
        first = state.closed_until + 1
        windows = list(range(first, until + 1))
        if len(windows) > _ALL_WINDOWS:
            told = [window for window in sorted(state.open) if first <= window <= until]
            windows = sorted({*told, *windows[-_ALL_WINDOWS:]})
    for window in windows:
        dropped += _close(state, window, config)
    with state.lock:
        state.settle(until)
    return dropped


def rooms_of_value(state: LiveState, now: int) -> list[LiveRoom]:
    """The live rooms, those of most value first: viewers × age of what is known of them."""
    with state.lock:
        content_at, started_at, ended_at = (state.table[name] for name in ("content_at", "started_at", "ended_at"))
        value = {}
        for room in state.rooms.values():
            if ended_at[room.row] > now:
                newest = room.waiting or room.encoded
                viewers = 0.0 if newest is None else _number(newest.counts[N_VIEWERS])
                age = now - max(int(content_at[room.row]), int(started_at[room.row]))
                value[room.room_id] = (1.0 + viewers) * max(age, 1)
        return [state.rooms[one] for one in sorted(value, key=lambda one: (-value[one], one))]


def rooms_with_news(state: LiveState, now: int) -> list[LiveRoom]:
    """Those of `rooms_of_value` that wait for the LLM."""
    return [room for room in rooms_of_value(state, now) if room.waiting is not None]


class Refresher:
    """The release's way from a window to vectors and codes. One thread refreshes; `encode` may be called by others too."""

    def __init__(self, recommender: Recommender, encoder: Encoder, clock: Callable[[], float], chunk: int) -> None:
        config = recommender.bundle.manifest["config"]
        self.recommender, self.encoder = recommender, encoder
        self.segments = SegmentConfig(**config["segments"])
        self._half_life = float(config["dataset"]["half_life_seconds"])
        self._clock, self._chunk = clock, chunk
        self._threads = torch.get_num_threads()  # as the backbone was loaded for; those who recommend take one
        self._one_pass = Lock()  # tokenizers are not made for two threads

    def encode(self, texts: Sequence[str]) -> Floats:
        """[n, hidden] of n texts, in passes of at most a chunk, so that others have their turn.

        Raises:
            BackboneError: what came out is not finite.
        """
        parts = []
        for start in range(0, len(texts), self._chunk):
            with self._one_pass:
                torch.set_num_threads(self._threads)
                parts.append(self.encoder.encode(texts[start : start + self._chunk]))
        vectors = np.concatenate(parts) if parts else np.zeros((0, self.encoder.hidden_size), dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise BackboneError("the LLM gave vectors that are not finite; look at the release's adapter")
        return vectors

    def refresh(self, state: LiveState, rooms: Sequence[LiveRoom], budget_seconds: float) -> Refreshed:
        """Encode what these rooms wait for, in their order, and show it chunk by chunk; what the budget does not allow stays.

        The first chunk is always encoded. A pass that fails leaves its rooms as they are and is told in `error`.
        """
        done, failures, started, slowest = Refreshed(), 0, time.perf_counter(), 0.0
        for start in range(0, len(rooms), self._chunk):
            chunk, began = rooms[start : start + self._chunk], time.perf_counter()
            if failures >= _FAILURES or (start and began - started + slowest > budget_seconds):
                break
            try:
                encoded = self._encode(chunk, done)
            except (RuntimeError, ValueError, MemoryError, BackboneError) as error:
                failures, done.error = failures + 1, f"{type(error).__name__}: {error}"
                continue
            failures = 0
            self._show(state, encoded, done)
            slowest = max(slowest, time.perf_counter() - began)
        done.deferred = len(rooms) - done.encoded
        return done

    def _encode(self, rooms: Sequence[LiveRoom], done: Refreshed) -> list[_Encoded]:
        windows = [(room, window) for room in rooms if (window := room.waiting) is not None]
        texts = [compose_text(window.moment, window.earlier, self.segments) for _, window in windows]
        known = {room.content.text: room.content.vector for room, _ in windows if room.content is not None}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        began = time.perf_counter()
        if new:
            known |= dict(zip(new, self.encode(new), strict=True))
            done.distinct_texts += len(new)
            done.batch_sizes.append(len(new))
        done.encode_seconds += time.perf_counter() - began
        encoded = []
        for (room, window), text in zip(windows, texts, strict=True):
            before = None
            if (content := room.content) is not None:
                # Training averages over the windows that somebody was shown, and the room's first.
                before = content.average if window.shown_before or content.before is None else content.before
            started_at = window.moment.window * 1000 * self.segments.window_seconds
            average = RecentContent.step(before, known[text], started_at, self._half_life)
            encoded.append(_Encoded(room, window, RoomContent(text, known[text], before, average)))
        return encoded

    def _show(self, state: LiveState, encoded: Sequence[_Encoded], done: Refreshed) -> None:
        if not encoded:
            return
        authors = np.array([one.room.author_id for one in encoded], dtype=np.int64)
        vectors, codes = self.recommender.aligned(authors, np.stack([one.content.average.average for one in encoded]))
        numbers = [one.window.moment.window for one in encoded]
        ids = segment_ids([one.room.room_id for one in encoded], numbers)
        ended_at = (np.array(numbers, dtype=np.int64) + 1) * state.window_ms
        now = int(self._clock() * 1000)
        with state.lock:
            rows = state.moments.add(ids, authors, ended_at, vectors, codes)
            told = zip(encoded, rows.tolist(), ids.tolist(), ended_at.tolist(), codes.tolist(), strict=True)
            for one, row, segment, end, path in told:
                room = one.room
                if state.rooms.get(room.room_id) is not room:
                    continue  # forgotten meanwhile
                if content_at := int(state.table["content_at"][room.row]):
                    done.ages_ms.append(now - content_at)
                state.tell(room, row, end, one.window.counts)
                room.content, room.encoded = one.content, one.window
                if room.waiting is one.window:
                    room.waiting = None
                    state.table["waiting"][room.row] = False
                room.windows.appendleft(CodedMoment(segment, end, one.content.text, tuple(path), one.window.counts))
                while len(room.windows) > state.config.windows_kept:
                    room.windows.pop()
            done.encoded += len(encoded)
            state.publish()


def _close(state: LiveState, window: int, config: SegmentConfig) -> int:
    with state.lock:
        happened = state.open.pop(window, {})
        state.closed_until = window
        viewers = state.sessions.viewers(window)
        long_views = state.sessions.long_views((window + 1) * state.window_ms)
        for author, at in zip(long_views.author_id.tolist(), long_views.known_at.tolist(), strict=True):
            state.author_counts.add(author, _LONG_VIEWS, at // DAY_MS)
        state.sessions.forget(window + 1)
    counted = dict(zip(viewers.room_id.tolist(), zip(*(column.tolist() for column in viewers[1:]), strict=True), strict=True))
    dropped = 0
    for room_id in {**happened, **counted}:
        with state.lock:  # for one room at a time: a recommendation need not wait for all
            room = state.rooms.get(room_id)
            if room is None:
                continue
            first = room.started_at // state.window_ms
            last = max(int(state.table["ended_at"][room.row]) - 1, room.started_at) // state.window_ms
            if not first <= window <= last:
                continue
            end = (window + 1) * state.window_ms
            texts = room.texts.before(end)
            room.texts.forget(end)
            moment = moment_of(window, window - first, texts.title, texts.category, happened.get(room_id))
            shown = any(one <= window for one in room.shown_in)
            if room.waiting is not None:
                dropped, shown = dropped + 1, room.waiting.shown_before
            counts = _counts(happened.get(room_id), counted.get(room_id, (0, 0, 0, np.nan)))
            room.waiting = ClosedWindow(moment, room.earlier, counts, shown)
            room.shown_in = {one for one in room.shown_in if one > window}
            room.earlier = remember(room.earlier, moment, config)
    return dropped


def _counts(happened: OpenWindow | None, viewers: tuple[float, float, float, float]) -> tuple[float, ...]:
    """In the order of WINDOW_COUNTS."""
    what = happened or OpenWindow()
    told = dict(zip(("n_viewers", "n_entered", "n_left", "retention"), viewers, strict=True))
    told |= {
        "n_comments": what.n_comments,
        "n_commenters": len(what.commenters),
        "n_likes": what.n_likes,
        "n_gifts": what.n_gifts,
    }
    return tuple(float(told[name]) for name in WINDOW_COUNTS)


def _number(value: float) -> float:
    return value if value == value else 0.0
