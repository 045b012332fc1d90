"""Rooms, users and histories survive a change of release, with its content."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from livealign.config import LiveConfig
from livealign.dataset.features import WINDOW_COUNTS
from livealign.events.log import EventLog
from livealign.live import takeover
from livealign.live.answers import SilentObserver
from livealign.live.apply import landed_number
from livealign.live.journal import Journal
from livealign.live.serving import Serving, open_serving
from livealign.live.startup import state_of
from livealign.live.state.rooms import ClosedWindow
from livealign.live.state.state import LiveState
from livealign.live.takeover import adopt, take_over
from livealign.llm.segment_text import WindowText
from livealign.release.snapshot import busiest_time
from tests.planted.release import plant_platform, plant_release

CONFIG = LiveConfig(publish_seconds=0.0)
EVER = 2**62
STRANGER, TEN_MINUTES = 10**12, 600_000


class Two(NamedTuple):
    """A release and the next one, ten minutes later, from other content vectors."""

    old: Serving
    new: Serving


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder = tmp_path_factory.mktemp("two")
    planted = plant_platform(folder / "marts", users=30, rooms_per_day=16, requests_per_day=200, days=2)
    at = busiest_time(planted.marts, planted.days[-1])
    other = replace(planted, vectors=-planted.vectors[:, ::-1].copy())
    old = plant_release(folder / "old", planted, at - TEN_MINUTES)
    new = plant_release(folder / "new", other, at)
    return Two(*(open_serving(one.bundle, Path("none"), CONFIG, lambda: 0.0) for one in (old, new)))


@pytest.fixture(params=["running", "from a checkpoint"])
def running(request: pytest.FixtureRequest) -> bool:
    """Whether the state is in use; else it comes from a checkpoint of the old release."""
    return request.param == "running"


def running_state(two: Two) -> LiveState:
    """The old release's state, with room 1 of a new author that STRANGER has entered."""
    state = state_of(two.old.snapshot(), CONFIG, two.old.history_length, 30_000)
    at = state.clock + 2 * TEN_MINUTES
    state.start_room(1, 10**9, at, "chess", "game", "en")
    shown = np.array([1, *list(state.rooms)[:2]])
    state.show(STRANGER, shown, at + 1, "q")
    state.enter("p", STRANGER, 1, at + 2, "q")
    state.publish()
    return state


def change(state: LiveState, two: Two, running: bool) -> None:
    """The new release takes the state over; readers have it afterwards."""
    if not running:
        adopt(state, two.new, two.new.snapshot())
        return
    in_service = [two.old]
    take_over(state, two.old, two.new, state.clock, lambda: in_service.append(two.new))
    assert in_service == [two.old, two.new]


def test_rooms_users_and_what_they_were_shown_survive_a_change_of_release(two: Two, running: bool) -> None:
    state = running_state(two)
    rooms = {room_id: (room, room.title, room.author_id, room.row) for room_id, room in state.rooms.items()}
    users, ignored = len(state.users), state.users.not_entered(STRANGER, 0, EVER).tolist()
    ends = state.table["ended_at"].tolist()
    change(state, two, running)
    assert len(rooms) > 2
    assert {one: (room, room.title, room.author_id, room.row) for one, room in state.rooms.items()} == rooms
    assert state.view().room_id.tolist() == list(rooms)
    assert state.table["ended_at"].tolist() == ends
    assert len(state.users) >= users > 20
    assert state.users.not_entered(STRANGER, 0, EVER).tolist() == ignored
    assert len(ignored) == 2
    assert len(state.sessions) == 1


def test_each_row_keeps_its_number_and_gets_vector_and_codes_of_the_new_release(two: Two, running: bool) -> None:
    state, snapshot = running_state(two), two.new.snapshot()
    before = state.coded_windows.arrays()
    change(state, two, running)
    after = state.coded_windows
    known = alone = 0
    for row in range(1, len(before["segment_id"])):
        segment, author = before["segment_id"][row], before["author_id"][row]
        assert after["author_id"][row] == author
        if segment in snapshot.of_segment:
            theirs = snapshot.of_segment[segment]
            vector, codes = snapshot.coded_windows["vector"][theirs], snapshot.coded_windows["codes"][theirs]
            assert after["segment_id"][row] == segment
            known += 1
        else:
            (vector,), (codes,) = two.new.recommender.encode_authors(np.array([author]))
            assert after["segment_id"][row] == 0
            alone += 1
        np.testing.assert_allclose(after["vector"][row], vector, atol=1e-6)
        assert after["codes"][row].tolist() == codes.tolist()
    assert known > 20
    assert alone > 0
    assert not np.allclose(after["vector"][1 : len(before["vector"])], before["vector"][1:], atol=0.1)
    view = state.view()
    np.testing.assert_array_equal(view.vectors, after["vector"][view.coded_row])
    assert view.coded_windows is after


