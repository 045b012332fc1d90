"""A live core whose disk is full, on a small tmpfs: what is acknowledged stays, lists go on, and so does everything later."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livealign.errors import EventLogError
from tests.planted.release import PlantedRelease
from tests.support.live_stage import USER, Stage, logged
from tests.support.small_disk import fill, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "8m") as folder:
        yield folder


def test_log_and_checkpoint_keep_what_they_have_and_go_on_when_there_is_room(
    releases: list[PlantedRelease], disk: Path
) -> None:
    stage = Stage.open(releases[0], disk)
    stage.start_rooms(1, 2)
    kept = stage.platform.comments(1, "before")
    assert len(stage.core.ingest(kept).accepted) == 1
    stage.core.checkpoint()
    checkpoint = disk / "state" / "checkpoint.npz"
    whole = checkpoint.read_bytes()
    filler = fill(disk)
    refused = stage.platform.comments(2, *["x" * 1_900] * 8)  # more than what is left of the last page of the file
    with pytest.raises(EventLogError, match=r"nothing was kept of 8 events.*No space left"):
        stage.core.ingest(refused)
    assert stage.core.recommend(USER, 2).rooms
    stage.next_window()
    stage.core.checkpoint()
    problems = " ".join(stage.core.status().problems)
    assert "No space left" in problems
    assert checkpoint.read_bytes() == whole
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]  # no half one keeps the disk full
    filler.unlink()
    assert len(stage.core.ingest(refused).accepted) == 8
    stage.core.checkpoint()
    stage.core._journal.flush()
    assert stage.core.status().problems == ()
    assert checkpoint.read_bytes() != whole
    stage.core.stop()
    events = [event.event_id for event in logged(disk) if event.kind == "comment"]
    assert events == [event["event_id"] for event in (*kept, *refused)]
    again = stage.again()
    assert again.core.ingest(refused).duplicate == 8
    again.core.stop()
