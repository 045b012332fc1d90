"""Retrieval compared with the libraries that a user could choose instead.

make recommender-peers && .venv/bin/python -m benchmarks.quality.peers [--content tfidf] [--day 2025-06-09]

All have the same split, candidates and metrics. For every click of the held-out day, all rooms that were live then are ranked.
implicit's ALS and BPR learn from who clicked whose rooms in the training days: a room is new every day, so all they can know of
it is its author. RecTools' SASRec reads the authors of each user's clicks in order, up to the request, as the towers do.
"""

import argparse
import subprocess
import tempfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.quality.controls import TFIDF, tfidf_content
from benchmarks.quality.retrained import last_held_out
from livealign.alignment.retrieval import RetrievalMetrics, retrieval_metrics
from livealign.alignment.towers import item_vectors
from livealign.alignment.training import train_alignment
from livealign.dataset.corpus import TUNED, Corpus, load_corpus
from livealign.dataset.examples import Examples
from livealign.dataset.marts import built_days, read_mart
from livealign.home import Home
from livealign.llm.texts import texts_of
from livealign.profiles import load_profile
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.corpus import with_embeddings

PYTHON = Path(".venv-recommenders/bin/python")
SEQUENCES = Path(".venv-sequences/bin/python")


def main() -> None:
    """Print and record a row for each recommender."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--platform", default="simulator")
    parser.add_argument("--content", default=TUNED, help="what the towers align; tfidf needs no LLM")
    parser.add_argument("--day", type=date.fromisoformat, help="held out; default: that of the last retrain")
    parser.add_argument("--peers-python", type=Path, default=PYTHON)
    parser.add_argument("--sequences-python", type=Path, default=SEQUENCES)
    add_json_option(parser)
    arguments = parser.parse_args()
    home, profile = Home.from_environment(arguments.platform), load_profile("laptop")
    out = JsonRows(arguments.json, profile.alignment.seed)
    day = arguments.day or last_held_out(home)
    corpus = load_corpus(home.marts, day, profile.dataset)
    if arguments.content == TFIDF:
        texts = texts_of(home.marts, corpus.segment_ids[1:], [*corpus.train_days, day], profile.segments)
        vectors = tfidf_content(texts, corpus.segment_is_train[1:])
        corpus = corpus.with_content(TFIDF, corpus.segment_ids[1:], vectors)
    else:
        corpus = with_embeddings(corpus, DayArtifacts.of(home, day).embeddings)
    rooms = read_mart(
        home.marts, "rooms", [built for built in built_days(home.marts, "rooms") if day - timedelta(1) <= built <= day]
    )
    print(f"{'':<16} recall@10  ndcg@10    mrr")
    for name in ("als", "bpr"):
        users, authors = peer_factors(name, corpus, arguments.peers_python)
        show(f"implicit {name}", retrieval_metrics(corpus, lambda clicks, u=users: u[clicks.user], authors, rooms), out)
    one_hot = np.eye(corpus.authors.size, dtype=np.float32)[corpus.item_authors()]
    show(
        "RecTools SASRec",
        retrieval_metrics(corpus, lambda clicks: next_authors(corpus, clicks, arguments.sequences_python), one_hot, rooms),
        out,
    )
    content = corpus.content[arguments.content]
    for name, gate in (("towers, ID alone", "id"), ("aligned towers", "learned")):
        alignment, _ = train_alignment(corpus, content, profile.alignment, gate)
        aligned = item_vectors(alignment, corpus, content)
        show(
            name,
            retrieval_metrics(corpus, lambda clicks, a=alignment, v=aligned: a.example_user_vectors(clicks, v), aligned, rooms),
            out,
        )
    out.write()


def peer_factors(name: str, corpus: Corpus, python: Path) -> tuple[np.ndarray, np.ndarray]:
    """Factors of users [users, f] and of items by their author [items, f]."""
    clicked = np.flatnonzero(corpus.train.label("click") == 1)
    pairs, count = np.unique(
        np.stack([corpus.train.user[clicked], corpus.train.author[clicked]], axis=1), axis=0, return_counts=True
    )
    with tempfile.TemporaryDirectory() as folder:
        clicks, factors = Path(folder) / "clicks.npz", Path(folder) / "factors.npz"
        np.savez(
            clicks, user=pairs[:, 0], author=pairs[:, 1], count=count, users=corpus.users.size, authors=corpus.authors.size
        )
        script = Path(__file__).with_name("peer_factors.py")
        subprocess.run([str(python), str(script), name, str(clicks), str(factors)], check=True)
        with np.load(factors, allow_pickle=False) as file:
            return file["users"].astype(np.float32), file["authors"][corpus.item_authors()].astype(np.float32)


def next_authors(corpus: Corpus, clicks: Examples, python: Path) -> np.ndarray:
    """Scores [n, authors] of the author that each user clicks next."""
    train = corpus.train.take(np.flatnonzero(corpus.train.label("click") == 1))
    with tempfile.TemporaryDirectory() as folder:
        clicks_file, scores = Path(folder) / "clicks.npz", Path(folder) / "scores.npy"
        np.savez(
            clicks_file,
            user=train.user,
            author=train.author,
            at=train.shown_at,
            history=clicks.history_author,
            length=clicks.history_length,
            authors=corpus.authors.size,
        )
        script = Path(__file__).with_name("peer_sequences.py")
        subprocess.run([str(python), str(script), str(clicks_file), str(scores)], check=True)
        return np.load(scores, allow_pickle=False)


def show(name: str, metrics: RetrievalMetrics, out: JsonRows) -> None:
    """Print and record a row."""
    print(f"{name:<16} {metrics.recall[10]:9.4f} {metrics.ndcg[10]:8.4f} {metrics.mrr:6.4f}", flush=True)
    for metric, value in (("recall@10", metrics.recall[10]), ("ndcg@10", metrics.ndcg[10]), ("mrr", metrics.mrr)):
        out.add(f"{name}: {metric}", value, metric)


if __name__ == "__main__":
    main()
