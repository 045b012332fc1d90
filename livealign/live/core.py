"""The live core: events in, lists out, refresh, takeover.

    core = LiveCore.open(bundle, EventLog(folder), home.models)
    core.start()                                      # threads: refresh every 30 s, follow the champion
    core.ingest(items)                                # the events are durable when it returns
    core.recommend(user_id=17, k=10)                  # never waits for the LLM
    core.stop()

All methods may be called from any thread.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from livealign.config import LiveConfig
from livealign.errors import BundleError
from livealign.events.intake import IngestReport
from livealign.events.log import Log
from livealign.frames.decode import FrameError
from livealign.live.answers import (
    CoreStatus,
    Observer,
    Outcome,
    SilentObserver,
    TickReport,
)
from livealign.live.apply import EventNumber, landed_number
from livealign.live.background import Background
from livealign.live.challenged import ChallengedCore
from livealign.live.describe import status_of
from livealign.live.frames import frame_event, picture_bytes
from livealign.live.journal import Journal
from livealign.live.lane import Lane
from livealign.live.moved_clock import follow_clock
from livealign.live.serving import Serving, open_serving
from livealign.live.shared.read_window import take
from livealign.live.shared.reading import SharedReading
from livealign.live.state.state import LiveState
from livealign.live.steady_clock import SteadyClock
from livealign.live.takeover import take_over
from livealign.live.tick import run_tick
from livealign.release.registry import champion_path, read_champion


class LiveCore(ChallengedCore):
    """The live service of one process: a release, the live state and the event log.

    `open` makes it.
    """

    def __init__(
        self,
        serving: Serving,
        state: LiveState,
        journal: Journal,
        models: Path | Sequence[Path],
        config: LiveConfig,
        clock: Callable[[], float],
        observer: Observer,
        shared: SharedReading | None = None,
    ) -> None:
        super().__init__(Lane(serving, state), journal, models, config, clock, observer, shared)
        self._last: TickReport | None = None
        self._problems: dict[str, str] = {} if serving.problem is None else {"backbone": serving.problem}
        self._refused = ""  # id of the champion that could not be taken over
        self._background = Background(self, journal, config, clock)

    @classmethod
    def open(
        cls,
        bundle: Path,
        log: Log,
        models: Path | Sequence[Path],
        config: LiveConfig | None = None,
        clock: Callable[[], float] | None = None,
        observer: Observer | None = None,
        *,
        checkpoint: Path | None = None,
        number: EventNumber = landed_number,
        shared: SharedReading | None = None,
    ) -> "LiveCore":
        """Load a release, and restore rooms and histories from its snapshot and the log.

        The bundle is verified first. If the release's backbone is not in `models`, the core serves without refreshing rooms and
        reports it (`status().problems`, the fallback `no_refresh`).

        Args:
            log: the event log; the core owns it from now on and closes it.
            models: folders of the backbones, in the order in which they are looked through (`Home.models`).
            clock: seconds since 1970; None: the machine's clock, whose jumps are survived (`SteadyClock`).
            checkpoint: file in which the state is saved from time to time, so that a start reads few events; None reads the
                whole log. A file that cannot be read is reported to the observer and not used.
            number: gives the ids under which events land (`live.apply`).
            shared: the reading that processes with the same log share; None: this one reads every room.

        Raises:
            BundleError: the bundle is missing or damaged.
            EventLogError: the log cannot be read.
        """
        config, observer, clock = config or LiveConfig(), observer or SilentObserver(), clock or SteadyClock()
        serving = open_serving(bundle, models, config, clock, reads=shared is None or shared.reads)
        if shared is not None:
            config = shared.state_config(serving.release_id)
        journal = Journal(log, config, clock, observer, checkpoint, number)
        core = cls(serving, journal.restored(serving), journal, models, config, clock, observer, shared)
        core.share()
        return core

    # Events in

    def ingest(self, items: Sequence[object]) -> IngestReport:
        """Take a batch of decoded events: validate, append to the log, then apply to the state.

        Events of unknown rooms are rejected: the platform must send a room's start before the room's other events.

        Raises:
            EventLogError: the log could not be written; no event of the batch was kept, and it may be sent again.
        """
        report = self._journal.intake.ingest(items)
        outcomes: Counter[tuple[str, Outcome]] = Counter()
        for event in report.accepted:
            outcomes[event.kind, "accepted"] += 1
        if report.duplicate:
            outcomes["any", "duplicate"] += report.duplicate
        if report.rejected:
            outcomes["any", "rejected"] += len(report.rejected)
            self._observer.rejected(report.rejected)
        if report.late:
            outcomes["any", "late"] += report.late
        self._observer.events(outcomes)
        return report

    def delete_user(self, user_id: int) -> int:
        """Delete what a user did: in the state, in the log, and in the checkpoint.

        The log keeps a tombstone, which landing honours.

        Returns:
            The number of records that were erased from the log.

        Raises:
            EventLogError: the log could not be written; delete the user again.
        """
        with self._ticking:
            erased = self._journal.delete_user(user_id, int(self._clock() * 1000))
        self.checkpoint()
        return erased

    def frame(self, room_id: int, at: int | None, data: bytes) -> Outcome | None:
        """Take a picture of a room: decode it, append it to the log, then apply it to the state.

        The newest of a window counts. Returns what became of it, or None if the room is unknown.

        Args:
            at: epoch milliseconds; None for now.

        Raises:
            FrameError: the picture, or its time, is rejected; the message says why.
            EventLogError: the log could not be written; the picture was not kept, and may be sent again.
        """
        with self.state.lock:
            room = self.state.rooms.get(room_id)
        if room is None:
            return None
        event = frame_event(room_id, room.author_id, int(self._clock() * 1000) if at is None else at, data)
        report = self._journal.intake.take(event)
        outcome: Outcome = "accepted" if report.accepted else "duplicate" if report.duplicate else "rejected"
        self._observer.events(Counter({("frame", outcome): 1} | ({("any", "late"): 1} if report.late else {})))
        if report.rejected:
            raise FrameError(report.rejected[0].reason, report.rejected[0].detail)
        return outcome

    def newest_frame(self, room_id: int) -> bytes | None:
        """The newest picture of a room as WebP; None if there is none."""
        with self.state.lock:
            room = self.state.rooms.get(room_id)
            frame = None if room is None else room.frame
        return None if frame is None else picture_bytes(frame.picture)

    # Health

    def status(self) -> CoreStatus:
        """The health of the core; cheap to call."""
        with self.state.lock:
            view, users = self.state.view(), len(self.state.users)
        jump = self._clock.problem() if isinstance(self._clock, SteadyClock) else None
        problems = (*self._problems.values(), *self._journal.problems(), *([jump] if jump else []))
        behind, moving, release_id = self._journal.behind(), self._journal.moving, self.serving.release_id
        if not self._is_read(self.serving) and self.serving.followed:
            problems = (*problems, f"no reader of {release_id} is alive: rooms are not refreshed; start a reader")
        status = status_of(view, self.now(), self._last, release_id, users, problems, behind, moving)
        return status if self._shared is None else status._replace(**self._shared.status(release_id)._asdict())

    # As time passes

    def tick(self, now: float | None = None) -> TickReport:
        """Encode the windows that ended by `now` (seconds since 1970; None: the clock).

        Rooms of most value (viewers × age of their codes) come first. What the time budget does not allow waits, and keeps its
        last codes. A failed encode is reported, not raised.
        """
        began = time.perf_counter()
        at = int((self._clock() if now is None else now) * 1000)
        with self._ticking:
            moved = self._clock.take_moved() if isinstance(self._clock, SteadyClock) else 0.0
            follow_clock(self.state, at, moved, self._journal.intake.bounds.future_ms if self._journal.moving else None)
            budget, started = self._config.tick_budget_seconds, time.perf_counter()
            shared = None if self._shared is None else self._shared.of(self.serving.release_id)
            report = run_tick(self.state, self.serving, at, self._journal.moving, began, budget, None, shared)
            self._tick_challengers(at, moved, lambda: budget - (time.perf_counter() - started))
        self._last = report
        self._note("encode", report.error)
        self._observer.ticked(report)
        return report

    def follow_champion(self, releases: Path) -> bool:
        """Take over the champion of `releases` if it is not in service yet; returns whether it did.

        The old release answers requests until the new one has encoded its rooms; a challenger in service has encoded its own. A
        damaged champion is reported and not taken.
        """
        with self._changing:
            try:
                champion = read_champion(releases)
                if champion == self.serving.release_id:
                    self._note("takeover", None)  # the pointer is back: what could not be taken over is not wanted
                    self._refused = ""
                if champion is None or champion in (self.serving.release_id, self._refused):
                    return False
                began = time.perf_counter()
                fresh = None  # a challenger in service needs no loading
                if champion not in self._experiment.lanes:
                    if self._shared is not None and not self._shared.may_take_over(champion, self._main):
                        return False
                    fresh = self._opened(champion_path(releases))
            except (BundleError, OSError) as error:
                self._note("takeover", str(error))
                self._refused = champion or ""
                return False
            if fresh is None:
                self._promoted(champion)
            else:
                self._take_over(fresh)
            self._note("takeover", None)
            self._note("backbone", self.serving.problem)
            self._refused = ""
            self._observer.took_over(champion, time.perf_counter() - began)
            return True

    def start(self, releases: Path | None = None) -> None:
        """Start the threads: a tick after every window and, with `releases`, following the champion."""
        self._background.start(releases)

    def stop(self) -> None:
        """Stop the threads, write a checkpoint and the waiting lists, and close the log; repeatable."""
        self._background.stop()
        if self._shared is not None:
            self._shared.close()
        with self._ticking:
            self._journal.close(self.serving.release_id)

    def checkpoint(self) -> None:
        """Save the state, so that the next start reads only later events."""
        with self._ticking:
            self._journal.checkpoint(self.serving.release_id)

    def failed(self, what: str, error: str | None) -> None:
        """Record an unexpected error of a background thread, or with None that it is over."""
        self._note(what, error)

    # Helpers

    def _take_over(self, fresh: Serving) -> None:
        main = self._main
        read = [] if self._shared is None else self._shared.join(fresh)

        def swap() -> None:
            main.swap(fresh)
            take(main.state, read, self.now())

        with self._ticking:
            take_over(main.state, main.serving, fresh, self.now(), swap, self._own_rooms)

    def _note(self, what: str, error: str | None) -> None:
        if error is None:
            self._problems.pop(what, None)
        else:
            self._problems[what] = error
            self._observer.failed(what.partition(" ")[0], error)
