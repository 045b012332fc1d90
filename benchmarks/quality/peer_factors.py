"""Runs in .venv-recommenders: factors of users and authors by implicit's ALS or BPR, from a matrix of clicks.

python benchmarks/quality/peer_factors.py als|bpr clicks.npz factors.npz    # user, author, count, users, authors → users,
authors
"""

import sys

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix

SEED = 17
PEERS = {
    "als": lambda: AlternatingLeastSquares(factors=32, regularization=5.0, alpha=2.0, iterations=20, random_state=SEED),
    "bpr": lambda: BayesianPersonalizedRanking(factors=32, learning_rate=0.05, iterations=150, random_state=SEED),
}


def main(name: str, clicks: str, factors: str) -> None:
    """Fit and write."""
    with np.load(clicks, allow_pickle=False) as file:
        shape = (int(file["users"]), int(file["authors"]))
        matrix = csr_matrix((file["count"].astype(np.float32), (file["user"], file["author"])), shape=shape)
    model = PEERS[name]()
    model.fit(matrix, show_progress=False)
    np.savez(factors, users=np.asarray(model.user_factors), authors=np.asarray(model.item_factors))


if __name__ == "__main__":
    main(*sys.argv[1:])
