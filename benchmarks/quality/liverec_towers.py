"""LiveAlign's towers of ids as a scorer of LiveRec's protocol."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.quality.liverec_protocol import HISTORY, STEP_MS, Floats, Ints, Scorer, Targets, Views, pivots
from livealign.alignment.training import train_alignment
from livealign.config import AlignmentConfig, DatasetConfig
from livealign.dataset.corpus import load_corpus
from livealign.days import day_of

ALL_DAYS = 400


def tower_scorer(
    marts: Path, views: Views, targets: Targets, config: AlignmentConfig | None = None, until: int | None = None
) -> Scorer:
    """A scorer by the dot product of towers that know ids alone, trained here.

    The towers see the impressions of the UTC days before that of the validation's first step, so a little less than the
    protocol allows. There is no content: the file has none.

    Args:
        marts: of the workspace, built for these days and the next.
        views: all rows, which name users and authors as landed.
        targets: whom to score.
        config: of the towers; the default of the code.
        until: Unix milliseconds of the validation's first step, if not that of the views.

    Raises:
        TrainingError: a mart is missing, or there is no day to train on.
    """
    day = day_of(views.origin + pivots(views)[0] * STEP_MS if until is None else until)
    corpus = load_corpus(marts, day, replace(DatasetConfig(), train_days=ALL_DAYS, history_length=HISTORY))
    nothing = np.zeros((len(corpus.segment_ids), 1), np.float32)
    towers, _ = train_alignment(corpus, nothing, config or AlignmentConfig(), gate_mode="id")
    authors = corpus.authors.lookup(views.author_ids)
    vectors = towers.room_vectors(authors, np.zeros((len(authors), 1), np.float32))
    newest_first = targets.history[:, ::-1]
    length = (newest_first >= 0).sum(1)
    features = np.tile(towers.feature_mean, (len(targets.user), 1))  # counts of the day are unknown here
    users = corpus.users.lookup(views.user_ids[targets.user])
    history = np.where(newest_first[:, :, None] >= 0, vectors[np.maximum(newest_first, 0)], 0).astype(np.float32)
    user_vectors = towers.user_vectors(users, history, length, features)

    def score(rows: Ints, live: Ints) -> Floats:
        return (user_vectors[rows] @ vectors[live].T).astype(np.float64)

    return score
