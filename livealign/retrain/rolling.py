"""Scores of the earlier days that a retrain is judged on beside its own.

    roll(corpus, home, archive, profile)    # artifacts/<day>/rolling/<earlier day>.npz
    read_rolled(artifacts)                  # {earlier day: ScoredDay}

The release was trained on these days (`livealign.retrain.judged_days`), so each is scored by models of the same method that are
trained on the window's days before it: towers, codes and ranker are trained again, on the vectors that were embedded for the
retrain's day. All of these days share the LLM's adapter, which was tuned on none of them (`days_to_tune_on`).
"""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

from livealign.dataset.corpus import Corpus, load_corpus
from livealign.errors import TrainingError
from livealign.evaluation.ceilings import day_ceilings
from livealign.evaluation.day_truth import read_day_truth
from livealign.evaluation.frame import held_out_frame
from livealign.evaluation.held_out import ScoredDay
from livealign.files import read_json, replace_json, replaced_directory
from livealign.home import Home
from livealign.llm.backbone import choose_device
from livealign.llm.texts import texts_of
from livealign.profiles import Profile
from livealign.ranking.variants import RELEASE, train_variant
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.corpus import with_embeddings
from livealign.retrain.judged_days import judged_days

NOT_JUDGED = "not_judged.json"


def roll(corpus: Corpus, home: Home, archive: Path, profile: Profile) -> tuple[date, ...]:
    """Train every variant again for each earlier day that is judged; write its frame and scores.

    A day for which no model can be trained is left out; `not_judged.json` records the reason.

    Returns:
        The earlier days that were scored, oldest first.
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
        replace_json(folder / NOT_JUDGED, not_judged, version=1)
    return tuple(day for day in earlier if day.isoformat() not in not_judged)


def read_rolled(artifacts: DayArtifacts) -> dict[date, ScoredDay]:
    """The days that `roll` wrote, oldest first; empty if the retrain's own day was enough."""
    files = sorted(artifacts.rolling.glob("[!.]*.npz"))
    return {date.fromisoformat(file.stem): ScoredDay.load(file) for file in files}


def read_not_judged(artifacts: DayArtifacts) -> dict[str, str]:
    """Earlier days that could not be judged, each with the reason."""
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
