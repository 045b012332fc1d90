"""Work in a thread of its own, for the time of a block."""

import threading
from typing import Self


class InThread:
    """Does its `work` in a thread, until the block ends."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    def work(self) -> None:
        """Work, and return soon after `over` is set."""
        raise NotImplementedError


class Repeated(InThread):
    """Calls `once` every `pause` seconds, until the block ends."""

    def __init__(self, pause: float = 0.02) -> None:
        super().__init__()
        self._pause = pause

    def once(self) -> None:
        raise NotImplementedError

    def work(self) -> None:
        while not self.over.wait(self._pause):
            self.once()
