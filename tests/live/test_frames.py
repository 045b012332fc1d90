"""Pictures in the running service: taken in bounds, kept in the log, and read with their window."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from livealign.events.log import EventLog
from livealign.events.models import event_of, record_of
from livealign.frames.decode import FrameError, decode, webp_of
from livealign.live.core import LiveCore
from livealign.live.frames import frame_event, stands_still
from livealign.live.serving import open_serving
from livealign.live.takeover import take_over
from livealign.llm.image_encoder import load_image_encoder
from livealign.platforms.registry import archive_days, land
from tests.planted import pictures
from tests.planted.live_release import plant_live_platform, with_encoder
from tests.planted.pictures import encoded
from tests.planted.release import PlantedRelease, plant_release, planted_picture
from tests.planted.still import board, camera, card
from tests.support.live_stage import CONFIG, Clock

RED, BLUE = planted_picture(0), planted_picture(3)


@pytest.fixture(scope="module")
def releases(one_backbone: None, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, PlantedRelease]:
    """A release that reads pictures, and one that does not."""
    folder = tmp_path_factory.mktemp("releases")
    planted = plant_live_platform(folder / "marts")
    return {
        frames: with_encoder(plant_release(folder / str(frames), planted, frames=frames), folder / "releases")
        for frames in (True, False)
    }


@dataclass
class Stage:
    """A core on a log of its own, with rooms that have just started."""

    core: LiveCore
    clock: Clock
    log: Path

    def picture(self, pixels: np.ndarray, room: int = 1, ago: float = 0.0) -> str | None:
        return self.core.frame(room, int((self.clock.now - ago) * 1000), webp_of(pixels))

    def next_window(self) -> Any:
        self.clock.now += 30
        return self.core.tick()

    def vector(self, room: int = 1) -> np.ndarray:
        view = self.core.state.publish()
        return view.vectors[list(view.room_id).index(room)]


def stage(release: PlantedRelease, folder: Path, checkpoint: Path | None = None, rooms: tuple[int, ...] = (1, 2)) -> Stage:
    clock = Clock(release.taken_at / 1000 + 86_400 - release.taken_at / 1000 % 30 + 5)
    core = LiveCore.open(release.bundle, EventLog(folder, clock), Path("none"), CONFIG, clock, checkpoint=checkpoint)
    for room in rooms:
        at = int(clock.now * 1000)
        about = {"kind": "room_started", "event_id": f"start-{room}", "at": at, "room_id": room, "author_id": 900}
        core.ingest([{**about, "title": "room"}])
    return Stage(core, clock, folder)


@pytest.fixture
def seeing(releases: dict[bool, PlantedRelease], tmp_path: Path) -> Iterator[Stage]:
    made = stage(releases[True], tmp_path / "log")
    yield made
    made.core.stop()


def test_a_room_with_a_picture_and_no_word_is_refreshed_by_what_it_shows(seeing: Stage) -> None:
    assert seeing.picture(RED) == "accepted"
    assert seeing.next_window().encoded == 1
    room = seeing.core.state.rooms[1]
    assert room.seen is not None
    expected = load_image_encoder("pixels", Path()).encode(decode(webp_of(RED))[None])[0]
    np.testing.assert_array_equal(room.seen.vector, expected)
    state = seeing.core.room(1)
    assert state is not None
    assert state.content_age_seconds is not None
    assert state.frame == room.seen.text
    silent = seeing.core.room(2)
    assert silent is not None
    assert silent.content_age_seconds is None


def test_what_is_shown_changes_the_vector_and_the_newest_of_a_window_counts(seeing: Stage) -> None:
    seeing.picture(RED)
    seeing.picture(BLUE, room=2)
    seeing.picture(RED, room=2, ago=3.0)  # comes later, was taken earlier
    seeing.next_window()
    red, blue = seeing.vector(1), seeing.vector(2)
    assert np.abs(red - blue).max() > 1e-3
    assert seeing.core.state.rooms[2].seen.text != seeing.core.state.rooms[1].seen.text


SHOWN = {
    1: [card(0)] * 5,
    2: [board(0), board(0), board(1), board(2), board(2)],
    3: [camera(step) for step in range(5)],
}
SEEN = {1: [0], 2: [0, 2, 3], 3: [0, 1, 2, 3, 4]}  # the windows in which a room's picture counts


def show(stage: Stage, window: int) -> list[int]:
    """Send the rooms' pictures of a window, each compressed anew; returns the rooms whose picture was read."""
    for room, images in SHOWN.items():
        assert stage.core.frame(room, int(stage.clock.now * 1000), encoded(images[window], "JPEG", quality=60 + 5 * window))
    stage.next_window()
    rooms = stage.core.state.rooms
    return [room for room in SHOWN if rooms[room].seen is not None and rooms[room].seen.text == rooms[room].frame.name]


