"""The live state as it moves on; readers never see half a change."""

import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.dataset.features import WINDOW_COUNTS
from livealign.days import DAY_MS
from livealign.live.startup import Snapshot, state_of
from livealign.live.state.coded_windows import CodedWindows
from livealign.live.state.rooms import NEVER_ENDS
from livealign.live.state.state import LiveState

DIM, LEVELS = 4, 2


def of_authors(author_ids: NDArray) -> tuple[NDArray, NDArray]:
    return np.tile(-author_ids[:, None], DIM).astype(np.float32), np.full((len(author_ids), LEVELS), 99)


def empty_state(**settings: float) -> LiveState:
    config = replace(LiveConfig(publish_seconds=0.0), **settings)
    coded_windows = CodedWindows(DIM, LEVELS, of_authors)
    nothing = Snapshot(1_000, coded_windows, {}, {}, {}, {}, [])
    return state_of(nothing, config, 3, 30_000)


def tell(state: LiveState, room_id: int, ended_at: int) -> None:
    """The room's window that ended then has been encoded; everything about it is that number."""
    author = np.array([state.rooms[room_id].author_id])
    vector, codes = np.full((1, DIM), ended_at, np.float32), np.full((1, LEVELS), ended_at)
    row = int(state.coded_windows.add(np.array([ended_at]), author, np.array([ended_at]), vector, codes)[0])
    state.set_coded(state.rooms[room_id], row, ended_at, tuple(float(ended_at) for _ in WINDOW_COUNTS))


def test_a_room_lives_from_its_start_to_its_end_and_follows_its_windows() -> None:
    state = empty_state()
    taken = state.view()
    state.start_room(7, 70, 2_000, "title", None, "en")
    view = state.view()
    assert view.room_id.tolist() == [7]
    assert view.ended_at.tolist() == [NEVER_ENDS]
    assert view.codes.tolist() == [[99, 99]]
    assert view.live_at(1_999).tolist() == []
    assert view.live_at(2_000).tolist() == [0]
    tell(state, 7, 32_000)
    state.end_room(7, 40_000)
    state.end_room(7, 90_000)  # told again: the first end holds
    assert (taken.room_id.tolist(), view.content_at.tolist()) == ([], [0])  # a view that was taken does not change
    assert state.view().content_at.tolist() == [32_000]
    assert state.view().counts[0, 0] == 32_000
    assert state.view().live_at(39_999).tolist() == [0]
    assert state.view().live_at(40_000).tolist() == []


def test_a_click_remembers_the_room_as_it_was_when_it_was_shown() -> None:
    state = empty_state()
    state.start_room(7, 70, 2_000, None, None, None)
    for at in (30_000, 60_000, 90_000, 120_000):
        tell(state, 7, at)
        state.show(5, np.array([7]), at + 1, f"list {at}")
        tell(state, 7, at + 10)
        state.enter(f"play {at}", 5, 7, at + 2_000, f"list {at}")
        state.enter(f"again {at}", 5, 7, at + 3_000, f"list {at}")  # the same impression is clicked once
    history = state.users.history(5, 10**9)
    assert history.at.tolist() == [122_000, 92_000, 62_000]
    assert state.coded_windows["ended_at"][history.coded_row].tolist() == [120_000, 90_000, 60_000]
    assert state.users.history(5, 92_000).at.tolist() == [62_000]  # known strictly before
    assert len(state.users.history(6, 10**9).at) == 0


def test_a_play_is_a_click_as_in_the_warehouse() -> None:
    state = empty_state()
    for room_id in (7, 8):
        state.start_room(room_id, 70, 2_000, None, None, None)
    state.enter("walked in", 5, 7, 5_000, None)  # never shown
    state.show(5, np.array([7, 8]), 10_000, "q1")
    state.enter("too late", 5, 7, 70_001, "q1")
    state.enter("in time", 5, 8, 70_000, None)  # without a request: the user's last impression of the room
    assert state.users.history(5, 10**9).at.tolist() == [70_000]
    assert len(state.sessions) == 3
    assert state.users.not_entered(5, 0, 80_000).tolist() == [7]


