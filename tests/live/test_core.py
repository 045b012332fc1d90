"""The live core: events, lists, refresh, restarts and takeovers, also when things fail."""

import functools
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livealign.config import LiveConfig
from livealign.errors import BackboneError, BundleError, EventLogError
from livealign.events.followed_log import FollowedLog
from livealign.events.log import START, EventLog, Log
from livealign.events.log_files import log_files
from livealign.events.models import event_of
from livealign.live.answers import SegmentText, SilentObserver, TickReport
from livealign.live.core import LiveCore
from livealign.release import models as release_models
from livealign.release.registry import promote, rollback
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease

CONFIG = LiveConfig(publish_seconds=0.0, exploration_share=0.0, max_same_code=100)
USER, STRANGER = 501, 10**12


@dataclass
class Clock:
    """Seconds since 1970, moved by hand."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Told(SilentObserver):
    """Remembers what a core tells."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    ticks: list[TickReport] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)

    def events(self, outcomes: Mapping[tuple[str, Any], int]) -> None:
        self.outcomes.update(outcomes)

    def ticked(self, report: TickReport) -> None:
        self.ticks.append(report)

    def failed(self, what: str, detail: str) -> None:
        self.failures.append((what, detail))

    def took_over(self, release_id: str, seconds: float) -> None:
        self.releases.append(release_id)


@dataclass
class Platform:
    """Says what happens, each event under a new id, at the clock's time."""

    clock: Clock
    number: int = 0

    def event(self, kind: str, room_id: int, author_id: int | None = None, **fields: Any) -> dict[str, Any]:
        """An event of a room, by default of the author whom `Stage.start_rooms` gives it."""
        self.number += 1
        return {
            "kind": kind,
            "event_id": f"e{self.number}",
            "at": int(self.clock.now * 1000),
            "room_id": room_id,
            "author_id": 900 + room_id % 20 if author_id is None else author_id,
        } | fields

    def comments(self, room_id: int, *texts: str, user_id: int = 7) -> list[dict[str, Any]]:
        return [self.event("comment", room_id, user_id=user_id, text=text) for text in texts]


