"""What the champion expects of the day: its scores of two days that it was not trained on, columns that show other tastes.

A score means something only beside scores of the same model, so a release keeps those that it gave the day it was held out on.
When it is the champion it scores a new day, and the two are compared.
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

    held_out: date | None  # the day that it was measured on; None where it scored nothing
    by_impression: pd.Series | None  # impression_id → probability, of that day and of the day reported on
    says: str  # the release's id, or why there are no scores


def held_out_day(release: Bundle) -> date:
    """The day that the release was measured on, which it had not been trained on."""
    return date.fromisoformat(release.manifest["data_window"]["end"])


def scores_of_champion(champion: Bundle | None, corpus: Corpus, home: Home, dataset: DatasetConfig) -> ChampionScores:
    """The champion's scores of its own held-out day and of the corpus'.

    A champion that cannot score must not keep its successor from being made: then there are none, and `says` tells why.
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
