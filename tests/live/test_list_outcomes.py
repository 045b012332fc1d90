"""Clicks, long views and gifts are counted for the release whose list they followed."""

import dataclasses
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from livealign.evaluation.tallies import Arm
from livealign.events.log import START
from livealign.events.models import ListShown
from livealign.live.state.list_outcomes import ListOutcomes
from livealign.platforms.registry import land
from tests.planted.release import PlantedRelease
from tests.support.live_stage import CONFIG, STRANGER, USER, Stage, logged

ALONE, ONE, OTHER = Arm("r1", None, False, 1.0), Arm("r1", "x", False, 0.9), Arm("r2", "x", True, 0.1)


def counts(outcomes: ListOutcomes) -> dict[Arm, list[int]]:
    return {tally.arm: tally.total for tally in outcomes}


def test_outcomes_follow_the_list_and_each_counts_once() -> None:
    outcomes = ListOutcomes(10)
    outcomes.shown(ONE, 1, [7, 8], 1_000)
    outcomes.shown(ONE, 1, [7, 8], 1_000)  # the same list, read again
    outcomes.shown(OTHER, 2, [7], 1_000)
    outcomes.clicked(1, 7, 1_000, 2_000)
    outcomes.clicked(1, 8, 999, 2_000)  # an impression of no list
    outcomes.clicked(3, 7, 1_000, 2_000)
    outcomes.long_viewed(1, 7, 2_000)
    outcomes.long_viewed(1, 7, 2_001)  # another play
    outcomes.gifted(2, 7, 2_500)  # not clicked
    outcomes.gifted(1, 7, 602_001)  # too late
    outcomes.gifted(1, 7, 602_000)
    outcomes.gifted(1, 7, 3_000)  # the second gift
    assert counts(outcomes) == {ONE: [1, 2, 1, 1, 1], OTHER: [1, 1, 0, 0, 0]}
    assert [tally.users for tally in outcomes] == [{1: [1, 2, 1, 1, 1]}, {2: [1, 1, 0, 0, 0]}]


def test_users_are_counted_in_experiments_only_and_at_most_so_many() -> None:
    outcomes = ListOutcomes(2)
    for user in range(4):
        outcomes.shown(ALONE, user, [7], 1_000)
        outcomes.shown(ONE, user, [7], 2_000)
    assert counts(outcomes) == {ALONE: [4, 4, 0, 0, 0], ONE: [2, 2, 0, 0, 0]}
    assert [len(tally.users) for tally in outcomes] == [0, 2]


def test_what_is_remembered_is_bounded_and_old_experiments_give_way() -> None:
    outcomes = ListOutcomes(10)
    for number in range(40):
        outcomes.shown(Arm("r", str(number), False, 1.0), 1, [7], 1_000_000 * number)
    assert [tally.arm.experiment for tally in outcomes] == [str(number) for number in range(24, 40)]
    outcomes.clicked(1, 7, 38_000_000, 38_000_001)  # forgotten
    outcomes.clicked(1, 7, 39_000_000, 39_000_001)
    assert [tally.total[2] for tally in outcomes][-2:] == [0, 1]


def test_a_forgotten_user_leaves_no_trace_and_a_moved_clock_moves_what_is_remembered() -> None:
    outcomes = ListOutcomes(10)
    outcomes.shown(ONE, 1, [7], 1_000)
    outcomes.clicked(1, 7, 1_000, 2_000)
    outcomes.shown(ONE, 2, [7], 1_000)
    outcomes.move(500)
    outcomes.clicked(2, 7, 1_500, 1_600)
    assert counts(outcomes)[ONE] == [2, 2, 2, 0, 0]
    assert outcomes.ids() == {1, 2}
    outcomes.forget_user(1)
    assert outcomes.ids() == {2}
    outcomes.long_viewed(1, 7, 2_500)
    assert counts(outcomes)[ONE] == [1, 1, 1, 0, 0]
    assert next(iter(outcomes)).products[2] == [1, 1, 1, 0, 0]


def after_a_list(stage: Stage) -> None:
    """A list of three rooms; the second is entered, watched for two minutes, and given something."""
    stage.start_rooms(1, 2, 3)
    answer = stage.core.recommend(USER, 3)
    stage.core._journal.flush()  # as its thread does, long before the click
    entered = answer.rooms[1]
    stage.clock.now += 3
    person = {"author_id": entered.author_id, "user_id": USER}
    play = stage.platform.event("play_started", entered.room_id, request_id=answer.request_id, **person)
    stage.core.ingest([play])
    stage.clock.now += 20
    stage.core.ingest([stage.platform.event("gift", entered.room_id, **person) for _ in range(2)])
    for _ in range(4):
        stage.next_window()


@pytest.mark.parametrize("again", ["running", "from the log", "from a checkpoint"])
def test_a_core_counts_what_followed_its_lists_also_after_a_restart(stage: Stage, again: str) -> None:
    after_a_list(stage)
    expected = {Arm(stage.release.bundle.name, None, False, 1.0): [1, 3, 1, 1, 1]}
    if again == "running":
        assert counts(stage.core.state.list_outcomes) == expected
        return
    stage.core.stop()
    if again == "from the log":
        (stage.folder / "state" / "checkpoint.npz").unlink()
    fresh = stage.again()
    fresh.core.tick()
    assert counts(fresh.core.state.list_outcomes) == expected
    fresh.core.stop()


def test_a_logged_list_has_its_release_and_propensities_and_lands(releases: list[PlantedRelease], tmp_path: Path) -> None:
    stage = Stage.open(releases[0], tmp_path, dataclasses.replace(CONFIG, exploration_share=0.4))
    stage.start_rooms(*range(1, 6))
    answer = stage.core.recommend(STRANGER, 5)
    stage.core.stop()
    (shown,) = [event for event in logged(tmp_path) if isinstance(event, ListShown)]
    assert (shown.request_id, shown.release, shown.experiment, shown.share) == (
        answer.request_id,
        releases[0].bundle.name,
        None,
        1.0,
    )
    assert shown.rooms == tuple(room.room_id for room in answer.rooms)
    assert shown.propensities[0] == 1.0
    assert shown.propensities == tuple(room.propensity for room in answer.rooms)
    assert {room.propensity for room in answer.rooms[1:] if not room.explored} == {0.5}  # two places of four are given away
    assert sum(room.explored for room in answer.rooms) == 2
    summary = land("served", tmp_path / "log", tmp_path / "landing")
    assert (summary.tables["lists"].landed, summary.tables["lists"].rejected) == (1, 0)
    (part,) = (path for path in (tmp_path / "landing" / "lists").rglob("*.parquet") if pq.read_metadata(path).num_rows)
    (row,) = pq.ParquetFile(part).read().to_pylist()
    assert row["rooms"] == list(shown.rooms)
    assert row["propensities"] == pytest.approx(shown.propensities)
    assert (row["user_id"], row["release"], row["challenger"]) == (STRANGER, shown.release, False)


def test_a_sender_cannot_make_a_list(stage: Stage) -> None:
    stage.start_rooms(1)
    forged = {"kind": "list_shown", "event_id": "list:x", "at": int(stage.clock.now * 1000), "user_id": 1, "request_id": "x"}
    report = stage.core.ingest([forged | {"release": "r", "rooms": [1], "propensities": [1.0]}])
    assert (len(report.accepted), [one.reason for one in report.rejected]) == (0, ["invalid"])
    assert list(stage.core._journal._log.read(START))[1:] == []
