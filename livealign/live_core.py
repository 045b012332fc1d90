"""The live core: a release, what the platform is doing right now, and the log of what was seen; all that the service answers.

    core = LiveCore.open(bundle, EventLog(folder), home.models)
    core.start()                                      # refresh every 30 s, follow the champion, beside the callers
    core.ingest(items)                                # durable when it returns
    core.recommend(user_id=17, k=10)                  # never waits for the LLM
    core.stop()

All methods may be called from any thread.
"""

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from livealign.config import LiveConfig
from livealign.event_intake import EventIntake, IngestReport
from livealign.event_log import Log
from livealign.live_answers import (
    CoreStatus,
    CoreVersion,
    EmbeddedSegments,
    Observer,
    RoomState,
    SegmentText,
    SilentObserver,
    SimilarRoom,
    TickReport,
)
from livealign.recommend import Recommender
from livealign.recommendations import Recommendations


class LiveCore:
    """One process's live state. Made by `open`."""

    def __init__(
        self,
        recommender: Recommender,
        intake: EventIntake,
        models: Path,
        config: LiveConfig,
        clock: Callable[[], float],
        observer: Observer,
    ) -> None:
        self._recommender = recommender
        self._intake = intake
        self._models = models
        self._config = config
        self._clock = clock
        self._observer = observer

    @classmethod
    def open(
        cls,
        bundle: Path,
        log: Log,
        models: Path,
        config: LiveConfig | None = None,
        clock: Callable[[], float] = time.time,
        observer: Observer | None = None,
    ) -> "LiveCore":
        """Verify the bundle, load its models, and restore rooms and histories: the snapshot, then the log's events.

        Where the release's backbone is not in `models` the core serves what it has and says so (`status().problems`, the
        fallback `no_refresh`): rooms are not refreshed.

        Args:
            log: where events are kept; the core owns it from now on and closes it.
            models: folder of the backbones (`Home.models`).
            clock: seconds since 1970.

        Raises:
            BundleError: the bundle is missing or damaged.
            EventLogError: the log cannot be read.
        """
        recommender = Recommender.open(bundle)
        intake = EventIntake.open(log, clock)
        return cls(recommender, intake, models, config or LiveConfig(), clock, observer or SilentObserver())

    def ingest(self, items: Sequence[object]) -> IngestReport:
        """Take a batch of decoded events: judged, in the log on disk, applied to rooms and histories, in that order.

        Raises:
            EventLogError: the log could not be written; nothing of the batch was kept, and it may be sent again.
        """
        return self._intake.ingest(items)

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
        return self._recommender.recommend(user_id, k, exclude, at)

    def embed(self, segments: Sequence[SegmentText]) -> EmbeddedSegments:
        """Embeddings, aligned vectors and codes of segments that are no part of the state.

        Raises:
            BackboneError: the release's backbone is not on this machine.
        """
        raise NotImplementedError

    def rooms(self, limit: int = 50, offset: int = 0) -> tuple[RoomState, ...]:
        """A page of the rooms that are live now, those with most viewers first; of each the newest window alone."""
        raise NotImplementedError

    def room(self, room_id: int) -> RoomState | None:
        """One room with its last windows, also shortly after its end; None where it is not known."""
        raise NotImplementedError

    def similar(self, room_id: int, k: int = 10) -> tuple[SimilarRoom, ...] | None:
        """The live rooms whose present moment is most like this one's; None where the room is not known."""
        raise NotImplementedError

    def version(self) -> CoreVersion:
        """What is being served."""
        raise NotImplementedError

    def status(self) -> CoreStatus:
        """How the core is; cheap."""
        raise NotImplementedError

    def tick(self, now: float | None = None) -> TickReport:
        """Encode the windows that have ended by `now` (seconds since 1970; None for the clock) and show them.

        Rooms of most value (viewers × age of their codes) come first; what the budget does not allow waits and keeps its last
        codes. A failed encode is reported, not raised.
        """
        raise NotImplementedError

    def follow_champion(self, releases: Path) -> bool:
        """Take over the champion of `releases` where it is another release than the one in service; whether it did.

        Requests are answered by the old release until the new one has its rooms, then by the new one. A damaged
        champion is reported and not taken.
        """
        raise NotImplementedError

    def start(self, releases: Path | None = None) -> None:
        """Begin to tick at the end of every window and, where `releases` is given, to follow its champion."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the background work, write what waits, leave a checkpoint, and close the log. Safe to repeat."""
        raise NotImplementedError
