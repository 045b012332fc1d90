"""A clock that goes on evenly while the machine's clock is set forward or back.

It counts from the machine's clock by the monotonic one. Small differences (a slewed clock) are followed at once. A jump is a
problem for a person to see; if the machine's clock goes back it is over, and if it stays for SETTLED_SECONDS the new time is
taken over, and the live state moves with it (`livealign.live.moved_clock`).
"""

import time
from collections.abc import Callable
from threading import Lock

TOLERANCE_SECONDS = 5.0
SETTLED_SECONDS = 60.0


class SteadyClock:
    """Seconds since 1970; may be called from any thread."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady, self._lock = wall, steady, Lock()
        self._base = wall() - steady()
        self._jump: tuple[float, float] | None = None  # seconds, and when it was seen by the monotonic clock
        self._moved = 0.0

    def __call__(self) -> float:
        """The time now."""
        with self._lock:
            steady = self._steady()
            jump = self._wall() - (self._base + steady)
            if abs(jump) <= TOLERANCE_SECONDS:
                self._base, self._jump = self._base + jump, None
            elif self._jump is None or abs(jump - self._jump[0]) > TOLERANCE_SECONDS:
                self._jump = (jump, steady)
            elif steady - self._jump[1] >= SETTLED_SECONDS:
                self._base, self._moved, self._jump = self._base + jump, self._moved + jump, None
            return self._base + steady

    def take_moved(self) -> float:
        """Seconds by which this clock was set since the last call.

        It is set when the machine's clock stays where it jumped to.
        """
        with self._lock:
            moved, self._moved = self._moved, 0.0
            return moved

    def problem(self) -> str | None:
        """The jump of the machine's clock that is going on, if there is one."""
        self()
        jump = self._jump
        if jump is None:
            return None
        direction = "forward" if jump[0] > 0 else "back"
        return (
            f"the machine's clock was set {direction} by {abs(jump[0]):,.0f} s; rooms are refreshed by the time before; "
            f"if the new time stays for {SETTLED_SECONDS:.0f} s it is taken over"
        )
