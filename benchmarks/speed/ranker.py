"""Speed of the ranker's training, compared with the same network and a DataLoader.

    python -m benchmarks.speed.ranker

Both train as a retrain does (epochs, batches, one thread) on the same planted impressions. Ours also learns the tastes and
calibrates within its time; the plain one does neither.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.rows import comparison, cost_of, in_turns, show
from livealign.config import DatasetConfig, RankerConfig
from livealign.dataset.corpus import load_corpus
from livealign.ranking.inputs import ImpressionTable, history_matches
from livealign.ranking.network import Batch, ItemTable, RankerNetwork, masked_loss
from livealign.ranking.ranker import Ranker
from livealign.ranking.training import _after_first_days, train_ranker
from livealign.seeding import seeded
from tests.planted.marts import plant_marts

CODES = 32


class Rows(Dataset):
    """The impressions as a Dataset, one row each."""

    def __init__(self, table: ImpressionTable) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table.columns["item"])

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        columns = {name: values[row] for name, values in self.table.columns.items()}
        item, history, length = columns.pop("item"), columns.pop("history"), columns.pop("history_length")
        return columns | {
            "codes": self.table.codes[item],
            "vectors": self.table.vectors[item],
            "history_author": self.table.engaged_author[history],
            "history_codes": self.table.codes[self.table.engaged_item[history]],
            "mask": torch.arange(len(history)) < length,
        }


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--requests", type=int, default=3_000, help="a day, of four planted days (default: %(default)s)")
    add_json_option(parser)
    arguments = parser.parse_args()
    config = RankerConfig()
    out = JsonRows(arguments.json, config.seed)
    with tempfile.TemporaryDirectory() as folder:
        planted = plant_marts(Path(folder), 200, 40, 8, days=4, requests_per_day=arguments.requests)
        corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig())
    codes = np.random.default_rng(17).integers(0, CODES, (corpus.n_items, 3)).astype(np.int32)
    items = ItemTable(None, codes)
    trained = train_ranker(corpus, items, config, "v1", CODES)
    examples = corpus.train.take(_after_first_days(corpus.train.shown_at, config.taste_days_share))

    costs = in_turns(
        lambda: cost_of(lambda: train_ranker(corpus, items, config, "v1", CODES)),
        lambda: cost_of(lambda: plain_training(trained, examples, items, config)),
        arguments.repeats,
    )
    show(
        comparison(
            "ranker: examples/s ÷ the same network with a DataLoader",
            "at least 3",
            *costs,
            (config.epochs * len(examples), config.epochs * len(examples), "examples/s"),
        ),
        out,
    )
    out.write()
    return 0


def plain_training(trained: Ranker, examples, items: ItemTable, config: RankerConfig) -> None:
    """A tutorial's training loop with the loss, network and optimizer of the ranker."""
    with seeded(config.seed, torch.device("cpu")):
        matches = history_matches(examples, items)
        matches = np.column_stack([matches, np.zeros((len(matches), trained.sizes.matches - matches.shape[1]), np.float32)])
        table = ImpressionTable.of(
            examples, items, trained.sizes, trained.scales, torch.device("cpu"), config.positions, matches
        )
        network = RankerNetwork(trained.sizes, config)
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        weights = torch.tensor(config.task_weights)
        batches = DataLoader(Rows(table), batch_size=config.batch_size, shuffle=True)
        for rows in (rows for _ in range(config.epochs) for rows in batches):
            labels = rows.pop("labels")
            batch = Batch(**rows)
            loss = masked_loss(network(batch), labels, weights) + config.user_l2_with_tastes * network.penalty(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    sys.exit(main())
