"""The champion's click scores of two days that it was not trained on.

They show changed tastes. Scores are comparable only if one model made them, so a release keeps the scores of its held-out
day. When it is the champion it scores the new day, and the two are compared.
"""

from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd

from livealign.config import DatasetConfig
from livealign.dataset.corpus import Corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.frame import CLICK
from livealign.home import Home
from livealign.release.bundle import HELD_OUT_SCORES, Bundle
from livealign.retrain.champion import champion_scores


class ChampionScores(NamedTuple):
    """Click probabilities by one release."""

    held_out: date | None  # the release's held-out day; None if there are no scores
    by_impression: pd.Series | None  # impression_id → probability, of that day and of the day of the report
    scored_by: str  # the release's id, or the reason why there are no scores


def held_out_day(release: Bundle) -> date:
    """The day that the release was measured on and not trained on."""
    return date.fromisoformat(release.manifest["data_window"]["end"])


def scores_of_champion(champion: Bundle | None, corpus: Corpus, home: Home, dataset: DatasetConfig) -> ChampionScores:
    """The champion's scores of its own held-out day and of the corpus' held-out day.

    A champion that cannot score must not stop the retrain: there are no scores then, and `scored_by` gives the reason.
    """
    if champion is None:
        return ChampionScores(None, None, "no release before the day")
    if HELD_OUT_SCORES not in champion.manifest["files"]:
        return ChampionScores(None, None, f"{champion.release_id} kept no scores of its held-out day; the next release will")
    try:
        with np.load(champion.file(HELD_OUT_SCORES), allow_pickle=False) as file:
            before = pd.Series(file["click"], index=file["impression_id"])
        now = pd.Series(champion_scores(champion, corpus, home, dataset)[:, CLICK], index=corpus.test.impression_id)
    except (LiveAlignError, OSError, ValueError, EOFError, KeyError) as error:
        return ChampionScores(None, None, f"{champion.release_id} cannot score the day: {error}")
    return ChampionScores(held_out_day(champion), pd.concat([before, now]), champion.release_id)