def test_of_two_histories_the_newer_one_is_kept(two: Two, running: bool) -> None:
    state, snapshot = running_state(two), two.new.snapshot()
    newer = [user for user, history in snapshot.histories.items() if history.at[0] > state.users.newest(user)]
    ahead, *_ = (user for user in newer if state.users.newest(user))
    state.users.engage(ahead, state.table["coded_row"][state.rooms[1].row], state.clock)  # entered room 1 just now
    before = {user: state.users.history(user, EVER) for user in (*snapshot.histories, STRANGER)}
    taken = set(newer) - {ahead}
    assert taken
    change(state, two, running)
    for user, history in before.items():
        mine = state.users.history(user, EVER)
        theirs = snapshot.histories[user] if user in taken else None
        assert mine.at.tolist() == (history if theirs is None else theirs).at.tolist()
        if theirs is None:
            assert mine.coded_row.tolist() == history.coded_row.tolist()
        else:
            for name in ("segment_id", "author_id", "vector", "codes"):
                np.testing.assert_array_equal(
                    state.coded_windows[name][mine.coded_row], snapshot.coded_windows[name][theirs.coded_row]
                )
    assert state.users.newest(ahead) == state.clock
    assert state.coded_windows["author_id"][state.users.history(STRANGER, EVER).coded_row].tolist() == [10**9]


def test_a_room_that_the_old_release_has_read_waits_for_the_new_encoder(two: Two, running: bool) -> None:
    state = running_state(two)
    window = ClosedWindow(WindowText(3, 0, "chess", "game"), (), (0.0,) * len(WINDOW_COUNTS), False)
    state.rooms[1].encoded = window
    change(state, two, running)
    assert state.rooms[1].waiting is window
    view = state.view()
    assert view.room_id[view.waiting].tolist() == [1]


def test_counts_of_users_and_authors_are_those_of_the_new_release(two: Two, running: bool) -> None:
    state, snapshot = running_state(two), two.new.snapshot()
    state.user_counts.rebase({}, snapshot.day - 1)  # as if the old release knew nobody yet
    state.author_counts.rebase({}, snapshot.day - 1)
    change(state, two, running)
    for counts, theirs in ((state.user_counts, snapshot.user_counts), (state.author_counts, snapshot.author_counts)):
        assert len(theirs) > 5
        assert {one: counts.before(one, snapshot.day) for one in theirs} == dict(theirs)


def test_what_a_user_entered_while_the_new_release_was_prepared_is_not_lost(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    state, prepared = running_state(two), takeover._contents

    def meanwhile(*arguments: Any) -> Any:
        at = state.clock + 1_000
        state.start_room(2, 10**9 + 1, at, "go", None, None)
        state.show(STRANGER, np.array([2]), at, "q2")
        state.enter("p2", STRANGER, 2, at + 1, "q2")
        return prepared(*arguments)

    monkeypatch.setattr(takeover, "_contents", meanwhile)
    change(state, two, running=True)
    history = state.users.history(STRANGER, EVER)
    assert state.coded_windows["author_id"][history.coded_row].tolist() == [10**9 + 1, 10**9]
    (vector,), _ = two.new.recommender.encode_authors(np.array([10**9 + 1]))
    np.testing.assert_allclose(state.coded_windows["vector"][history.coded_row[0]], vector, atol=1e-6)


def test_a_start_on_the_checkpoint_of_another_release_takes_its_state_over(two: Two, tmp_path: Path) -> None:
    def started(serving: Serving) -> tuple[Journal, LiveState]:
        log, file = EventLog(tmp_path / "log", lambda: 0.0), tmp_path / "checkpoint.npz"
        journal = Journal(log, CONFIG, lambda: two.old.snapshot().taken_at / 1000, SilentObserver(), file, landed_number)
        return journal, journal.restored(serving)

    journal, before = started(two.old)
    at = before.clock + 1_000
    room = {"event_id": "r", "kind": "room_started", "room_id": 1, "author_id": 900, "at": at}
    assert len(journal.intake.ingest([room]).accepted) == 1
    journal.close(two.old.release_id)
    journal, after = started(two.new)
    journal.close(two.new.release_id)
    assert after.rooms.keys() == before.rooms.keys()
    snapshot = two.new.snapshot()
    row = next(row for row, segment in enumerate(after.coded_windows["segment_id"]) if segment in snapshot.of_segment)
    theirs = snapshot.of_segment[after.coded_windows["segment_id"][row]]
    np.testing.assert_allclose(after.coded_windows["vector"][row], snapshot.coded_windows["vector"][theirs], atol=1e-6)
