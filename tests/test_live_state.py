"""The warm start knows what was known at its moment and nothing later; readers of the live state never see half a change."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from livealign.errors import BundleError, TrainingError
from livealign.live_state import NEVER_ENDS, LiveState, Moment
from livealign.snapshot import WINDOW_COUNTS, busy_moment, snapshot_segments, write_snapshot
from tests.planted_marts import Planted
from tests.planted_release import plant_platform

DIM, LEVELS, LENGTH = 4, 2, 5


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant_platform(tmp_path_factory.mktemp("marts"), users=30, rooms_per_day=8, requests_per_day=100)


def encoded(segment_ids: NDArray) -> tuple[NDArray, NDArray]:
    """A vector and codes that say which segment they are of."""
    vectors = np.zeros((len(segment_ids), DIM), dtype=np.float32)
    vectors[:, 0] = segment_ids % 1_000
    return vectors, np.stack([segment_ids % 7, segment_ids % 11], axis=1)


def of_authors(author_ids: NDArray) -> tuple[NDArray, NDArray]:
    return np.tile(-author_ids[:, None], DIM).astype(np.float32), np.full((len(author_ids), LEVELS), 99)


def snapshot(folder: Path, planted: Planted, moment: int, without: NDArray | None = None) -> dict[str, Path]:
    ids = np.sort(planted.segment_ids)
    ids = ids if without is None else np.setdiff1d(ids, without)
    write_snapshot(folder, planted.marts, moment, ids, *encoded(ids), history_length=LENGTH)
    return {path.name: path for path in folder.iterdir()}


def state_at(folder: Path, planted: Planted, moment: int, without: NDArray | None = None) -> LiveState:
    return LiveState.from_snapshot(snapshot(folder, planted, moment, without), of_authors, LENGTH)


def mart(planted: Planted, name: str) -> pa.Table:
    return pa.concat_tables([pq.ParquetFile(p).read() for p in sorted((planted.marts / name).glob("dt=*/part-0.parquet"))])


def milliseconds(column: pa.ChunkedArray) -> NDArray:
    return column.cast(pa.int64()).to_numpy()


def test_the_busy_moment_is_the_last_at_which_half_the_peak_is_live(planted: Planted) -> None:
    day = planted.days[-1]
    moment = busy_moment(planted.marts, day)
    rooms = mart(planted, "rooms")
    start, end = milliseconds(rooms["started_at"]), milliseconds(rooms["ended_at"])
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    grid = midnight + 30_000 * np.arange(1, 2_881)
    live = ((start[:, None] <= grid) & (grid < end[:, None])).sum(0)
    assert live[grid == moment][0] * 2 >= live.max()
    assert (live[grid > moment] * 2 < live.max()).all()


def test_a_snapshot_holds_the_rooms_live_then_each_with_its_last_ended_window(planted: Planted, tmp_path: Path) -> None:
    moment = busy_moment(planted.marts, planted.days[-1]) + 12_345
    state = state_at(tmp_path, planted, moment)
    rooms, segments = mart(planted, "rooms").to_pylist(), mart(planted, "segments")
    ended, room_of = milliseconds(segments["ended_at"]), segments["room_id"].to_numpy()
    ids, viewers = segments["segment_id"].to_numpy(), segments["n_viewers"].to_numpy()
    at = datetime.fromtimestamp(moment / 1000, UTC).replace(tzinfo=None)
    live = {room["room_id"]: room for room in rooms if room["started_at"] <= at < room["ended_at"]}
    assert len(live) >= 2
    assert set(state.rooms) == set(live)
    for room_id, room in state.rooms.items():
        rows = np.flatnonzero((room_of == room_id) & (ended <= moment))
        last = rows[ended[rows].argmax()]
        assert room.moment.segment_id == ids[last]
        assert room.moment.ended_at == ended[last]
        assert room.moment.vector[0] == ids[last] % 1_000
        assert list(room.moment.codes) == [ids[last] % 7, ids[last] % 11]
        assert room.counts["n_viewers"] == viewers[last]
        assert room.title == live[room_id]["title"]
    assert state.clock == moment


def test_histories_are_the_engagements_known_strictly_before_the_moment_newest_first(planted: Planted, tmp_path: Path) -> None:
    shown = mart(planted, "interactions").to_pylist()
    clicks: dict[int, list[dict]] = {}
    for row in sorted(shown, key=lambda row: (row["click_known_at"], row["impression_id"]), reverse=True):
        if row["click"]:
            clicks.setdefault(row["user_id"], []).append(row)
    rows = [row for row in shown if len(clicks.get(row["user_id"], ())) >= 6][-60:]
    for number, row in enumerate(rows[:: len(rows) // 5]):
        moment = int(row["shown_at"].replace(tzinfo=UTC).timestamp() * 1000)
        history = state_at(tmp_path / str(number), planted, moment).history(row["user_id"])
        before = [one for one in clicks[row["user_id"]] if one["click_known_at"] < row["shown_at"]][:LENGTH]
        assert len(before) >= 3
        assert [one.moment.author_id for one in history] == [one["author_id"] for one in before]
        assert [one.moment.segment_id for one in history] == [one["segment_id"] or 0 for one in before]
        assert all(one.at < moment for one in history)


def test_counts_are_those_of_the_days_before_also_for_a_day_that_is_not_built_yet(planted: Planted, tmp_path: Path) -> None:
    day = planted.days[1]
    noon = busy_moment(planted.marts, day)
    built = pq.ParquetFile(planted.marts / "authors_daily" / f"dt={day}" / "part-0.parquet").read().to_pylist()
    state = state_at(tmp_path / "built", planted, noon)
    for row in built:
        assert state.author_counts[row["author_id"]] == (row["impressions"], row["clicks"], row["long_views"])
    tomorrow = state_at(tmp_path / "tomorrow", planted, busy_moment(planted.marts, planted.days[-1]) + 86_400_000)
    interactions = mart(planted, "interactions")
    for user_id in (500, 501, 502):
        mine = interactions.filter(pc.equal(interactions["user_id"], user_id))
        assert tomorrow.user_counts[user_id] == (mine.num_rows, pc.sum(mine["click"]).as_py() or 0)


def test_windows_without_a_vector_give_way_to_earlier_ones_and_then_to_the_author(planted: Planted, tmp_path: Path) -> None:
    moment = busy_moment(planted.marts, planted.days[-1])
    whole = state_at(tmp_path / "whole", planted, moment)
    last = np.array([room.moment.segment_id for room in whole.rooms.values()])
    earlier = state_at(tmp_path / "earlier", planted, moment, without=last)
    for room_id, room in earlier.rooms.items():
        assert 0 < room.moment.ended_at == whole.rooms[room_id].moment.ended_at - 30_000
    none = state_at(tmp_path / "none", planted, moment, without=planted.segment_ids)
    for room in none.rooms.values():
        assert (room.moment.segment_id, room.moment.ended_at) == (0, 0)
        assert room.moment.vector[0] == -room.author_id
        assert room.counts == {}


def test_the_segments_that_a_snapshot_asks_for_are_all_that_it_uses(planted: Planted, tmp_path: Path) -> None:
    moment = busy_moment(planted.marts, planted.days[-1])
    asked = snapshot_segments(planted.marts, moment, LENGTH)
    whole = state_at(tmp_path / "whole", planted, moment)
    asked_only = state_at(tmp_path / "asked", planted, moment, without=np.setdiff1d(planted.segment_ids, asked))
    used = pq.ParquetFile(tmp_path / "whole" / "items.parquet").read()["segment_id"].to_pylist()
    assert set(used) == set(asked.tolist())
    assert whole.view.content_at.tolist() == asked_only.view.content_at.tolist()


def test_a_day_without_anyone_live_gives_an_empty_state(planted: Planted, tmp_path: Path) -> None:
    day = planted.days[-1]
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    state = state_at(tmp_path, planted, midnight + 3_600_000)
    assert state.rooms == {}
    assert state.view.vectors.shape == (0, DIM)
    assert state.histories


def test_marts_that_are_not_there_are_named(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="build the warehouse"):
        busy_moment(tmp_path, planted.days[0])
    with pytest.raises(TrainingError, match="build the warehouse"):
        snapshot(tmp_path / "s", planted, busy_moment(planted.marts, planted.days[0]) - 40 * 86_400_000)


@pytest.mark.parametrize("name", ["items.parquet", "rooms.parquet", "histories.parquet", "state.json"])
def test_a_snapshot_with_a_file_missing_or_not_fitting_is_refused(name: str, planted: Planted, tmp_path: Path) -> None:
    files = snapshot(tmp_path, planted, busy_moment(planted.marts, planted.days[-1]))
    with pytest.raises(BundleError, match="build the release again"):
        LiveState.from_snapshot({key: path for key, path in files.items() if key != name}, of_authors, LENGTH)
    files[name].write_bytes(b"{}")
    with pytest.raises(BundleError, match="build the release again"):
        LiveState.from_snapshot(files, of_authors, LENGTH)


def test_items_that_rooms_point_to_must_be_there(planted: Planted, tmp_path: Path) -> None:
    files = snapshot(tmp_path, planted, busy_moment(planted.marts, planted.days[-1]))
    items = pq.ParquetFile(files["items.parquet"]).read()
    pq.write_table(items.slice(0, 1), files["items.parquet"])
    with pytest.raises(BundleError):
        LiveState.from_snapshot(files, of_authors, LENGTH)


# The state as it moves on


def empty_state() -> LiveState:
    return LiveState(DIM, LEVELS, of_authors, clock=1_000, history_length=3)


def moment_of(author_id: int, ended_at: int) -> Moment:
    return Moment(ended_at, author_id, ended_at, np.full(DIM, ended_at, np.float32), np.full(LEVELS, ended_at))


def test_a_room_lives_from_its_start_to_its_end_and_follows_its_windows() -> None:
    state = empty_state()
    state.start_room(7, 70, 2_000, "title", None, "en")
    assert state.view.rooms == ()  # nothing is seen before it is published
    view = state.publish()
    assert view.room_id.tolist() == [7]
    assert view.ended_at.tolist() == [NEVER_ENDS]
    assert view.codes.tolist() == [[99, 99]]
    assert view.live_at(1_999).tolist() == []
    assert view.live_at(2_000).tolist() == [0]
    state.refresh(7, moment_of(70, 32_000), {"n_viewers": 3.0})
    state.refresh(7, moment_of(70, 31_000), {"n_viewers": 9.0})  # late news of an older window
    state.end_room(7, 40_000)
    state.publish()
    assert view.content_at.tolist() == [0]  # a view that was taken does not change
    assert state.view.content_at.tolist() == [32_000]
    assert state.view.columns["n_viewers"].tolist() == [3.0]
    assert state.view.live_at(39_999).tolist() == [0]
    assert state.view.live_at(40_000).tolist() == []
    assert state.clock == 40_000


def test_an_engagement_remembers_the_room_as_it_was_then() -> None:
    state = empty_state()
    state.start_room(7, 70, 2_000, None, None, None)
    for at in (30_000, 60_000, 90_000, 120_000):
        state.refresh(7, moment_of(70, at), {})
        state.engage(5, 7, at + 1)
    assert [one.at for one in state.history(5)] == [120_001, 90_001, 60_001]
    assert [one.moment.ended_at for one in state.history(5)] == [120_000, 90_000, 60_000]
    assert state.history(6) == ()


def test_readers_see_whole_views_while_a_writer_refreshes() -> None:
    state = empty_state()
    for room_id in range(50):
        state.start_room(room_id, room_id, 0, None, None, None)
    state.publish()
    torn, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            view = state.view
            seen = {tuple(row) for row in (view.content_at[:, None] == view.vectors).tolist()}
            if len(set(view.content_at.tolist())) != 1 or (view.content_at[0] > 0 and seen != {(True,) * DIM}):
                torn.append(view)

    reader = threading.Thread(target=read)
    reader.start()
    for ended_at in range(1, 60):
        for room_id in range(50):
            state.refresh(room_id, moment_of(room_id, ended_at), dict.fromkeys(WINDOW_COUNTS, 1.0))
        state.publish()
    done.set()
    reader.join()
    assert not torn


def test_a_view_of_some_rooms_keeps_their_columns_together() -> None:
    state = empty_state()
    for room_id in range(4):
        state.start_room(room_id, 10 + room_id, room_id, None, None, None)
    view = state.publish().take(np.array([3, 1]))
    assert view.room_id.tolist() == [3, 1]
    assert [room.author_id for room in view.rooms] == view.author_id.tolist() == [13, 11]
    assert all(len(column) == 2 for column in view.columns.values())
