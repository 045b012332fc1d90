"""What is served is what was trained: the same scores as offline, for rooms that are live, with reasons that are true."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from livealign import recommend
from livealign.bundle import MANIFEST, open_bundle, write_bundle
from livealign.code_names import name_codes, path_names
from livealign.config import load_profile
from livealign.dataset import TASKS
from livealign.errors import BundleError, LiveAlignError
from livealign.live_state import Engagement, Moment
from livealign.recommend import Recommender, reason
from livealign.release_parts import segment_moments, write_models
from livealign.snapshot import write_snapshot
from livealign.variants import train_variant
from tests.planted_marts import Planted
from tests.planted_release import WORDS, PlantedRelease, plant_platform, plant_release

UNKNOWN = -(2**62)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant_platform(tmp_path_factory.mktemp("marts"), users=60, rooms_per_day=24, requests_per_day=250)


@pytest.fixture(scope="module")
def release(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return plant_release(tmp_path_factory.mktemp("release"), planted)


@pytest.fixture
def recommender(release: PlantedRelease) -> Recommender:
    return Recommender.open(release.bundle)


def known_user(recommender: Recommender) -> int:
    """The user with the longest history."""
    return max(recommender.state.histories, key=lambda user: len(recommender.state.history(user)))


def test_rooms_are_live_ranked_and_explained(recommender: Recommender, release: PlantedRelease) -> None:
    user = known_user(recommender)
    answer = recommender.recommend(user, 5)
    view = recommender.state.view
    live = set(view.room_id[view.live_at(release.moment)].tolist())
    assert answer.at == release.moment
    assert answer.model_version == release.bundle.name
    assert answer.fallbacks == ()
    assert len(answer.rooms) == min(5, len(live))
    assert {room.room_id for room in answer.rooms} <= live
    scores = [room.score for room in answer.rooms]
    assert scores == sorted(scores, reverse=True)
    for room in answer.rooms:
        assert set(room.scores) == set(TASKS)
        assert all(0 <= score <= 1 for score in room.scores.values())
        assert room.score == room.scores["click"]
        assert room.content_age_seconds is not None
        assert 0 <= room.content_age_seconds < 600
        assert len(room.codes) == len(room.code_names) == 2
        assert room.title == f"room {room.room_id}"
        assert room.reason.startswith("Now: ")
    assert recommender.recommend(user, 5).request_id != answer.request_id
    assert recommender.recommend(user, 5).rooms == answer.rooms


def test_the_served_score_is_the_offline_score(planted: Planted, release: PlantedRelease, tmp_path: Path) -> None:
    """Point in time: what the pipeline computed for an impression, the service computes at that impression's instant."""
    test, scores = release.corpus.test, release.trained.score(release.corpus.test)
    lengths = test.history_length
    for number, row in enumerate(np.random.default_rng(3).choice(np.flatnonzero(lengths > 0), 3, replace=False)):
        parts = {path.relative_to(release.bundle).as_posix(): path for path in open_bundle(release.bundle).path.rglob("*")}
        parts = {name: path for name, path in parts.items() if path.is_file() and name != MANIFEST}
        folder, moment = tmp_path / str(number), int(test.shown_at[row])
        segments = segment_moments(release.trained, release.corpus)
        write_snapshot(folder / "snapshot", planted.marts, moment, *segments, history_length=8)
        parts |= {f"snapshot/{path.name}": path for path in (folder / "snapshot").iterdir()}
        manifest = json.loads((release.bundle / MANIFEST).read_text())
        fields = {name: value for name, value in manifest.items() if name not in ("release_id", "files")}
        at_that_moment = Recommender.open(write_bundle(folder / "releases", parts, fields))
        answer = at_that_moment.recommend(int(test.user_id[row]), 100)
        served = {room.room_id: room for room in answer.rooms}
        same_list = np.flatnonzero(test.request == test.request[row])
        assert len(same_list) >= 2
        for one in same_list:
            room = served[int(test.room_id[one])]
            np.testing.assert_allclose([room.scores[task] for task in TASKS], scores[one], atol=1e-5)


def test_a_user_never_seen_gets_a_list_and_is_told_apart(recommender: Recommender) -> None:
    answer = recommender.recommend(UNKNOWN, 5)
    assert len(answer.rooms) == 5
    assert answer.fallbacks == ("unknown_user", "no_history")


def test_what_a_user_just_entered_changes_their_list_at_once(recommender: Recommender) -> None:
    before = recommender.recommend(UNKNOWN, 100)
    favourite = before.rooms[-1].room_id
    for second in range(5):
        recommender.state.engage(UNKNOWN, favourite, before.at + second)
    after = recommender.recommend(UNKNOWN, 100, at=before.at + 10)
    assert after.fallbacks == ("unknown_user",)
    old, new = ({room.room_id: room for room in answer.rooms} for answer in (before, after))
    assert new[favourite].score != old[favourite].score
    assert "You entered 5 similar moments lately." in new[favourite].reason


def test_excluded_rooms_stay_out_and_an_empty_list_says_why(recommender: Recommender, release: PlantedRelease) -> None:
    everything = [room.room_id for room in recommender.recommend(UNKNOWN, 100).rooms]
    rest = recommender.recommend(UNKNOWN, 100, exclude=everything[:2]).rooms
    assert [room.room_id for room in rest] == everything[2:]
    nothing = recommender.recommend(UNKNOWN, 5, exclude=everything)
    assert (nothing.rooms, nothing.fallbacks[-1]) == ((), "all_excluded")
    later = recommender.recommend(UNKNOWN, 5, at=release.moment + 30 * 86_400_000)
    assert (later.rooms, later.fallbacks[-1]) == ((), "no_live_rooms")


