"""The threads of a core: refresh, journal, and following the champion."""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from livealign.config import LiveConfig
from livealign.live.answers import TickReport
from livealign.live.journal import Journal
from livealign.live.state.state import LiveState

_REFRESH_NICENESS = 5  # added to that of the process: a list that needs a core has it before the LLM
_SHARE_SECONDS = 0.2  # between two looks at what other processes have read
_LOOK_SECONDS = 0.5  # between looks at the clock: a clock other than the wall clock may jump


class Core(Protocol):
    """The part of a live core that the background threads use."""

    @property
    def state(self) -> LiveState: ...
    def tick(self) -> TickReport: ...
    def checkpoint(self) -> None: ...
    def follow_champion(self, releases: Path) -> bool: ...
    def follow_challengers(self, releases: Path) -> bool: ...
    def compare_shadow(self) -> bool: ...
    def share(self) -> bool: ...
    def failed(self, what: str, error: str | None) -> None: ...


class Background:
    """Threads that end with `stop`."""

    def __init__(self, core: Core, journal: Journal, config: LiveConfig, clock: Callable[[], float]) -> None:
        self._core, self._journal, self._config, self._clock = core, journal, config, clock
        self._stop = Event()
        self._threads: list[Thread] = []
        self._saved_at, self._ticked = 0.0, 0.0

    def start(self, releases: Path | None) -> None:
        """Start the threads; without `releases` no champion is followed."""
        self._saved_at = time.monotonic()
        self._ticked = self._window()
        work = [("refresh", self._refresh), ("journal", self._keep_journal), ("vectors", self._share)]
        if releases is not None:
            work += [("champion", lambda: self._follow(releases)), ("shadow", self._compare)]
        self._threads = [Thread(target=self._guarded, args=job, name=f"livealign-{job[0]}", daemon=True) for job in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads; each finishes its current step."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _guarded(self, name: str, step: Callable[[], None]) -> None:
        """Repeat a step; an unexpected error is a problem until a step succeeds: the service must go on answering."""
        if name == "refresh" and sys.platform == "linux":  # elsewhere threads have no niceness of their own
            with suppress(OSError):  # a sandbox may refuse it; the refresh works without
                niceness = os.getpriority(os.PRIO_PROCESS, 0) + _REFRESH_NICENESS
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
        failed = False
        while not self._stop.is_set():
            try:
                step()
            except Exception as error:
                failed = True
                self._core.failed(name, f"{type(error).__name__}: {error}")
                self._stop.wait(1.0)
                continue
            if failed:
                failed = False
                self._core.failed(name, None)

    def _window(self) -> float:
        """Number of the window that is due by now, counted from its lateness."""
        return (self._clock() - self._config.lateness_seconds) // (self._core.state.window_ms / 1000)

    def _refresh(self) -> None:
        if self._window() != self._ticked:  # also after a clock that was set back
            self._ticked = self._window()
            self._core.tick()
            if time.monotonic() - self._saved_at >= self._config.checkpoint_seconds:
                self._core.checkpoint()
                self._saved_at = time.monotonic()
            return
        due = (self._ticked + 1) * (self._core.state.window_ms / 1000) + self._config.lateness_seconds
        self._stop.wait(min(_LOOK_SECONDS, max(0.005, due - self._clock())))

    def _keep_journal(self) -> None:
        self._stop.wait(self._config.log_flush_seconds)
        self._journal.flush()
        self._journal.follow()

    def _share(self) -> None:
        self._stop.wait(_SHARE_SECONDS if self._core.share() else None)

    def _follow(self, releases: Path) -> None:
        self._stop.wait(self._config.champion_poll_seconds)
        self._core.follow_champion(releases)
        self._core.follow_challengers(releases)

    def _compare(self) -> None:
        self._core.compare_shadow()
