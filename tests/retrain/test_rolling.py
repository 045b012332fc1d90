"""Rolling days: which are judged, that nothing of a day or after it reaches its scores, and what the gate makes of them."""

import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_limits

from livealign.config import EvaluationConfig
from livealign.dataset.corpus import LEXICAL, RAW, TUNED, Corpus, load_corpus
from livealign.days import end_of, partition
from livealign.evaluation.frame import CLICK
from livealign.home import Home
from livealign.profiles import Profile, load_profile
from livealign.ranking.variants import RELEASE
from livealign.release.promotion import decide
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.corpus import with_embeddings
from livealign.retrain.judged_days import days_to_tune_on, judged_days
from livealign.retrain.release import _metrics
from livealign.retrain.rolling import read_rolled, roll
from livealign.settings import GivenValue, load_settings
from tests.planted.marts import Planted, plant_marts
from tests.retrain.test_evaluation import with_texts

TINY = load_profile("tiny")
LABELS = ("click", "long_view", "like", "comment", "gift")


class Thin(NamedTuple):
    """A platform with a few lists a day, and what a retrain for its last day has embedded."""

    home: Home
    planted: Planted
    profile: Profile

    @property
    def day(self) -> date:
        return self.planted.days[-1]

    def corpus(self) -> Corpus:
        marts, artifacts = self.home.marts, DayArtifacts.of(self.home, self.day)
        return with_embeddings(load_corpus(marts, self.day, self.profile.dataset), artifacts.embeddings)

    def rolled(self) -> dict[date, dict[str, np.ndarray]]:
        with threadpool_limits(1):
            roll(self.corpus(), self.home, self.home.archive, self.profile)
        return {day: dict(one.scores) for day, one in read_rolled(DayArtifacts.of(self.home, self.day)).items()}


def plant_thin(root: Path, days: int = 9, **evaluation: int) -> Thin:
    home = Home(root, "planted")
    planted = plant_marts(home.marts, users=40, authors=8, topics=4, days=days, rooms_per_day=4, requests_per_day=20)
    with_texts(planted)
    config = replace(TINY.evaluation, comparison=("popularity", "id_only"), **evaluation)
    profile = replace(TINY, evaluation=config, dataset=replace(TINY.dataset, train_days=days - 1))
    embeddings = DayArtifacts.of(home, planted.days[-1]).embeddings
    embeddings.mkdir(parents=True)
    for name, values in (("segment_ids", planted.segment_ids), *((name, planted.vectors) for name in (RAW, TUNED, LEXICAL))):
        np.save(embeddings / f"{name}.npy", values)
    return Thin(home, planted, profile)


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Thin:
    return plant_thin(tmp_path_factory.mktemp("thin") / "home", least_users=1_000, most_days=3)


def judged(thin: Thin, **evaluation: int) -> int:
    config = replace(EvaluationConfig(), **evaluation)
    found = judged_days(thin.home.marts, thin.day, thin.profile.dataset, config)
    assert found[-1] == thin.day
    assert list(found) == [thin.day - timedelta(days=back) for back in range(len(found) - 1, -1, -1)]
    return len(found)


def test_days_are_added_until_there_are_enough_users_or_no_more_may_be_judged(thin: Thin) -> None:
    assert judged(thin, least_users=1) == 1
    assert judged(thin, least_users=1, least_days=3) == 3
    assert judged(thin, least_users=1_000, most_days=2) == 2
    assert judged(thin, least_users=1_000, most_days=1) == 1
    assert judged(thin, least_users=1_000) == 5, "half of the eight days before are there to learn from"
    found = [judged(thin, least_users=needed) for needed in range(1, 40, 3)]
    assert found == sorted(found)
    assert set(found) & {2, 3, 4}, "no more days than it takes"


def test_days_without_impressions_are_passed_over(thin: Thin, tmp_path: Path) -> None:
    marts = tmp_path / "marts"
    shutil.copytree(thin.home.marts, marts)
    empty = thin.day - timedelta(days=1)
    file = partition(marts, "interactions", empty)
    pq.write_table(pq.ParquetFile(file).read().slice(0, 0), file)
    found = judged_days(marts, thin.day, thin.profile.dataset, EvaluationConfig(least_users=1_000, most_days=3))
    assert empty not in found
    assert len(found) == 2, "the third last day is the second that can be judged"


def test_the_adapter_reads_nothing_of_days_that_could_be_judged(thin: Thin) -> None:
    dataset, before = thin.profile.dataset, list(thin.planted.days[:-1])
    many = EvaluationConfig(least_users=1_000)
    read = days_to_tune_on(thin.home.marts, thin.day, before, dataset, many)
    assert read == before[:4]
    assert max(read) < min(judged_days(thin.home.marts, thin.day, dataset, many))
    assert days_to_tune_on(thin.home.marts, thin.day, before, dataset, EvaluationConfig(least_users=1)) == before


