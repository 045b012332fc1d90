"""A release whose LLM reads pictures: its vectors are those of the batch, in ticks, starts and takeovers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from livealign.errors import BackboneError
from livealign.events.log import EventLog
from livealign.live.closing import close_windows
from livealign.live.core import LiveCore
from livealign.live.refresh import rooms_with_news
from livealign.live.serving import open_serving
from livealign.live.state.rooms import LlmInput
from livealign.live.takeover import take_over
from livealign.llm.content_encoder import ContentEncoder
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.prefix import Pictures
from livealign.release.bundle import open_bundle
from livealign.release.models import load_encoder
from tests.live.test_frames import BLUE, RED, Stage, stage
from tests.planted.live_release import plant_live_platform, with_encoder
from tests.planted.release import PlantedRelease, plant_release
from tests.planted.vision_language import counted_loads, saved
from tests.support.live_stage import CONFIG


@pytest.fixture(scope="module")
def plain(one_backbone: None, tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    folder = tmp_path_factory.mktemp("plain")
    return plant_release(folder / "plain", plant_live_platform(folder / "marts"))


@pytest.fixture(scope="module")
def release(plain: PlantedRelease, tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return with_encoder(plain, tmp_path_factory.mktemp("seeing") / "releases", llm_sees=True)


@pytest.fixture
def seeing(release: PlantedRelease, tmp_path: Path) -> Iterator[Stage]:
    made = stage(release, tmp_path / "log", tmp_path / "checkpoint.npz")
    yield made
    made.core.stop()


def in_batch(release: PlantedRelease, text: str, pixels: np.ndarray | None) -> np.ndarray:
    """The vector that a retrain gives a text with the picture of its window."""
    encoder = load_encoder(open_bundle(release.bundle), Path("none"))
    features = load_image_encoder("pixels", Path()).encode((RED if pixels is None else pixels)[None])
    return encoder.encode([text], pictures=Pictures(features, np.array([-1 if pixels is None else 0])))[0]


def say(room: int, stage: Stage, text: str) -> None:
    about = {"event_id": f"{text}-{room}", "at": int(stage.clock.now * 1000), "room_id": room, "author_id": 900}
    stage.core.ingest([{"kind": "comment", **about, "user_id": 5, "text": text}])


def test_a_room_is_read_with_its_picture_as_a_batch_reads_it(seeing: Stage, release: PlantedRelease) -> None:
    for room, picture in ((1, RED), (2, BLUE)):
        say(room, seeing, "hello everybody")
        seeing.picture(picture, room=room)
    assert seeing.next_window().encoded == 2
    red, blue = (seeing.core.state.rooms[room].content for room in (1, 2))
    assert red.text == blue.text
    assert red.picture != blue.picture
    np.testing.assert_allclose(red.vector, in_batch(release, red.text, RED), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(blue.vector, in_batch(release, blue.text, BLUE), rtol=1e-3, atol=1e-5)
    assert np.abs(red.vector - blue.vector).max() > 1e-2
    assert np.abs(seeing.vector(1) - seeing.vector(2)).max() > 1e-3


def test_a_window_without_a_picture_is_read_by_its_text_alone(seeing: Stage, release: PlantedRelease) -> None:
    seeing.picture(RED)
    seeing.next_window()
    say(1, seeing, "and now without")
    seeing.next_window()
    content = seeing.core.state.rooms[1].content
    assert content.picture == ""
    np.testing.assert_allclose(content.vector, in_batch(release, content.text, None), rtol=1e-3, atol=1e-5)


def test_the_same_text_and_picture_are_read_once(seeing: Stage) -> None:
    for room in (1, 2):
        seeing.picture(RED, room=room)
    report = seeing.next_window()
    assert (report.encoded, report.distinct_texts) == (2, 1)
    first, second = (seeing.core.state.rooms[room].content for room in (1, 2))
    assert first.llm_input == second.llm_input
    assert first.picture


def test_a_picture_that_stands_still_is_not_read_again_nor_by_the_next_release(plain: PlantedRelease, tmp_path: Path) -> None:
    first = with_encoder(plain, tmp_path / "releases", 1, llm_sees=True)
    second = with_encoder(plain, tmp_path / "releases", 2, llm_sees=True)
    running = stage(first, tmp_path / "log")
    state = running.core.state
    for pictures in (True, False):
        running.picture(RED)
        running.next_window()
        assert bool(state.rooms[1].content.picture) is pictures
    fresh = open_serving(second.bundle, Path("none"), CONFIG, running.clock)
    take_over(state, running.core.serving, fresh, state.clock, lambda: None)
    content = state.rooms[1].content
    assert content.picture == ""
    np.testing.assert_allclose(content.vector, in_batch(second, content.text, None), rtol=1e-4, atol=1e-5)
    running.core.stop()


def test_a_room_is_read_with_its_picture_in_every_chunk_and_without_it_where_time_is_short(seeing: Stage) -> None:
    for room in (1, 2):
        seeing.picture(RED, room=room)
    refresher, state = seeing.core.serving.refresher, seeing.core.state
    close_windows(state, int(seeing.clock.now) // 30, refresher.segments)
    refresher._chunk = 1
    assert refresher.refresh(state, rooms_with_news(state, state.clock), budget_seconds=1e9).encoded == 2
    assert all(state.rooms[room].content.picture for room in (1, 2))
    inputs, pictures = refresher.read([state.rooms[1].encoded], {})  # no time for pictures
    assert ([one.picture for one in inputs], pictures) == ([""], None)


def test_a_restart_has_what_was_read(seeing: Stage, release: PlantedRelease, tmp_path: Path) -> None:
    seeing.picture(RED)
    seeing.next_window()
    before = seeing.core.state.rooms[1].content
    seeing.core.stop()
    log, checkpoint = EventLog(tmp_path / "log", seeing.clock), tmp_path / "checkpoint.npz"
    again = LiveCore.open(release.bundle, log, Path("none"), CONFIG, seeing.clock, checkpoint=checkpoint)
    after = again.state.rooms[1].content
    assert after.llm_input == before.llm_input == LlmInput(before.text, before.picture)
    assert after.picture
    again.stop()


def test_a_takeover_reads_the_pictures_of_the_rooms(plain: PlantedRelease, tmp_path: Path) -> None:
    first = with_encoder(plain, tmp_path / "releases", 1, llm_sees=True)
    second = with_encoder(plain, tmp_path / "releases", 2, llm_sees=True)
    running = stage(first, tmp_path / "log")
    running.picture(RED)
    running.next_window()
    state, fresh = running.core.state, open_serving(second.bundle, Path("none"), CONFIG, running.clock)
    before = state.rooms[1].content
    take_over(state, running.core.serving, fresh, state.clock, lambda: None)
    after = state.rooms[1].content
    assert after.llm_input == before.llm_input
    np.testing.assert_allclose(after.vector, in_batch(second, after.text, RED), rtol=1e-3, atol=1e-5)
    assert np.abs(after.vector - before.vector).max() > 1e-2
    running.core.stop()


@pytest.mark.parametrize("name", ["SmolVLM", "Gemma3", "Qwen2_5_VL"])
def test_a_vision_language_model_reads_the_tokens_of_its_own_tower(
    name: str, plain: PlantedRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = with_encoder(plain, tmp_path / "releases", vision=saved(name, tmp_path / "model"))
    loads = counted_loads(monkeypatch)
    running = stage(release, tmp_path / "log")
    assert loads == [tmp_path / "model"]  # once, for words and for pictures
    running.picture(RED)
    say(2, running, "hello everybody")
    assert running.next_window().encoded == 2
    red, blind = (running.core.state.rooms[room].content for room in (1, 2))
    assert red.picture
    assert not blind.picture
    encoder = load_encoder(open_bundle(release.bundle), Path("none"))
    pictures = Pictures(encoder.images.encode(RED[None]), np.array([0, -1]))
    expected = encoder.encode([red.text, blind.text], pictures=pictures)
    np.testing.assert_allclose(np.stack([red.vector, blind.vector]), expected, rtol=1e-2, atol=1e-2)  # bfloat16, maybe
    assert np.abs(encoder.encode([red.text])[0] - expected[0]).max() > 0.05
    running.core.stop()


def test_an_llm_that_was_tuned_with_another_image_encoder_is_refused(release: PlantedRelease) -> None:
    whole = load_encoder(open_bundle(release.bundle), Path("none"))
    assert whole.llm_reads_pictures
    assert whole.text_width == whole.width  # pictures are no source of their own
    with pytest.raises(BackboneError, match="pictures of another image encoder"):
        ContentEncoder(whole.sources, whole.llm, whole.lexicon, None)
