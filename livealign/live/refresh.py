"""Turn closed windows into texts, vectors and codes.

    close_windows(state, window)                 # collects texts; no LLM
    refresher.refresh(state, rooms_with_news(state, now), budget_seconds)

A room's content is the average over its windows (`livealign.dataset.recent_content`). As in training, it is taken over the
windows that a user was shown, the room's first window, and the present one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
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
from livealign.live.frames import pixels_of
from livealign.live.recommender import Recommender
from livealign.live.state.coded_windows import CodedWindow
from livealign.live.state.rooms import N_VIEWERS, ClosedWindow, LiveRoom, RoomContent, named_counts
from livealign.live.state.state import LiveState
from livealign.live.state.windows import OpenWindow, text_of
from livealign.llm.content_encoder import ContentEncoder
from livealign.llm.segment_text import compose_text, remember

Floats = NDArray[np.float32]

_LONG_VIEWS = AUTHOR_COUNTS.index("long_views")
_ALL_WINDOWS = 10  # after a longer pause only windows with events are closed one by one
_FAILURES = 3  # a tick gives up after so many failed passes of the LLM in a row


@dataclass
class Refreshed:
    """The counts of one refresh; each room counts once."""

    encoded: int = 0
    deferred: int = 0
    distinct_texts: int = 0
    encode_seconds: float = 0.0
    batch_sizes: list[int] = field(default_factory=list)
    ages_ms: list[int] = field(default_factory=list)  # age of each room's codes just before they were replaced
    error: str | None = None


class _Encoded(NamedTuple):
    room: LiveRoom
    window: ClosedWindow
    content: RoomContent
    seen: RoomContent | None  # of its picture, where it has one


def close_windows(state: LiveState, until: int, config: SegmentConfig) -> int:
    """Close the open windows up to `until`; each room keeps its newest one for the LLM.

    Returns:
        How many windows were replaced by a newer window of their room before they were encoded.
    """
    dropped = 0
    with state.lock:
        first = state.closed_until + 1
        windows = list(range(first, until + 1))
        if len(windows) > _ALL_WINDOWS:
            with_events = [window for window in sorted(state.open) if first <= window <= until]
            windows = sorted({*with_events, *windows[-_ALL_WINDOWS:]})
    for window in windows:
        dropped += _close(state, window, config)
    with state.lock:
        state.settle(until)
    return dropped


def rooms_of_value(state: LiveState, now: int) -> list[LiveRoom]:
    """The live rooms, those of most value (viewers × age of their content) first."""
    with state.lock:
        content_at, started_at, ended_at = (state.table[name] for name in ("content_at", "started_at", "ended_at"))
        value = {}
        for room in state.rooms.values():
            if ended_at[room.row] > now:
                newest = room.waiting or room.encoded
                viewers = 0.0 if newest is None else _number(newest.counts[N_VIEWERS])
                age = now - max(int(content_at[room.row]), int(started_at[room.row]))
                value[room.room_id] = (1.0 + viewers) * max(age, 1)
        return [state.rooms[room_id] for room_id in sorted(value, key=lambda room_id: (-value[room_id], room_id))]


def rooms_with_news(state: LiveState, now: int) -> list[LiveRoom]:
    """The rooms of `rooms_of_value` that wait for the LLM."""
    return [room for room in rooms_of_value(state, now) if room.waiting is not None]


class Refresher:
    """Encodes windows into vectors and codes with the models of one release.

    `refresh` is for one thread; `encode` is thread-safe.
    """

    def __init__(self, recommender: Recommender, encoder: ContentEncoder, clock: Callable[[], float], chunk: int) -> None:
        config = recommender.bundle.manifest["config"]
        self.recommender, self.encoder = recommender, encoder
        self.segments = SegmentConfig(**config["segments"])
        self._half_life = float(config["dataset"]["half_life_seconds"])
        self._clock, self._chunk = clock, chunk
        self._threads = torch.get_num_threads()  # that the backbone was loaded with; recommending uses one
        self._one_pass = Lock()  # tokenizers are not thread-safe

    def encode(self, texts: Sequence[str]) -> Floats:
        """Content [n, Σ sources] of n texts, in passes of at most one chunk.

        Between passes other callers get their turn.

        Raises:
            BackboneError: a vector is not finite.
        """
        parts = []
        for start in range(0, len(texts), self._chunk):
            with self._one_pass:
                torch.set_num_threads(self._threads)
                parts.append(self.encoder.encode(texts[start : start + self._chunk]))
        vectors = np.concatenate(parts) if parts else np.zeros((0, self.encoder.width), dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise BackboneError("the LLM gave vectors that are not finite; look at the release's adapter")
        return vectors

    def see(self, pictures: Sequence[str]) -> Floats:
        """Content [n, width] of n pictures of events; width 0 where the release reads none.

        Raises:
            BackboneError: a vector is not finite.
        """
        if self.encoder.images is None or not pictures:
            return np.zeros((len(pictures), self.encoder.width - self.encoder.text_width), dtype=np.float32)
        with self._one_pass:
            torch.set_num_threads(self._threads)
            vectors = self.encoder.see(np.stack([pixels_of(picture) for picture in pictures]))
        if not np.isfinite(vectors).all():
            raise BackboneError("the image encoder gave vectors that are not finite; look at frames.backbone")
        return vectors

    def refresh(
        self, state: LiveState, rooms: Sequence[LiveRoom], budget_seconds: float, known: Mapping[str, Floats] | None = None
    ) -> Refreshed:
        """Encode the waiting windows of rooms in order, and publish them chunk by chunk.

        The first chunk is always encoded; rooms beyond the time budget wait on. A failed pass leaves its rooms unchanged and is
        reported in `error`.

        Args:
            known: vectors of texts that an encoder of the same space has encoded already.
        """
        done, failures, started, slowest = Refreshed(), 0, time.perf_counter(), 0.0
        for start in range(0, len(rooms), self._chunk):
            chunk, began = rooms[start : start + self._chunk], time.perf_counter()
            if failures >= _FAILURES or (start and began - started + slowest > budget_seconds):
                break
            # Text goes first: where time is short, pictures of the later rooms are left out.
            see = not start or began - started + slowest <= budget_seconds / 2
            try:
                encoded = self._encode(chunk, done, see, known or {})
            except (RuntimeError, ValueError, MemoryError, BackboneError) as error:
                failures, done.error = failures + 1, f"{type(error).__name__}: {error}"
                continue
            failures = 0
            self._publish(state, encoded, done)
            slowest = max(slowest, time.perf_counter() - began)
        done.deferred = len(rooms) - done.encoded
        return done

    def _encode(self, rooms: Sequence[LiveRoom], done: Refreshed, see: bool, known: Mapping[str, Floats]) -> list[_Encoded]:
        windows = [(room, window) for room in rooms if (window := room.waiting) is not None]
        texts = [compose_text(window.text, window.earlier, self.segments) for _, window in windows]
        vectors = {text: known[text] for text in texts if text in known}
        vectors |= {room.content.text: room.content.vector for room, _ in windows if room.content is not None}
        new = [text for text in dict.fromkeys(texts) if text not in vectors]
        began = time.perf_counter()
        if new:
            vectors |= dict(zip(new, self.encode(new), strict=True))
            done.distinct_texts += len(new)
            done.batch_sizes.append(len(new))
        seen = self._seen(windows) if see else {}
        done.encode_seconds += time.perf_counter() - began
        encoded = []
        for (room, window), text in zip(windows, texts, strict=True):
            content = self._stepped(room.content, window, text, vectors[text])
            name = "" if window.frame is None else window.frame.name
            encoded.append(
                _Encoded(room, window, content, self._stepped(room.seen, window, name, seen[name]) if name in seen else None)
            )
        return encoded

    def _seen(self, windows: Sequence[tuple[LiveRoom, ClosedWindow]]) -> dict[str, Floats]:
        """The vectors of the windows' pictures by name; none where the release reads no pictures."""
        if self.encoder.images is None:
            return {}
        known = {room.seen.text: room.seen.vector for room, _ in windows if room.seen is not None}
        frames = {window.frame.name: window.frame.picture for _, window in windows if window.frame is not None}
        new = {name: picture for name, picture in frames.items() if name not in known}
        return known | dict(zip(new, self.see(list(new.values())), strict=True))

    def _stepped(self, last: RoomContent | None, window: ClosedWindow, text: str, vector: Floats) -> RoomContent:
        """The room's content with one more window."""
        before = None
        if last is not None:
            # Training averages over the windows that a user was shown, and the room's first window.
            before = last.average if window.shown_before or last.before is None else last.before
        started_at = window.text.window * 1000 * self.segments.window_seconds
        return RoomContent(text, vector, before, RecentContent.step(before, vector, started_at, self._half_life))

    def _content(self, result: _Encoded) -> Floats:
        """[Σ sources] averages of texts and of pictures, zeros for pictures where the window has none."""
        text = result.content.average.average
        if self.encoder.images is None:
            return text
        unseen = np.zeros(self.encoder.width - self.encoder.text_width, dtype=np.float32)
        return np.concatenate([text, unseen if result.seen is None else result.seen.average.average])

    def _publish(self, state: LiveState, encoded: Sequence[_Encoded], done: Refreshed) -> None:
        if not encoded:
            return
        authors = np.array([result.room.author_id for result in encoded], dtype=np.int64)
        vectors, codes = self.recommender.aligned(authors, np.stack([self._content(result) for result in encoded]))
        windows = [result.window.text.window for result in encoded]
        ids = segment_ids([result.room.room_id for result in encoded], windows)
        ended_at = (np.array(windows, dtype=np.int64) + 1) * state.window_ms
        now = int(self._clock() * 1000)
        with state.lock:
            rows = state.coded_windows.add(ids, authors, ended_at, vectors, codes)
            columns = zip(encoded, rows.tolist(), ids.tolist(), ended_at.tolist(), codes.tolist(), strict=True)
            for (room, window, content, seen), row, segment, end, path in columns:
                if state.rooms.get(room.room_id) is not room:
                    continue  # forgotten meanwhile
                if content_at := int(state.table["content_at"][room.row]):
                    done.ages_ms.append(now - content_at)
                state.set_coded(room, row, end, window.counts)
                room.content, room.encoded, room.seen = content, window, seen or room.seen
                if room.waiting is window:
                    room.waiting = None
                    state.table["waiting"][room.row] = False
                room.windows.appendleft(CodedWindow(segment, end, content.text, path, named_counts(window.counts)))
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
        for author, user, room_id, clicked_at, at in zip(*(column.tolist() for column in long_views), strict=True):
            state.author_counts.add(author, _LONG_VIEWS, at // DAY_MS)
            state.list_outcomes.long_viewed(user, room_id, clicked_at)
        state.sessions.forget(window + 1)
    counted = dict(zip(viewers.room_id.tolist(), zip(*(column.tolist() for column in viewers[1:]), strict=True), strict=True))
    dropped = 0
    for room_id in {**happened, **counted}:
        with state.lock:  # room by room, so that a recommendation need not wait for all of them
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
            text = text_of(window, window - first, texts.title, texts.category, happened.get(room_id))
            shown = any(shown_window <= window for shown_window in room.shown_in)
            if room.waiting is not None:
                dropped, shown = dropped + 1, room.waiting.shown_before
            counts = _counts(happened.get(room_id), counted.get(room_id, (0, 0, 0, np.nan)))
            frame = happened[room_id].frame if room_id in happened else None
            room.waiting = ClosedWindow(text, room.earlier, counts, shown, frame)
            room.shown_in = {shown_window for shown_window in room.shown_in if shown_window > window}
            room.earlier = remember(room.earlier, text, config)
    return dropped


def _counts(happened: OpenWindow | None, viewers: tuple[float, float, float, float]) -> tuple[float, ...]:
    """The counts of a window in the order of WINDOW_COUNTS."""
    window = happened or OpenWindow()
    counts = dict(zip(("n_viewers", "n_entered", "n_left", "retention"), viewers, strict=True))
    counts |= {
        "n_comments": window.n_comments,
        "n_commenters": len(window.commenters),
        "n_likes": window.n_likes,
        "n_gifts": window.n_gifts,
    }
    return tuple(float(counts[name]) for name in WINDOW_COUNTS)


def _number(value: float) -> float:
    return value if value == value else 0.0
