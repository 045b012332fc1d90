"""A checkpoint restores what it saved; a file that cannot be read is one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.dataset.features import WINDOW_COUNTS
from livealign.dataset.recent_content import RecentContent
from livealign.errors import LiveAlignError
from livealign.evaluation.tallies import Arm
from livealign.events.intake import RecentIds
from livealign.events.log import Position
from livealign.live.checkpoint import checkpoint_arrays, read_checkpoint, write_checkpoint
from livealign.live.startup import Snapshot, state_of
from livealign.live.state.coded_windows import CodedWindow, CodedWindows
from livealign.live.state.room_texts import RoomText
from livealign.live.state.rooms import ClosedWindow, RoomContent
from livealign.live.state.state import LiveState
from livealign.live.state.windows import LiveFrame, Utterance
from livealign.llm.segment_text import WindowText

CONFIG = LiveConfig(publish_seconds=0.0)
DIM, LEVELS, HIDDEN, WINDOW_MS = 4, 2, 3, 30_000
COUNTS = tuple(float(place) for place, _ in enumerate(WINDOW_COUNTS))

Arrays = dict[str, NDArray]


def of_authors(author_ids: NDArray) -> tuple[NDArray, NDArray]:
    return np.tile(-author_ids[:, None], DIM).astype(np.float32), np.full((len(author_ids), LEVELS), 9)


def busy_state() -> LiveState:
    """Two rooms, of which one is encoded, and a user who was shown both and entered one."""
    state = state_of(Snapshot(0, CodedWindows(DIM, LEVELS, of_authors), {}, {}, {3: (8.0, 2.0)}, {}, []), CONFIG, 5, WINDOW_MS)
    state.closed_until = -1  # window 0 is over and not closed yet
    room = state.start_room(7, 70, 2_000, "chess", "game", "en")
    state.start_room(8, 80, 3_000, None, None, None)
    state.start_room(7, 70, 40_000, "boss", None, None)
    words = WindowText(0, 0, "chess", "game", "hello", ("hi", "hé"))
    room.encoded = ClosedWindow(words, (), COUNTS, True)
    room.waiting = ClosedWindow(words._replace(window=1), (words,), COUNTS, False)
    room.earlier, room.shown_in = (words,), {1, 2}
    room.windows.append(CodedWindow(71, 30_000, "chess | hello", [1, 2], {"n_likes": 4.0}))
    vector = np.arange(HIDDEN, dtype=np.float32)
    older = RecentContent.step(None, vector + 5, 0, 60.0)
    room.content = RoomContent("chess | hello", vector, older, RecentContent.step(older, vector, 30_000, 60.0))
    author, end = np.array([70]), np.array([30_000])
    (row,) = state.coded_windows.add(np.array([71]), author, end, np.full((1, DIM), 0.5, np.float32), np.array([[1, 2]]))
    state.set_coded(room, int(row), 30_000, COUNTS)
    state.list_outcomes.shown(Arm("r", "x", True, 0.1), 3, [7, 8], 45_000)
    state.list_outcomes.shown(Arm("r", None, False, 1.0), 4, [8], 45_000)
    state.show(3, np.array([7, 8]), 45_000, "q")
    state.enter("p", 3, 7, 46_000, "q")
    window = state.happened(7, 47_000)
    assert window is not None
    window.comment(47_000, 1, 3, "rook takes", False)
    window.speech.append(Utterance(46_500, 2, "what a move"))
    window.n_likes = 4
    state.wishes.block(3, 70)
    state.wishes.not_interested(3, 8)
    state.hide_room(8, hidden=True)
    state.publish()
    return state


def saved(state: LiveState) -> Arrays:
    ids = RecentIds()
    ids.add(["e1", "e2", "é3"])
    return checkpoint_arrays(state, "release-1", Position(4, 321), ids)


def same(mine: Arrays, theirs: Arrays) -> bool:
    return mine.keys() == theirs.keys() and all(values.tobytes() == theirs[name].tobytes() for name, values in mine.items())


def test_a_checkpoint_restores_rooms_users_open_windows_event_ids_and_position(tmp_path: Path) -> None:
    state, file = busy_state(), tmp_path / "state" / "checkpoint.npz"
    file.parent.mkdir()
    write_checkpoint(file, saved(state))
    restored = read_checkpoint(file, CONFIG, of_authors)
    fresh = restored.state
    assert (restored.release_id, restored.position) == ("release-1", Position(4, 321))
    assert restored.event_ids == ["e1", "e2", "é3"]
    assert list(fresh.rooms) == [8, 7]  # in the order in which they were heard of
    mine, known = fresh.rooms[7], state.rooms[7]
    for name in ("title", "category", "language", "texts", "heard_at", "earlier", "shown_in", "waiting", "encoded", "windows"):
        assert getattr(mine, name) == getattr(known, name), name
    assert mine.title == "boss"
    assert mine.content is not None
    assert known.content is not None
    assert mine.content.before is not None
    assert known.content.before is not None
    np.testing.assert_array_equal(mine.content.vector, known.content.vector)
    np.testing.assert_array_equal(mine.content.average.average, known.content.average.average)
    np.testing.assert_array_equal(mine.content.before.average, known.content.before.average)
    assert (mine.content.average[1:], mine.content.before[1:]) == (known.content.average[1:], known.content.before[1:])
    assert dict(fresh.open) == dict(state.open)
    assert fresh.open[1][7].n_likes == 4
    assert [ids.tolist() for ids in fresh.wishes.unwanted(3)] == [[70], [8]]
    assert fresh.view().hidden.tolist() == state.view().hidden.tolist()
    assert fresh.view().hidden.sum() == 1
    assert [(one.arm, one.total, one.users) for one in fresh.list_outcomes] == [
        (Arm("r", "x", True, 0.1), [1, 2, 1, 0, 0], {3: [1, 2, 1, 0, 0]}),
        (Arm("r", None, False, 1.0), [1, 1, 0, 0, 0], {}),
    ]
    for one in (state, fresh):
        one.list_outcomes.gifted(3, 7, 47_000)  # of the click that was saved
    assert next(iter(fresh.list_outcomes)).users[3] == [1, 2, 1, 0, 1]
    history = fresh.users.history(3, 2**62)
    assert history.at.tolist() == [46_000]
    assert fresh.coded_windows["segment_id"][history.coded_row].tolist() == [71]
    assert fresh.users.not_entered(3, 0, 2**62).tolist() == [8]
    assert fresh.sessions.names == state.sessions.names
    assert len(fresh.sessions) == 1
    assert (fresh.clock, fresh.closed_until) == (47_000, -1)
    assert fresh.user_counts.before(3, 1) == (10.0, 3.0)  # of the release, and two shown and one entered today
    before, after = state.view(), fresh.view()
    for name in ("room_id", "ended_at", "content_at", "coded_row", "vectors", "codes", "counts", "outcomes"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name), err_msg=name)
    assert same(saved(fresh), saved(state))


def test_the_content_of_a_rooms_pictures_is_restored_and_a_file_of_a_version_without_it_has_none(tmp_path: Path) -> None:
    state, file = busy_state(), tmp_path / "checkpoint.npz"
    write_checkpoint(file, saved(state))
    assert all(room.seen is None for room in read_checkpoint(file, CONFIG, of_authors).state.rooms.values())
    vector = np.arange(HIDDEN + 2, dtype=np.float32)
    first = RecentContent.step(None, vector, 0, 60.0)
    known = state.rooms[7].seen = RoomContent("ab" * 32, vector, first, RecentContent.step(first, vector + 1, 30_000, 60.0))
    write_checkpoint(file, saved(state))
    restored = read_checkpoint(file, CONFIG, of_authors).state
    seen = restored.rooms[7].seen
    assert (seen.text, seen.average[1:], seen.before[1:]) == (known.text, known.average[1:], known.before[1:])
    for mine, theirs in ((seen.vector, vector), (seen.average[0], known.average[0]), (seen.before[0], first[0])):
        np.testing.assert_array_equal(mine, theirs)
    assert restored.rooms[8].seen is None
    assert same(saved(restored), saved(state))


@pytest.mark.parametrize(("left_out", "kept"), [(1, True), (2, False)], ids=["whether it stands still", "the picture"])
def test_a_file_of_a_version_that_did_not_keep_something_of_pictures_is_read(left_out: int, kept: bool, tmp_path: Path) -> None:
    state, file = busy_state(), tmp_path / "checkpoint.npz"
    room, frame = state.rooms[7], LiveFrame(45_000, "ab" * 32, "UklGRg==")
    assert room.waiting is not None
    room.waiting = replace(room.waiting, frame=frame, still=True)
    arrays = saved(state)
    rows = [json.loads(line) for line in arrays["json.told"].tobytes().split(b"\n")]
    for row in rows:
        row["waiting"] = row["waiting"] and row["waiting"][:-left_out]
    lines = b"\n".join(json.dumps(row).encode() for row in rows)
    write_checkpoint(file, {**arrays, "json.told": np.frombuffer(lines, dtype=np.uint8)})
    waiting = read_checkpoint(file, CONFIG, of_authors).state.rooms[7].waiting
    assert waiting == replace(room.waiting, frame=frame if kept else None, still=False)


def of_format(number: int) -> bytes:
    return json.dumps({"format": f"livealign-live-state-{number}"}).encode()


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def of_another_word(file: Path) -> None:
    whole = file.read_bytes()
    assert whole.count(b"rook takes") == 1
    file.write_bytes(whole.replace(b"rook takes", b"rook tokes"))


def of_a_later_version(file: Path) -> None:
    np.savez(file, **{"json.about": np.frombuffer(of_format(9), dtype=np.uint8)})


def without_a_part(file: Path) -> None:
    write_checkpoint(file, {name: values for name, values in saved(busy_state()).items() if name != "contents"})


@pytest.mark.parametrize(
    "spoil",
    [
        torn,
        of_another_word,
        of_a_later_version,
        without_a_part,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text("notes"),
        lambda file: np.savez(file, weights=np.zeros(3)),
        lambda file: np.savez(file, **{"json.about": np.array([{}], dtype=object)}),
    ],
    ids=["torn", "another word", "later version", "part missing", "empty", "text", "other arrays", "pickle"],
)
def test_a_damaged_or_foreign_file_is_one_line_that_says_what_happens_next(
    spoil: Callable[[Path], Any], tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.npz"
    write_checkpoint(file, saved(busy_state()))
    spoil(file)
    with pytest.raises(LiveAlignError) as raised:
        read_checkpoint(file, CONFIG, of_authors)
    message = str(raised.value)
    assert message.startswith(f"{file} cannot be read as a checkpoint (")
    assert message.endswith("; it is not used, and the log is read from its beginning")
    assert "\n" not in message


def test_no_byte_that_flips_is_more_than_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.npz"
    write_checkpoint(file, saved(busy_state()))
    whole = file.read_bytes()
    refused = 0
    for place in range(0, len(whole), len(whole) // 500):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            read_checkpoint(file, CONFIG, of_authors)
        except LiveAlignError:
            refused += 1
    assert refused > 250


def test_more_rooms_than_are_kept_by_now_are_restored_and_give_way_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    write_checkpoint(path, checkpoint_arrays(busy_state(), "r1", Position(3, 40), RecentIds(9)))
    state = read_checkpoint(path, replace(CONFIG, max_rooms=1), of_authors).state
    assert list(state.rooms) == [8, 7]
    state.start_room(9, 90, 50_000, None, None, None)
    assert list(state.rooms) == [7, 9]


def test_a_state_of_the_older_format_is_read_with_the_latest_title_and_category(tmp_path: Path) -> None:
    state, file = busy_state(), tmp_path / "checkpoint.npz"
    arrays = saved(state)
    (about,) = (json.loads(line) for line in arrays["json.about"].tobytes().split(b"\n"))
    rows = [json.loads(line) for line in arrays["json.told"].tobytes().split(b"\n")]
    assert about["format"] == "livealign-live-state-3"
    for row in rows:
        del row["texts"]
    older = {"json.about": [{**about, "format": "livealign-live-state-2"}], "json.told": rows}
    for name, values in older.items():
        arrays[name] = np.frombuffer("\n".join(json.dumps(value) for value in values).encode(), dtype=np.uint8)
    write_checkpoint(file, arrays)
    fresh = read_checkpoint(file, CONFIG, of_authors).state
    assert [(room.title, room.category, room.language) for _, room in sorted(fresh.rooms.items())] == [
        ("boss", "game", "en"),
        (None, None, None),
    ]
    assert fresh.rooms[7].texts.changes == [RoomText(-1, "boss", "game")]
    assert dict(fresh.open) == dict(state.open)
    assert fresh.users.history(3, 2**62).at.tolist() == [46_000]
