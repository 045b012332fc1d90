"""The distance to the ceilings of a ranker that learns its users' tastes.

make retrain && .venv/bin/python -m benchmarks.quality.learnable_tastes --day 2025-06-09

The simulated platform's true topics take the codes' place, and the users' tastes for them are learned from the clicks of the
training days, as every ranker with codes learns them (`livealign.ranking.tastes`). "All else": the true appeal of the author
and the true fondness of a user for an author. The ways are those from `oracle_static` to `oracle` and to `oracle_text`, for any
place in the list. `--days 7 14 21` shows how a longer history brings the ceilings nearer (of an archive that has one).
"""

import argparse
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.ceilings import day_ceilings, place_effect
from livealign.evaluation.day_truth import DayTruth, read_day_truth
from livealign.home import Home
from livealign.llm.texts import texts_of
from livealign.metrics import gauc, user_auc
from livealign.profiles import load_profile
from livealign.ranking.tastes import learn_tastes
from livealign.simulation.truth import ANY_PLACE, ORACLES

Floats = NDArray[np.float64]


def main() -> None:
    """Learn the tastes from each length of history, and print how far each row gets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--day", type=date.fromisoformat, nargs="+", required=True, help="held out")
    parser.add_argument("--days", type=int, nargs="+", help="of history, at most; default: the profile's")
    add_json_option(parser)
    arguments = parser.parse_args()
    home, profile = Home.from_environment("simulator"), load_profile(arguments.profile)
    out = JsonRows(arguments.json, profile.seed)
    print(f"{'held out':<12}{'days':>5}{'impressions a user':>20}  {'known':<28}{'GAUC':>7}{'way':>7}{'to text':>9}")
    for day in arguments.day:
        for days in arguments.days or [profile.dataset.train_days]:
            corpus = load_corpus(home.marts, day, replace(profile.dataset, train_days=days))
            truth = read_day_truth(home.archive, corpus)
            if truth is None:
                raise LiveAlignError(f"{home.archive} has no truth: only a simulated platform can be asked")
            texts = texts_of(home.marts, corpus.segment_ids[1:], [*corpus.train_days, day], profile.segments)
            ceilings = day_ceilings(corpus, truth, texts)
            of = {name: _gauc(corpus, ceilings[column]) for name, column in ORACLES.items() if name.endswith(ANY_PLACE)}
            start, text, top = (of[name + ANY_PLACE] for name in ("oracle_static", "oracle_text", "oracle"))
            density = len(corpus.train) / (corpus.users.size - 1)
            for name, score in rows(corpus, truth, profile.ranker.positions).items():
                reached = _gauc(corpus, score)
                ways = [(reached - start) / (ceiling - start) for ceiling in (top, text)]
                known = f"{day!s:<12}{len(corpus.train_days):>5}{density:>20.0f}  {name:<28}"
                print(f"{known}{reached:>7.4f}{ways[0]:>7.2f}{ways[1]:>9.2f}", flush=True)
                row = f"{day}, {len(corpus.train_days)} days, {name}"
                out.add(f"{row}: GAUC", reached, "GAUC")
                out.add(f"{row}: way to oracle", ways[0], "share")
                out.add(f"{row}: way to oracle_text", ways[1], "share")
            out.add(f"{day}, {len(corpus.train_days)} days: impressions a user", density, "impressions")
    out.write()


def rows(corpus: Corpus, truth: DayTruth, positions: int) -> dict[str, Floats]:
    """Scores [n] of the held-out impressions, by what is known about tastes.

    All of them know the topic of the last ended window.
    """
    count = int(truth.topics.max()) + 1
    usual = np.bincount(truth.topics[corpus.segment_is_train[1:]], minlength=count).argmax()
    of_segment = np.concatenate([[usual], truth.topics])
    codes = of_segment[corpus.item_segments()][:, None]
    tastes, _ = learn_tastes(corpus.train, codes, None, corpus.users.size, count, positions)
    learned = tastes.scores(corpus.test.user, tastes.affinity.weights(codes, None)[corpus.test.item]).astype(np.float64)
    all_else = truth.fixed - place_effect(truth.position, corpus.test.position)
    topic = of_segment[corpus.test.segment]
    true_tastes = truth.tastes[np.arange(len(topic)), topic].astype(np.float64)
    return {
        "learned tastes": learned,
        "learned tastes and all else": learned + all_else,
        "true tastes": true_tastes,
        "true tastes and all else": true_tastes + all_else,
    }


def _gauc(corpus: Corpus, score: Floats) -> float:
    return gauc(user_auc(score, corpus.test.label("click"), corpus.test.user_id))


if __name__ == "__main__":
    main()
