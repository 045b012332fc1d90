"""The live core goes on while the clock of its machine is set forward or back, and says so until it is over."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from livealign.config import LiveConfig
from livealign.errors import EventLogError
from livealign.events.log import EventLog
from livealign.live.background import Background
from livealign.live.core import LiveCore
from livealign.live.moved_clock import move_state
from livealign.live.steady_clock import SETTLED_SECONDS, SteadyClock
from tests.planted.live_release import plant_live_releases
from tests.planted.pictures import corners, encoded
from tests.planted.release import PlantedRelease
from tests.support.live_stage import CONFIG, USER

DAY, HOUR = 86_400.0, 3_600.0


class Machine:
    """A machine whose time passes evenly, and whose clock can be set."""

    def __init__(self, now: float) -> None:
        self.up, self.offset = 0.0, now

    def wall(self) -> float:
        return self.offset + self.up

    def clock(self) -> SteadyClock:
        return SteadyClock(self.wall, lambda: self.up)


def test_a_clock_that_is_set_is_a_problem_until_it_goes_back() -> None:
    machine = Machine(1_000_000.0)
    clock = machine.clock()
    for jump in (2 * HOUR, -2 * HOUR, 10 * DAY):
        machine.up += 10
        machine.offset += jump
        assert clock() == pytest.approx(1_000_000.0 + machine.up)
        assert f"{abs(jump):,.0f} s" in (clock.problem() or "")
        machine.up += 30
        machine.offset -= jump
        assert clock() == pytest.approx(machine.wall())
        assert (clock.problem(), clock.take_moved()) == (None, 0.0)


def test_a_clock_that_stays_where_it_was_set_is_taken_over_and_a_slewed_one_is_followed() -> None:
    machine = Machine(1_000_000.0)
    clock = machine.clock()
    for _ in range(100):
        machine.up, machine.offset = machine.up + 1, machine.offset + 0.5
        assert clock() == pytest.approx(machine.wall())
    assert clock.take_moved() == 0.0
    machine.offset -= 2 * HOUR
    clock()
    machine.up += SETTLED_SECONDS - 1
    assert clock() == pytest.approx(machine.wall() + 2 * HOUR)
    machine.up += 1
    assert (clock(), clock.problem()) == (pytest.approx(machine.wall()), None)
    assert (clock.take_moved(), clock.take_moved()) == (-2 * HOUR, 0.0)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return plant_live_releases(tmp_path_factory.mktemp("release"))[0]


class Live:
    """A core on such a machine, with a platform whose clock is the machine's."""

    def __init__(self, release: PlantedRelease, folder: Path) -> None:
        self.machine, self.number = Machine(release.taken_at / 1000 // 30 * 30 + 60), 0
        self.core = LiveCore.open(release.bundle, EventLog(folder / "log"), Path("none"), CONFIG, self.machine.clock())

    def send(self, kind: str, room_id: int, **more: Any) -> list[str]:
        """The reasons of rejection."""
        self.number += 1
        about = {"kind": kind, "event_id": f"e{self.number}", "at": int(self.machine.wall() * 1000)}
        return [one.reason for one in self.core.ingest([about | {"room_id": room_id, "author_id": 901} | more]).rejected]

    def window(self) -> Any:
        """Half a minute later."""
        self.machine.up += 30
        return self.core.tick()


@pytest.fixture
def live(release: PlantedRelease, tmp_path: Path) -> Iterator[Live]:
    live = Live(release, tmp_path)
    yield live
    live.core.stop()


@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR, 10 * DAY, -10 * DAY])
def test_after_a_jump_rooms_live_on_and_are_refreshed_and_users_keep_their_history(jump: float, live: Live) -> None:
    assert live.send("room_started", 1, title="chess") == []
    listed = live.core.recommend(USER, 3)
    live.send("impression", 1, user_id=USER, request_id="q")
    live.send("play_started", 1, user_id=USER, request_id="q")
    assert live.send("comment", 1, user_id=7, text="rook takes") == []
    live.window()
    live.window()
    engaged = len(live.core.state.users.history(USER, 2**62).at)
    assert engaged
    assert listed.rooms
    live.machine.offset += jump
    live.core.tick()
    assert any("clock was set" in problem for problem in live.core.status().problems)
    assert live.send("comment", 1, user_id=7, text="too soon") == (["in_future"] if jump > 0 else ["too_late"])
    for _ in range(4):
        live.window()
    assert live.core.status().problems == ()
    room = live.core.room(1)
    assert room is not None
    assert (room.content_age_seconds or 0) <= 60  # its viewer is still there: each window is read
    assert len(live.core.state.users.history(USER, live.core.now()).at) == engaged
    for text in ("queen takes", "check"):  # the windows of the new time are closed and encoded
        assert live.send("comment", 1, user_id=7, text=text) == []
        live.machine.up += 3
        live.window()
        live.window()
        room = live.core.room(1)
        assert room is not None
        assert text in room.windows[0].text
    assert 1 in [one.room_id for one in live.core.rooms()]
    assert 1 in [one.room_id for one in live.core.recommend(USER, 100).rooms]


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000])
def test_pictures_keep_their_distance_from_now_and_their_windows(jump: int, live: Live) -> None:
    live.send("room_started", 1, title="chess")
    state = live.core.state
    room = state.rooms[1]
    assert live.core.frame(1, None, encoded(corners(), "JPEG")) == "accepted"
    live.window()
    live.window()
    closed = room.waiting or room.encoded
    assert closed is not None
    assert closed.frame is not None
    before = closed.frame.at
    live.core.frame(1, None, encoded(corners().rotate(180), "JPEG"))
    shown = room.frame
    assert shown is not None
    move_state(state, jump)
    moved = room.waiting or room.encoded
    assert moved is not None
    assert moved.frame == closed.frame._replace(at=before + jump)
    assert room.frame == shown._replace(at=shown.at + jump)
    assert [window.frame for rooms in state.open.values() for window in rooms.values()] == [room.frame]


