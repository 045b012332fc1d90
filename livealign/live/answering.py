"""The answers of a live core: lists, rooms, vectors and probabilities.

They come from the release in service and the live state. Only a list that is shown changes the state: it is recorded.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.evaluation.tallies import Arm
from livealign.live.answers import (
    CoreVersion,
    EmbeddedSegments,
    Explanation,
    Observer,
    Recommendations,
    RoomState,
    SegmentText,
    SimilarRoom,
    SimilarUser,
    UserState,
)
from livealign.live.describe import room_of, rooms_page, similar_rooms
from livealign.live.embed import embed_segments
from livealign.live.explain import explain
from livealign.live.journal import Journal
from livealign.live.known_users import latest_users
from livealign.live.lane import Lane
from livealign.live.recommender import Request
from livealign.live.selection import ANY_ROOM, RoomFilter
from livealign.live.serving import Serving
from livealign.live.shadow import Shadows
from livealign.live.similar_users import similar_users
from livealign.live.state.state import LiveState
from livealign.ranking.contexts import UNKNOWN, Context

STRANGER = 2**62  # no platform's user


class AnsweringCore:
    """The reading half of `LiveCore`: it answers, and never waits for the LLM."""

    def __init__(
        self, main: Lane, journal: Journal, config: LiveConfig, clock: Callable[[], float], observer: Observer
    ) -> None:
        self._main, self._journal = main, journal
        self._config, self._clock, self._observer = config, clock, observer
        self._shadows = Shadows(observer)

    @property
    def state(self) -> LiveState:
        """The state of the champion's lane, which answers for the platform."""
        return self._main.state

    @property
    def serving(self) -> Serving:
        """The champion in service."""
        return self._main.serving

    def _lane_of(self, user_id: int) -> tuple[Lane, Arm | None]:
        """The lane of a user's lists, and the arm of an experiment that they are counted for."""
        return self._main, None

    def _shadows_of(self, user_id: int) -> list[tuple[str, Lane]]:
        """The releases that rank for a user and are not shown."""
        return []

    def _is_read(self, serving: Serving) -> bool:
        """Whether the rooms of a release are read, by this process or by another."""
        return serving.refresher is not None

    def recommend(
        self,
        user_id: int,
        k: int,
        exclude: Collection[int] = (),
        surface: str | None = None,
        at: int | None = None,
        content: bool = True,
        record: bool = True,
        among: Collection[int] | None = None,
        wanted: RoomFilter = ANY_ROOM,
        context: Context = UNKNOWN,
    ) -> Recommendations:
        """At most `k` live rooms, best first.

        The rooms are logged as impressions under the request id. Until the first event, the time stands still at that of the
        release's snapshot, and nothing is logged.

        Args:
            user_id: a user who was not seen in training gets a list too, by what is on now.
            k: 1 to MAX_K. exclude: room ids to leave out.
            surface: where the list is shown, for the log.
            at: epoch milliseconds; None for now. Only lists for now are logged.
            content: False ranks by author alone, without the rooms' content. Such a list is for comparison and is not logged.
            among: ids of the only rooms to rank; those that are not live are left out. None ranks all.
            wanted: conditions on the rooms.
            context: the user's language and country, which count for a user without a history; the hour is that of the list.
            record: False neither logs the list nor remembers it as shown: for callers that only look, or may not write.

        Raises:
            LiveAlignError: `k` is out of bounds.
        """
        asked_at = self.now() if at is None else at
        request = Request(asked_at, k, exclude, surface, content, among, wanted, context)
        lane, arm = self._lane_of(user_id)
        serving, view, alone, reader = lane.read(user_id, asked_at, alone=not content)
        answer = serving.recommender.recommend(alone or view, reader, request)
        if not self._is_read(serving):
            answer = answer._replace(fallbacks=(*answer.fallbacks, "no_refresh"))
        if record and content and at is None and answer.rooms and self._journal.moving:
            arm = arm if arm is not None and arm.release == answer.model_version else None
            answer = answer._replace(arm=arm, recorded=True)
            shadows = self._shadows.read(self._shadows_of(user_id), user_id, asked_at)  # before the list is remembered
            self._journal.show(user_id, answer)
            self._shadows.add(shadows, request, answer)
        self._observer.recommended(answer.seconds or {}, answer.fallbacks)
        return answer

    def warm_up(self) -> None:
        """Rank once with content and once without, so that the first list is not slow.

        Nothing counts these lists.
        """
        at = self.now()
        for content in (True, False):
            serving, view, alone, reader = self._main.read(STRANGER, at, alone=not content)
            serving.recommender.recommend(alone or view, reader, Request(at, 10, content=content))

    def embed(self, segments: Sequence[SegmentText]) -> EmbeddedSegments:
        """Embeddings, aligned vectors and codes of segments from outside the state.

        Raises:
            BackboneError: the release's backbone is not on this machine.
        """
        return embed_segments(self.serving, segments)

    def rooms(self, limit: int = 50, offset: int = 0) -> tuple[RoomState, ...]:
        """A page of the live rooms, those with most viewers first; each has its newest window."""
        return self.found_rooms("", limit, offset)[1]

    def found_rooms(self, search: str, limit: int, offset: int) -> tuple[int, tuple[RoomState, ...]]:
        """The number of live rooms that have all words of `search`, and a page of them."""
        serving, view = self._main.view()
        return rooms_page(view, serving.recommender, self.now(), limit, offset, search)

    def users(self, limit: int = 20) -> tuple[UserState, ...]:
        """Users with a history, the latest active first."""
        at, main = self.now(), self._main
        with main.state.lock:
            return latest_users(main.state, main.serving.recommender, at, limit)

    def room(self, room_id: int) -> RoomState | None:
        """One room and its latest windows, also shortly after its end; None if it is unknown."""
        serving, view = self._main.view()
        return room_of(view, serving.recommender, self.now(), room_id)

    def similar(self, room_id: int, k: int = 10) -> tuple[SimilarRoom, ...] | None:
        """The live rooms whose present content is most similar; None if the room is unknown."""
        serving, view = self._main.view()
        return similar_rooms(view, serving.recommender, self.now(), room_id, k)

    def similar_users(self, user_id: int, k: int = 10) -> tuple[SimilarUser, ...] | None:
        """The users active lately whose taste is most similar; None if the user has no history."""
        return similar_users(self._main, user_id, self.now(), k)

    def explain(self, user_id: int, room_id: int) -> Explanation | None:
        """The reasons for a room's rank for a user now; None if the room is unknown."""
        at = self.now()
        serving, view, alone, reader = self._lane_of(user_id)[0].read(user_id, at, alone=True)
        rows = np.flatnonzero(view.room_id == room_id)
        if alone is None or not len(rows):
            return None
        return explain(serving.recommender, view, alone, reader, Request(at, 1), int(rows[0]))

    def score(self, user_id: int, room_ids: Sequence[int], at: int) -> NDArray[np.float32]:
        """The champion's probabilities [rooms, tasks] of a user; NaN for an unknown room.

        `recommend` ranks by them. This method makes no list; it is for comparison with the batch pipeline.
        """
        serving, view, _, reader = self._main.read(user_id, at)
        row_of = {room_id: row for row, room_id in enumerate(view.room_id.tolist())}
        known = [number for number, room_id in enumerate(room_ids) if room_id in row_of]
        scores = np.full((len(room_ids), len(serving.recommender.ranker.config.tasks)), np.nan, dtype=np.float32)
        if known:
            rows = np.array([row_of[room_ids[number]] for number in known], dtype=np.int64)
            scores[known] = serving.recommender.scores(view, rows, reader, at)
        return scores

    def version(self) -> CoreVersion:
        """The release in service."""
        return self.serving.version()

    def now(self) -> int:
        """Epoch milliseconds of the clock; the snapshot's time until the first event."""
        return int(self._clock() * 1000) if self._journal.moving else self.state.clock
