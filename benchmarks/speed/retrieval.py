"""Speed and recall of the index of live rooms, compared with exact search.

    python -m benchmarks.speed.retrieval --rooms 10000 100000 1000000

Recall@50 and queries a second. Queries come one user at a time, as a service has them. The ratio is the index's rate ÷ that of
faiss' flat index.
"""

import argparse
import sys

import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.codes import SEED, mixture
from benchmarks.speed.rows import comparison, cost_of, in_turns, show
from livealign.alignment.retrieval import RoomIndex

K = 50


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, SEED)
    for rooms in arguments.rooms:
        # Queries have the distribution of rooms: the towers put both into one space.
        drawn, ids = mixture(rooms + arguments.queries), np.arange(rooms)
        vectors, queries = drawn[:rooms], drawn[rooms:]
        exact = RoomIndex.build(ids, vectors, exact_below=rooms + 1)
        index = None

        def build(ids=ids, vectors=vectors) -> None:
            nonlocal index
            index = RoomIndex.build(ids, vectors)

        building = cost_of(build)
        assert index is not None
        approximate_ids = index.search(queries, K).room_ids
        exact_ids = exact.search(queries, K).room_ids
        pairs = zip(approximate_ids.tolist(), exact_ids.tolist(), strict=True)
        recall = np.mean([len(set(a) & set(b)) / K for a, b in pairs])

        def one_by_one(searched: RoomIndex, queries=queries) -> None:
            for query in queries:
                searched.search(query[None], K)

        costs = in_turns(
            lambda index=index: cost_of(lambda: one_by_one(index)),
            lambda exact=exact: cost_of(lambda: one_by_one(exact)),
            arguments.repeats,
        )
        work = (len(queries), len(queries), "queries/s")
        facts = {f"recall@{K}": (float(recall), "share"), "build": (building.wall, "s")}
        show(comparison(f"retrieval, {rooms:,} rooms: queries/s ÷ faiss flat", "", *costs, work, facts=facts), out)
    out.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
