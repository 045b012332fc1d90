"""Keep the live states and the event log in step.

The journal applies logged events, logs shown lists, and replays the log at a start.
"""

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from livealign.config import LiveConfig
from livealign.errors import EventLogError, LiveAlignError
from livealign.evaluation.tallies import Arm
from livealign.events.intake import EventIntake, RecentIds
from livealign.events.log import START, Log
from livealign.events.models import (
    ROOMLESS,
    Event,
    ListShown,
    Record,
    RoomEnded,
    RoomStarted,
    UserDeleted,
    deleted_key,
    event_of,
    is_of_user,
    record_of,
)
from livealign.events.parsing import PlacedEvent, Rejection
from livealign.live.answers import Observer, Recommendations
from livealign.live.apply import EventNumber, apply
from livealign.live.checkpoint import checkpoint_arrays, read_checkpoint, write_checkpoint
from livealign.live.closing import close_windows
from livealign.live.contradictions import contradictions
from livealign.live.deletion import apply_deletion, forget_user
from livealign.live.serving import Serving
from livealign.live.shown_lists import records_of
from livealign.live.startup import state_of
from livealign.live.state.state import LiveState
from livealign.live.states import States
from livealign.live.takeover import adopt

_MOST_BEHIND = 200_000  # impressions that wait while the log cannot be written; the oldest are dropped


class _ShownList(NamedTuple):
    """A list that is not in the log yet."""

    user_id: int
    answer: Recommendations


