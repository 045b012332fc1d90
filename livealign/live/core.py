"""The live core: a release, what the platform is doing right now, and the log of what was seen; all that the service answers.

    core = LiveCore.open(bundle, EventLog(folder), home.models)
    core.start()                                      # refresh every 30 s, follow the champion, beside the callers
    core.ingest(items)                                # durable when it returns
    core.recommend(user_id=17, k=10)                  # never waits for the LLM
    core.stop()

All methods may be called from any thread.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.errors import BackboneError, BundleError
from livealign.events.intake import IngestReport
from livealign.events.log import Log
from livealign.live.answers import (
    CoreStatus,
    CoreVersion,
    EmbeddedSegments,
    Observer,
    Outcome,
    Recommendations,
    RoomState,
    SegmentText,
    SilentObserver,
    SimilarRoom,
    TickReport,
)
from livealign.live.apply import EventNumber, landed_number
from livealign.live.background import Background
from livealign.live.describe import described, newest_window
from livealign.live.journal import Journal
from livealign.live.recommender import Reader, Request, without_content
from livealign.live.refresh import Refreshed, close_windows, rooms_with_news
from livealign.live.serving import Serving, open_serving
from livealign.live.state.state import LiveState, LiveView
from livealign.live.takeover import take_over
from livealign.llm.segment_text import WindowText, compose_text
from livealign.release.registry import champion_path, read_champion


class LiveCore:
    """One process's live state. Made by `open`."""

    def __init__(
        self,
        serving: Serving,
        state: LiveState,
        journal: Journal,
        models: Path,
        config: LiveConfig,
        clock: Callable[[], float],
        observer: Observer,
    ) -> None:
        self._serving, self.state, self._journal = serving, state, journal
        self._models, self._config, self._clock, self._observer = models, config, clock, observer
        self._ticking, self._changing = Lock(), Lock()  # one refresh, one takeover at a time
        self._last: TickReport | None = None
        self._problems: dict[str, str] = {} if serving.problem is None else {"backbone": serving.problem}
        self._refused = ""  # the champion that could not be taken over
        self._without: tuple[LiveView, LiveView] | None = None  # a view, and the same without content
        self._background = Background(self, journal, config, clock)

    @classmethod
    def open(
        cls,
        bundle: Path,
        log: Log,
        models: Path,
        config: LiveConfig | None = None,
        clock: Callable[[], float] = time.time,
        observer: Observer | None = None,
        *,
        checkpoint: Path | None = None,
        number: EventNumber = landed_number,
    ) -> "LiveCore":
        """Verify the bundle, load its models, and restore rooms and histories: the snapshot, then the log's events.

        Where the release's backbone is not in `models` the core serves what it has and says so (`status().problems`, the
        fallback `no_refresh`): rooms are not refreshed.

        Args:
            log: where events are kept; the core owns it from now on and closes it.
            models: folder of the backbones (`Home.models`).
            clock: seconds since 1970.
            checkpoint: file in which the state is kept from time to time, so that a start reads few events; None reads
                the whole log. A file that cannot be read is told to the observer and not used.
            number: the ids under which events land (`live_apply`).

        Raises:
            BundleError: the bundle is missing or damaged.
            EventLogError: the log cannot be read.
        """
        config, observer = config or LiveConfig(), observer or SilentObserver()
        serving = open_serving(bundle, models, config, clock)
        journal = Journal(log, config, clock, observer, checkpoint, number)
        state = journal.restored(serving)
        return cls(serving, state, journal, models, config, clock, observer)

    # What comes in

    def ingest(self, items: Sequence[object]) -> IngestReport:
        """Take a batch of decoded events: judged, in the log on disk, applied to rooms and histories, in that order.

        Events of rooms that are not known are rejected: the platform has to tell that a room has started before anything
        that happens in it.

        Raises:
            EventLogError: the log could not be written; nothing of the batch was kept, and it may be sent again.
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
        self._observer.events(outcomes)
        return report

    # What goes out

    def recommend(
        self,
        user_id: int,
        k: int,
        exclude: Collection[int] = (),
        surface: str | None = None,
        at: int | None = None,
        content: bool = True,
        record: bool = True,
    ) -> Recommendations:
        """At most `k` rooms that are live, best first. Shown rooms are logged as impressions under the request id.

        Until the first event the platform stands still at the moment of the release's snapshot, and nothing is logged.

        Args:
            user_id: one never seen in training gets a list too, by what is on now.
            k: 1 to MAX_K. exclude: room ids to leave out.
            surface: where the list is shown, for the log.
            at: epoch milliseconds; None for now. Lists of other moments than now are not logged.
            content: False ranks by who is streaming alone, as if nothing were known of the moment; such a list is for
                comparison and is not logged.
            record: False logs nothing and remembers nothing as shown: for whoever only looks, or may not write.

        Raises:
            LiveAlignError: `k` is out of bounds.
        """
        moment = self.now() if at is None else at
        request = Request(moment, k, exclude, surface, content)
        with self.state.lock:
            serving, view = self._serving, self.state.view()
            reader = self._reader(view, user_id, moment)
            if not content:
                view = self._without_content(view)
        answer = serving.recommender.recommend(view, reader, request)
        if serving.refresher is None:
            answer = answer._replace(fallbacks=(*answer.fallbacks, "no_refresh"))
        if record and content and at is None and answer.rooms and self._journal.moving:
            self._journal.show(self.state, user_id, answer)
        self._observer.recommended(answer.seconds or {}, answer.fallbacks)
        return answer

    def embed(self, segments: Sequence[SegmentText]) -> EmbeddedSegments:
        """Embeddings, aligned vectors and codes of segments that are no part of the state.

        Raises:
            BackboneError: the release's backbone is not on this machine.
        """
        serving = self._serving
        if serving.refresher is None:
            raise BackboneError(serving.problem or "the release has no encoder")
        config = serving.refresher.segments
        windows = [60 * one.minute // config.window_seconds for one in segments]
        texts = [
            compose_text(WindowText(age, age, one.title, one.category, one.speech, tuple(one.chat)), (), config)
            for age, one in zip(windows, segments, strict=True)
        ]
        embeddings = serving.refresher.encode(texts)
        authors = np.array([-1 if one.author_id is None else one.author_id for one in segments], dtype=np.int64)
        vectors, codes = serving.recommender.aligned(authors, embeddings)
        return EmbeddedSegments(embeddings, vectors, codes, [serving.recommender.names(path) for path in codes.tolist()])

    def rooms(self, limit: int = 50, offset: int = 0) -> tuple[RoomState, ...]:
        """A page of the rooms that are live now, those with most viewers first; of each the newest window alone."""
        with self.state.lock:
            serving, view = self._serving, self.state.view()
        now = self.now()
        rows = view.live_at(now)
        viewers = np.nan_to_num(view.counts[rows, 0])
        order = rows[np.lexsort((view.room_id[rows], -viewers))][offset : offset + limit]
        return tuple(newest_window(described(view, int(row), serving.recommender, now)) for row in order)

    def room(self, room_id: int) -> RoomState | None:
        """One room with its last windows, also shortly after its end; None where it is not known."""
        with self.state.lock:
            serving, view = self._serving, self.state.view()
        rows = np.flatnonzero(view.room_id == room_id)
        return described(view, int(rows[0]), serving.recommender, self.now()) if len(rows) else None

    def similar(self, room_id: int, k: int = 10) -> tuple[SimilarRoom, ...] | None:
        """The live rooms whose present moment is most like this one's; None where the room is not known."""
        with self.state.lock:
            serving, view = self._serving, self.state.view()
        here = np.flatnonzero(view.room_id == room_id)
        if not len(here):
            return None
        now = self.now()
        rows = view.live_at(now)
        rows = rows[rows != here[0]]
        likeness = view.vectors[rows] @ view.vectors[here[0]]
        best = np.argsort(-likeness, kind="stable")[:k]
        return tuple(
            SimilarRoom(newest_window(described(view, int(rows[one]), serving.recommender, now)), float(likeness[one]))
            for one in best
        )

    def score(self, user_id: int, room_ids: Sequence[int], at: int) -> NDArray[np.float32]:
        """Probabilities [rooms, tasks] of a user and these rooms at a moment; NaN for a room that is not known.

        What `recommend` ranks by, without any list: for comparison with the batch pipeline.
        """
        with self.state.lock:
            serving, view = self._serving, self.state.view()
            reader = self._reader(view, user_id, at)
        place = {room_id: row for row, room_id in enumerate(view.room_id.tolist())}
        known = [number for number, room_id in enumerate(room_ids) if room_id in place]
        scores = np.full((len(room_ids), len(serving.recommender.ranker.config.tasks)), np.nan, dtype=np.float32)
        if known:
            rows = np.array([place[room_ids[number]] for number in known], dtype=np.int64)
            scores[known] = serving.recommender.scores(view, rows, reader, at)
        return scores

    def version(self) -> CoreVersion:
        """What is being served."""
        return self._serving.version()

    def status(self) -> CoreStatus:
        """How the core is; cheap."""
        now, last = self.now(), self._last
        with self.state.lock:
            view, users = self.state.view(), len(self.state.users)
        live = view.live_at(now)
        content_at = view.content_at[live]
        ages = (now - content_at[content_at > 0]) / 1000
        waiting = int(view.waiting.sum())
        problems = (*self._problems.values(), *self._journal.problems())
        return CoreStatus(
            release_id=self._serving.release_id,
            ready=True,
            degraded=bool(waiting) or bool(problems),
            problems=problems,
            live_rooms=len(live),
            rooms=len(view.room_id),
            users=users,
            windows_waiting=waiting,
            last_tick_at=None if last is None else last.at,
            last_tick_seconds=None if last is None else last.seconds,
            staleness_p50_seconds=float(np.percentile(ages, 50)) if len(ages) else None,
            staleness_p99_seconds=float(np.percentile(ages, 99)) if len(ages) else None,
            log_behind_records=self._journal.behind(),
        )

    def now(self) -> int:
        """Epoch milliseconds: the clock's, or the snapshot's moment as long as no event has come."""
        return int(self._clock() * 1000) if self._journal.moving else self.state.clock

    # What time does

    def tick(self, now: float | None = None) -> TickReport:
        """Encode the windows that have ended by `now` (seconds since 1970; None for the clock) and show them.

        Rooms of most value (viewers × age of their codes) come first; what the budget does not allow waits and keeps its last
        codes. A failed encode is reported, not raised.
        """
        began = time.perf_counter()
        at = int((self._clock() if now is None else now) * 1000)
        with self._ticking:
            state, refresher = self.state, self._serving.refresher
            with state.lock:
                if self._journal.moving:
                    state.new_day(at)
                    state.forget_rooms(at)
                if len(state.moments) > self._config.max_moments:
                    state.compact()
            until = int(at - 1000 * self._config.lateness_seconds) // state.window_ms - 1
            dropped = close_windows(state, until, self._serving.segments)
            rooms = rooms_with_news(state, at)
            done = Refreshed(deferred=len(rooms))
            if refresher is not None:
                done = refresher.refresh(state, rooms, self._config.tick_budget_seconds)
            ages = [*done.ages_ms, *self._defer(rooms, at)]
            report = TickReport(
                at=at,
                rooms_with_news=len(rooms),
                encoded=done.encoded,
                deferred=done.deferred,
                distinct_texts=done.distinct_texts,
                windows_waiting=done.deferred,
                windows_dropped=dropped,
                seconds=time.perf_counter() - began,
                encode_seconds=done.encode_seconds,
                batch_sizes=tuple(done.batch_sizes),
                staleness_seconds=(np.array(ages) / 1000).astype(np.float32),
                degraded=done.deferred > 0,
                error=done.error,
            )
        self._last = report
        self._note("encode", done.error)
        self._observer.ticked(report)
        return report

    def follow_champion(self, releases: Path) -> bool:
        """Take over the champion of `releases` where it is another release than the one in service; whether it did.

        Requests are answered by the old release until the new one has its rooms, then by the new one. A damaged
        champion is reported and not taken.
        """
        with self._changing:
            try:
                champion = read_champion(releases)
                if champion is None or champion in (self._serving.release_id, self._refused):
                    return False
                began = time.perf_counter()
                fresh = open_serving(champion_path(releases), self._models, self._config, self._clock, self._serving)
            except (BundleError, OSError) as error:
                self._note("takeover", str(error))
                self._refused = champion or ""
                return False
            with self._ticking:
                take_over(self.state, self._serving, fresh, self.now(), lambda: self._swap(fresh))
            self._note("takeover", None)
            self._note("backbone", fresh.problem)
            self._refused = ""
            self._observer.took_over(fresh.release_id, time.perf_counter() - began)
            return True

    def start(self, releases: Path | None = None) -> None:
        """Begin to tick at the end of every window and, where `releases` is given, to follow its champion."""
        self._background.start(releases)

    def stop(self) -> None:
        """End the background work, write what waits, leave a checkpoint, and close the log. Safe to repeat."""
        self._background.stop()
        with self._ticking:
            self._journal.close(self.state, self._serving.release_id)

    def checkpoint(self) -> None:
        """Keep the state as it is, so that a start from here reads only what comes after."""
        with self._ticking:
            self._journal.checkpoint(self.state, self._serving.release_id)

    def failed(self, what: str, error: str) -> None:
        """Something in the background went wrong that nobody foresaw."""
        self._note(what, error)

    # Inside

    def _reader(self, view: LiveView, user_id: int, at: int) -> Reader:
        history = self.state.users.history(user_id, at)
        since = at - int(60_000 * self._config.seen_minutes)
        moments = view.moments
        return Reader(
            user_id,
            moments["author_id"][history.moment],
            moments["vector"][history.moment],
            moments["codes"][history.moment],
            self.state.user_before(user_id),
            self.state.users.not_entered(user_id, since, at),
        )

    def _without_content(self, view: LiveView) -> LiveView:
        known = self._without
        if known is None or known[0] is not view:
            known = self._without = (view, without_content(view))
        return known[1]

    def _defer(self, rooms: Sequence, at: int) -> list[int]:
        """Mark the rooms that have to wait, and tell how old their codes are, in milliseconds."""
        with self.state.lock:
            left = [room for room in rooms if room.waiting is not None and self.state.rooms.get(room.room_id) is room]
            for room in left:
                self.state.table["waiting"][room.row] = True
            if left:
                self.state.publish()
            told = [int(self.state.table["content_at"][room.row]) for room in left]
        return [at - one for one in told if one]

    def _swap(self, fresh: Serving) -> None:
        self._serving, self._without = fresh, None

    def _note(self, what: str, error: str | None) -> None:
        if error is None:
            self._problems.pop(what, None)
        else:
            self._problems[what] = error
            self._observer.failed(what, error)
