"""A snapshot has nothing later than its time, and the live state starts from it."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.days import DAY_MS, midnight, partition
from livealign.errors import BundleError, TrainingError
from livealign.live.startup import read_snapshot, state_of
from livealign.live.state.rooms import N_VIEWERS
from livealign.live.state.state import LiveState
from livealign.release.snapshot import busiest_time, snapshot_segments, write_snapshot
from tests.planted.marts import Planted
from tests.planted.release import plant_platform

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
    return state_of(read_snapshot(snapshot(folder, planted, moment, without), of_authors), LiveConfig(), LENGTH, 30_000)


def present(state: LiveState, room_id: int) -> dict[str, NDArray]:
    """The columns of the room's newest coded window."""
    row = state.table["coded_row"][state.rooms[room_id].row]
    return {name: state.coded_windows[name][row] for name in ("segment_id", "author_id", "ended_at", "vector", "codes")}


def mart(planted: Planted, name: str) -> pa.Table:
    return pa.concat_tables([pq.ParquetFile(p).read() for p in sorted((planted.marts / name).glob("dt=*/part-0.parquet"))])


def milliseconds(column: pa.ChunkedArray) -> NDArray:
    return column.cast(pa.int64()).to_numpy()


def milliseconds_of(time: datetime) -> int:
    return round(time.replace(tzinfo=UTC).timestamp() * 1_000)


def test_the_busiest_time_is_the_last_at_which_half_the_peak_is_live(planted: Planted) -> None:
    day = planted.days[-1]
    moment = busiest_time(planted.marts, day)
    rooms = mart(planted, "rooms")
    start, end = milliseconds(rooms["started_at"]), milliseconds(rooms["ended_at"])
    grid = midnight(day) + 30_000 * np.arange(1, 2_881)
    live = ((start[:, None] <= grid) & (grid < end[:, None])).sum(0)
    assert live[grid == moment][0] * 2 >= live.max()
    assert (live[grid > moment] * 2 < live.max()).all()


def test_a_snapshot_holds_the_rooms_live_then_each_with_its_last_ended_window(planted: Planted, tmp_path: Path) -> None:
    at_moment = busiest_time(planted.marts, planted.days[-1]) + 12_345
    state = state_at(tmp_path, planted, at_moment)
    rooms, segments = mart(planted, "rooms").to_pylist(), mart(planted, "segments")
    shown, window, outcomes = mart(planted, "interactions").to_pylist(), at_moment // 30_000 * 30_000, 0
    ended, room_of = milliseconds(segments["ended_at"]), segments["room_id"].to_numpy()
    ids, viewers = segments["segment_id"].to_numpy(), segments["n_viewers"].to_numpy()
    at = datetime.fromtimestamp(at_moment / 1000, UTC).replace(tzinfo=None)
    live = {room["room_id"]: room for room in rooms if room["started_at"] <= at < room["ended_at"]}
    assert len(live) >= 2
    assert set(state.rooms) == set(live)
    for room_id, room in state.rooms.items():
        rows = np.flatnonzero((room_of == room_id) & (ended <= at_moment))
        last = rows[ended[rows].argmax()]
        moment = present(state, room_id)
        assert moment["segment_id"] == ids[last]
        assert moment["ended_at"] == ended[last] == state.table["content_at"][room.row]
        assert moment["vector"][0] == ids[last] % 1_000
        assert moment["codes"].tolist() == [ids[last] % 7, ids[last] % 11]
        assert state.table["counts"][room.row, N_VIEWERS] == viewers[last]
        known = [row for row in shown if row["room_id"] == room_id and milliseconds_of(row["click_known_at"]) < window]
        assert state.table["outcomes"][room.row].tolist() == [len(known), sum(row["click"] for row in known)]
        outcomes += len(known)
        assert room.title == live[room_id]["title"]
    assert state.clock == at_moment
    assert outcomes > 20


