"""RecTools' SASRec as a process: the next author from the authors a user clicked.

Runs in .venv-sequences.

python benchmarks/quality/peer_sequences.py clicks.npz scores.npy
    # clicks: user, author, at [e] of the training days; of the clicks to predict: history [n, L] (newest first), length [n];
    # authors: their number. scores: float32 [n, authors], 0 for an author without a click, else above 0
"""

import sys
import warnings

import numpy as np
import pandas as pd
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

SEED, EPOCHS = 17, 30


def main(clicks: str, scores: str) -> None:
    """Fit the model and write its scores."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(SEED)
    with np.load(clicks, allow_pickle=False) as file:
        given = {name: file[name] for name in file.files}
    model = SASRecModel(
        n_factors=64, n_blocks=2, n_heads=2, session_max_len=50, dropout_rate=0.2, epochs=EPOCHS, deterministic=True, verbose=0
    )
    model.fit(interactions(given["user"], given["author"], given["at"]))
    known = np.isin(given["history"], given["author"]) & (np.arange(given["history"].shape[1]) < given["length"][:, None])
    rows, places = np.nonzero(known)
    histories = interactions(rows, given["history"][rows, places], -places)
    users = np.unique(rows)
    by_author = np.zeros((len(known), int(given["authors"])), dtype=np.float32)
    listed = model.recommend(users, histories, k=len(np.unique(given["author"])), filter_viewed=False)
    by_author[listed[Columns.User], listed[Columns.Item]] = listed[Columns.Score] - listed[Columns.Score].min() + 1
    np.save(scores, by_author, allow_pickle=False)


def interactions(users: np.ndarray, authors: np.ndarray, order: np.ndarray) -> Dataset:
    """RecTools' dataset of users and authors, a row for each pair, in the given order."""
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: users,
                Columns.Item: authors,
                Columns.Weight: 1.0,
                Columns.Datetime: pd.Timestamp("2025-01-01") + pd.to_timedelta(order - order.min(), unit="ms"),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
