"""A published window: the same in the other process, damage is found, and older ones never replace newer ones."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from livealign.errors import EventLogError
from livealign.live.shared.read_window import ReadWindow, from_bytes, read_window, take, to_bytes
from tests.support.live_stage import Stage


def talked(stage: Stage, *texts: str) -> ReadWindow:
    """The window of room 1 in which this was said, as its reader publishes it."""
    if 1 not in stage.core.state.rooms:
        stage.start_rooms(1)
    stage.core.ingest(stage.platform.comments(1, *texts))
    stage.next_window()
    window = read_window(stage.core.state, stage.core.state.rooms[1])
    assert window is not None
    return window


def sizes(window: ReadWindow) -> tuple[int, int, int]:
    return len(window.vector), len(window.codes), len(window.content.vector)


def sent(window: ReadWindow) -> ReadWindow:
    return from_bytes(to_bytes(window), *sizes(window))


def same(one: ReadWindow, other: ReadWindow) -> bool:
    numbers = zip((one.counts, one.vector, one.content.vector), (other.counts, other.vector, other.content.vector), strict=True)
    return one[:4] == other[:4] and one.codes == other.codes and all(np.array_equal(*pair, equal_nan=True) for pair in numbers)


def test_a_window_arrives_as_it_was_sent(stage: Stage) -> None:
    first = talked(stage, "rook takes", "schöner Zug 🙂")
    assert same(sent(first), first)
    assert sent(first).content.llm_input == first.content.llm_input
    beside = first._replace(content=replace(first.content, picture="a name"))
    assert sent(beside).content.picture == "a name"
    assert first.content.before is None
    listed = [room.room_id for room in stage.core.recommend(7, 5).rooms]  # a window that was shown is averaged over
    assert 1 in listed
    second = talked(stage, "queen takes")
    received = sent(second).content
    assert second.content.before is not None
    assert received.before is not None
    for mine, theirs in ((second.content.before, received.before), (second.content.average, received.average)):
        assert np.array_equal(mine.average, theirs.average)
        assert (mine.weight, mine.started_at) == (theirs.weight, theirs.started_at)


def test_a_room_without_content_has_nothing_to_publish(stage: Stage) -> None:
    stage.start_rooms(1)
    assert read_window(stage.core.state, stage.core.state.rooms[1]) is None


def test_older_windows_and_unknown_rooms_are_left_out(stage: Stage) -> None:
    first = talked(stage, "rook takes")
    second = talked(stage, "queen takes")
    state, now = stage.core.state, int(stage.clock.now * 1000)
    assert take(state, [first, second], now).windows == [], "the room has both already"
    newer = second._replace(ended_at=second.ended_at + 30_000, vector=-second.vector)
    stranger = newer._replace(room_id=77)
    taken = take(state, [newer, stranger, first], now)
    assert (taken.windows, taken.unknown, taken.ages_ms) == ([newer], [77], [now - second.ended_at])
    state.publish()
    room = stage.core.room(1)
    assert room is not None
    assert room.windows[0].ended_at == newer.ended_at
    view = state.view()
    assert np.array_equal(view.vectors[state.rooms[1].row], -second.vector)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:3],
        lambda data: data[:40],
        lambda data: data[:-4],
        lambda data: data[:-3],
        lambda data: b"\xff\xff\xff\x7f" + data[4:],
        lambda data: data[:-8] + struct.pack("<2f", np.nan, np.inf),
        lambda data: data.replace(b'"codes":[', b'"codes":["x",'),
        lambda data: data.replace(b'"averages":[[', b'"averages":[[[]],['),
        lambda data: data.replace(b"{", b"[", 1),
    ],
)
def test_a_damaged_window_is_refused_in_one_line(stage: Stage, damage) -> None:  # type: ignore[no-untyped-def]
    window = talked(stage, "rook takes")
    with pytest.raises(EventLogError, match="cannot be read"):
        from_bytes(damage(to_bytes(window)), *sizes(window))


def test_a_window_of_another_size_or_of_a_newer_version_is_refused(stage: Stage) -> None:
    window = talked(stage, "rook takes")
    data, (dim, levels, content_dim) = to_bytes(window), sizes(window)
    with pytest.raises(EventLogError, match="not of this release"):
        from_bytes(data, dim + 1, levels, content_dim)
    narrow, average = window.content.vector[:-1], window.content.average
    cut = replace(window.content, vector=narrow, average=average._replace(average=average.average[:-1]))
    with pytest.raises(EventLogError, match="cannot be read"):
        from_bytes(to_bytes(window._replace(content=cut)), dim, levels, content_dim)
    (length,) = struct.unpack_from("<I", data)
    header = json.dumps({**json.loads(data[4 : 4 + length]), "format": 2}).encode()
    with pytest.raises(EventLogError, match=r"format '2'.*upgrade this process"):
        from_bytes(struct.pack("<I", len(header)) + header + data[4 + length :], dim, levels, content_dim)