def test_rooms_and_coded_windows_that_are_not_used_are_forgotten() -> None:
    state = empty_state(room_memory_seconds=10.0, room_silence_seconds=100.0)
    for room_id in range(5):
        state.start_room(room_id, room_id, 2_000, f"room {room_id}", None, None)
        tell(state, room_id, 30_000)
        tell(state, room_id, 60_000)
    state.show(5, np.array([1]), 61_000, "q")
    state.enter("p", 5, 1, 62_000, "q")
    state.end_room(1, 63_000)
    assert state.forget_rooms(75_000) == 1
    assert [room.title for room in state.view().rooms] == [f"room {state.table['room_id'][row]}" for row in range(4)]
    state.compact()
    assert sorted(state.coded_windows["segment_id"][state.table["coded_row"]].tolist()) == [60_000] * 4
    history = state.users.history(5, 10**9)
    assert state.coded_windows["author_id"][history.coded_row].tolist() == [1]
    assert len(state.coded_windows) == 6  # row 0, four rooms, one engagement
    assert state.forget_rooms(3_000_000) == 4  # silent for long: ended, and then forgotten


def test_counts_move_on_at_midnight() -> None:
    state = empty_state()
    state.start_room(7, 70, 2_000, None, None, None)
    state.show(5, np.array([7]), 3_000, "q")
    state.enter("p", 5, 7, 4_000, "q")
    assert (state.user_before(5), state.view().author_counts.tolist()) == ((0.0, 0.0), [[0.0, 0.0, 0.0]])
    state.new_day(DAY_MS)
    assert (state.user_before(5), state.view().author_counts.tolist()) == ((1.0, 1.0), [[1.0, 1.0, 0.0]])


def test_a_rooms_outcomes_are_seen_once_the_window_of_their_being_known_is_over() -> None:
    state = empty_state()
    state.start_room(7, 70, 2_000, None, None, None)
    for user in (1, 2, 3):
        state.show(user, np.array([7]), 3_000, "q")
    state.show(1, np.array([7]), 4_000, "q")  # told again
    state.enter("p", 2, 7, 4_000, "q")
    state.settle(0)
    assert state.view().outcomes.tolist() == [[1.0, 1.0]]  # the two others may still come
    state.settle(2)
    assert state.view().outcomes.tolist() == [[3.0, 1.0]]
    columns = state.view().columns(np.array([0]))
    assert (columns["room_impressions"][0], columns["room_clicks"][0]) == (3.0, 1.0)
    state.show(4, np.array([7]), 86_390_000, "late")
    state.new_day(DAY_MS)
    state.settle(2_882)
    assert state.view().outcomes.tolist() == [[0.0, 0.0]]


def test_of_too_many_users_those_unheard_of_for_longest_give_way() -> None:
    state = empty_state(max_users=3)
    state.start_room(7, 70, 2_000, None, None, None)
    for user in (1, 2, 3, 1, 4):
        state.users.engage(user, 1, 3_000 + user)
    assert [len(state.users.history(user, 10**9).at) for user in (1, 2, 3, 4)] == [1, 0, 1, 1]


def test_readers_see_whole_views_while_a_writer_refreshes() -> None:
    state = empty_state()
    for room_id in range(50):
        state.start_room(room_id, room_id, 0, None, None, None)
    state.publish()
    torn, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            view = state.view()
            seen = {tuple(row) for row in (view.content_at[:, None] == view.vectors).tolist()}
            if len(set(view.content_at.tolist())) != 1 or (view.content_at[0] > 0 and seen != {(True,) * DIM}):
                torn.append(view)

    reader = threading.Thread(target=read)
    reader.start()
    for ended_at in range(1, 60):
        with state.lock:
            for room_id in range(50):
                tell(state, room_id, ended_at)
            state.publish()
    done.set()
    reader.join()
    assert not torn
