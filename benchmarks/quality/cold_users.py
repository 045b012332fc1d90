"""The worth of contexts for users without a history: the GAUC with and without them.

make retrain && .venv/bin/python -m benchmarks.quality.cold_users [--day 2025-06-09]

Every user of the held-out day is ranked as a stranger: unknown id, no history, no counts. Hour and country are those of the
impression; the language is what the user had entered before, which an app would know by other means. Differences are over the
ranking without context, with 95 % intervals over users. `--planted 0.1` is a control: a tenth of the skips of some codes, which
differ by country, become clicks, in training and on the held-out day.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from benchmarks.json_rows import BOOTSTRAP, JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.alignment.towers import Alignment
from livealign.codes.codebook import Codebook
from livealign.dataset.contexts import ContextColumns, Names, context_columns
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.dataset.examples import TASKS, Examples
from livealign.dataset.features import USER_FEATURES, feature_matrix
from livealign.evaluation.frame import CLICK
from livealign.metrics import gauc, paired_bootstrap, user_auc
from livealign.ranking.contexts import FIELDS, Context, Contexts, contexts_of
from livealign.ranking.ranker import Ranker
from livealign.ranking.variants import ranker_items
from livealign.release.bundle import ALIGNMENT, CODEBOOK, RANKER
from livealign.retrain.artifacts import DayArtifacts, read_codes, read_vectors

SAMPLES = 2_000


def as_strangers(corpus: Corpus) -> Examples:
    """The held-out impressions as those of users who are not known."""
    test = corpus.test
    features = test.features.copy()
    features[:, USER_FEATURES] = feature_matrix(
        {"user_impressions": np.zeros(1), "user_clicks": np.zeros(1)}, corpus.base_rates, 1
    )[:, USER_FEATURES]
    return replace(
        test,
        user=np.zeros_like(test.user),
        features=features,
        history=np.full_like(test.history, -1),
        history_length=np.zeros_like(test.history_length),
    )


def planted(corpus: Corpus, codes: NDArray[np.integer], marts: Path, share: float, seed: int) -> Corpus:
    """The corpus with clicks in place of a share of the skips of each country's codes.

    A third of the codes, drawn at random, are a country's.
    """
    rng, click = np.random.default_rng(seed), TASKS.index("click")
    preferred = defaultdict[tuple[str, str], bool](lambda: bool(rng.random() < 1 / 3))

    def changed(examples: Examples) -> Examples:
        columns, labels = context_columns(corpus, examples, codes, marts), examples.labels.copy()
        wanted = [preferred[pair] for pair in zip(columns.country, columns.room_code, strict=True)]
        labels[(labels[:, click] == 0) & wanted & (rng.random(len(examples)) < share), click] = 1
        return replace(examples, labels=labels)

    return replace(corpus, train=changed(corpus.train), test=changed(corpus.test))


def log_odds(contexts: Contexts, told: list[Names], columns: ContextColumns) -> NDArray[np.float64]:
    """[n] what each impression's context adds.

    Args:
        told: [n] of each of FIELDS. columns: of the same impressions, with their rooms.
    """
    rows_of = defaultdict[Context, list[int]](list)
    for row, context in enumerate(map(Context._make, zip(*told, strict=True))):
        rows_of[context].append(row)
    added = np.zeros(len(columns.room_code))
    for context, rows in rows_of.items():
        codes = columns.room_code[rows].astype(np.int64)
        added[rows] = contexts.log_odds(context, codes, columns.room_language[rows].tolist())
    return added


def main() -> None:
    """Print and record a row for each set of fields."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--planted", type=float, default=0.0, help="share of skips that become clicks, as a control")
    add_options(parser)
    arguments = parser.parse_args()
    home, profile, day = Retrained.of(arguments)
    corpus, artifacts = load_corpus(home.marts, day, profile.dataset), DayArtifacts.of(home, day)
    out = JsonRows(arguments.json, profile.seed)
    codes, alignment = read_codes(artifacts), Alignment.load(artifacts.alignment / ALIGNMENT)
    if arguments.planted:
        corpus = planted(corpus, codes, home.marts, arguments.planted, profile.seed)
    ranker = Ranker.load(artifacts.ranker / RANKER, Codebook.load(artifacts.codes / CODEBOOK).version)
    scores = ranker.predict(as_strangers(corpus), ranker_items(alignment, read_vectors(artifacts), codes))[:, CLICK]
    cold = logit(np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7))
    contexts, columns = contexts_of(corpus, codes, home.marts), context_columns(corpus, corpus.test, codes, home.marts)
    label, user = corpus.test.label("click"), corpus.test.user_id
    base = user_auc(cold, label, user)
    print(f"{len(cold):,} impressions, {int(base.evaluable.sum()):,} users with a click and a skip")
    print(f"{'without context':<20}{gauc(base):.4f}")
    out.add("without context", gauc(base), "GAUC")
    for name, fields in (*((field, (field,)) for field in FIELDS), ("all three", FIELDS)):
        told = {field: values if field in fields else np.full(len(cold), "") for field, values in columns._asdict().items()}
        added = log_odds(contexts, [told[field] for field in FIELDS], columns)
        aucs = user_auc(cold + added, label, user)
        gain = paired_bootstrap(aucs.auc, base.auc, aucs.impressions, SAMPLES, profile.seed)
        known = float(np.mean(added != 0))
        print(f"{name:<20}{gauc(aucs):.4f}  {gain.difference:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]  of {known:.0%}")
        out.add(f"{name}: over none", gain.difference, "GAUC", (gain.low, gain.high), BOOTSTRAP)
        out.add(f"{name}: impressions that it changes", known, "share")
    out.write()


if __name__ == "__main__":
    main()
