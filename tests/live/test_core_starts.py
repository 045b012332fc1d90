"""Starts and takeovers of the live core: checkpoint, log, another release, damage."""

import shutil
import threading
from pathlib import Path

import pytest

from livealign.errors import BackboneError, BundleError
from livealign.events.log import EventLog
from livealign.events.log_files import log_files
from livealign.live.answers import SegmentText
from livealign.live.core import LiveCore
from livealign.release.registry import promote, rollback
from tests.planted.release import PlantedRelease
from tests.support.live_stage import CONFIG, STRANGER, USER, Stage, logged


def test_a_start_from_the_checkpoint_continues_without_a_gap(stage: Stage) -> None:
    stage.start_rooms(1, 2)
    stage.core.ingest(stage.platform.comments(1, "first words"))
    stage.next_window()
    answer = stage.core.recommend(STRANGER, 3)
    first = answer.rooms[0]
    stage.core.ingest(
        [
            *stage.platform.comments(1, "half of a window"),
            stage.platform.event(
                "play_started", first.room_id, first.author_id, user_id=STRANGER, request_id=answer.request_id
            ),
        ]
    )
    stage.core.stop()
    fresh = stage.again()
    assert fresh.core.room(1) == stage.core.room(1)
    fresh.clock.now += 1
    fresh.core.ingest(fresh.platform.comments(1, "the other half"))
    fresh.next_window()
    room = fresh.core.room(1)
    assert room is not None
    assert room.windows[0].text == "room 1 | minute 0 | chat: the other half / half of a window | before: first words"
    assert len(fresh.core.state.users.history(STRANGER, 2**62).at) == 1
    assert fresh.core.state.sessions.names == stage.core.state.sessions.names
    ignored = fresh.core.state.users.not_entered(STRANGER, 0, 2**62).tolist()
    assert sorted(ignored) == sorted(one.room_id for one in answer.rooms[1:])
    before, after = (one.core.state.view() for one in (stage, fresh))
    known, now = (view.outcomes[view.room_id.tolist().index(first.room_id)] for view in (before, after))
    assert (now - known).tolist() == [1.0, 1.0]  # shown and entered before the restart, known to be so since
    fresh.core.stop()


def test_a_start_without_a_checkpoint_reads_the_whole_log(stage: Stage) -> None:
    stage.start_rooms(1, 2)
    answer = stage.core.recommend(STRANGER, 2)
    stage.core.ingest(
        [
            *stage.platform.comments(1, "words"),
            stage.platform.event("room_ended", 2),
            stage.platform.event("play_started", answer.rooms[0].room_id, user_id=STRANGER),
        ]
    )
    stage.core.stop()
    (stage.folder / "state" / "checkpoint.npz").write_bytes(b"damaged")
    fresh = stage.again()
    assert [what for what, _ in fresh.told.failures] == ["checkpoint"]
    assert fresh.core.room(2).ended_at == int(stage.clock.now * 1000)  # type: ignore[union-attr]
    fresh.next_window()
    assert fresh.core.room(1).windows[0].text.endswith("chat: words")  # type: ignore[union-attr]
    known = {**stage.platform.event("like", 1, user_id=1), "event_id": "e1"}
    assert fresh.core.ingest([*stage.platform.comments(1, "x"), known]).duplicate == 1
    fresh.core.stop()


def test_events_after_the_checkpoint_are_read_once(stage: Stage) -> None:
    stage.start_rooms(1)
    stage.core.ingest(stage.platform.comments(1, "before"))
    stage.core.checkpoint()
    stage.core.ingest(stage.platform.comments(1, "after"))
    copy = stage.folder / "copy"
    shutil.copytree(stage.folder / "log", copy / "log")
    shutil.copytree(stage.folder / "state", copy / "state")
    fresh = Stage.open(stage.release, copy)  # as after kill -9: nothing was put away
    fresh.clock.now = stage.clock.now
    fresh.next_window()
    (window,) = fresh.core.room(1).windows  # type: ignore[union-attr]
    assert window.text.endswith("chat: after / before")
    fresh.core.stop()


