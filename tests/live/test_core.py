"""The live core: the events it takes, the lists it gives, a follower, and its background."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livealign.errors import EventLogError
from livealign.events.followed_log import FollowedLog
from livealign.events.log import EventLog
from livealign.live.answers import SegmentText
from livealign.ranking.contexts import UNKNOWN, Context
from livealign.release.registry import promote
from tests.planted.release import PlantedRelease
from tests.support.live_stage import CONFIG, STRANGER, USER, Stage, logged, logged_in


def test_until_the_first_event_the_platform_stands_still_and_nothing_is_logged(stage: Stage) -> None:
    answer = stage.core.recommend(USER, 5)
    assert not answer.recorded
    assert answer.at == stage.release.taken_at
    assert answer.rooms
    stage.core.stop()
    assert logged(stage.folder) == []


def test_events_are_counted_by_kind_and_outcome_and_events_of_unknown_rooms_are_rejected(stage: Stage) -> None:
    stage.start_rooms(1)
    batch = [*stage.platform.comments(1, "hello"), *stage.platform.comments(2, "nobody told of room 2"), {"kind": "nothing"}]
    report = stage.core.ingest([*batch, batch[0]])
    assert [event.event_id for event in report.accepted] == ["e2"]
    assert report.duplicate == 1
    assert [(one.place, one.reason) for one in report.rejected] == [(1, "unknown_room"), (2, "invalid")]
    assert "send room_started first" in report.rejected[0].detail
    assert stage.told.outcomes == {
        ("room_started", "accepted"): 1,
        ("comment", "accepted"): 1,
        ("any", "duplicate"): 1,
        ("any", "rejected"): 2,
    }
    assert [event.event_id for event in logged(stage.folder)] == ["e1", "e2"]


def test_a_room_started_in_the_batch_is_known_to_the_rest_of_it(stage: Stage) -> None:
    batch = [*stage.platform.comments(5, "before"), stage.platform.event("room_started", 5)]
    assert len(stage.core.ingest(batch).accepted) == 2


def test_a_full_disk_acknowledges_nothing_and_lists_are_still_made(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.start_rooms(1)
    behind: list[int] = []  # while a write is under way

    def full(file: int, data: Any) -> int:
        behind.append(stage.core._journal.behind())
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("livealign.events.log.os.write", full)
        batch = stage.platform.comments(1, "lost?")
        with pytest.raises(EventLogError, match="nothing was kept"):
            stage.core.ingest(batch)
        answer = stage.core.recommend(USER, 3)
        stage.core._journal.flush()
        assert stage.core.status().log_behind_records == len(answer.rooms) == behind[-1] == 3
        assert "No space left" in stage.core.status().problems[0]
        assert [what for what, _ in stage.told.failures] == ["log"]
    stage.core._journal.flush()
    assert (stage.core.status().problems, stage.core.status().log_behind_records) == ((), 0)
    assert len(stage.core.ingest(batch).accepted) == 1
    assert [event.kind for event in logged(stage.folder)] == ["room_started", "list_shown", *["impression"] * 3, "comment"]


def test_the_context_of_a_request_is_logged_with_its_list(stage: Stage) -> None:
    stage.start_rooms(1)
    for context in (Context(language="es", country="chile"), UNKNOWN):
        stage.core.recommend(STRANGER, 1, context=context)
    stage.core._journal.flush()
    shown = [event for event in logged(stage.folder) if event.kind == "list_shown"]
    assert [(event.language, event.country) for event in shown] == [("es", "chile"), (None, None)]


def test_a_list_that_cannot_be_written_loses_no_other(stage: Stage) -> None:
    stage.start_rooms(1)
    for context in (UNKNOWN, Context(language="x" * 201, country="")):  # longer than a record allows
        stage.core.recommend(STRANGER, 1, context=context)
    behind = stage.core.status().log_behind_records
    stage.core._journal.flush()
    assert stage.core.status().log_behind_records == behind > 0
    assert [what for what, _ in stage.told.failures] == ["log"]


def test_a_warm_up_counts_as_no_list(stage: Stage) -> None:
    stage.start_rooms(1, 2)
    stage.core.warm_up()
    assert (stage.told.lists, stage.core.status().log_behind_records) == (0, 0)
    stage.core.recommend(USER, 3)
    assert stage.told.lists == 1


def test_a_room_that_is_silent_for_long_is_not_live_until_its_next_event_also_after_a_restart(stage: Stage) -> None:
    assert stage.core.status().from_snapshot
    stage.start_rooms(1, 2)
    assert not stage.core.status().from_snapshot
    stage.clock.now += CONFIG.room_quiet_seconds - 1
    stage.core.ingest(stage.platform.comments(2, "here"))
    assert {1, 2} <= {room.room_id for room in stage.core.rooms()}
    stage.clock.now += 2
    stage.core.tick()
    assert [room.room_id for room in stage.core.rooms()] == [2]  # the snapshot's rooms are silent too
    assert [room.room_id for room in stage.core.recommend(STRANGER, 9).rooms] == [2]
    assert stage.core.status().live_rooms == 1
    stage.core.stop()
    again = stage.again()
    assert [room.room_id for room in again.core.rooms()] == [2]
    again.core.ingest(again.platform.comments(1, "back"))
    assert [room.room_id for room in again.core.rooms()] == [1, 2]
    again.core.stop()


def test_a_list_is_logged_under_its_request_and_a_click_on_it_changes_the_next(stage: Stage) -> None:
    stage.start_rooms(1)
    answer = stage.core.recommend(STRANGER, 3, surface="home")
    assert answer.fallbacks[:2] == ("unknown_user", "no_history")
    entered = answer.rooms[1]
    stage.clock.now += 3
    play = stage.platform.event(
        "play_started", entered.room_id, entered.author_id, user_id=STRANGER, request_id=answer.request_id
    )
    stage.core.ingest([play])
    stage.clock.now += 1
    again = stage.core.recommend(STRANGER, 100)
    assert "no_history" not in again.fallbacks
    scores = {room.room_id: room for room in again.rooms}
    assert scores[entered.room_id].score == scores[entered.room_id].scores["click"]  # entered: not held against it
    assert scores[answer.rooms[0].room_id].score < scores[answer.rooms[0].room_id].scores["click"]
    stage.core.stop()
    shown = [event for event in logged(stage.folder) if event.kind == "impression" and event.request_id == answer.request_id]
    assert [event.room_id for event in shown] == [room.room_id for room in answer.rooms]
    assert [(event.position, event.surface, event.model_version) for event in shown] == [
        (place, "home", answer.model_version) for place in range(3)
    ]
    assert shown[0].score == pytest.approx(answer.rooms[0].scores["click"])


def test_lists_that_no_user_is_shown_are_not_logged(stage: Stage) -> None:
    stage.start_rooms(1)
    by_author = stage.core.recommend(USER, 5, content=False)
    assert {room.reason for room in by_author.rooms} == {"Chosen by who is streaming."}
    assert {room.content_age_seconds for room in by_author.rooms} == {None}
    stage.core.recommend(USER, 5, record=False)
    stage.core.recommend(USER, 5, at=int(stage.clock.now * 1000) - 60_000)
    stage.core.stop()
    assert [event.kind for event in logged(stage.folder)] == ["room_started"]


def test_similar_rooms_are_live_and_nearest_first(stage: Stage) -> None:
    stage.start_rooms(1, 2, 3)
    stage.core.ingest([*stage.platform.comments(1, "chess"), *stage.platform.comments(2, "chess")])
    stage.next_window()
    found = stage.core.similar(1, 3)
    assert found is not None
    assert len(found) == 3
    likeness = [one.similarity for one in found]
    assert likeness == sorted(likeness, reverse=True)
    assert 1 not in {one.room.room_id for one in found}


def test_similar_users_are_those_with_the_nearest_vectors_of_the_release_in_service(stage: Stage) -> None:
    at, users = stage.core.now(), stage.core.state.users
    found = stage.core.similar_users(USER, 100)
    assert found is not None
    with_history = {user_id for user_id in users.ids() if len(users.history(user_id, at).at)}
    assert {one.user.user_id for one in found} == with_history - {USER}
    recommender = stage.core.serving.recommender

    def vector(user_id: int) -> np.ndarray:
        found = recommender.user_vector(stage.core._main.read(user_id, at).reader)
        return found / np.linalg.norm(found)

    expected = {user_id: float(vector(user_id) @ vector(USER)) for user_id in with_history - {USER}}
    assert {one.user.user_id: one.similarity for one in found} == pytest.approx(expected, abs=1e-5)
    assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)
    assert stage.core.similar_users(USER, 2) == found[:2]
    assert stage.core.similar_users(STRANGER, 2) is None
    nearest = found[0].user.user_id
    stage.core.delete_user(nearest)
    assert nearest not in {one.user.user_id for one in stage.core.similar_users(USER, 100) or ()}
    assert stage.core.similar_users(nearest, 2) is None


def test_segments_from_outside_are_embedded_as_the_rooms_are(stage: Stage) -> None:
    stage.start_rooms(1)
    stage.core.ingest(stage.platform.comments(1, "what a move"))
    stage.next_window()
    room = stage.core.room(1)
    assert room is not None
    told = stage.core.embed([SegmentText("room 1", chat=("what a move",), author_id=901), SegmentText()])
    assert told.codes[0].tolist() == room.codes
    assert np.linalg.norm(told.vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert told.embeddings.shape == (2, 64 + 16)  # of the LLM, and of counted words


def test_a_follower_sees_what_the_writer_takes(stage: Stage, tmp_path: Path) -> None:
    own = EventLog(tmp_path / "own", stage.clock)
    follower = Stage.open(stage.release, tmp_path / "follower", log=FollowedLog(stage.folder / "log", own))
    follower.clock.now = stage.clock.now
    stage.start_rooms(1)
    stage.core.ingest(stage.platform.comments(1, "words"))
    follower.core._journal.follow()
    follower.core._journal.follow()
    assert follower.next_window().encoded == 1
    stage.next_window()
    mine, theirs = follower.core.room(1), stage.core.room(1)
    assert mine == theirs
    answer = follower.core.recommend(USER, 3)
    follower.core.stop()
    assert [event.room_id for event in logged_in(tmp_path / "own")[1:]] == [room.room_id for room in answer.rooms]


def test_the_background_refreshes_logs_and_follows_until_it_is_stopped(releases: list[PlantedRelease], tmp_path: Path) -> None:
    stage = Stage.open(releases[0], tmp_path, replace(CONFIG, champion_poll_seconds=0.02, checkpoint_seconds=0.0))
    folder = tmp_path / "champions"
    shutil.copytree(releases[1].bundle, folder / releases[1].bundle.name)
    ticked, took = threading.Event(), threading.Event()
    stage.told.ticked = lambda report: ticked.set()  # type: ignore[method-assign]
    stage.told.took_over = lambda release_id, seconds: took.set()  # type: ignore[method-assign]
    stage.start_rooms(1)
    stage.core.start(folder)
    stage.core.recommend(USER, 2)
    stage.core.ingest(stage.platform.comments(1, "words"))
    stage.clock.now += 40
    assert ticked.wait(20)
    promote(folder, releases[1].bundle.name)
    assert took.wait(20)
    stage.core.stop()
    stage.core.stop()
    assert stage.core.room(1).content_age_seconds is not None  # type: ignore[union-attr]
    assert [event.kind for event in logged(tmp_path)].count("impression") == 2
    assert (tmp_path / "state" / "checkpoint.npz").exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("livealign-")]


def test_records_of_a_newer_version_in_a_log_without_a_version_are_left_out_and_reported_once(
    releases: list[PlantedRelease], tmp_path: Path
) -> None:
    stage = Stage.open(releases[0], tmp_path)
    stage.start_rooms(1)
    stage.core.stop()
    with EventLog(tmp_path / "log") as log:
        log.append([b'{"kind":"of_tomorrow","event_id":"x","at":1}'] * 2)
    (tmp_path / "state" / "checkpoint.npz").unlink()
    again = stage.again()
    assert [what for what, _ in again.told.failures] == ["log"]
    assert "update this process" in again.told.failures[0][1]
    assert again.core.room(1) is not None
    again.core.stop()
