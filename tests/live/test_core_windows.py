"""Windows of the live core: when they become codes, what they hold, what a failure costs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.planted.release import PlantedRelease
from tests.support.live_stage import CONFIG, STRANGER, USER, Stage


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
    report = stage.core.ingest(late)
    assert (len(report.accepted), report.late) == (1, 1)
    assert stage.core.state.late_events == stage.told.outcomes["any", "late"] == 1
    assert stage.next_window().rooms_with_news == 0
    room = stage.core.room(1)
    assert room is not None
    assert room.windows[0].counts["n_comments"] == 1
    assert stage.core.ingest(stage.platform.comments(1, "in time again")).late == 0


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

    def fails(texts: Sequence[str], **pictures: object) -> np.ndarray:
        raise RuntimeError("out of memory")

    refresher = stage.core.serving.refresher
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
        broken.setattr(refresher.encoder, "encode", lambda texts, **_: np.full((len(texts), 64), np.nan, dtype=np.float32))
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
