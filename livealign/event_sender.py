"""Events sent in batches by a thread, so that an application does not wait.

with EventSender(Client("http://127.0.0.1:3000", key="…")) as events:
    events.send({"kind": "like", "event_id": "e1", "at": 1748950000000, "room_id": 7, "author_id": 3, "user_id": 17})
"""

import threading
import time
from collections.abc import Callable
from queue import Empty, Full, Queue

from livealign.client import MAX_EVENTS, Client, ClientError
from livealign.client_types import IngestResponse, RejectedEvent, SentEvent


class EventSender:
    """A queue of events that a thread sends in batches; use it as a context manager.

    Args:
        client: with a key that may write.
        every: seconds after which waiting events are sent at the latest.
        most: events that may wait; `send` raises beyond it, so that a dead service does not fill the memory.
        rejected: receives the events that the service rejected, or that cannot be sent, from the thread.

    Raises:
        ClientError: at the end of the block, if events could not be sent; `unsent` holds them. An error of `rejected` ends the
            thread and is raised there too; the events of that batch were sent.
    """

    def __init__(
        self,
        client: Client,
        *,
        every: float = 0.5,
        most: int = 100_000,
        rejected: Callable[[SentEvent, RejectedEvent], None] | None = None,
    ) -> None:
        self._client, self._every, self._rejected = client, every, rejected
        self._waiting: Queue[SentEvent] = Queue(most)
        self._begun, self._over = False, threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-sender", daemon=True)
        self.accepted = self.duplicate = self.rejected = 0
        self.unsent: list[SentEvent] = []
        self._problem: Exception | None = None

    def __enter__(self) -> "EventSender":
        if self._begun:
            raise ClientError("this EventSender was used already; make another for each `with` block")
        self._begun = True
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._problem is not None and kind is None:
            raise self._problem

    def send(self, event: SentEvent) -> None:
        """Queue an event.

        Raises:
            ClientError: too many events wait, the thread has ended because the service refused a batch, or the call is outside
                the `with` block, where nothing would send the event.
        """
        if self._problem is not None:
            raise self._problem
        if not self._begun or self._over.is_set():
            when = "after its `with` block has ended" if self._begun else "before its `with` block"
            raise ClientError(f"an event was given to an EventSender {when}, which sends it; call `send` inside the block")
        try:
            self._waiting.put_nowait(event)
        except Full:
            raise ClientError(f"{self._waiting.maxsize} events wait for {self._client.url}; is it running?") from None

    def _run(self) -> None:
        batch: list[SentEvent] = []
        try:
            while not self._over.is_set() or not self._waiting.empty():
                batch = self._batch()
                answer: IngestResponse | None = self._client.events(batch) if batch else None
                sent, batch = batch, []
                if answer is not None:
                    self._count(sent, answer)
        except Exception as error:
            self._problem = error  # raised by `send` and at the end of the block
            self.unsent = [*batch, *self._rest()]

    def _count(self, sent: list[SentEvent], answer: IngestResponse) -> None:
        self.accepted += answer["accepted"]
        self.duplicate += answer["duplicate"]
        self.rejected += answer["rejected"]
        if self._rejected is not None:
            for rejection in answer["rejections"]:
                self._rejected(sent[rejection["place"]], rejection)

    def _batch(self) -> list[SentEvent]:
        """The events of the next call: as many as one takes, or those that came in time."""
        batch: list[SentEvent] = []
        until = time.monotonic() + self._every
        while len(batch) < MAX_EVENTS and (left := until - time.monotonic()) > 0:
            try:
                batch.append(self._waiting.get(timeout=min(left, 0.05) if self._over.is_set() or not batch else left))
            except Empty:
                if self._over.is_set():
                    break
        return batch

    def _rest(self) -> list[SentEvent]:
        rest = []
        while not self._waiting.empty():
            rest.append(self._waiting.get_nowait())
        return rest