class Journal:
    """The log of one live core, and the receiver of its intake."""

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
        self._states: States | None = None
        self._position = START  # in a shared log: read up to here
        self._shown: deque[_ShownList] = deque()
        self._behind, self._gate, self._closed = 0, Lock(), False
        self._sending = 0  # impressions of the append that is under way: not in the log yet either
        self._problem: str | None = None  # of the log
        self._unsaved: str | None = None  # why the last checkpoint was not written
        self._unknown = False  # whether a record could not be read

    # A start

    def restored(self, serving: Serving) -> LiveState:
        """The state of the checkpoint, or else of the snapshot, with the log's later events applied.

        Raises:
            BundleError: the snapshot cannot be read. EventLogError: the log cannot be read.
        """
        snapshot = serving.snapshot()
        state, self._position = (
            state_of(snapshot, self._config, serving.history_length, 1000 * serving.segments.window_seconds),
            START,
        )
        since = snapshot.taken_at
        if self._file is not None and self._file.exists():
            try:
                saved = read_checkpoint(self._file, self._config, serving.recommender.encode_authors)
            except LiveAlignError as error:
                self._observer.failed("checkpoint", str(error))
            else:
                state, self._position, self.moving, since = saved.state, saved.position, True, 0
                self.intake.recent_ids.add(saved.event_ids)
                if saved.release_id != serving.release_id:
                    adopt(state, serving, snapshot)
        self._states = States(state)
        try:
            self._read(since, serving)
        except EventLogError:
            if self._position == START:
                raise
            self._position = START  # the checkpoint's position is gone from the log: read all that is left
            self._read(since, serving)
        state.publish()
        return state

    def _read(self, since: int, serving: Serving) -> None:
        state, ahead = self._current(), self.intake.bounds.future_ms // self._current().window_ms + 1
        for position, record in self._log.read(self._position):
            event = self._known(record)
            self._position, self.moving = position, True
            if event is None:
                continue
            if isinstance(event, UserDeleted):
                apply_deletion(state, event)
                continue
            if event.event_id in self.intake.recent_ids:
                continue
            self.intake.recent_ids.add([event.event_id])
            # Events in the snapshot are not applied twice; but the snapshot may lack a room.
            if event.at > since or isinstance(event, RoomStarted | RoomEnded):
                apply(state, event, self._number)
            last_over = state.clock // state.window_ms - ahead - 1
            if last_over > state.closed_until + 1:
                close_windows(state, last_over, serving.segments)

    # Events

    def rejections(self, events: Sequence[PlacedEvent]) -> list[Rejection]:
        """Rejections of events whose room is unknown or that contradict their room."""
        state, events = self._current(), [placed for placed in events if not isinstance(placed.event, ROOMLESS)]
        started = {placed.event.room_id for placed in events if isinstance(placed.event, RoomStarted)}
        unknown = [
            placed for placed in events if placed.event.room_id not in state.rooms and placed.event.room_id not in started
        ]
        if unknown and self._log.shared:
            self._follow()
            unknown = [placed for placed in unknown if placed.event.room_id not in state.rooms]
        detail = "room_id is of no room that is live or ended lately; send room_started first"
        rejected = [Rejection(placed.place, placed.event.event_id, "unknown_room", detail) for placed in unknown]
        return [*rejected, *contradictions(state, events, {placed.place for placed in unknown})]

    def receive(self, events: Sequence[Event]) -> int:
        """Apply events that have just been logged, in the order of time.

        Returns:
            How many came after their windows were closed.
        """
        state = self._current()
        late = state.late_events
        self._happened(sorted(events, key=lambda event: event.at))
        self.moving = self.moving or bool(events)
        return state.late_events - late  # of the same state, also if another release leads by now

    def follow(self) -> None:
        """Apply the events that other processes have appended to a shared log."""
        if self._log.shared:
            with self.intake.lock:
                self._follow()

    def _follow(self) -> None:
        fresh: list[Event | ListShown] = []
        for position, record in self._log.read(self._position):
            self._position = position
            event = self._known(record)
            if event is None:
                continue
            if isinstance(event, UserDeleted):
                if event.user_key not in self._current().deleted:
                    self.states.change(partial(apply_deletion, record=event))
            elif event.event_id not in self.intake.recent_ids:
                fresh.append(event)
                self.intake.recent_ids.add([event.event_id])
        self._happened(fresh)
        self.moving = self.moving or bool(fresh)

    def _known(self, record: bytes) -> Record | None:
        """The event of a record; None for one of a kind that this version does not know, which is reported once.

        A log in Redis has no version: another machine may write it with a newer LiveAlign.
        """
        try:
            return event_of(record)
        except ValueError:
            if not self._unknown:
                what = "the log has records that this version cannot read; they are left out, so update this process"
                self._observer.failed("log", what)
            self._unknown = True
            return None

    # Shown lists

    def show(self, user_id: int, answer: Recommendations) -> None:
        """Record a shown list: in the states at once, in the log at the next `flush`."""
        rooms, arm = [room.room_id for room in answer.rooms], answer.arm or Arm(answer.model_version, None, False, 1.0)

        def change(state: LiveState) -> None:
            state.show(user_id, np.array(rooms, dtype=np.int64), answer.at, answer.request_id)
            state.list_outcomes.shown(arm, user_id, rooms, answer.at)

        self.states.change(change)
        with self._gate:
            self._shown.append(_ShownList(user_id, answer))
            self._behind += len(answer.rooms)
            while self._behind > _MOST_BEHIND:
                self._behind -= len(self._shown.popleft().answer.rooms)

    def flush(self) -> None:
        """Append the waiting lists to the log; if that fails they wait on, and it is reported."""
        with self.intake.lock:
            self._flush()

    def _flush(self) -> None:
        with self._gate:
            waiting, self._shown, self._sending, self._behind = list(self._shown), deque(), self._behind, 0
        if not waiting:
            return
        shown_rooms = sum(len(shown.answer.rooms) for shown in waiting)
        try:
            events = [event for shown in waiting for event in records_of(shown.user_id, shown.answer)]
            self._log.append([record_of(event) for event in events])
        except (EventLogError, ValidationError) as error:
            with self._gate:
                self._shown.extendleft(reversed(waiting))
                self._behind, self._sending = self._behind + shown_rooms, 0
            if self._problem is None:
                self._observer.failed("log", str(error))
            self._problem = str(error)
            return
        self._problem, self._sending = None, 0
        self.intake.recent_ids.add(event.event_id for event in events)
        self._observer.events({("impression", "accepted"): shown_rooms})

    def delete_user(self, user_id: int, now: int) -> int:
        """Forget a user in the states and erase their records from the log; returns how many.

        The log gets a tombstone first.

        Raises:
            EventLogError: the log could not be written; delete the user again.
        """
        with self.intake.lock:
            with self._gate:
                self._shown = deque(shown for shown in self._shown if shown.user_id != user_id)
                self._behind = sum(len(shown.answer.rooms) for shown in self._shown)
            tombstone = UserDeleted(event_id=f"deleted-{uuid.uuid4().hex}", at=now, user_key=deleted_key(user_id))
            self._log.append([record_of(tombstone)])
            self.states.change(partial(forget_user, user_id=user_id, at=now))
            return self._log.erase(lambda record: is_of_user(record, user_id))

    def behind(self) -> int:
        """Number of impressions that are not in the log yet."""
        with self._gate:
            return self._behind + self._sending

    def problems(self) -> tuple[str, ...]:
        """Problems for a person to look into."""
        return tuple(problem for problem in (self._problem, self._unsaved) if problem is not None)

    def _happened(self, events: Sequence[Event | ListShown]) -> None:
        def change(state: LiveState) -> None:
            for event in events:
                apply(state, event, self._number)

        self.states.change(change)

    # The end

    def checkpoint(self, release_id: str) -> None:
        """Save the main state to the file; if that fails the old file stays, and it is reported."""
        if self._file is None or not self.moving:
            return
        with self.intake.lock:  # no event is appended meanwhile: the state has every event of the log
            self._flush()
            if self._shown:
                return  # the log cannot be written; a checkpoint would be ahead of it
            position = self._position if self._log.shared else self._log.end()
            arrays = checkpoint_arrays(self._current(), release_id, position, self.intake.recent_ids)
        try:
            write_checkpoint(self._file, arrays)
        except OSError as error:
            self._unsaved = f"{self._file} cannot be written ({error}); a restart reads more of the log"
            self._observer.failed("checkpoint", self._unsaved)
        else:
            self._unsaved = None

    def close(self, release_id: str) -> None:
        """Write a checkpoint and the waiting lists, and close the log; repeatable."""
        if self._closed:
            return
        self._closed = True
        self.checkpoint(release_id)
        self.flush()
        self._log.close()

    @property
    def states(self) -> States:
        """The states that the journal keeps in step with the log."""
        assert self._states is not None, "the journal has restored no state yet"
        return self._states

    def _current(self) -> LiveState:
        return self.states.main
