"""After a restart each event is applied once, and sent again it is a duplicate."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from livealign.config import LiveConfig
from livealign.errors import EventLogError
from livealign.events.followed_log import FollowedLog
from livealign.events.log import EventLog, Log
from livealign.events.models import event_of
from livealign.live.answers import RankedRoom, Recommendations, SilentObserver
from livealign.live.apply import landed_number
from livealign.live.journal import Journal
from livealign.live.serving import Serving, open_serving
from livealign.live.state.state import LiveState
from tests.planted.release import plant_platform, plant_release

CONFIG = LiveConfig(publish_seconds=0.0)
STRANGER = 10**12


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Serving:
    folder = tmp_path_factory.mktemp("release")
    planted = plant_platform(folder / "marts", users=30, rooms_per_day=16, requests_per_day=80, days=2)
    return open_serving(plant_release(folder, planted).bundle, Path("none"), CONFIG, lambda: 0.0)


@dataclass
class Process:
    """A journal that has started, as one service process has it."""

    folder: Path
    journal: Journal
    state: LiveState
    at: int  # epoch milliseconds, of the platform

    @classmethod
    def start(cls, serving: Serving, folder: Path, at: int, log: Log | None = None) -> "Process":
        log = log or EventLog(folder / "log", lambda: at / 1000)
        file = folder / "checkpoint.npz"
        journal = Journal(log, CONFIG, lambda: at / 1000, SilentObserver(), file, landed_number)
        return cls(folder, journal, journal.restored(serving), at)

    def killed(self, serving: Serving, folder: Path) -> "Process":
        """The process that starts on what is on disk now; nothing is put away before."""
        shutil.copytree(self.folder, folder)
        return Process.start(serving, folder, self.at)

    def event(self, kind: str, event_id: str, **fields: Any) -> dict[str, Any]:
        return {"kind": kind, "event_id": event_id, "at": self.at, "room_id": 1, "author_id": 900} | fields

    def take(self, *events: dict[str, Any]) -> int:
        """Send events, all of them good; returns how many are duplicates."""
        report = self.journal.intake.ingest(events)
        assert report.rejected == []
        return report.duplicate


@pytest.fixture
def process(serving: Serving, tmp_path: Path) -> Process:
    return Process.start(serving, tmp_path / "first", serving.snapshot().taken_at + 60_000)


def visit(process: Process, number: int) -> list[dict[str, Any]]:
    """A list, a play, words and likes of a visit to room 1."""
    return [
        process.event("impression", f"i{number}", user_id=STRANGER, request_id=f"q{number}", position=0, surface="home"),
        process.event("play_started", f"p{number}", user_id=STRANGER, request_id=f"q{number}", at=process.at + number),
        process.event("comment", f"c{number}", user_id=STRANGER, text=f"words {number}"),
        process.event("like", f"l{number}", user_id=STRANGER, count=4),
    ]


def happened(state: LiveState) -> Any:
    """What the events of room 1 have left in the state; a change that is applied twice shows."""
    counts = [(day, people.get(STRANGER)) for day, people in state.user_counts.by_day.items()]
    return dict(state.open), state.users.history(STRANGER, 2**62).at.tolist(), len(state.sessions), counts, state.clock


def test_acknowledged_events_are_applied_once_after_a_restart_from_checkpoint_and_log(
    serving: Serving, process: Process, tmp_path: Path
) -> None:
    process.take(process.event("room_started", "r", title="chess"), *visit(process, 1))
    process.journal.checkpoint(serving.release_id)
    process.take(*visit(process, 2))
    fresh = process.killed(serving, tmp_path / "second")
    (window,) = fresh.state.open[process.at // 30_000].values()
    assert (window.n_comments, window.n_likes) == (2, 8)
    assert [words.text for words in window.chat] == ["words 1", "words 2"]
    assert fresh.state.users.history(STRANGER, 2**62).at.tolist() == [process.at + 2, process.at + 1]
    assert happened(fresh.state) == happened(process.state)
    assert fresh.state.rooms[1].title == "chess"


@pytest.mark.parametrize("end", [lambda one, release: one.close(release), lambda *_: None], ids=["stopped", "killed"])
def test_an_event_id_of_before_the_restart_is_a_duplicate(
    end: Callable[[Journal, str], None], serving: Serving, process: Process, tmp_path: Path
) -> None:
    before, after = [process.event("room_started", "r"), *visit(process, 1)], visit(process, 2)
    process.take(*before)
    process.journal.checkpoint(serving.release_id)
    process.take(*after)
    end(process.journal, serving.release_id)
    fresh = process.killed(serving, tmp_path / "second")
    known = happened(fresh.state)
    assert fresh.take(*before, *after) == len(before) + len(after)
    assert happened(fresh.state) == known
    assert fresh.take(*visit(fresh, 3)) == 0
    assert happened(fresh.state) != known


def test_a_first_start_applies_what_came_after_the_snapshot_and_learns_the_rooms_of_before(
    serving: Serving, tmp_path: Path
) -> None:
    taken_at = serving.snapshot().taken_at
    process = Process.start(serving, tmp_path / "first", taken_at)
    process.take(process.event("room_started", "r", title="chess"), *visit(process, 0))
    untouched = Process.start(serving, tmp_path / "untouched", taken_at)
    fresh = process.killed(serving, tmp_path / "second")
    assert fresh.state.rooms.keys() - untouched.state.rooms.keys() == {1}
    assert happened(fresh.state) == happened(untouched.state)  # the snapshot has them
    fresh.at += 5
    fresh.take(*visit(fresh, 9))
    again = fresh.killed(serving, tmp_path / "third")
    (window,) = again.state.open[taken_at // 30_000].values()
    assert ([words.text for words in window.chat], window.n_likes) == (["words 9"], 4)
    assert again.state.users.history(STRANGER, 2**62).at.tolist() == [fresh.at + 9]


def test_a_checkpoint_whose_place_in_the_log_is_gone_applies_what_is_left_once(
    serving: Serving, process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.take(process.event("room_started", "r"), *visit(process, 1))
    process.journal.checkpoint(serving.release_id)
    process.take(*visit(process, 2))
    whole = EventLog.read

    def read(log: EventLog, after: Any) -> Any:
        if after.offset:
            raise EventLogError("the position is gone")
        return whole(log, after)

    monkeypatch.setattr(EventLog, "read", read)
    fresh = process.killed(serving, tmp_path / "second")
    assert happened(fresh.state) == happened(process.state)


def test_a_late_event_that_came_after_the_checkpoint_counts_however_old_it_is(
    serving: Serving, process: Process, tmp_path: Path
) -> None:
    process.take(process.event("room_started", "r", at=serving.snapshot().taken_at - 2_000))
    process.journal.checkpoint(serving.release_id)
    process.at = serving.snapshot().taken_at - 1_000
    process.take(*visit(process, 1))
    fresh = process.killed(serving, tmp_path / "second")
    assert fresh.state.users.history(STRANGER, 2**62).at.tolist() == [process.at + 1]


def shown_to(user_id: int, process: Process) -> Recommendations:
    """A list of room 1 that is shown to the user now."""
    ranked = RankedRoom(1, 900, None, 0.5, {"click": 0.5}, [], [], None, "")
    answer = Recommendations("shown", "release", process.at, (ranked,), ())
    process.journal.show(user_id, answer)
    return answer


def test_an_impression_that_the_service_logged_is_a_duplicate_when_the_client_reports_it(process: Process) -> None:
    process.take(process.event("room_started", "r"))
    shown_to(STRANGER, process)
    process.journal.flush()
    reported = process.event("impression", "shown:1", user_id=STRANGER, request_id="shown", position=0, surface="home")
    assert process.take(reported) == 1


def test_a_checkpoint_logs_the_lists_that_wait_before_it_is_written(serving: Serving, process: Process, tmp_path: Path) -> None:
    process.take(process.event("room_started", "r"))
    shown_to(STRANGER, process)
    process.journal.checkpoint(serving.release_id)
    assert (process.folder / "checkpoint.npz").exists()
    records = [event_of(record) for _, record in FollowedLog(process.folder / "log").read()]
    assert [event.kind for event in records] == ["room_started", "list_shown", "impression"]


def test_what_a_process_wrote_to_a_shared_log_is_not_applied_again_when_it_reads_on(serving: Serving, tmp_path: Path) -> None:
    at, folder = serving.snapshot().taken_at + 60_000, tmp_path / "log"
    process = Process.start(serving, tmp_path, at, FollowedLog(folder, EventLog(folder, lambda: at / 1000)))
    process.take(process.event("room_started", "r"), *visit(process, 1))
    shown_to(STRANGER, process)
    process.journal.flush()
    (window,) = process.state.open[at // 30_000].values()
    known = happened(process.state)
    process.journal.follow()
    assert (window.n_comments, window.n_likes) == (1, 4)
    assert happened(process.state) == known
