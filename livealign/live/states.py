"""The live states of one process, to which the same things happen in the same order.

The main state is saved and answers for the platform. Challengers have states beside it, each begun as a copy of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple

from numpy.typing import NDArray

from livealign.events.intake import RecentIds
from livealign.events.log import START
from livealign.live.checkpoint import checkpoint_arrays
from livealign.live.state.state import LiveState

Change = Callable[[LiveState], object]
"""Something that has happened, as a change of a state; called with the state's lock held."""


class States:
    """A main state and those beside it."""

    def __init__(self, main: LiveState) -> None:
        self.main = main
        self._beside: tuple[LiveState, ...] = ()
        self._changes = Lock()
        self._late: list[Change] | None = None  # since a copy was begun

    def change(self, change: Change) -> None:
        """Let something happen to all states."""
        with self._changes:
            for state in (self.main, *self._beside):
                with state.lock:
                    change(state)
            if self._late is not None:
                self._late.append(change)

    @contextmanager
    def copying(self) -> Iterator["Copying"]:
        """A copy of the main state while changes go on; one at a time.

        What happens until the copy joins happens to it then.
        """
        with self._changes:
            arrays = checkpoint_arrays(self.main, "", START, RecentIds(1))
            self._late = []
        try:
            yield Copying(self, arrays)
        finally:
            with self._changes:
                self._late = None

    def joins(self, state: LiveState) -> None:
        """From now on a state receives what happens; the caller is in `copying`."""
        with self._changes, state.lock:
            for change in self._late or ():
                change(state)
            self._beside, self._late = (*self._beside, state), None

    def leaves(self, state: LiveState) -> None:
        """From now on a state beside the main one receives nothing."""
        with self._changes:
            self._beside = tuple(other for other in self._beside if other is not state)

    def leads(self, state: LiveState) -> None:
        """A state beside the main one replaces it."""
        with self._changes:
            self.main, self._beside = state, tuple(other for other in self._beside if other is not state)


class Copying(NamedTuple):
    """A copy of the main state that is being made into another."""

    states: States
    arrays: dict[str, NDArray]  # as `checkpoint_arrays` has them

    def join(self, state: LiveState) -> None:
        """Let the finished state receive what happens, and what has since the copy was begun."""
        self.states.joins(state)
