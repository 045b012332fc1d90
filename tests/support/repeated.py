"""Something that a test does again and again in a thread of its own."""

import threading
from typing import Self


class Repeated:
    """Calls `once` every `pause` seconds, until the block ends."""

    def __init__(self, pause: float = 0.02) -> None:
        self._pause, self._over = pause, threading.Event()
        self._thread = threading.Thread(target=self._repeat)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def once(self) -> None:
        raise NotImplementedError

    def _repeat(self) -> None:
        while not self._over.wait(self._pause):
            self.once()