def test_where_one_day_is_enough_nothing_is_rolled_and_what_was_is_removed(tmp_path: Path) -> None:
    enough = plant_thin(tmp_path / "home", days=6, least_users=1)
    artifacts = DayArtifacts.of(enough.home, enough.day)
    artifacts.rolling.mkdir()
    (artifacts.rolling / "2025-03-01.npz").write_bytes(b"of another setting")
    assert enough.rolled() == {}
    assert not artifacts.rolling.exists()


def altered(file: Path, labels: tuple[str, ...]) -> None:
    """Turn these labels of a day over."""
    table = pq.ParquetFile(file).read()
    for name in labels:
        turned = pc.subtract(pa.scalar(1, pa.int8()), table[name].cast(pa.int8()))
        table = table.set_column(table.schema.get_field_index(name), name, turned)
    pq.write_table(table, file)


def known_at_midnight(file: Path, day: date) -> None:
    """No outcome of the day is known before its end, as no later card of the same room may then show it."""
    table = pq.ParquetFile(file).read()
    late = pa.array([end_of(day) - 1] * len(table), pa.timestamp("ms"))
    for name in LABELS:
        table = table.set_column(table.schema.get_field_index(f"{name}_known_at"), f"{name}_known_at", late)
    pq.write_table(table, file)


def test_scores_of_a_rolling_day_know_nothing_of_that_day_or_after_it(thin: Thin, tmp_path: Path) -> None:
    shutil.copytree(thin.home.root, tmp_path / "home")
    copy = thin._replace(home=Home(tmp_path / "home", "planted"))
    first, second, last = copy.planted.days[-3:]
    files = {day: partition(copy.home.marts, "interactions", day) for day in (first, second, last)}
    known_at_midnight(files[first], first)
    before = copy.rolled()
    for file in files.values():
        altered(file, LABELS)
    for mart in ("user_histories", "authors_daily", "users_daily"):  # what later days have counted
        for day in (second, last):
            partition(copy.home.marts, mart, day).write_bytes(
                partition(copy.home.marts, mart, copy.planted.days[1]).read_bytes()
            )
    after = copy.rolled()
    assert set(before) == set(after) == {first, second}
    for name, scores in before[first].items():
        np.testing.assert_array_equal(after[first][name], scores)
    # The day after was scored by models that had learned from the altered day.
    assert not np.array_equal(after[second][RELEASE], before[second][RELEASE])


def test_scores_are_the_same_twice_and_a_changed_setting_reaches_them(thin: Thin) -> None:
    first, again = thin.rolled(), thin.rolled()
    for day, scores in first.items():
        for name in ("popularity", "id_only", RELEASE):
            np.testing.assert_array_equal(again[day][name], scores[name])
    ranker = replace(thin.profile.ranker, epochs=2)
    changed = thin._replace(profile=replace(thin.profile, ranker=ranker)).rolled()
    assert all(not np.array_equal(changed[day]["id_only"], scores["id_only"]) for day, scores in first.items())


def test_the_gate_gets_pooled_metrics_and_says_how_many_users_they_are_of(thin: Thin) -> None:
    thin.rolled()
    rolled = read_rolled(DayArtifacts.of(thin.home, thin.day))
    frames = {day: one.frame for day, one in rolled.items()}
    users = set().union(*({*frame.user.tolist()} for frame in frames.values()))
    scores = {day: one.scores[RELEASE] for day, one in rolled.items()}
    last = max(frames)
    metrics = _metrics(last, frames, scores)
    assert metrics.earlier == tuple(str(day) for day in frames if day != last)
    assert set(metrics.users.users.tolist()) == users
    outcome = decide(metrics, metrics, {}, thin.profile.promotion, thin.profile.evaluation.least_users)
    assert outcome.rule == "too_few_users"
    assert f"too few to tell: {metrics.n_users} users" in outcome.reason
    assert scores[last].shape == (len(frames[last]), 5)
    assert np.isfinite(scores[last][:, CLICK]).all()


def test_the_settings_are_a_persons_and_a_channel_archive_is_judged_on_a_fortnight(tmp_path: Path) -> None:
    given = [GivenValue.flag("--set", "evaluation.least_users=77"), GivenValue.flag("--set", "evaluation.most_days=3")]
    config = load_settings(given, {"LIVEALIGN_PLATFORM": "twitch"}, tmp_path).profile.evaluation
    assert (config.least_users, config.least_days, config.most_days) == (77, 14, 3)
    usual = load_settings([], {}, tmp_path).profile.evaluation
    assert usual.least_days == 1
    assert usual.least_users < 398, "the simulator's usual day, which is enough alone"
