"""The part of a live core that serves challengers beside the champion."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from livealign.config import LiveConfig
from livealign.errors import BundleError, EventLogError
from livealign.evaluation.tallies import Arm
from livealign.live.answering import AnsweringCore
from livealign.live.answers import Observer
from livealign.live.experiment import Experiment, ExperimentReport, report_of
from livealign.live.journal import Journal
from livealign.live.lane import Lane, joined
from livealign.live.moved_clock import follow_clock
from livealign.live.serving import Serving, open_serving
from livealign.live.shared.reading import SharedReading
from livealign.live.state.rooms import LiveRoom
from livealign.live.tick import run_tick
from livealign.release.challengers import Challengers, read_challengers


class ChallengedCore(AnsweringCore):
    """A core whose lists are of the champion or of a challenger, by the user."""

    def __init__(
        self,
        main: Lane,
        journal: Journal,
        models: Path | Sequence[Path],
        config: LiveConfig,
        clock: Callable[[], float],
        observer: Observer,
        shared: SharedReading | None,
    ) -> None:
        super().__init__(main, journal, config, clock, observer)
        self._models, self._shared = models, shared
        self._ticking, self._changing = Lock(), Lock()  # one refresh, one change of what is served at a time
        self._experiment = Experiment()
        self._unread: str | None = None  # why the file of challengers could not be read, at the last look

    @abstractmethod
    def failed(self, what: str, error: str | None) -> None:
        """Record a problem, or with None that it is over."""

    def follow_challengers(self, releases: Path) -> bool:
        """Serve the challengers that the releases folder names; returns whether anything changed.

        A challenger begins with a copy of the champion's state, as in a takeover. One that cannot be loaded is a problem, and
        is tried again when the folder says something else. While the folder cannot be read, all stays as it is.
        """
        with self._changing:
            try:
                about, unread = read_challengers(releases), None
            except (BundleError, OSError) as error:
                about, unread = self._experiment.about, str(error)
            if unread != self._unread:
                self.failed("challengers", unread)
                self._unread = unread
            if about is not None and about.champion != self._main.serving.release_id:
                about = None  # the champion is not taken over yet
            if about == self._experiment.about or (about is not None and not self._are_read(about)):
                return False
            self._serve(about, releases)
            return True

    def experiment(self) -> ExperimentReport:
        """What is served beside the champion, and what came of it so far."""
        main = self._main
        with main.state.lock:
            return report_of(main, self._experiment, self._shadows.summaries(), self._config)

    def compare_shadow(self, seconds: float = 0.5) -> bool:
        """Compare the next shadowed list; returns False if none came in time."""
        return self._shadows.compare(seconds)

    def share(self) -> bool:
        """Publish what this process has read, and follow what others have.

        Returns False if this process reads alone.
        """
        if self._shared is None:
            return False
        report = self._shared.step([self._main, *self._experiment.lanes.values()])
        if report.problems:
            self.failed("vectors", "; ".join(report.problems))
        elif report.followed:  # a step without news does not end a problem, which would be seen for a moment only
            self.failed("vectors", None)
        self._observer.shared(report)
        return True

    def _opened(self, bundle: Path) -> Serving:
        """A release to be served next to the champion, or after it."""
        reads = self._shared is None or self._shared.reads
        return open_serving(bundle, self._models, self._config, self._clock, self._main.serving, reads=reads)

    def _is_read(self, serving: Serving) -> bool:
        by_others = self._shared is not None and self._shared.is_read(serving.release_id)
        return by_others or super()._is_read(serving)

    def _own_rooms(self, rooms: Sequence[LiveRoom]) -> list[LiveRoom]:
        """Those of the rooms that this process reads now."""
        if self._shared is None:
            return list(rooms)
        return self._shared.of(self.serving.release_id).own(self.state, rooms)

    def _are_read(self, about: Challengers) -> bool:
        """Whether the challengers' rooms are read, where other processes read them."""
        if self._shared is None:
            return True
        new = [one.release for one in about.challengers if one.release not in self._experiment.lanes]
        read = [self._shared.may_take_over(release, self._main) for release in new]  # all of them, so that all waits begin now
        return all(read)

    def _lane_of(self, user_id: int) -> tuple[Lane, Arm | None]:
        lane, arm = self._experiment.serves(user_id)
        return lane or self._main, arm

    def _shadows_of(self, user_id: int) -> list[tuple[str, Lane]]:
        return self._experiment.shadows(user_id)

    def _serve(self, about: Challengers | None, releases: Path) -> None:
        """Drop the challengers that are served no more, then load the new ones."""
        wanted = () if about is None else tuple(one.release for one in about.challengers)
        old = self._experiment
        for release in old.refused:
            self.failed(f"challenger {release}", None)
        self._experiment = Experiment(about, {name: lane for name, lane in old.lanes.items() if name in wanted})
        for release in old.lanes.keys() - self._experiment.lanes.keys():
            self._drop(release, old.lanes[release])
        for release in wanted:
            if release not in self._experiment.lanes:
                self._load(releases / release)
        self._observer.challenged(tuple(self._experiment.lanes))

    def _load(self, bundle: Path) -> None:
        release, running, main = bundle.name, self._experiment, self._main
        try:
            fresh = self._opened(bundle)
            with self._ticking:
                lane = joined(main, fresh, self._journal.states, self.now(), self._own_rooms)
        except (BundleError, OSError) as error:
            self.failed(f"challenger {release}", f"challenger {release} is not served: {error}")
            self._experiment = Experiment(running.about, running.lanes, running.refused | {release})
            return
        if self._shared is not None:
            with suppress(EventLogError):  # the next step tries again
                self._shared.of(release).look(fresh)
                self._shared.of(release).follow(lane)
        self._shadows.forget(release)
        self.failed(f"challenger {release}", fresh.problem and f"challenger {release}: {fresh.problem}")
        self._experiment = Experiment(running.about, {**running.lanes, release: lane}, running.refused)

    def _drop(self, release: str, lane: Lane) -> None:
        self._journal.states.leaves(lane.state)
        self.failed(f"challenger {release}", None)
        self.failed(f"encode {release}", None)

    def _promoted(self, release: str | None) -> bool:
        """Let a challenger that has become the champion lead; the experiment is over. False: it is no challenger."""
        old = self._experiment
        lane = old.lanes.get(release or "")
        if lane is None:
            return False
        with self._ticking:
            self._experiment = Experiment()
            self._journal.states.leads(lane.state)
            self._main = lane
        for name, other in old.lanes.items():
            self._drop(name, other)
        for name in old.refused:
            self.failed(f"challenger {name}", None)
        self._observer.challenged(())
        return True

    def _tick_challengers(self, at: int, moved: float, seconds_left: Callable[[], float]) -> None:
        """Refresh the challengers' rooms in the time that the champion's have left; the caller holds `_ticking`.

        Texts that the champion's encoder has encoded are not encoded again by an encoder of the same space.
        """
        moving, bounds = self._journal.moving, self._journal.intake.bounds
        for release, lane in self._experiment.lanes.items():
            follow_clock(lane.state, at, moved, bounds.future_ms if moving else None)
            known = self._main.llm_inputs() if lane.same_space(self._main) else None
            shared = None if self._shared is None else self._shared.of(release)
            report = run_tick(lane.state, lane.serving, at, moving, None, max(seconds_left(), 0.0), known, shared)
            self.failed(f"encode {release}", report.error and f"challenger {release}: {report.error}")
