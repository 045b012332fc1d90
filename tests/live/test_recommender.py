"""Served scores are the offline scores, for live rooms only, and reasons are true."""

import json
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from livealign.config import LiveConfig
from livealign.dataset.examples import TASKS
from livealign.days import DAY_MS
from livealign.errors import BundleError, LiveAlignError
from livealign.live.answers import Recommendations
from livealign.live.recommender import Reader, Recommender, Request
from livealign.live.startup import read_snapshot, state_of
from livealign.live.state.state import LiveState
from livealign.profiles import load_profile
from livealign.ranking.contexts import Context, Contexts
from livealign.ranking.variants import train_variant
from livealign.release.bundle import MANIFEST, open_bundle, write_bundle
from livealign.release.contents import snapshot_files
from livealign.release.snapshot import write_snapshot
from tests.planted.marts import Planted
from tests.planted.release import WORDS, PlantedRelease, coded_segment_rows, plant_platform, plant_release, write_models

UNKNOWN = -(2**62)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant_platform(tmp_path_factory.mktemp("marts"), users=60, rooms_per_day=24, requests_per_day=250)


@pytest.fixture(scope="module")
def release(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return plant_release(tmp_path_factory.mktemp("release"), planted)


@dataclass
class Desk:
    """A recommender and a state, asked as the live core asks them."""

    recommender: Recommender
    state: LiveState

    @classmethod
    def open(cls, bundle: Path, **settings: float) -> "Desk":
        config = replace(LiveConfig(publish_seconds=0.0, exploration_share=0.0, max_same_code=100), **settings)
        recommender = Recommender.open(bundle, config)
        snapshot = read_snapshot(snapshot_files(recommender.bundle), recommender.encode_authors)
        return cls(recommender, state_of(snapshot, config, recommender.alignment.history_length, 30_000))

    def reader(self, user: int, at: int | None = None) -> Reader:
        at = self.state.clock if at is None else at
        history, coded_windows = self.state.users.history(user, at), self.state.coded_windows
        known = (coded_windows[name][history.coded_row] for name in ("author_id", "vector", "codes"))
        has_content = coded_windows["segment_id"][history.coded_row] > 0
        ignored = self.state.users.not_entered(user, at - 600_000, at)
        return Reader(user, *known, has_content, self.state.user_before(user), ignored)

    def recommend(self, user: int, k: int, exclude: Collection[int] = (), at: int | None = None) -> Recommendations:
        at = self.state.clock if at is None else at
        reader = self.reader(user, at)
        return self.recommender.recommend(self.state.view(), reader, Request(at, k, exclude))

    def known_user(self) -> int:
        """The user with the longest history."""
        return max(self.state.users["user_id"].tolist(), key=lambda user: len(self.state.users.history(user, 2**62).at))


@pytest.fixture
def recommender(release: PlantedRelease) -> Desk:
    return Desk.open(release.bundle)


def test_rooms_are_live_ranked_and_explained(recommender: Desk, release: PlantedRelease) -> None:
    user = recommender.known_user()
    answer = recommender.recommend(user, 5)
    view = recommender.state.view()
    live = set(view.room_id[view.live_at(release.taken_at)].tolist())
    assert answer.at == release.taken_at
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
        assert room.reason.startswith(("You entered ", "New to you"))
    assert recommender.recommend(user, 5).request_id != answer.request_id
    assert recommender.recommend(user, 5).rooms == answer.rooms


def test_a_context_moves_the_list_of_a_user_without_a_history_alone(recommender: Desk) -> None:
    without = recommender.recommend(UNKNOWN, 100)
    assert recommender.recommender.contexts == Contexts(), "a release that has learned none"
    view, at = recommender.state.view(), recommender.state.clock
    code = without.rooms[-1].codes[0]  # of the last room
    hour = str(at // 3_600_000 % 24)
    learned = {"hour": {"code": {hour: {str(code): 3.0}}}, "country": {"language": {"chile": {"en": -1.0}}}}
    desk = replace(recommender, recommender=replace(recommender.recommender, contexts=Contexts(learned)))
    moved = desk.recommend(UNKNOWN, 100)
    assert {room.room_id for room in moved.rooms if room.codes[0] == code} == {
        room.room_id for room in moved.rooms[: sum(room.codes[0] == code for room in moved.rooms)]
    }
    before = {room.room_id: logit(room.scores["click"]) for room in without.rooms}
    added = {room.room_id: logit(room.scores["click"]) - before[room.room_id] for room in moved.rooms}
    assert added == pytest.approx({room.room_id: 3.0 * (room.codes[0] == code) for room in moved.rooms}, abs=1e-3)
    in_chile = desk.recommender.recommend(view, desk.reader(UNKNOWN), Request(at, 100, context=Context(country="chile")))
    lower = {room.room_id: logit(room.scores["click"]) - before[room.room_id] for room in in_chile.rooms}
    assert lower == pytest.approx({room: value - 1.0 for room, value in added.items()}, abs=1e-3)
    known = recommender.known_user()
    assert desk.recommend(known, 100).rooms == recommender.recommend(known, 100).rooms


def test_rooms_that_a_context_prefers_become_candidates(release: PlantedRelease) -> None:
    desk = Desk.open(release.bundle, candidates=3)
    view, at = desk.state.view(), desk.state.clock
    live = view.live_at(at)
    chosen = {room.room_id for room in desk.recommend(UNKNOWN, 100).rooms}
    left_out = next(row for row in live.tolist() if view.room_id[row] not in chosen)
    code = int(view.codes[left_out, 0])
    preferred = Contexts({"hour": {"code": {str(at // 3_600_000 % 24): {str(code): 50.0}}}})
    moved = replace(desk, recommender=replace(desk.recommender, contexts=preferred)).recommend(UNKNOWN, 100)
    assert sum(room.codes[0] == code for room in moved.rooms) == min(3, int((view.codes[live, 0] == code).sum()))


def test_the_served_score_is_the_offline_score(planted: Planted, release: PlantedRelease, tmp_path: Path) -> None:
    """Point in time: what the pipeline computed for an impression, the service computes at that impression's instant."""
    test, scores = release.corpus.test, release.trained.score(release.corpus.test)
    lengths = test.history_length
    for number, row in enumerate(np.random.default_rng(3).choice(np.flatnonzero(lengths > 0), 3, replace=False)):
        parts = {path.relative_to(release.bundle).as_posix(): path for path in open_bundle(release.bundle).path.rglob("*")}
        parts = {name: path for name, path in parts.items() if path.is_file() and name != MANIFEST}
        folder, moment = tmp_path / str(number), int(test.shown_at[row])
        segments = coded_segment_rows(release.trained, release.corpus)
        write_snapshot(folder / "snapshot", planted.marts, moment, *segments, history_length=8)
        parts |= {f"snapshot/{path.name}": path for path in (folder / "snapshot").iterdir()}
        manifest = json.loads((release.bundle / MANIFEST).read_text())
        fields = {name: value for name, value in manifest.items() if name not in ("release_id", "files")}
        at_that_moment = Desk.open(write_bundle(folder / "releases", parts, fields))
        answer = at_that_moment.recommend(int(test.user_id[row]), 100)
        served = {room.room_id: room for room in answer.rooms}
        same_list = np.flatnonzero(test.request == test.request[row])
        assert len(same_list) >= 2
        for one in same_list:
            room = served[int(test.room_id[one])]
            np.testing.assert_allclose([room.scores[task] for task in TASKS], scores[one], atol=1e-5)


def test_a_user_never_seen_gets_a_list_and_is_told_apart(recommender: Desk) -> None:
    answer = recommender.recommend(UNKNOWN, 5)
    assert len(answer.rooms) == 5
    assert answer.fallbacks == ("unknown_user", "no_history")


def test_what_a_user_just_entered_changes_their_list_at_once(recommender: Desk) -> None:
    before = recommender.recommend(UNKNOWN, 100)
    favourite = before.rooms[-1].room_id
    for second in range(5):
        recommender.state.show(UNKNOWN, np.array([favourite]), before.at + second, f"list {second}")
        recommender.state.enter(f"play {second}", UNKNOWN, favourite, before.at + second, f"list {second}")
    after = recommender.recommend(UNKNOWN, 100, at=before.at + 10)
    assert after.fallbacks == ("unknown_user",)
    old, new = ({room.room_id: room for room in answer.rooms} for answer in (before, after))
    assert new[favourite].score != old[favourite].score
    assert re.fullmatch(r"You entered rooms .+ 5 times lately, all of them this streamer's\.", new[favourite].reason)


def test_excluded_rooms_stay_out_and_an_empty_list_says_why(recommender: Desk, release: PlantedRelease) -> None:
    everything = [room.room_id for room in recommender.recommend(UNKNOWN, 100).rooms]
    rest = recommender.recommend(UNKNOWN, 100, exclude=everything[:2]).rooms
    assert [room.room_id for room in rest] == everything[2:]
    nothing = recommender.recommend(UNKNOWN, 5, exclude=everything)
    assert (nothing.rooms, nothing.fallbacks[-1]) == ((), "all_excluded")
    later = recommender.recommend(UNKNOWN, 5, at=release.taken_at + 30 * DAY_MS)
    assert (later.rooms, later.fallbacks[-1]) == ((), "no_live_rooms")


@pytest.mark.parametrize("k", [0, -1, 101])
def test_the_number_of_rooms_has_bounds(k: int, recommender: Desk) -> None:
    with pytest.raises(LiveAlignError, match="ask for 1 to 100"):
        recommender.recommend(UNKNOWN, k)


def test_a_room_that_has_just_started_is_ranked_by_its_author(recommender: Desk, release: PlantedRelease) -> None:
    author = int(recommender.state.view().author_id[0])
    recommender.state.start_room(77, author, release.taken_at + 1_000, "fresh", None, None)
    recommender.state.start_room(78, 123_456_789, release.taken_at + 1_000, "fresh, by a stranger", None, None)
    answer = recommender.recommend(UNKNOWN, 100)
    fresh = {room.room_id: room for room in answer.rooms}
    assert "author_only" in answer.fallbacks
    for room_id in (77, 78):
        assert fresh[room_id].content_age_seconds is None
        assert fresh[room_id].reason == "Just started: chosen by who is streaming."


def test_of_very_many_rooms_those_near_the_user_are_ranked(recommender: Desk, release: PlantedRelease) -> None:
    user = recommender.known_user()
    everything = recommender.recommend(user, 100).rooms
    desk = Desk.open(release.bundle, candidates=3)
    near = desk.recommend(user, 100).rooms
    assert len(near) == 3 < len(everything)
    scores = {room.room_id: room.score for room in everything}
    for room in near:
        assert room.score == pytest.approx(scores[room.room_id], abs=1e-6)
    view, reader = desk.state.view(), desk.reader(user)
    live = view.live_at(release.taken_at)
    products = view.vectors[live] @ desk.recommender.user_vector(reader)
    nearest = view.room_id[live[np.argsort(-products)[:3]]]
    assert {room.room_id for room in near} == set(nearest.tolist())


def test_a_room_that_was_shown_and_not_entered_ranks_lower(recommender: Desk) -> None:
    first, second = recommender.recommend(UNKNOWN, 2).rooms
    at = recommender.state.clock
    recommender.state.show(UNKNOWN, np.array([first.room_id, second.room_id]), at, "list")
    recommender.state.enter("play", UNKNOWN, second.room_id, at, "list")
    again = {room.room_id: room for room in recommender.recommend(UNKNOWN, 100, at=at).rooms}
    assert again[first.room_id].score == pytest.approx(first.score / 2, rel=1e-5)
    assert again[second.room_id].score == pytest.approx(second.score, rel=1e-5)
    scores = [room.score for room in again.values()]
    assert scores == sorted(scores, reverse=True), "the list is in the order of the lowered scores"
    assert next(iter(again)) == second.room_id
    later = {room.room_id: room for room in recommender.recommend(UNKNOWN, 100, at=at + 601_000).rooms}
    assert later[first.room_id].score == later[first.room_id].scores["click"]


def test_a_room_that_has_ended_is_scored_as_it_was_at_its_end(recommender: Desk) -> None:
    view, reader = recommender.state.view(), recommender.reader(UNKNOWN)
    rows, at = view.live_at(recommender.state.clock)[:3], recommender.state.clock
    ended = view._replace(ended_at=np.where(np.isin(np.arange(len(view.ended_at)), rows), at, view.ended_at))
    scores = recommender.recommender.scores
    assert np.array_equal(scores(ended, rows, reader, at + 7_200_000), scores(ended, rows, reader, at))
    assert not np.array_equal(scores(view, rows, reader, at + 7_200_000), scores(view, rows, reader, at))


def test_some_places_go_to_rooms_that_would_not_have_been_on_the_list(release: PlantedRelease) -> None:
    desk = Desk.open(release.bundle, exploration_share=0.5)
    plain = [room.room_id for room in Desk.open(release.bundle).recommend(UNKNOWN, 2).rooms]
    drawn = set()
    for _ in range(12):
        rooms = desk.recommend(UNKNOWN, 2).rooms
        explored = [room.room_id for room in rooms if room.explored]
        assert len(explored) == 1
        assert not set(explored) & set(plain)
        assert rooms[0].room_id == plain[0]
        drawn |= set(explored)
    assert len(drawn) > 1
    reader = Reader(
        UNKNOWN,
        *(desk.state.coded_windows[name][:0] for name in ("author_id", "vector", "codes")),
        np.zeros(0, dtype=np.bool_),
        (0.0, 0.0),
        np.zeros(0, dtype=np.int64),
    )
    same = [
        desk.recommender.recommend(desk.state.view(), reader, Request(desk.state.clock, 4, request_id="one")) for _ in range(2)
    ]
    assert same[0].rooms == same[1].rooms


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
            Desk.open(write_bundle(tmp_path / missing, parts, fields))


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


# Names


def test_names_say_what_the_planted_rooms_are_about(recommender: Desk) -> None:
    named = {word for name in recommender.recommender.code_names.values() for word in WORDS if word in name}
    assert len(named) >= 4


def test_a_reason_names_the_code_of_a_room_only_where_it_is_clear(recommender: Desk) -> None:
    view, user = recommender.state.view(), 500
    centres = recommender.recommender.codebook.centroids[0]
    names = [recommender.recommender.names([code, 0])[0] for code in range(len(centres))]
    code = next(code for code, name in enumerate(names) if name)
    other = int(np.argsort(((centres - centres[code]) ** 2).sum(1))[1])
    rows = np.flatnonzero(view.content_at > 0)[:2]
    vectors = view.vectors.copy()
    vectors[rows] = centres[code], 0.55 * centres[code] + 0.45 * centres[other]
    codes = view.codes.copy()
    codes[rows, 0] = code
    reader = recommender.reader(user)._replace(authors=np.zeros(0, np.int64), codes=codes[:0], has_content=np.zeros(0, bool))
    view = view._replace(vectors=vectors, codes=codes)
    assert recommender.recommender.reasons(view, rows, reader) == [f"Now: {names[code]}.", "Chosen by what is on now."]
