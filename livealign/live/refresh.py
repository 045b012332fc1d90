"""Turn closed windows into texts, vectors and codes.

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
from livealign.dataset.recent_content import RecentContent
from livealign.errors import BackboneError
from livealign.ids import segment_ids
from livealign.live.frames import pixels_of
from livealign.live.recommender import Recommender
from livealign.live.state.coded_windows import CodedWindow
from livealign.live.state.rooms import N_VIEWERS, ClosedWindow, LiveRoom, LlmInput, RoomContent, named_counts
from livealign.live.state.state import LiveState
from livealign.llm.content_encoder import ContentEncoder
from livealign.llm.prefix import Pictures
from livealign.llm.segment_text import compose_text

Floats = NDArray[np.float32]

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
    seen: RoomContent | None  # of its picture, where it has one and pictures are a source of content


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

    def encode(self, texts: Sequence[str], pictures: Pictures | None = None) -> Floats:
        """Content [n, Σ sources] of n texts, in passes of at most one chunk.

        Between passes other callers get their turn. `pictures` are those that the LLM reads before the texts.

        Raises:
            BackboneError: a vector is not finite.
        """
        parts = []
        for start in range(0, len(texts), self._chunk):
            rows = np.arange(start, min(start + self._chunk, len(texts)))
            with self._one_pass:
                torch.set_num_threads(self._threads)
                part = None if pictures is None else pictures.take(rows)
                parts.append(self.encoder.encode(texts[start : start + self._chunk], pictures=part))
        vectors = np.concatenate(parts) if parts else np.zeros((0, self.encoder.width), dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise BackboneError("the LLM gave vectors that are not finite; look at the release's adapter")
        return vectors

    def see(self, pictures: Sequence[str]) -> Floats:
        """Features [n, width] of n pictures of events; width 0 where the release reads none.

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
        self,
        state: LiveState,
        rooms: Sequence[LiveRoom],
        budget_seconds: float,
        known: Mapping[LlmInput, Floats] | None = None,
        published: Callable[[Sequence[LiveRoom]], None] | None = None,
    ) -> Refreshed:
        """Encode the waiting windows of rooms in order, and publish them chunk by chunk.

        The first chunk is always encoded; rooms beyond the time budget wait on. A failed pass leaves its rooms unchanged and is
        reported in `error`.

        Args:
            known: vectors of what an encoder of the same space has read already.
            published: receives the rooms of each chunk that was published.
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
            if published is not None:
                published([result.room for result in encoded])
            slowest = max(slowest, time.perf_counter() - began)
        done.deferred = len(rooms) - done.encoded
        return done

    def read(self, windows: Sequence[ClosedWindow], seen: Mapping[str, Floats]) -> tuple[list[LlmInput], Pictures | None]:
        """The encoder's inputs of windows: texts with the names of their pictures, and these.

        Args:
            seen: features of pictures by name; windows whose picture is not among them are read by their text alone.
        """
        texts = [compose_text(window.text, window.earlier, self.segments) for window in windows]
        if not (seen and self.encoder.llm_reads_pictures):
            return [LlmInput(text) for text in texts], None
        names = ["" if (frame := window.seen_frame) is None or frame.name not in seen else frame.name for window in windows]
        width = len(next(iter(seen.values())))
        pictures = Pictures.of([seen[name].tobytes() if name else None for name in names], width)
        return [LlmInput(*one) for one in zip(texts, names, strict=True)], pictures

    def _encode(
        self, rooms: Sequence[LiveRoom], done: Refreshed, see: bool, known: Mapping[LlmInput, Floats]
    ) -> list[_Encoded]:
        windows = [(room, window) for room in rooms if (window := room.waiting) is not None]
        began = time.perf_counter()
        seen = self._seen(windows) if see else {}
        inputs, pictures = self.read([window for _, window in windows], seen)
        vectors = {one: known[one] for one in inputs if one in known}
        vectors |= {room.content.llm_input: room.content.vector for room, _ in windows if room.content is not None}
        new = {one: row for row, one in enumerate(inputs) if one not in vectors}
        if new:
            rows = np.fromiter(new.values(), np.int64, len(new))
            beside = None if pictures is None else pictures.take(rows)
            vectors |= dict(zip(new, self.encode([text for text, _ in new], beside), strict=True))
            done.distinct_texts += len(new)
            done.batch_sizes.append(len(new))
        done.encode_seconds += time.perf_counter() - began
        encoded = []
        for (room, window), llm_input in zip(windows, inputs, strict=True):
            content = self._stepped(room.content, window, llm_input, vectors[llm_input])
            name = "" if window.seen_frame is None else window.seen_frame.name
            a_source = name in seen and "frames" in self.encoder.sources
            shown = self._stepped(room.seen, window, LlmInput(name), seen[name]) if a_source else None
            encoded.append(_Encoded(room, window, content, shown))
        return encoded

    def _seen(self, windows: Sequence[tuple[LiveRoom, ClosedWindow]]) -> dict[str, Floats]:
        """The vectors of the windows' pictures by name; none where the release reads no pictures."""
        if self.encoder.images is None:
            return {}
        known = {room.seen.text: room.seen.vector for room, _ in windows if room.seen is not None}
        frames = {frame.name: frame.picture for _, window in windows if (frame := window.seen_frame) is not None}
        new = {name: picture for name, picture in frames.items() if name not in known}
        return known | dict(zip(new, self.see(list(new.values())), strict=True))

    def _stepped(self, last: RoomContent | None, window: ClosedWindow, llm_input: LlmInput, vector: Floats) -> RoomContent:
        """The room's content with one more window."""
        before = None
        if last is not None:
            # Training averages over the windows that a user was shown, and the room's first window.
            before = last.average if window.shown_before or last.before is None else last.before
        started_at = window.text.window * 1000 * self.segments.window_seconds
        average = RecentContent.step(before, vector, started_at, self._half_life)
        return RoomContent(llm_input.text, vector, before, average, llm_input.picture)

    def _content(self, result: _Encoded) -> Floats:
        """[Σ sources] averages of texts and of pictures, zeros for pictures where the window has none."""
        text = result.content.average.average
        if "frames" not in self.encoder.sources:
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
                coded = CodedWindow(segment, end, content.text, path, named_counts(window.counts))
                room.add_coded(coded, state.config.windows_kept)
            done.encoded += len(encoded)
            state.publish()


def _number(value: float) -> float:
    return value if value == value else 0.0
