"""Two releases side by side: one core serves both, and no list is of both."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from livealign.errors import BundleError
from livealign.evaluation.tallies import Arm
from livealign.events.models import ListShown
from livealign.live import lane as lanes
from livealign.live.lane import Lane
from livealign.release.challengers import Challengers, point_of, serve, stop
from livealign.release.registry import CHALLENGERS, promote
from tests.planted.live_release import with_encoder
from tests.planted.release import PlantedRelease
from tests.support.live_stage import USER, Stage, logged

WORDS = ("chess", "rook takes", "a new boss", "sing for me", "goal", "cook the rice")


@pytest.fixture
def both(stage: Stage, folder: Path) -> Stage:
    """A running core with six rooms that talk."""
    talk(stage)
    return stage


def talk(stage: Stage) -> None:
    stage.start_rooms(*range(1, 7))
    stage.core.ingest([event for room, words in enumerate(WORDS, 1) for event in stage.platform.comments(room, words)])
    stage.next_window()


def ids(releases: list[PlantedRelease]) -> tuple[str, str]:
    return releases[0].bundle.name, releases[1].bundle.name


def user_of(served: Challengers, *, challenger: bool, after: int = 10_000) -> int:
    """A user of the only challenger, or of the champion."""
    (one,) = served.challengers
    return next(user for user in range(after, 10**6) if one.serves(point_of(served.salt, user)) == challenger)


def lane_of(stage: Stage) -> Lane:
    (lane,) = stage.core._experiment.lanes.values()
    return lane


def test_each_user_gets_the_release_of_their_point_and_the_log_says_which(
    both: Stage, folder: Path, releases: list[PlantedRelease]
) -> None:
    champion, challenger = ids(releases)
    served = serve(folder, challenger, 0.25)
    assert both.core.follow_challengers(folder)
    assert not both.core.follow_challengers(folder)
    lists = {user: both.core.recommend(user, 3) for user in range(400)}
    (one,) = served.challengers
    for user, answer in lists.items():
        assert answer.model_version == (challenger if one.serves(point_of(served.salt, user)) else champion)
    assert 0.15 < np.mean([answer.model_version == challenger for answer in lists.values()]) < 0.35
    both.core.stop()
    shown = {event.user_id: event for event in logged(both.folder) if isinstance(event, ListShown)}
    for user, answer in lists.items():
        arm = (served.experiment, answer.model_version, answer.model_version == challenger)
        assert (shown[user].experiment, shown[user].release, shown[user].challenger) == arm
        assert shown[user].share == pytest.approx(0.25 if answer.model_version == challenger else 0.75)
    tallies = {tally.arm: len(tally.users) for tally in both.core.state.list_outcomes}
    assert sum(tallies.values()) == 400
    assert tallies[Arm(challenger, served.experiment, True, 0.25)] == sum(
        answer.model_version == challenger for answer in lists.values()
    )


def test_a_challengers_list_is_the_one_that_it_would_make_alone(
    both: Stage, folder: Path, releases: list[PlantedRelease], tmp_path: Path
) -> None:
    served = serve(folder, releases[1].bundle.name, 0.5)
    both.core.follow_challengers(folder)
    both.core.ingest(both.platform.comments(2, "checkmate"))
    both.next_window()
    alone = Stage.open(releases[1], tmp_path / "alone")
    alone.clock.now = both.clock.now - 35  # the beginning of the first window
    alone.clock.now -= alone.clock.now % 30
    talk(alone)
    alone.core.ingest(alone.platform.comments(2, "checkmate"))
    alone.next_window()
    for user in (user_of(served, challenger=True), user_of(served, challenger=True, after=500_000)):
        ours, theirs = (one.core.recommend(user, 50, record=False) for one in (both, alone))
        assert ours.model_version == releases[1].bundle.name
        mine, known = ({room.room_id: room for room in answer.rooms if room.room_id < 10} for answer in (ours, theirs))
        assert len(mine) == 6
        for room_id, room in mine.items():
            assert room.codes == known[room_id].codes
            assert room.scores["click"] == pytest.approx(known[room_id].scores["click"], abs=1e-5)
    alone.core.stop()


def test_what_happens_while_a_challenger_is_loaded_happens_to_it_too(
    both: Stage, folder: Path, releases: list[PlantedRelease], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(folder, releases[1].bundle.name, 0.5)
    real = lanes.take_over

    def slow(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        both.start_rooms(7)
        both.core.ingest(both.platform.comments(7, "late words"))
        both.core.recommend(USER, 2)

    monkeypatch.setattr(lanes, "take_over", slow)
    both.core.follow_challengers(folder)
    lane = lane_of(both)
    assert list(lane.state.rooms) == list(both.core.state.rooms)
    assert lane.state.users.not_entered(USER, 0, 2**62).tolist() == both.core.state.users.not_entered(USER, 0, 2**62).tolist()
    both.next_window()
    assert lane.state.rooms[7].content is not None
    assert served.challengers[0].release == lane.serving.release_id


def test_a_stopped_challenger_serves_and_receives_no_more(both: Stage, folder: Path, releases: list[PlantedRelease]) -> None:
    champion, challenger = ids(releases)
    user = user_of(serve(folder, challenger, 0.5), challenger=True)
    both.core.follow_challengers(folder)
    lane = lane_of(both)
    assert both.core.recommend(user, 2).model_version == challenger
    stop(folder)
    assert both.core.follow_challengers(folder)
    assert both.core.recommend(user, 2).model_version == champion
    both.start_rooms(8)
    assert 8 not in lane.state.rooms
    assert both.core.experiment().challengers == []


def test_a_challenger_that_cannot_be_loaded_is_a_problem_and_its_users_get_the_champion(
    both: Stage, folder: Path, releases: list[PlantedRelease]
) -> None:
    champion, challenger = ids(releases)
    user = user_of(serve(folder, challenger, 0.5), challenger=True)
    (folder / challenger / "ranker.safetensors").write_bytes(b"damaged")
    assert both.core.follow_challengers(folder)
    assert not both.core.follow_challengers(folder)  # not tried again and again
    (problem,) = both.core.status().problems
    assert f"challenger {challenger} is not served" in problem
    assert ("challenger", problem) in both.told.failures
    answer = both.core.recommend(user, 2)
    assert (answer.model_version, answer.arm) == (champion, None)
    assert [one.loaded for one in both.core.experiment().challengers] == [False]
    assert not both.core.experiment().begun
    shutil.copy(releases[1].bundle / "ranker.safetensors", folder / challenger)
    user = user_of(serve(folder, challenger, 0.4), challenger=True)
    both.core.follow_challengers(folder)
    assert both.core.status().problems == ()
    assert both.core.recommend(user, 2).model_version == challenger


def test_a_file_that_cannot_be_read_changes_nothing_and_is_a_problem_while_it_lasts(
    both: Stage, folder: Path, releases: list[PlantedRelease]
) -> None:
    serve(folder, releases[1].bundle.name, 0.5)
    both.core.follow_challengers(folder)
    whole = (folder / CHALLENGERS).read_bytes()
    (folder / CHALLENGERS).write_text("{")
    assert not both.core.follow_challengers(folder)
    assert "challengers.json" in both.core.status().problems[0]
    assert lane_of(both).serving.release_id == releases[1].bundle.name
    (folder / CHALLENGERS).write_bytes(whole)
    assert not both.core.follow_challengers(folder)
    assert both.core.status().problems == ()


def test_a_promoted_challenger_leads_with_what_it_has_read_and_the_experiment_is_over(
    both: Stage, folder: Path, releases: list[PlantedRelease]
) -> None:
    challenger = releases[1].bundle.name
    user = user_of(serve(folder, challenger, 0.5), challenger=True)
    both.core.follow_challengers(folder)
    both.core.ingest(both.platform.comments(1, "said beside the champion"))
    both.next_window()
    before, lane = both.core.recommend(user, 6, record=False), lane_of(both)
    assert before.model_version == challenger
    promote(folder, challenger)
    assert both.core.follow_champion(folder)
    assert not both.core.follow_challengers(folder)
    assert both.told.releases == [challenger]
    assert both.core.state is lane.state
    after = both.core.recommend(user, 6, record=False)
    assert [(room.room_id, room.scores) for room in after.rooms] == [(room.room_id, room.scores) for room in before.rooms]
    assert both.core.recommend(USER, 2).arm is None
    both.start_rooms(9)
    assert both.core.room(9) is not None
    both.core.stop()
    again = both.again(releases[1])
    assert again.core.room(9) is not None
    assert again.core.recommend(USER, 3, record=False).model_version == challenger
    again.core.stop()


def test_another_release_that_is_promoted_ends_the_experiment(
    both: Stage, folder: Path, releases: list[PlantedRelease], tmp_path: Path
) -> None:
    third = with_encoder(releases[0], tmp_path / "third", 0, seeds={"number": 7})
    shutil.copytree(third.bundle, folder / third.bundle.name)
    user = user_of(serve(folder, releases[1].bundle.name, 0.5), challenger=True)
    both.core.follow_challengers(folder)
    promote(folder, third.bundle.name)
    both.core.follow_champion(folder)
    assert both.core.recommend(user, 2).model_version == releases[1].bundle.name  # until the next look
    champions = both.core.recommend(user_of(serve_of(both), challenger=False), 2)
    assert (champions.model_version, champions.arm) == (third.bundle.name, None)  # counted for no experiment
    assert both.core.follow_challengers(folder)
    assert both.core.recommend(user, 2).model_version == third.bundle.name


def serve_of(stage: Stage) -> Challengers:
    about = stage.core._experiment.about
    assert about is not None
    return about


def test_a_shadow_ranks_what_the_champion_ranks_and_nobody_sees_it(
    both: Stage, folder: Path, releases: list[PlantedRelease]
) -> None:
    champion, challenger = ids(releases)
    serve(folder, challenger, 1.0, shadow=True)
    both.core.follow_challengers(folder)
    lists = [both.core.recommend(user, 5) for user in range(6)]
    assert {(answer.model_version, answer.arm) for answer in lists} == {(champion, None)}
    while both.core.compare_shadow(0.0):
        pass
    assert [one.request_id for one in both.told.shadows] == [answer.request_id for answer in lists]
    assert {one.release_id for one in both.told.shadows} == {challenger}
    for one, answer in zip(both.told.shadows, lists, strict=True):
        shown = {room.room_id for room in answer.rooms}
        assert one.overlap == len(shown & set(one.rooms)) / 5
        assert one.rank_correlation is not None
        assert -1 <= one.rank_correlation <= 1
    (report,) = both.core.experiment().challengers
    assert report.compared is not None
    assert (report.compared.lists, report.compared.left_out) == (6, 0)
    assert report.compared.overlap == pytest.approx(np.mean([one.overlap for one in both.told.shadows]))
    assert both.core.experiment().experiment is None
    both.core.stop()
    assert {event.release for event in logged(both.folder) if isinstance(event, ListShown)} == {champion}


def test_the_same_models_under_another_id_agree_wholly_and_read_nothing_again(
    both: Stage, folder: Path, releases: list[PlantedRelease], tmp_path: Path
) -> None:
    twin = with_encoder(releases[0], tmp_path / "twin", 0, seeds={"number": 9})
    shutil.copytree(twin.bundle, folder / twin.bundle.name)
    serve(folder, twin.bundle.name, 0.5, shadow=True)
    both.core.follow_challengers(folder)
    refresher = lane_of(both).serving.refresher
    assert refresher is not None
    encoded: list[str] = []
    real = refresher.encode
    refresher.encode = lambda texts: encoded.extend(texts) or real(texts)  # type: ignore[method-assign,func-returns-value]
    both.core.ingest(both.platform.comments(3, "new words for both"))
    both.next_window()
    assert "new words for both" in lane_of(both).state.rooms[3].windows[0].text
    assert encoded == []
    for user in range(40):
        both.core.recommend(user, 5)
    while both.core.compare_shadow(0.0):
        pass
    assert len(both.told.shadows) > 5
    assert {(one.overlap, one.rank_correlation) for one in both.told.shadows} == {(1.0, 1.0)}


def test_lists_that_cannot_be_compared_in_time_are_left_out_and_counted(
    both: Stage, folder: Path, releases: list[PlantedRelease]
) -> None:
    serve(folder, releases[1].bundle.name, 1.0, shadow=True)
    both.core.follow_challengers(folder)
    for user in range(260):
        both.core.recommend(user, 2)
    assert both.core.compare_shadow(0.0)
    (report,) = both.core.experiment().challengers
    assert report.compared is not None
    assert (report.compared.lists, report.compared.left_out) == (1, 4)


def test_a_deleted_user_is_forgotten_beside_the_champion_too(both: Stage, folder: Path, releases: list[PlantedRelease]) -> None:
    served = serve(folder, releases[1].bundle.name, 0.5)
    both.core.follow_challengers(folder)
    user = user_of(served, challenger=True)
    both.core.recommend(user, 3)
    assert user in lane_of(both).state.users.ids()
    both.core.delete_user(user)
    for state in (both.core.state, lane_of(both).state):
        assert user not in state.users.ids()
        assert user not in state.list_outcomes.ids()


def test_the_report_has_the_outcomes_of_both_arms(both: Stage, folder: Path, releases: list[PlantedRelease]) -> None:
    champion, challenger = ids(releases)
    alone = both.core.recommend(USER, 3)
    served = serve(folder, challenger, 0.5)
    both.core.follow_challengers(folder)
    user = user_of(served, challenger=True)
    answer = both.core.recommend(user, 4)
    entered = answer.rooms[0]
    both.clock.now += 2
    play = both.platform.event("play_started", entered.room_id, entered.author_id, user_id=user, request_id=answer.request_id)
    both.core.ingest([play])
    both.core.recommend(user_of(served, challenger=False), 4)
    report = both.core.experiment()
    assert (report.champion, report.experiment, report.begun) == (champion, served.experiment, True)
    assert [(arm.release_id, arm.users, arm.counts["impressions"], arm.counts["clicks"]) for arm in report.arms] == [
        (champion, 1, 4, 0),
        (challenger, 1, 4, 1),
    ]
    assert report.arms[1].metrics["ctr"].value == 0.25
    assert report.arms[1].metrics["ctr"].low is None  # of one user
    assert [one.decided for one in report.differences] == [False] * 3
    assert report.differences[0].difference == 0.25
    assert [(arm.release_id, arm.counts["impressions"]) for arm in report.alone] == [(alone.model_version, 3)]


def test_a_champion_serves_alone_until_the_pointer_and_the_core_agree(
    both: Stage, folder: Path, releases: list[PlantedRelease]
) -> None:
    champion, challenger = ids(releases)
    promote(folder, challenger)
    serve(folder, champion, 0.5)
    assert not both.core.follow_challengers(folder)  # the core's champion is another
    both.core.follow_champion(folder)
    assert both.core.follow_challengers(folder)
    with pytest.raises(BundleError):
        serve(folder, challenger, 0.1)
    assert lane_of(both).serving.release_id == champion
