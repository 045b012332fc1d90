"""Rate limits: a token bucket for each sender, and a bounded number of requests in hand."""

import math
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from livealign.errors import LiveAlignError

REQUESTS_VARIABLE, EVENTS_VARIABLE = "LIVEALIGN_REQUESTS_PER_SECOND", "LIVEALIGN_EVENTS_PER_SECOND"
KEYLESS_VARIABLE = "LIVEALIGN_KEYLESS_REQUESTS_PER_SECOND"
REQUESTS_PER_SECOND, EVENTS_PER_SECOND = 2_000.0, 100_000.0  # of a key
KEYLESS_PER_SECOND = (
    50.0  # of an address without a key: a fifth of the lists that one process makes (docs/experiments/service.md)
)
BURST_SECONDS = 2.0
SENDERS = 10_000  # with a bucket in memory; a forgotten sender starts with a full one

MOST_IN_HAND = 512  # requests that are admitted and not answered
RESERVED = 128  # of these, for requests with a known key
OF_ADDRESS = 32  # of one address, without a key: what is ahead of a keyed request on the event loop


@dataclass
class InHand:
    """The number of requests that are being answered, bounded by address and in all.

    For one thread.
    """

    most: int = MOST_IN_HAND
    reserved: int = RESERVED
    of_address: int = OF_ADDRESS
    _keyless: Counter[str] = field(default_factory=Counter, init=False)
    _count: int = field(default=0, init=False)

    def take(self, address: str, *, keyed: bool) -> bool:
        """Take a place; False if there is none for this request."""
        if self._count >= (self.most if keyed else self.most - self.reserved):
            return False
        if not keyed:
            if self._keyless[address] >= self.of_address:
                return False
            self._keyless[address] += 1
        self._count += 1
        return True

    def release(self, address: str, *, keyed: bool) -> None:
        """Give the place back."""
        self._count -= 1
        if not keyed:
            self._keyless[address] -= 1
            if not self._keyless[address]:
                del self._keyless[address]


@dataclass
class RateLimit:
    """`per_second` for each sender, with bursts of BURST_SECONDS of it. For one thread."""

    per_second: float
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict, init=False)  # left, when

    @classmethod
    def keyless(cls, environment: Mapping[str, str] = os.environ) -> "RateLimit":
        """The limit of requests of an address without a key.

        Its default is never more than a key has.

        Raises:
            LiveAlignError: as of `from_environment`.
        """
        of_key = cls.from_environment(REQUESTS_VARIABLE, REQUESTS_PER_SECOND, environment).per_second
        return cls.from_environment(KEYLESS_VARIABLE, min(KEYLESS_PER_SECOND, of_key), environment)

    @classmethod
    def from_environment(cls, variable: str, default: float, environment: Mapping[str, str] = os.environ) -> "RateLimit":
        """The limit in an environment variable, or the default.

        Raises:
            LiveAlignError: the variable holds no positive number.
        """
        text = environment.get(variable, "")
        try:
            per_second = float(text) if text else default
        except ValueError:
            per_second = math.nan
        if not (math.isfinite(per_second) and per_second > 0):
            raise LiveAlignError(f"{variable} is {text[:40]!r}; give a number a second that is larger than 0")
        return cls(per_second)

    def wait(self, sender: str, cost: float = 1.0) -> float:
        """Take `cost` from the sender's bucket; returns 0.0, or the seconds to wait if it is short.

        A cost larger than a whole bucket is taken from a full one.
        """
        now, full = self.clock(), self.per_second * BURST_SECONDS
        left, since = self._buckets.pop(sender, (full, now))
        left = min(full, left + (now - since) * self.per_second)
        taken = min(cost, full)
        waits = 0.0 if left >= taken else (taken - left) / self.per_second
        self._buckets[sender] = (left if waits else left - taken, now)
        if len(self._buckets) > SENDERS:
            self._buckets.popitem(last=False)
        return waits