def test_a_log_that_is_ahead_of_the_clock_does_not_stop_the_refresh(release: PlantedRelease, tmp_path: Path) -> None:
    first = Live(release, tmp_path)
    first.machine.offset += 3 * HOUR
    first.core._clock._base += 3 * HOUR  # type: ignore[attr-defined]  # a machine that started with a wrong clock
    assert first.send("room_started", 1, title="chess") == []
    assert first.send("comment", 1, user_id=7, text="rook takes") == []
    first.window()
    first.window()
    first.core.stop()
    again = Live(release, tmp_path)
    again.number = first.number
    again.core.tick()
    assert again.send("comment", 1, user_id=7, text="queen takes") == []
    again.window()
    again.window()
    room = again.core.room(1)
    assert room is not None
    assert "queen takes" in room.windows[0].text
    again.core.stop()


def test_a_problem_of_a_thread_ends_when_its_step_succeeds() -> None:
    fails, problems, changed = [True], {}, threading.Event()

    def follow() -> None:
        if fails[0]:
            raise EventLogError("Redis is gone")

    def failed(what: str, error: str | None) -> None:
        problems[what] = error
        changed.set()

    journal = SimpleNamespace(flush=lambda: None, follow=follow)
    core = SimpleNamespace(state=SimpleNamespace(window_ms=30_000), tick=lambda: None, share=lambda: False, failed=failed)
    threads = Background(core, journal, LiveConfig(log_flush_seconds=0.01), lambda: 1_000.0)  # type: ignore[arg-type]
    threads.start(None)
    try:
        assert changed.wait(10)
        assert problems == {"journal": "EventLogError: Redis is gone"}
        changed.clear()
        fails[0] = False
        assert changed.wait(10)
        assert problems == {"journal": None}
    finally:
        threads.stop()


def test_every_window_is_ticked_once_also_after_the_clock_was_set_back() -> None:
    now, ticked = [1_000.0], []
    core = SimpleNamespace(state=SimpleNamespace(window_ms=30_000), tick=lambda: ticked.append(now[0]), checkpoint=lambda: None)
    threads = Background(core, SimpleNamespace(), LiveConfig(), lambda: now[0])  # type: ignore[arg-type]
    threads._ticked = threads._window()
    for now[0] in (1_010.0, 1_022.0, 1_023.0, 1_052.5, 400.0, 401.0, 430.0):
        threads._refresh()
    assert ticked == [1_022.0, 1_052.5, 400.0, 430.0]