def test_histories_are_the_engagements_known_strictly_before_the_moment_newest_first(planted: Planted, tmp_path: Path) -> None:
    shown = mart(planted, "interactions").to_pylist()
    clicks: dict[int, list[dict]] = {}
    for row in sorted(shown, key=lambda row: (row["click_known_at"], row["impression_id"]), reverse=True):
        if row["click"]:
            clicks.setdefault(row["user_id"], []).append(row)
    rows = [row for row in shown if len(clicks.get(row["user_id"], ())) >= 6][-60:]
    for number, row in enumerate(rows[:: len(rows) // 5]):
        moment = milliseconds_of(row["shown_at"])
        state = state_at(tmp_path / str(number), planted, moment)
        history = state.users.history(row["user_id"], moment)
        before = [one for one in clicks[row["user_id"]] if one["click_known_at"] < row["shown_at"]][:LENGTH]
        assert len(before) >= 3
        assert state.coded_windows["author_id"][history.coded_row].tolist() == [one["author_id"] for one in before]
        assert state.coded_windows["segment_id"][history.coded_row].tolist() == [one["segment_id"] or 0 for one in before]
        assert (history.at < moment).all()


def test_counts_are_those_of_the_days_before_also_for_a_day_that_is_not_built_yet(planted: Planted, tmp_path: Path) -> None:
    day = planted.days[1]
    noon = busiest_time(planted.marts, day)
    built = pq.ParquetFile(partition(planted.marts, "authors_daily", day)).read().to_pylist()
    state = state_at(tmp_path / "built", planted, noon)
    for row in built:
        assert state.author_counts.from_release[row["author_id"]] == (row["impressions"], row["clicks"], row["long_views"])
    tomorrow = state_at(tmp_path / "tomorrow", planted, busiest_time(planted.marts, planted.days[-1]) + DAY_MS)
    interactions = mart(planted, "interactions")
    for user_id in (500, 501, 502):
        mine = interactions.filter(pc.equal(interactions["user_id"], user_id))
        assert tomorrow.user_before(user_id) == (mine.num_rows, pc.sum(mine["click"]).as_py() or 0)


def test_windows_without_a_vector_give_way_to_earlier_ones_and_then_to_the_author(planted: Planted, tmp_path: Path) -> None:
    moment = busiest_time(planted.marts, planted.days[-1])
    whole = state_at(tmp_path / "whole", planted, moment)
    last = np.array([present(whole, room_id)["segment_id"] for room_id in whole.rooms])
    earlier = state_at(tmp_path / "earlier", planted, moment, without=last)
    for room_id in earlier.rooms:
        assert 0 < present(earlier, room_id)["ended_at"] == present(whole, room_id)["ended_at"] - 30_000
    none = state_at(tmp_path / "none", planted, moment, without=planted.segment_ids)
    for room_id, room in none.rooms.items():
        moment_without = present(none, room_id)
        assert (moment_without["segment_id"], moment_without["ended_at"]) == (0, 0)
        assert moment_without["vector"][0] == -room.author_id
        assert np.isnan(none.table["counts"][room.row]).all()


def test_the_segments_that_a_snapshot_asks_for_are_all_that_it_uses(planted: Planted, tmp_path: Path) -> None:
    moment = busiest_time(planted.marts, planted.days[-1])
    asked = snapshot_segments(planted.marts, moment, LENGTH)
    whole = state_at(tmp_path / "whole", planted, moment)
    asked_only = state_at(tmp_path / "asked", planted, moment, without=np.setdiff1d(planted.segment_ids, asked))
    used = pq.ParquetFile(tmp_path / "whole" / "items.parquet").read()["segment_id"].to_pylist()
    assert set(used) == set(asked.tolist())
    assert whole.view().content_at.tolist() == asked_only.view().content_at.tolist()


def test_a_day_without_anyone_live_gives_an_empty_state(planted: Planted, tmp_path: Path) -> None:
    day = planted.days[-1]
    state = state_at(tmp_path, planted, midnight(day) + 3_600_000)
    assert state.rooms == {}
    assert state.view().vectors.shape == (0, DIM)
    assert len(state.users)


def test_marts_that_are_not_there_are_named(planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="build the warehouse"):
        busiest_time(tmp_path, planted.days[0])
    with pytest.raises(TrainingError, match="build the warehouse"):
        snapshot(tmp_path / "s", planted, busiest_time(planted.marts, planted.days[0]) - 40 * DAY_MS)


@pytest.mark.parametrize("name", ["items.parquet", "rooms.parquet", "histories.parquet", "state.json"])
def test_a_snapshot_with_a_file_missing_or_not_fitting_is_refused(name: str, planted: Planted, tmp_path: Path) -> None:
    files = snapshot(tmp_path, planted, busiest_time(planted.marts, planted.days[-1]))
    with pytest.raises(BundleError, match="build the release again"):
        read_snapshot({key: path for key, path in files.items() if key != name}, of_authors)
    files[name].write_bytes(b"{}")
    with pytest.raises(BundleError, match="build the release again"):
        read_snapshot(files, of_authors)


def test_items_that_rooms_point_to_must_be_there(planted: Planted, tmp_path: Path) -> None:
    files = snapshot(tmp_path, planted, busiest_time(planted.marts, planted.days[-1]))
    items = pq.ParquetFile(files["items.parquet"]).read()
    pq.write_table(items.slice(0, 1), files["items.parquet"])
    with pytest.raises(BundleError):
        read_snapshot(files, of_authors)
