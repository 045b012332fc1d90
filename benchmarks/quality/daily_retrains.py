"""Daily retrains across a change of taste, compared with one release that stays.

livealign simulate && … the warehouse of its days (make retrain) && .venv/bin/python -m benchmarks.quality.daily_retrains

On the simulator a tenth of the users change taste on the sixth day. `frozen` is the release for that day, used on all later
days; `daily` is retrained for every day, its codes warm-started from the day before. The content is TF-IDF, fitted to the days
before the change, so that only the heads are measured. Prints GAUC of all users and of those who changed, and the churn of
codes by retrain.
"""

import argparse
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.quality.controls import tfidf_content
from livealign.alignment.towers import Alignment, item_vectors
from livealign.alignment.training import train_alignment
from livealign.codes.codebook import Codebook, codebook_rows, fit_codebook
from livealign.codes.health import code_churn
from livealign.codes.segment_codes import CodedSegments
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.dataset.examples import KnownIds
from livealign.evaluation.frame import CLICK
from livealign.home import Home
from livealign.llm.texts import texts_of
from livealign.metrics import gauc, user_auc
from livealign.profiles import Profile, load_profile
from livealign.ranking.network import ItemTable
from livealign.ranking.ranker import Ranker
from livealign.ranking.training import train_ranker
from livealign.simulation.truth import read_truth, truth_file
from livealign.simulation.world import FIRST_USER_ID, TREND_TOPIC

CONTENT = "tfidf"


@dataclass(frozen=True)
class Release:
    """The models and codes of one retrain."""

    known: KnownIds
    alignment: Alignment
    codebook: Codebook
    ranker: Ranker
    coded: CodedSegments

    def scores(self, corpus: Corpus) -> np.ndarray:
        """Click probabilities of the corpus' held-out impressions.

        The corpus has to be numbered by this release's ids.
        """
        vectors = item_vectors(self.alignment, corpus, corpus.content[CONTENT])
        return self.ranker.predict(
            corpus.test, ItemTable(vectors, self.codebook.encode(vectors)).for_ranker(self.ranker.sizes)
        )[:, CLICK]


def main() -> None:
    """Retrain day by day and print the GAUC of each release."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shift", type=date.fromisoformat, default=date(2025, 6, 7), help="the day of the change")
    parser.add_argument("--days", type=int, default=2, help="days after it")
    add_json_option(parser)
    arguments = parser.parse_args()
    home, profile, shift = Home.from_environment("simulator"), load_profile("laptop"), arguments.shift
    out = JsonRows(arguments.json, profile.seed)
    changed = changed_users(home.archive, shift)
    days = [shift + timedelta(days=offset) for offset in range(-1, arguments.days + 1)]
    content = tfidf_of_segments(home, profile, days[-1], shift)
    previous, frozen = None, None
    for day in days:
        corpus = load_corpus(home.marts, day, profile.dataset).with_content(CONTENT, *content)
        release = retrain(corpus, profile, previous)
        line = {"daily": release.scores(corpus)}
        if day >= shift:
            frozen = frozen or release
            renumbered = load_corpus(home.marts, day, profile.dataset, frozen.known).with_content(CONTENT, *content)
            line["frozen"] = frozen.scores(renumbered)
        truth = read_truth(home.archive, corpus.test.impression_id, day)
        line |= {} if truth is None else {"oracle": truth["p_click"], "oracle_static": truth["p_click_static"]}
        gains, churn = describe_gauc(line, corpus, changed, day, out), describe_churn(previous, release, day, out)
        print(f"{day}: {gains}{churn}", flush=True)
        previous = release
    out.write()


def tfidf_of_segments(home: Home, profile: Profile, day: date, shift: date) -> tuple[np.ndarray, np.ndarray]:
    """Segment ids and TF-IDF vectors of all segments up to `day`.

    The words are those known before the change.
    """
    corpus = load_corpus(home.marts, day, profile.dataset)
    texts = texts_of(home.marts, corpus.segment_ids[1:], [*corpus.train_days, day], profile.segments)
    before = corpus.segment_started_at[1:] < np.datetime64(shift - timedelta(days=1), "ms").astype(np.int64)
    return corpus.segment_ids[1:], tfidf_content(texts, before)


def retrain(corpus: Corpus, profile: Profile, previous: Release | None) -> Release:
    """Towers, codes and ranker of one day."""
    content = corpus.content[CONTENT]
    alignment, _ = train_alignment(corpus, content, profile.alignment)
    vectors, rows = item_vectors(alignment, corpus, content), codebook_rows(corpus, content)
    before = None if previous is None else previous.coded.codes_of(corpus.segment_ids)[rows]
    codebook = fit_codebook(vectors[rows], profile.codes, before)
    codes = codebook.encode(vectors)
    items = ItemTable(vectors, codes)
    ranker = train_ranker(corpus, items, profile.ranker, codebook.version, codebook.codes_per_level)
    segments = slice(1, len(corpus.segment_ids))
    coded = CodedSegments.of(corpus.segment_ids[1:], corpus.segment_started_at[1:], codes[segments])
    return Release(KnownIds(corpus.users, corpus.authors, corpus.base_rates), alignment, codebook, ranker, coded)


def changed_users(archive: Path, shift: date) -> np.ndarray:
    """Ids of the users whose true taste changes on that day."""
    before, after = (
        np.stack(pq.read_table(truth_file(archive, "tastes", day))["taste"].to_numpy())
        for day in (shift - timedelta(days=1), shift)
    )
    others = np.arange(before.shape[1]) != TREND_TOPIC
    return FIRST_USER_ID + np.flatnonzero(np.abs(after - before)[:, others].max(1) > 1.0)


def describe_gauc(scores: dict[str, np.ndarray], corpus: Corpus, changed: np.ndarray, day: date, out: JsonRows) -> str:
    """GAUC of each row of scores, of all users and of those who changed, as a line of text."""
    label, user = corpus.test.label("click"), corpus.test.user_id
    parts = []
    for name, rows in (("all", np.ones(len(user), dtype=bool)), ("changed", np.isin(user, changed))):
        gauc_of = {variant: gauc(user_auc(values[rows], label[rows], user[rows])) for variant, values in scores.items()}
        values = ", ".join(f"{variant} {value:.4f}" for variant, value in gauc_of.items())
        parts.append(f"{name} ({len(np.unique(user[rows]))} users): {values}")
        for variant, value in gauc_of.items():
            out.add(f"{day}, {name}: {variant}", value, "GAUC")
    return "; ".join(parts)


def describe_churn(previous: Release | None, release: Release, day: date, out: JsonRows) -> str:
    """The share of segments coded by both releases whose code changed, by level, as text."""
    if previous is None:
        return ""
    before = previous.coded.codes_of(release.coded.segment_ids)
    both = before[:, 0] >= 0
    changed = [code_churn(before[both], release.coded.codes[both], level) for level in range(before.shape[1])]
    for level, share in enumerate(changed, 1):
        out.add(f"{day}: churn of codes, level {level}", share, "share of segments")
    return f"; churn of {both.sum()} segments by level: {', '.join(f'{share:.3f}' for share in changed)}"


if __name__ == "__main__":
    main()
