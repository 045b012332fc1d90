"""Between the live state and the log: what comes in is kept and applied, what was shown is kept, and a start reads it again."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from livealign.config import LiveConfig
from livealign.errors import EventLogError, LiveAlignError
from livealign.events.intake import EventIntake, RecentIds
from livealign.events.log import START, Log
from livealign.events.models import Event, ImpressionShown, PlacedEvent, Rejection, RoomEnded, RoomStarted, event_of, record_of
from livealign.live.answers import Observer, Recommendations
from livealign.live.apply import EventNumber, apply
from livealign.live.checkpoint import read_checkpoint, snapshot_of, write_checkpoint
from livealign.live.refresh import close_windows
from livealign.live.serving import Serving
from livealign.live.startup import state_of
from livealign.live.state.state import LiveState
from livealign.live.takeover import adopt

_MOST_BEHIND = 200_000  # impressions that wait for a log that cannot be written; the oldest give way


class _Shown(NamedTuple):
    """A list that is not in the log yet."""

    user_id: int
    answer: Recommendations


class Journal:
    """The log of one live core. Receives the events of its intake, and keeps the state in step with the log."""

    def __init__(
        self,
        log: Log,
        config: LiveConfig,
        clock: Callable[[], float],
        observer: Observer,
        checkpoint: Path | None,
        number: EventNumber,
    ) -> None:
        self._log, self._config, self._observer, self._file, self._number = log, config, observer, checkpoint, number
        self.intake = EventIntake(log, clock, recent_ids=RecentIds(config.event_ids), receiver=self)
        self.moving = False  # whether any event has come
        self._state: LiveState | None = None
        self._position = START  # of a shared log: up to here it was read
        self._shown: deque[_Shown] = deque()
        self._behind, self._gate, self._closed = 0, Lock(), False
        self._problem: str | None = None

    # A start

    def restored(self, serving: Serving) -> LiveState:
        """The state: the checkpoint's or else the snapshot's, and the events of the log after it.

        Raises:
            BundleError: the snapshot cannot be read. EventLogError: the log cannot be read.
        """
        snapshot = serving.snapshot()
        state, self._position = (
            state_of(snapshot, self._config, serving.history_length, 1000 * serving.segments.window_seconds),
            START,
        )
        since = snapshot.moment
        if self._file is not None and self._file.exists():
            try:
                kept = read_checkpoint(self._file, self._config, serving.recommender.author_moments)
            except LiveAlignError as error:
                self._observer.failed("checkpoint", str(error))
            else:
                state, self._position, self.moving, since = kept.state, kept.position, True, 0
                self.intake.recent_ids.add(kept.event_ids)
                if kept.release_id != serving.release_id:
                    adopt(state, serving, snapshot)
        self._state = state
        try:
            self._read(since, serving)
        except EventLogError:
            if self._position == START:
                raise
            self._position = START  # what the checkpoint names is not there any more: read what there is
            self._read(since, serving)
        state.publish()
        return state

    def _read(self, since: int, serving: Serving) -> None:
        state, ahead = self._current(), self.intake.bounds.future_ms // self._current().window_ms + 1
        for position, record in self._log.read(self._position):
            event = event_of(record)
            self._position, self.moving = position, True
            if event.event_id in self.intake.recent_ids:
                continue
            self.intake.recent_ids.add([event.event_id])
            # What the snapshot knows already is not told twice; but it may not know of every room.
            if event.at > since or isinstance(event, RoomStarted | RoomEnded):
                apply(state, event, self._number)
            over = state.clock // state.window_ms - ahead - 1
            if over > state.closed_until + 1:
                close_windows(state, over, serving.segments)

    # Events

    def rejections(self, events: Sequence[PlacedEvent]) -> list[Rejection]:
        """Events of rooms that nobody told of."""
        state = self._current()
        started = {one.event.room_id for one in events if isinstance(one.event, RoomStarted)}
        strangers = [one for one in events if one.event.room_id not in state.rooms and one.event.room_id not in started]
        if strangers and self._log.shared:
            self._follow()
            strangers = [one for one in strangers if one.event.room_id not in state.rooms]
        told = "room_id is of no room that is live or ended lately; send room_started first"
        return [Rejection(one.place, one.event.event_id, "unknown_room", told) for one in strangers]

    def receive(self, events: Sequence[Event]) -> None:
        """Apply what is in the log now, in the order of time."""
        state = self._current()
        with state.lock:
            for event in sorted(events, key=_time):
                apply(state, event, self._number)
        self.moving = self.moving or bool(events)

    def follow(self) -> None:
        """Read what others have appended to a shared log."""
        if self._log.shared:
            with self.intake.lock:
                self._follow()

    def _follow(self) -> None:
        state, fresh = self._current(), []
        for position, record in self._log.read(self._position):
            self._position = position
            event = event_of(record)
            if event.event_id not in self.intake.recent_ids:
                fresh.append(event)
                self.intake.recent_ids.add([event.event_id])
        with state.lock:
            for event in fresh:
                apply(state, event, self._number)
        self.moving = self.moving or bool(fresh)

    # What was shown

    def show(self, state: LiveState, user_id: int, answer: Recommendations) -> None:
        """The list was shown: the state knows at once, the log soon (`flush`)."""
        rooms = np.array([room.room_id for room in answer.rooms], dtype=np.int64)
        with state.lock:
            state.show(user_id, rooms, answer.at, answer.request_id)
        with self._gate:
            self._shown.append(_Shown(user_id, answer))
            self._behind += len(answer.rooms)
            while self._behind > _MOST_BEHIND:
                self._behind -= len(self._shown.popleft().answer.rooms)

    def flush(self) -> None:
        """Put the lists that wait into the log. Where that fails they wait on, and the observer is told."""
        with self.intake.lock:
            self._flush()

    def _flush(self) -> None:
        with self._gate:
            waiting, self._shown, self._behind = list(self._shown), deque(), 0
        if not waiting:
            return
        events = [event for one in waiting for event in impressions(one.user_id, one.answer)]
        try:
            self._log.append([record_of(event) for event in events])
        except EventLogError as error:
            with self._gate:
                self._shown.extendleft(reversed(waiting))
                self._behind += len(events)
            if self._problem is None:
                self._observer.failed("log", str(error))
            self._problem = str(error)
            return
        self._problem = None
        self.intake.recent_ids.add(event.event_id for event in events)
        self._observer.events({("impression", "accepted"): len(events)})

    def behind(self) -> int:
        """Impressions that are not in the log yet."""
        return self._behind

    def problems(self) -> tuple[str, ...]:
        """What a person should look into."""
        return () if self._problem is None else (self._problem,)

    # The end

    def checkpoint(self, state: LiveState, release_id: str) -> None:
        """Keep the state in the file; one that cannot be written is told to the observer, and the old one stays."""
        if self._file is None or not self.moving:
            return
        with self.intake.lock:  # nobody appends: the state is what the log says up to its end
            self._flush()
            if self._shown:
                return  # the log cannot be written; a checkpoint would be ahead of it
            position = self._position if self._log.shared else self._log.end()
            kept = snapshot_of(state, release_id, position, self.intake.recent_ids)
        try:
            write_checkpoint(self._file, kept)
        except OSError as error:
            self._observer.failed("checkpoint", f"{self._file} cannot be written ({error}); a restart reads more of the log")

    def close(self, state: LiveState, release_id: str) -> None:
        """Put everything away. Safe to repeat."""
        if self._closed:
            return
        self._closed = True
        self.checkpoint(state, release_id)
        self.flush()
        self._log.close()

    def _current(self) -> LiveState:
        assert self._state is not None, "the journal has restored no state yet"
        return self._state


def impressions(user_id: int, answer: Recommendations) -> list[ImpressionShown]:
    """What the log says of a list. A client that reports one itself under the same event id changes nothing."""
    return [
        ImpressionShown(
            event_id=f"{answer.request_id}:{room.room_id}",
            at=answer.at,
            room_id=room.room_id,
            author_id=room.author_id,
            user_id=user_id,
            request_id=answer.request_id,
            position=position,
            surface=answer.surface,
            score=room.scores["click"],
            model_version=answer.model_version,
        )
        for position, room in enumerate(answer.rooms)
    ]


def _time(event: Event) -> int:
    return event.at
