"""When the refresh of a core is due."""

import itertools
import os
import sys
import threading
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from livealign.config import LiveConfig
from livealign.live.background import Background


def test_a_window_is_refreshed_once_when_it_has_been_over_for_its_lateness() -> None:
    now, ticks = [90.0], []
    core = SimpleNamespace(state=SimpleNamespace(window_ms=30_000), tick=lambda: ticks.append(now[0]))
    background = Background(cast(Any, core), cast(Any, None), LiveConfig(lateness_seconds=2.0), lambda: now[0])
    background._ticked, background._saved_at = background._window(), float("inf")
    for now[0] in (91.0, 91.9, 92.0, 92.5, 100.0, 120.0, 121.9, 122.0, 150.0, 152.5):
        background._refresh()
    assert ticks == [92.0, 122.0, 152.5]


def test_a_refresh_waits_for_the_end_of_the_lateness_and_not_only_of_the_window() -> None:
    waits: list[float] = []

    class Stop(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return False

    now = [90.0]
    core = SimpleNamespace(state=SimpleNamespace(window_ms=30_000), tick=lambda: None)
    background = Background(cast(Any, core), cast(Any, None), LiveConfig(lateness_seconds=2.0), lambda: now[0])
    background._stop, background._ticked = Stop(), background._window()
    for now[0] in (90.5, 91.75):
        background._refresh()
    assert waits == [0.5, 0.25]  # it looks at the clock twice a second, and at 92


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
def test_the_refresh_yields_the_processor_to_what_answers() -> None:
    niceness: dict[str, int] = {}
    seen = {name: Event() for name in ("refresh", "journal")}

    def note(name: str) -> None:
        niceness[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        seen[name].set()

    core = SimpleNamespace(state=SimpleNamespace(window_ms=30_000), tick=lambda: note("refresh"), share=lambda: False)
    journal = SimpleNamespace(flush=lambda: note("journal"), follow=lambda: None)
    windows = itertools.count(0, 30)
    config = LiveConfig(log_flush_seconds=0.01)
    background = Background(cast(Any, core), cast(Any, journal), config, lambda: float(next(windows)))
    background.start(None)
    assert all(one.wait(10) for one in seen.values())
    background.stop()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness == {"refresh": own + 5, "journal": own}
