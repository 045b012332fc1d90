"""A deleted user leaves no trace in state, log, checkpoint and landing, and no release brings them back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from livealign.events.log import EventLog
from livealign.events.log_files import log_files, read_lines
from livealign.platforms.registry import land
from livealign.release.registry import promote
from tests.planted.release import PlantedRelease
from tests.support.live_stage import USER, Stage
from tests.support.traces import traces

GONE, OTHER = 8_765_432_109_876, 8_765_432_109_877
EVER = 2**62


@pytest.fixture
def stage(releases: list[PlantedRelease], tmp_path: Path) -> Iterator[Stage]:
    stage = Stage.open(releases[0], tmp_path / "live")
    yield stage
    stage.core.stop()


def evening(stage: Stage, *users: int) -> None:
    """Each user does everything that users do, also in a window that is still open."""
    event = stage.platform.event
    for user in users:
        stage.core.ingest(
            [
                event("impression", 1, user_id=user, request_id=f"q{stage.platform.number}"),
                event("play_started", 1, user_id=user),
                event("like", 1, user_id=user),
                event("not_interested", 2, user_id=user),
                event("author_blocked", 3, user_id=user),
                *stage.platform.comments(1, "words", user_id=user),
            ]
        )
        assert stage.core.recommend(user, 3).rooms  # shown, and not in the log yet


def test_a_deleted_user_leaves_no_trace_and_others_keep_theirs(stage: Stage) -> None:
    stage.start_rooms(1, 2, 3)
    evening(stage, GONE, OTHER)
    stage.next_window()
    evening(stage, GONE, OTHER)
    stage.core.checkpoint()
    written = ["log/events-00000001.open", "state/checkpoint.npz"]
    assert traces(stage.folder, GONE) == traces(stage.folder, OTHER) == written
    assert stage.core.delete_user(GONE) >= 12
    assert traces(stage.folder, GONE) == []
    assert len(traces(stage.folder, OTHER)) == 2
    state = stage.core.state
    for user, left in ((GONE, 0), (OTHER, 2)):
        assert len(state.users.history(user, EVER).at) == left
        assert (user in state.wishes, user in state.sessions.table["user_id"]) == (bool(left), bool(left))
        assert any(user in window.commenters for rooms in state.open.values() for window in rooms.values()) == bool(left)
    assert {room.room_id for room in stage.core.recommend(GONE, 100, record=False).rooms} >= {
        1,
        2,
        3,
    }  # nothing is unwanted any more
    stage.next_window()
    stage.core.stop()
    assert traces(stage.folder, GONE) == []
    for checkpoint in (True, False):
        if not checkpoint:
            (stage.folder / "state" / "checkpoint.npz").unlink()
        again = stage.again()
        assert len(again.core.state.users.history(GONE, EVER).at) == 0
        assert len(again.core.state.users.history(OTHER, EVER).at) == 2
        again.core.stop()


def test_deleting_twice_or_a_stranger_is_no_error_and_a_user_may_come_back(stage: Stage) -> None:
    stage.start_rooms(1, 2, 3)
    for _ in range(2):
        assert stage.core.delete_user(GONE) == 0
    stage.clock.now += 1
    evening(stage, GONE)
    assert len(stage.core.state.users.history(GONE, EVER).at) == 1
    stage.core.stop()
    again = stage.again()
    assert len(again.core.state.users.history(GONE, EVER).at) == 1
    again.core.stop()


def test_no_release_brings_a_deleted_user_back(stage: Stage, releases: list[PlantedRelease], tmp_path: Path) -> None:
    stage.start_rooms(1)
    assert len(stage.core.state.users.history(USER, EVER).at)
    stage.core.delete_user(USER)
    folder = tmp_path / "champions"
    for release in releases:
        shutil.copytree(release.bundle, folder / release.bundle.name)
    promote(folder, releases[1].bundle.name)
    assert stage.core.follow_champion(folder)
    assert len(stage.core.state.users.history(USER, EVER).at) == 0
    assert stage.core.state.user_before(USER) == (0.0, 0.0)
    stage.core.stop()
    for checkpoint in (True, False):  # the tombstone is in the log too
        if not checkpoint:
            (stage.folder / "state" / "checkpoint.npz").unlink()
        again = stage.again(releases[1])
        assert len(again.core.state.users.history(USER, EVER).at) == 0
        again.core.stop()


def test_landing_honours_the_tombstone_also_for_files_that_were_copied_before(stage: Stage, tmp_path: Path) -> None:
    stage.start_rooms(1, 2, 3)
    evening(stage, GONE, OTHER)
    stage.core._journal.flush()
    stage.core.stop()
    archive = tmp_path / "archive"
    shutil.copytree(stage.folder / "log", archive)
    again = stage.again()
    again.core.delete_user(GONE)
    again.clock.now += 1
    again.core.ingest(again.platform.comments(1, "back again", user_id=GONE))
    again.core.stop()
    assert traces(archive, GONE) == ["events-00000001.log"]
    shutil.copy(stage.folder / "log" / "events-00000002.log", archive)
    shutil.copy(stage.folder / "log" / "events-00000003.log", archive)
    assert [path.name for path in log_files(stage.folder / "log")][:1] == ["events-00000001.log"]
    summary = land("served", archive, tmp_path / "landing")
    tables = {name: table for name, table in summary.tables.items() if table.rejected}
    assert sum(table.rejected for table in tables.values()) == 10  # six events, a list and its three rooms
    users = {
        row["user_id"]: (path.parent.parent.name, row)
        for path in (tmp_path / "landing").rglob("*.parquet")
        for row in pq.ParquetFile(path).read().to_pylist()
        if row.get("user_id") == GONE and "observed_at" not in row
    }
    assert [row["text"] for _, row in users.values()] == ["back again"]


def test_erased_records_keep_the_places_of_the_others(tmp_path: Path) -> None:
    records = [b'{"kind":"like","number":%d}' % number for number in range(6)]
    with EventLog(tmp_path) as log:
        log.append(records)
        before = dict(log.read())
        assert log.erase(lambda record: b"2" in record or b"5" in record) == 2
        assert log.erase(lambda record: b"2" in record) == 0
        log.append([b'{"kind":"like","number":7}'])
        after = dict(log.read())
    kept = {position: record for position, record in before.items() if b"2" not in record and b"5" not in record}
    assert {position: record for position, record in after.items() if position.file == 1} == kept
    assert len(after) == 5
    assert all(line.payload is not None for path in log_files(tmp_path) for line in read_lines(path))