@pytest.mark.parametrize("k", [0, -1, 101])
def test_the_number_of_rooms_has_bounds(k: int, recommender: Recommender) -> None:
    with pytest.raises(LiveAlignError, match="ask for 1 to 100"):
        recommender.recommend(UNKNOWN, k)


def test_a_room_that_has_just_started_is_ranked_by_its_author(recommender: Recommender, release: PlantedRelease) -> None:
    author = int(recommender.state.view.author_id[0])
    recommender.state.start_room(77, author, release.moment + 1_000, "fresh", None, None)
    recommender.state.start_room(78, 123_456_789, release.moment + 1_000, "fresh, by a stranger", None, None)
    recommender.state.publish()
    answer = recommender.recommend(UNKNOWN, 100)
    fresh = {room.room_id: room for room in answer.rooms}
    assert "author_only" in answer.fallbacks
    for room_id in (77, 78):
        assert fresh[room_id].content_age_seconds is None
        assert fresh[room_id].reason == "Just started: chosen by who is streaming."


def test_of_very_many_rooms_those_near_the_user_are_ranked(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    user = known_user(recommender)
    everything = recommender.recommend(user, 100).rooms
    monkeypatch.setattr(recommend, "RANK_AT_MOST", 3)
    near = recommender.recommend(user, 100).rooms
    assert len(near) == 3
    scores = {room.room_id: room.score for room in everything}
    for room in near:
        assert room.score == pytest.approx(scores[room.room_id], abs=1e-6)


def test_a_ranker_of_another_codebook_is_refused(planted: Planted, release: PlantedRelease, tmp_path: Path) -> None:
    other = train_variant("aligned_codes", release.corpus, load_profile("tiny"), seed=99)
    parts = {path.name: path for path in write_models(tmp_path, other, release.corpus, {}).values()}
    manifest = json.loads((release.bundle / MANIFEST).read_text())
    fields = {name: value for name, value in manifest.items() if name not in ("release_id", "files")}
    mixed = {path.name: path for path in release.bundle.iterdir() if path.name != MANIFEST}
    mixed["ranker.safetensors"] = parts["ranker.safetensors"]
    with pytest.raises(BundleError, match="was trained with codebook"):
        Recommender.open(write_bundle(tmp_path / "releases", mixed, fields))


def test_a_bundle_without_one_of_its_parts_is_refused_by_name(release: PlantedRelease, tmp_path: Path) -> None:
    manifest = json.loads((release.bundle / MANIFEST).read_text())
    fields = {name: value for name, value in manifest.items() if name not in ("release_id", "files")}
    for missing in ("ranker.safetensors", "alignment.safetensors", "codebook.npz", "code_names.json", "vocabulary", "snapshot"):
        parts = {path.name: path for path in release.bundle.iterdir() if path.name not in (MANIFEST, missing)}
        with pytest.raises(BundleError):
            Recommender.open(write_bundle(tmp_path / missing, parts, fields))


def test_a_damaged_bundle_is_not_served(release: PlantedRelease, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(release.bundle, copy)
    with (copy / "snapshot" / "rooms.parquet").open("r+b") as file:
        file.write(b"XXXX")
    with pytest.raises(BundleError, match=r"rooms\.parquet is damaged"):
        Recommender.open(copy)


def test_a_variant_without_codes_is_no_release(release: PlantedRelease, tmp_path: Path) -> None:
    plain = train_variant("id_only", release.corpus, load_profile("tiny"))
    with pytest.raises(BundleError, match="'id_only' cannot be served"):
        write_models(tmp_path, plain, release.corpus, {})


# Names and reasons


def test_codes_are_named_by_the_words_that_set_them_apart() -> None:
    codes = np.array([[0, 0]] * 10 + [[0, 1]] * 10 + [[1, 0]] * 10 + [[2, 0]] * 2)
    texts = [
        *["the host plays chess opening"] * 10,
        *["the host plays chess endgame"] * 10,
        *["the host plays karaoke 666 666 666"] * 10,
        *["the host plays poker"] * 2,
    ]
    names = name_codes(codes, texts)
    assert "chess" in names["0"]
    assert "karaoke" in names["1"]
    assert "host" not in " ".join(names.values())
    assert (names["0-0"], names["0-1"]) == ("opening", "endgame")
    assert "2" not in names  # two segments are too few to be named after
    assert path_names([0, 1, 5], names) == [names["0"], "endgame", "endgame"]
    assert path_names([2, 0], names) == ["code 2", "code 2"]


@pytest.mark.parametrize("texts", [["", "  "], ["666", "1 2"], ["ab", "!!"]])
def test_without_a_word_there_are_no_names(texts: list[str]) -> None:
    assert name_codes(np.zeros((2, 2), dtype=int), texts, minimum=1) == {}


def test_names_say_what_the_planted_rooms_are_about(recommender: Recommender) -> None:
    named = {word for name in recommender.code_names.values() for word in WORDS if word in name}
    assert len(named) >= 4


def test_the_reason_tells_what_is_on_and_what_speaks_for_it() -> None:
    def engaged(author: int, code: int) -> Engagement:
        return Engagement(Moment(1, author, 1, np.zeros(2, np.float32), np.array([code, 0])), 1)

    names = {"3": "chess", "3-1": "chess, endgame"}
    assert reason([3, 1], names, 9, []) == "Now: chess, endgame."
    assert reason([3, 2], names, 9, [engaged(8, 4)]) == "Now: chess. New to you."
    assert reason([3, 1], names, 9, [engaged(9, 4)]) == "Now: chess, endgame. You entered this streamer's room once lately."
    assert reason([3, 1], names, 9, [engaged(8, 3)]) == "Now: chess, endgame. You entered 1 similar moment lately."
