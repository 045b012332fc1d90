"""The days that a retrain is judged on beside its own: which they are, and their scores by models that had not seen them.

    days = judged_days(home.marts, day, profile.dataset, profile.evaluation)    # (day,) where the day has enough users
    roll(corpus, home, archive, profile)                                        # artifacts/<day>/rolling/<earlier day>.npz
    read_rolled(artifacts)                                                      # {earlier day: ScoredDay}

A thin platform's day has too few users to tell good from bad. Earlier days of the training window are then judged too, newest
first. The release has learned from them, so each is scored by the same method trained on the window's days before it: towers,
codes and ranker anew, on the vectors that were embedded for the retrain's day. The LLM's adapter is one for all of these days;
so that it has read none of them, it is tuned on the days before the first that could be judged (`days_to_tune_on`).
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from livealign.config import DatasetConfig, EvaluationConfig, Profile
from livealign.dataset.columns import floats, ints, milliseconds
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.dataset.marts import built_days, read_mart
from livealign.days import day_range, end_of
from livealign.errors import TrainingError
from livealign.evaluation.ceilings import day_ceilings
from livealign.evaluation.day_truth import read_day_truth
from livealign.evaluation.frame import held_out_frame
from livealign.evaluation.held_out import ScoredDay
from livealign.files import read_json, replace_json, replaced_directory
from livealign.home import Home
from livealign.llm.backbone import choose_device
from livealign.llm.texts import texts_of
from livealign.metrics import user_auc
from livealign.ranking.variants import RELEASE, train_variant
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.corpus import with_embeddings

LEAST_TRAIN_DAYS = 3  # before a judged day: fewer teach too little of users and authors to stand for the method
NOT_JUDGED = "not_judged.json"


def judged_days(marts: Path, day: date, dataset: DatasetConfig, config: EvaluationConfig) -> tuple[date, ...]:
    """`day`, and before it the days that it takes to have enough users, oldest first.

    Days without impressions are left out. Where even all days are too few, it is all of them.
    """
    users, days = _users_with_both_classes(marts, day), [day]
    for earlier in reversed(_candidates(marts, day, dataset, config)):
        if len(days) >= config.most_days or (len(users) >= config.least_users and len(days) >= config.least_days):
            break
        if read_mart(marts, "interactions", [earlier], ["user_id"]).num_rows:
            users |= _users_with_both_classes(marts, earlier)
            days.append(earlier)
    return tuple(reversed(days))


def days_to_tune_on(
    marts: Path, day: date, training_days: Sequence[date], dataset: DatasetConfig, config: EvaluationConfig
) -> list[date]:
    """The training days that the LLM's adapter may read: all, or where earlier days are judged those before the first of them.

    It is the first that could be judged, not the first that is, so that the adapter of one retrain serves the next ones too.
    """
    if len(judged_days(marts, day, dataset, config)) == 1:
        return list(training_days)
    first = _candidates(marts, day, dataset, config)[0]
    return [one for one in training_days if one < first]


def roll(corpus: Corpus, home: Home, archive: Path, profile: Profile) -> tuple[date, ...]:
    """Train every variant anew for each earlier day that is judged, and write its frame and scores; returns those days.

    A day that nothing can be trained for is left out, and the reason is kept in `not_judged.json`.
    """
    artifacts = DayArtifacts.of(home, corpus.day)
    *earlier, _ = judged_days(home.marts, corpus.day, profile.dataset, profile.evaluation)
    if not earlier:
        shutil.rmtree(artifacts.rolling, ignore_errors=True)  # of an earlier run with other settings
        return ()
    not_judged: dict[str, str] = {}
    with replaced_directory(artifacts.rolling) as folder:
        for day in earlier:
            try:
                _scored(corpus.day, day, home, archive, profile).save(folder / f"{day}.npz")
            except TrainingError as error:
                not_judged[day.isoformat()] = str(error)
        replace_json(folder / NOT_JUDGED, not_judged)
    return tuple(day for day in earlier if day.isoformat() not in not_judged)


def read_rolled(artifacts: DayArtifacts) -> dict[date, ScoredDay]:
    """What `roll` left, oldest day first; empty where the retrain's own day was enough."""
    files = sorted(artifacts.rolling.glob("[!.]*.npz"))
    return {date.fromisoformat(file.stem): ScoredDay.load(file) for file in files}


def read_not_judged(artifacts: DayArtifacts) -> dict[str, str]:
    """Earlier days that were to be judged and could not be, and why."""
    file = artifacts.rolling / NOT_JUDGED
    return dict(read_json(file)) if file.exists() else {}


def _scored(retrain_day: date, day: date, home: Home, archive: Path, profile: Profile) -> ScoredDay:
    """One earlier day, scored by models of the retrain's window up to the day before it."""
    window = profile.dataset.train_days - (retrain_day - day).days
    embeddings = DayArtifacts.of(home, retrain_day).embeddings
    corpus = with_embeddings(load_corpus(home.marts, day, replace(profile.dataset, train_days=window)), embeddings)
    device = choose_device()
    scores = {
        name: train_variant(name, corpus, profile, device=device).score(corpus.test)
        for name in dict.fromkeys([*profile.evaluation.comparison, RELEASE])
    }
    truth, ceilings = read_day_truth(archive, corpus), {}
    if truth is not None:
        days = [*corpus.train_days, day]
        ceilings = day_ceilings(corpus, truth, texts_of(home.marts, corpus.segment_ids[1:], days, profile.segments))
    return ScoredDay(held_out_frame(corpus, home.marts, profile.evaluation, truth), scores, ceilings)


def _candidates(marts: Path, day: date, dataset: DatasetConfig, config: EvaluationConfig) -> list[date]:
    """The days of the training window that may be judged, oldest first: its second half, the first being to learn from."""
    window = day_range(day - timedelta(days=dataset.train_days), day - timedelta(days=1))
    built = sorted(set(window) & set(built_days(marts, "interactions")))
    later = built[max(LEAST_TRAIN_DAYS, len(built) // 2) :]
    return later[max(0, len(later) - (config.most_days - 1)) :]


def _users_with_both_classes(marts: Path, day: date) -> set[int]:
    """Users with a click and a skip on the day, as far as both were known at its end."""
    shown = read_mart(marts, "interactions", [day], ["user_id", "click", "click_known_at"])
    click = np.where(milliseconds(shown, "click_known_at") > end_of(day), np.nan, floats(shown, "click"))
    per_user = user_auc(np.zeros(len(click)), click, ints(shown, "user_id"))
    return set(per_user.users[per_user.evaluable].tolist())