def test_a_torn_last_record_costs_that_record_alone(stage: Stage) -> None:
    stage.start_rooms(1)
    stage.core.ingest(stage.platform.comments(1, "whole"))
    (file,) = log_files(stage.folder / "log")
    copy = stage.folder / "copy" / "log"
    copy.mkdir(parents=True)
    (copy / file.name).write_bytes(file.read_bytes() + b'00000000 {"kind": "comm')
    fresh = Stage.open(stage.release, stage.folder / "copy")
    assert [event.event_id for event in logged(stage.folder / "copy")] == ["e1", "e2"]
    assert fresh.core.room(1) is not None
    fresh.core.stop()


def test_a_damaged_bundle_is_refused_and_one_whose_backbone_is_missing_serves_what_it_has(stage: Stage, tmp_path: Path) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(stage.release.bundle, copy)
    (copy / "ranker.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match="is damaged"):
        LiveCore.open(copy, EventLog(tmp_path / "other"), Path("none"))
    plain = stage.release.bundle.parent.parent / "plain" / "releases"
    core = LiveCore.open(next(plain.glob("2*-*")), EventLog(tmp_path / "plain"), Path("none"), CONFIG)
    assert core.recommend(USER, 3).fallbacks[-1] == "no_refresh"
    assert "rooms are not refreshed" in core.status().problems[0]
    assert not core.version().encodes
    with pytest.raises(BackboneError):
        core.embed([SegmentText("x")])
    assert core.tick().error is None
    core.stop()


def test_a_new_champion_takes_over_with_rooms_and_histories_and_goes_back(
    releases: list[PlantedRelease], stage: Stage, tmp_path: Path
) -> None:
    folder = tmp_path / "champions"
    for release in releases:
        shutil.copytree(release.bundle, folder / release.bundle.name)
    first, second = (release.bundle.name for release in releases)
    promote(folder, first)
    assert not stage.core.follow_champion(folder)
    stage.start_rooms(1, 2)
    stage.core.ingest(stage.platform.comments(1, "words"))
    stage.next_window()
    before, history = stage.core.room(1), stage.core.state.users.history(USER, 2**62)
    assert before is not None
    promote(folder, second)
    done, answers = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            answers.append(stage.core.recommend(USER, 5))

    asker = threading.Thread(target=ask)
    asker.start()
    assert stage.core.follow_champion(folder)
    done.set()
    asker.join()
    assert {answer.model_version for answer in answers} <= {first, second}
    assert all(answer.rooms for answer in answers)
    assert (stage.core.version().release_id, stage.told.releases) == (second, [second])
    after = stage.core.room(1)
    assert after is not None
    assert (after.codes, after.content_age_seconds) == (before.codes, before.content_age_seconds)  # same towers, same text
    assert stage.core.state.users.history(USER, 2**62).at.tolist() == history.at.tolist()
    stage.core.ingest(stage.platform.comments(2, "more words"))
    assert stage.next_window().encoded == 1
    rollback(folder)
    assert stage.core.follow_champion(folder)
    assert stage.core.version().release_id == first
    assert stage.core.recommend(USER, 5).model_version == first


def test_a_damaged_champion_is_reported_once_and_the_old_release_serves_on(
    releases: list[PlantedRelease], stage: Stage, tmp_path: Path
) -> None:
    folder = tmp_path / "champions"
    shutil.copytree(releases[1].bundle, folder / releases[1].bundle.name)
    promote(folder, releases[1].bundle.name)
    (folder / releases[1].bundle.name / "codebook.npz").write_bytes(b"x")
    for _ in range(2):
        assert not stage.core.follow_champion(folder)
    assert [what for what, _ in stage.told.failures] == ["takeover"]
    assert "codebook.npz is damaged" in stage.core.status().problems[0]
    assert stage.core.recommend(USER, 3).model_version == releases[0].bundle.name


def test_a_checkpoint_of_another_release_keeps_rooms_and_histories(releases: list[PlantedRelease], stage: Stage) -> None:
    stage.start_rooms(1)
    stage.core.ingest(stage.platform.comments(1, "words"))
    stage.next_window()
    before, at = stage.core.room(1), stage.core.state.users.history(USER, 2**62).at.tolist()
    stage.core.stop()
    fresh = stage.again(releases[1])
    assert fresh.core.version().release_id == releases[1].bundle.name
    assert fresh.core.state.users.history(USER, 2**62).at.tolist() == at
    fresh.next_window()
    after = fresh.core.room(1)
    assert before is not None
    assert after is not None
    assert after.codes == before.codes
    fresh.core.stop()
