"""The connections that the server waits for, with bounds on their time and number.

A connection waits for its client while headers or a body are on their way, and while it is idle. Each wait has a time limit.
An address has at most PER_ADDRESS waits, and the process a number that its open files allow: beyond that the oldest wait ends.
So a client that sends its request at once is served, however many slow ones there are. Connections whose last request had
a known key, and those of trusted proxies, are not counted for an address.
"""

import asyncio
import resource
from collections import OrderedDict
from typing import Literal, Protocol

State = Literal["headers", "body", "idle"]

SECONDS: dict[State, float] = {"headers": 10.0, "body": 20.0, "idle": 60.0}  # uvicorn closes idle ones earlier
PER_ADDRESS = 128
MOST = 4_096  # waits of the process, or half of the files that it may open
LOOK_SECONDS = 0.5  # between two looks for waits that are over


class Connection(Protocol):
    """The part of a connection that the waits use."""

    address: str
    exempt: bool  # from the bound of an address

    def end_wait(self, state: State) -> None:
        """Close the connection, with an answer if a request is half there."""


class Waits:
    """The waits of one server, for the thread of its event loop.

    Every operation takes constant time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int | None = None) -> None:
        self._loop = loop
        self._most = most or min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._until: dict[State, OrderedDict[Connection, float]] = {state: OrderedDict() for state in SECONDS}
        self._state: dict[Connection, State] = {}
        self._bounded: OrderedDict[Connection, None] = OrderedDict()  # not exempt, the oldest wait first
        self._of_address: dict[str, OrderedDict[Connection, None]] = {}
        self._looking = False

    def __len__(self) -> int:
        return len(self._state)

    def begin(self, connection: Connection, state: State) -> None:
        """The server waits for the client from now on; an earlier wait of the connection is over."""
        self.end(connection)
        self._state[connection] = state
        self._until[state][connection] = self._loop.time() + SECONDS[state]
        if not connection.exempt:
            self._bounded[connection] = None
            of_address = self._of_address.setdefault(connection.address, OrderedDict())
            of_address[connection] = None
            if len(of_address) > PER_ADDRESS:
                self._give_up(next(iter(of_address)))
        if len(self._state) > self._most and self._bounded:
            self._give_up(next(iter(self._bounded)))
        if not self._looking:
            self._looking = True
            self._loop.call_later(LOOK_SECONDS, self._look)

    def end(self, connection: Connection) -> None:
        """The client has sent what the server waited for, or is gone."""
        state = self._state.pop(connection, None)
        if state is None:
            return
        del self._until[state][connection]
        self._bounded.pop(connection, None)
        of_address = self._of_address.get(connection.address)
        if of_address is not None:
            of_address.pop(connection, None)
            if not of_address:
                del self._of_address[connection.address]

    def state(self, connection: Connection) -> State | None:
        """The state in which a connection is awaited; None if it is not awaited."""
        return self._state.get(connection)

    def _give_up(self, connection: Connection) -> None:
        state = self._state[connection]
        self.end(connection)
        connection.end_wait(state)

    def _look(self) -> None:
        now = self._loop.time()
        for waiting in self._until.values():
            while waiting and (oldest := next(iter(waiting.items())))[1] <= now:
                self._give_up(oldest[0])
        self._looking = bool(self._state)
        if self._looking:
            self._loop.call_later(LOOK_SECONDS, self._look)