def test_a_card_counts_once_a_board_where_it_changed_and_a_camera_always_also_after_a_restart(
    releases: dict, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint.npz"
    running = stage(releases[True], tmp_path / "log", checkpoint, rooms=tuple(SHOWN))
    read = []
    for window in range(5):
        read.append(show(running, window))
        if window in (2, 3):  # from the checkpoint, then from the log alone
            running.core.stop()
            log, known = EventLog(tmp_path / "log", running.clock), checkpoint if window == 2 else None
            running.core = LiveCore.open(releases[True].bundle, log, Path("none"), CONFIG, running.clock, checkpoint=known)
            assert running.core.newest_frame(1) is not None
    running.core.stop()
    assert {room: [window for window, rooms in enumerate(read) if room in rooms] for room in SHOWN} == SEEN


def test_a_picture_of_a_log_without_looks_counts(seeing: Stage) -> None:
    made = frame_event(1, 900, int(seeing.clock.now * 1000), webp_of(RED))
    old = made.model_copy(update={"look": ""})
    assert event_of(record_of(old).replace(b',"look":""', b"")) == old
    assert stands_still(made.look, made.look)
    assert not stands_still(made.look, "")
    assert not stands_still("", "")


def test_a_window_without_a_picture_has_none_and_the_average_goes_on_after_it(seeing: Stage) -> None:
    seeing.picture(RED)
    seeing.next_window()
    like = {"kind": "like", "event_id": "l1", "at": int(seeing.clock.now * 1000), "room_id": 1, "author_id": 900, "user_id": 5}
    seeing.core.ingest([like])
    refresher = seeing.core.serving.refresher
    assert refresher is not None
    width, contents = refresher.encoder.text_width, []
    aligned = refresher.recommender.aligned

    def recording(authors: Any, content: Any) -> Any:
        contents.append(content)
        return aligned(authors, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(refresher.recommender), "aligned", lambda self, authors, content: recording(authors, content))
        seeing.next_window()
        seeing.picture(BLUE)
        seeing.next_window()
    without, later = contents
    assert not without[0, width:].any()
    seen = seeing.core.state.rooms[1].seen
    np.testing.assert_array_equal(later[0, width:], seen.average.average)
    assert np.abs(seen.average.average - seen.vector).max() > 1e-3


def test_pictures_and_times_out_of_bounds_are_refused_with_the_reason(seeing: Stage) -> None:
    for data, reason in ((b"", "empty_picture"), (b"hello", "not_a_picture"), (pictures.animated("PNG"), "animated")):
        with pytest.raises(FrameError) as caught:
            seeing.core.frame(1, None, data)
        assert caught.value.reason == reason
    for ago, reason in ((2 * 3_600, "too_late"), (-3_600, "in_future")):
        with pytest.raises(FrameError) as caught:
            seeing.picture(RED, ago=ago)
        assert caught.value.reason == reason
    assert seeing.picture(RED, room=4711) is None
    assert seeing.core.newest_frame(1) is None


def test_the_same_picture_sent_again_is_a_duplicate_and_a_batch_of_events_may_hold_none(seeing: Stage) -> None:
    assert [seeing.picture(RED), seeing.picture(RED), seeing.picture(BLUE)] == ["accepted", "duplicate", "accepted"]
    about = {"kind": "frame", "event_id": "x", "at": int(seeing.clock.now * 1000), "room_id": 1, "author_id": 900}
    report = seeing.core.ingest([{**about, "name": "0" * 64, "picture": "AAAA"}])
    assert [rejection.reason for rejection in report.rejected] == ["invalid"]


def test_a_restart_has_the_pictures_of_the_log_and_of_the_checkpoint(releases: dict, tmp_path: Path) -> None:
    first = stage(releases[True], tmp_path / "log", tmp_path / "checkpoint.npz")
    first.picture(RED)
    first.next_window()
    first.picture(BLUE)
    newest = first.core.newest_frame(1)
    first.core.stop()
    for checkpoint in (tmp_path / "checkpoint.npz", None):
        again = LiveCore.open(
            releases[True].bundle,
            EventLog(tmp_path / "log", first.clock),
            Path("none"),
            CONFIG,
            first.clock,
            checkpoint=checkpoint,
        )
        assert again.newest_frame(1) == newest
        first.clock.now += 30
        assert again.tick().encoded >= 1
        assert again.state.rooms[1].encoded.frame is not None
        again.stop()
        first.clock.now -= 30


def test_the_average_of_a_rooms_pictures_goes_on_after_a_restart(releases: dict, tmp_path: Path) -> None:
    averages = []
    for restarted in (False, True):
        folder = tmp_path / str(restarted)
        running = stage(releases[True], folder / "log", folder / "checkpoint.npz")
        running.picture(RED)
        running.next_window()
        if restarted:
            running.core.stop()
            log, path = EventLog(folder / "log", running.clock), folder / "checkpoint.npz"
            running.core = LiveCore.open(releases[True].bundle, log, Path("none"), CONFIG, running.clock, checkpoint=path)
        running.picture(BLUE)
        running.next_window()
        averages.append((running.core.state.rooms[1].seen.average, running.vector()))
        running.core.stop()
    (whole, vector), (resumed, again) = averages
    np.testing.assert_array_equal(resumed.average, whole.average)
    assert resumed[1:] == whole[1:]
    np.testing.assert_array_equal(again, vector)


def test_a_release_of_the_same_encoder_goes_on_with_the_average_of_a_rooms_pictures(releases: dict, tmp_path: Path) -> None:
    running = stage(releases[True], tmp_path / "log")
    running.picture(RED)
    running.next_window()
    state, seen = running.core.state, running.core.state.rooms[1].seen
    for number in (0, 1):  # the same adapter, and another
        other = with_encoder(releases[True], tmp_path / "releases", number, profile="other")
        fresh = open_serving(other.bundle, Path("none"), CONFIG, running.clock)
        take_over(state, running.core.serving, fresh, state.clock, lambda: None)
        assert state.rooms[1].seen is (None if number else seen)
    running.core.stop()


def test_a_release_that_reads_no_pictures_keeps_them_and_is_not_changed_by_them(releases: dict, tmp_path: Path) -> None:
    blind = stage(releases[False], tmp_path / "log")
    blind.picture(RED)
    blind.picture(BLUE, room=2)
    blind.next_window()
    np.testing.assert_array_equal(blind.vector(1), blind.vector(2))
    np.testing.assert_array_equal(decode(blind.core.newest_frame(1)), RED)
    blind.core.stop()


def test_the_log_lands_the_pictures_as_the_service_saw_them(seeing: Stage, tmp_path: Path) -> None:
    seeing.picture(RED)
    seeing.picture(BLUE, ago=1.0)
    seeing.core.stop()
    days = archive_days("served", seeing.log)
    summary = land("served", seeing.log, tmp_path / "l", days)
    assert summary.tables["frames"].landed == 2
    rows = [row for part in (tmp_path / "l").glob("frames/dt=*/*.parquet") for row in pq.ParquetFile(part).read().to_pylist()]
    shown = [decode((tmp_path / "l" / row["path"]).read_bytes()) for row in sorted(rows, key=lambda row: row["at"])]
    np.testing.assert_array_equal(shown, [BLUE, RED])
