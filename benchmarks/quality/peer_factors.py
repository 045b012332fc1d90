"""implicit's ALS or BPR as a process: factors of users and authors from a matrix of clicks.

Runs in .venv-recommenders.

python benchmarks/quality/peer_factors.py als|bpr clicks.npz factors.npz
    # clicks: user, author, count, users, authors; factors: users, authors
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
    """Fit the factors and write them."""
    with np.load(clicks, allow_pickle=False) as file:
        shape = (int(file["users"]), int(file["authors"]))
        matrix = csr_matrix((file["count"].astype(np.float32), (file["user"], file["author"])), shape=shape)
    model = PEERS[name]()
    model.fit(matrix, show_progress=False)
    np.savez(factors, users=np.asarray(model.user_factors), authors=np.asarray(model.item_factors))


if __name__ == "__main__":
    main(*sys.argv[1:])
