"""When the refresh of a core is due."""

from types import SimpleNamespace
from typing import Any, cast

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