@pytest.fixture(scope="module", autouse=True)
def _one_backbone() -> Iterator[None]:
    """The tiny backbone is made once for all cores; it is the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release_models, "load_backbone", functools.cache(release_models.load_backbone))
        yield


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[PlantedRelease]:
    return plant_live_releases(tmp_path_factory.mktemp("releases"), 2)


@dataclass
class Stage:
    """A core on a log of its own, and everything around it."""

    release: PlantedRelease
    folder: Path
    clock: Clock
    platform: Platform
    told: Told
    core: LiveCore

    @classmethod
    def open(cls, release: PlantedRelease, folder: Path, config: LiveConfig = CONFIG, log: Log | None = None) -> "Stage":
        clock = Clock(release.taken_at / 1000 + 60)
        clock.now -= clock.now % 30  # the beginning of a window
        told = Told()
        core = LiveCore.open(
            release.bundle,
            log or EventLog(folder / "log", clock),
            Path("none"),
            config,
            clock,
            told,
            checkpoint=folder / "state" / "checkpoint.npz",
        )
        return cls(release, folder, clock, Platform(clock), told, core)

    def again(self, release: PlantedRelease | None = None) -> "Stage":
        """Another process, on the same log and checkpoint, at the same time."""
        fresh = Stage.open(release or self.release, self.folder)
        fresh.clock.now, fresh.platform.number = self.clock.now, self.platform.number
        return fresh

    def next_window(self) -> TickReport:
        """The window ends, and is refreshed."""
        self.clock.now += 30 - self.clock.now % 30 + 2.5
        return self.core.tick()

    def start_rooms(self, *room_ids: int) -> None:
        told = [self.platform.event("room_started", one, 900 + one % 20, title=f"room {one}") for one in room_ids]
        assert len(self.core.ingest(told).accepted) == len(room_ids)


@pytest.fixture
def stage(releases: list[PlantedRelease], tmp_path: Path) -> Iterator[Stage]:
    stage = Stage.open(releases[0], tmp_path)
    yield stage
    stage.core.stop()


def logged(folder: Path) -> list[Any]:
    return [event_of(record) for _, record in FollowedLog(folder / "log").read(START)]


# What comes in


def test_until_the_first_event_the_platform_stands_still_and_nothing_is_logged(stage: Stage) -> None:
    answer = stage.core.recommend(USER, 5)
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

    def full(file: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("livealign.events.log.os.write", full)
        batch = stage.platform.comments(1, "lost?")
        with pytest.raises(EventLogError, match="nothing was kept"):
            stage.core.ingest(batch)
        answer = stage.core.recommend(USER, 3)
        stage.core._journal.flush()
        assert stage.core.status().log_behind_records == len(answer.rooms) == 3
        assert "No space left" in stage.core.status().problems[0]
        assert [what for what, _ in stage.told.failures] == ["log"]
    stage.core._journal.flush()
    assert (stage.core.status().problems, stage.core.status().log_behind_records) == ((), 0)
    assert len(stage.core.ingest(batch).accepted) == 1
    assert [event.kind for event in logged(stage.folder)] == ["room_started", *["impression"] * 3, "comment"]


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


# Windows and refresh


def test_a_window_becomes_codes_after_its_end_and_not_before(stage: Stage) -> None:
    stage.start_rooms(1)
    stage.core.ingest(
        [*stage.platform.comments(1, "what a move", "rook takes"), stage.platform.event("like", 1, user_id=7, count=4)]
    )
    stage.clock.now += 29
    assert stage.core.tick().rooms_with_news == 0
    before = stage.core.room(1)
    assert before is not None
    assert (before.content_age_seconds, before.windows) == (None, ())
    stage.clock.now += 2.9
    assert stage.core.tick().rooms_with_news == 0, "it is over, and waits for late events"
    stage.clock.now -= 2.9
    report = stage.next_window()
    assert (report.rooms_with_news, report.encoded, report.deferred, report.degraded) == (1, 1, 0, False)
    room = stage.core.room(1)
    assert room is not None
    (window,) = room.windows
    assert window.text == "room 1 | minute 0 | chat: rook takes / what a move"
    assert (window.counts["n_comments"], window.counts["n_likes"], "retention" in window.counts) == (2, 4, False)
    assert room.content_age_seconds == pytest.approx(2.5)
    assert room.codes == window.codes
    listed = {one.room_id: one for one in stage.core.recommend(STRANGER, 100).rooms}
    assert listed[1].codes == room.codes
    assert listed[1].content_age_seconds == pytest.approx(2.5)


def test_a_late_event_is_logged_and_not_counted(stage: Stage) -> None:
    stage.start_rooms(1)
    late = stage.platform.comments(1, "slow network")
    stage.core.ingest(stage.platform.comments(1, "in time"))
    stage.next_window()
    assert len(stage.core.ingest(late).accepted) == 1
    assert stage.core.state.late_events == 1
    assert stage.next_window().rooms_with_news == 0
    room = stage.core.room(1)
    assert room is not None
    assert room.windows[0].counts["n_comments"] == 1


def test_a_window_has_the_title_and_category_that_its_room_had_when_it_ended(stage: Stage) -> None:
    stage.start_rooms(1)
    begins = int(stage.clock.now * 1000)

    def change(after: int, **texts: str) -> dict[str, Any]:
        return {**stage.platform.event("room_started", 1, 901, **texts), "at": begins + after}

    def next_text(stage: Stage) -> str:
        stage.core.ingest(stage.platform.comments(1, "hello"))
        stage.next_window()
        room = stage.core.room(1)
        assert room is not None
        return room.windows[0].text

    # Sent out of order and ahead of time; what is not named stays.
    stage.core.ingest([change(30_000, title="boss"), change(29_999, category="game")])
    assert next_text(stage).startswith("room 1 | game | minute 0")
    stage.core.stop()
    fresh = stage.again()  # from the checkpoint
    assert fresh.core.state.rooms[1].texts == stage.core.state.rooms[1].texts
    assert next_text(fresh).startswith("boss | game | minute 0")
    # One that comes late counts for later windows, unless a later one has taken its place.
    late = [change(10_000, title="too late"), change(40_000, category="talk")]
    fresh.core.ingest([{**one, "event_id": f"late {place}"} for place, one in enumerate(late)])
    assert next_text(fresh).startswith("boss | talk | minute 1")
    fresh.core.stop()


def test_equal_texts_cost_nothing_and_a_silent_room_with_viewers_goes_on(stage: Stage) -> None:
    stage.start_rooms(1, 2)
    plays = [stage.platform.event("play_started", one, 900 + one, user_id=40 + one) for one in (1, 2)]
    stage.core.ingest(plays)
    assert stage.next_window().distinct_texts == 2  # their titles differ
    report = stage.next_window()
    assert (report.encoded, report.distinct_texts) == (2, 0)  # still "minute 0": what was read of them stays
    room = stage.core.room(1)
    assert room is not None
    assert (room.viewers, room.windows[0].counts["retention"]) == (1, 1.0)


def test_when_the_llm_cannot_keep_up_rooms_of_value_come_first_and_it_ends_by_itself(
    releases: list[PlantedRelease], tmp_path: Path
) -> None:
    stage = Stage.open(releases[0], tmp_path, replace(CONFIG, encode_chunk=2, tick_budget_seconds=0.0))
    stage.start_rooms(*range(1, 7))
    stage.core.ingest([one for room in range(1, 7) for one in stage.platform.comments(room, f"talk of {room}")])
    crowd = [stage.platform.event("play_started", 4, 904, user_id=user) for user in range(1_000, 1_009)]
    crowd.append(stage.platform.event("play_started", 6, 906, user_id=2_000))
    stage.core.ingest(crowd)
    report = stage.next_window()  # a budget of nothing is one chunk
    assert (report.rooms_with_news, report.encoded, report.deferred, report.degraded) == (6, 2, 4, True)
    coded = [one for one in range(1, 7) if stage.core.room(one).windows]  # type: ignore[union-attr]
    assert coded == [4, 6]
    status = stage.core.status()
    assert (status.degraded, status.windows_waiting) == (True, 4)
    assert "old_content" in stage.core.recommend(STRANGER, 100).fallbacks
    names = [(one["event_id"], one["room_id"], one["user_id"]) for one in crowd]
    stage.core.ingest([stage.platform.event("play_ended", room, user_id=user, play_id=name) for name, room, user in names])
    reports = [stage.next_window() for _ in range(4)]
    assert [one.degraded for one in reports] == [True, True, False, False]
    assert "old_content" not in stage.core.recommend(STRANGER, 100).fallbacks
    stage.core.stop()


def test_a_failed_encode_keeps_the_codes_and_is_made_up_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.start_rooms(1)
    stage.core.ingest(stage.platform.comments(1, "first"))
    stage.next_window()
    before = stage.core.room(1)
    stage.core.ingest(stage.platform.comments(1, "second"))

    def fails(texts: Sequence[str]) -> np.ndarray:
        raise RuntimeError("out of memory")

    refresher = stage.core._serving.refresher
    assert refresher is not None
    assert before is not None
    with monkeypatch.context() as broken:
        broken.setattr(refresher.encoder, "encode", fails)
        report = stage.next_window()
        assert (report.encoded, report.deferred, report.error) == (0, 1, "RuntimeError: out of memory")
        during = stage.core.room(1)
        assert during is not None
        assert (during.codes, during.waiting) == (before.codes, 1)
        assert stage.core.recommend(USER, 3).rooms
        assert stage.core.status().problems == ("RuntimeError: out of memory",)
        broken.setattr(refresher.encoder, "encode", lambda texts: np.full((len(texts), 64), np.nan, dtype=np.float32))
        assert "not finite" in str(stage.next_window().error)
    stage.next_window()
    after = stage.core.room(1)
    assert after is not None
    assert after.windows[0].text.endswith("chat: second | before: first")
    assert stage.core.status().problems == ()


def test_an_ended_room_is_no_candidate_and_is_forgotten_later(stage: Stage) -> None:
    stage.start_rooms(1)
    stage.clock.now += 5
    stage.core.ingest([stage.platform.event("room_ended", 1)])
    assert 1 not in {room.room_id for room in stage.core.recommend(STRANGER, 100).rooms}
    assert 1 not in {room.room_id for room in stage.core.rooms(limit=1_000)}
    assert stage.core.room(1) is not None
    stage.clock.now += 3_600
    stage.core.tick()
    assert stage.core.room(1) is None
    assert stage.core.similar(1) is None


# Lists


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


# Starts


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


# Releases


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


# Several processes, and the background


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
    assert [event.room_id for event in logged_in(tmp_path / "own")] == [room.room_id for room in answer.rooms]


def logged_in(folder: Path) -> list[Any]:
    return [event_of(record) for _, record in FollowedLog(folder).read(START)]


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
