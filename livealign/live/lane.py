"""One release in service, with a live state of its own.

The champion has a lane, and so has each challenger that is served beside it. All lanes receive the same events, and each has
the vectors and codes of its own release, so a list never mixes two.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.live.checkpoint import copied_state
from livealign.live.recommender import Reader, without_content
from livealign.live.serving import Serving
from livealign.live.state.rooms import LiveView, LlmInput
from livealign.live.state.state import LiveState
from livealign.live.states import States
from livealign.live.takeover import OwnRooms, take_over

Floats = NDArray[np.float32]


class Reading(NamedTuple):
    """What a list is made from; the parts belong together."""

    serving: Serving
    view: LiveView
    alone: LiveView | None  # the view without content, where it was wanted
    reader: Reader


class Readers(NamedTuple):
    """Users as a release sees them; the parts belong together."""

    serving: Serving
    readers: list[Reader]


class Lane:
    """A release and its state; `serving` is replaced under the state's lock only."""

    def __init__(self, serving: Serving, state: LiveState) -> None:
        self.serving, self.state = serving, state
        self._without: tuple[LiveView, LiveView] | None = None  # a view, and the same view without content

    def swap(self, fresh: Serving) -> None:
        """Put another release in service; the caller holds the state's lock."""
        self.serving, self._without = fresh, None

    def view(self) -> tuple[Serving, LiveView]:
        """The release and a view of the rooms that belong together."""
        with self.state.lock:
            return self.serving, self.state.view()

    def read(self, user_id: int, at: int, *, alone: bool = False) -> Reading:
        """The release, the rooms and the user at a time.

        Args:
            alone: the view without content is wanted too.
        """
        with self.state.lock:
            view = self.state.view()
            return Reading(self.serving, view, self._without_content(view) if alone else None, self._reader(view, user_id, at))

    def readers(self, user_ids: Sequence[int], at: int) -> Readers:
        """The release, and users at a time."""
        with self.state.lock:
            view = self.state.view()
            return Readers(self.serving, [self._reader(view, user_id, at) for user_id in user_ids])

    def llm_inputs(self) -> dict[LlmInput, Floats]:
        """The vectors of what the LLM read of the rooms' last windows."""
        with self.state.lock:
            contents = [room.content for room in self.state.rooms.values()]
        return {content.llm_input: content.vector for content in contents if content is not None}

    def same_space(self, other: "Lane") -> bool:
        """Whether both encoders give a text the same vector."""
        ours, theirs = self.serving.refresher, other.serving.refresher
        return ours is not None and theirs is not None and ours.encoder.space == theirs.encoder.space

    def _reader(self, view: LiveView, user_id: int, at: int) -> Reader:
        state = self.state
        history = state.users.history(user_id, at)
        since = at - int(60_000 * state.config.seen_minutes)
        coded_windows = view.coded_windows
        return Reader(
            user_id,
            coded_windows["author_id"][history.coded_row],
            coded_windows["vector"][history.coded_row],
            coded_windows["codes"][history.coded_row],
            coded_windows["segment_id"][history.coded_row] > 0,
            state.user_before(user_id),
            state.users.not_entered(user_id, since, at),
            state.wishes.unwanted(user_id),
        )

    def _without_content(self, view: LiveView) -> LiveView:
        cached = self._without
        if cached is None or cached[0] is not view:
            cached = self._without = (view, without_content(view))
        return cached[1]


def joined(main: Lane, fresh: Serving, states: States, now: int, own: OwnRooms = list) -> Lane:
    """A lane for another release beside `main`: a copy of its state, taken over by the release.

    Its rooms are encoded as in a takeover (`live.takeover`). No refresh may run meanwhile; events and lists go on.

    Args:
        now: epoch milliseconds. own: those of the rooms that this process encodes.

    Raises:
        BundleError: the release's snapshot cannot be read.
    """
    with states.copying() as copy:
        state = copied_state(copy.arrays, main.state.config, main.serving.recommender.encode_authors)
        lane = Lane(fresh, state)
        take_over(state, main.serving, fresh, now, lambda: None, own)
        copy.join(state)
    return lane
