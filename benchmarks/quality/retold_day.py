"""The full method on a held-out day that is told again with members that nobody ever said.

make retrain && .venv/bin/python -m benchmarks.quality.retold_day --seeds 3 --variants raw_codes llm_codes tfidf minilm

In a tenth of the broadcasts of the open world all members are new: a few rooms of the held-out day, too few to compare two
contents. So each member that a text of the day names is replaced by one of the same topic that no text names. Rooms,
impressions and clicks stay, so that nearly all held-out rooms have new members. Homonyms stay as well, and what bad sound left
of a member. Each of `--draws` takes other members.

The variants are trained on the training days as they were. Prints GAUC and the differences between the variants, paired over
users, of the day as it was told, of its rooms by whether their members are new, and of the day told again: of its segments that
name a member of their topic. `--no-check` skips the content check, which costs four of five trainings.

`--frozen` adds the full method on other backbones, such as gemma3-270m: fetch them first (`livealign backbone fetch`).

`--ceilings` adds what the method would reach by knowing more: the true topic of each segment as its content, and what a linear
probe that learned the true topics of the training days reads from a vector.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict

from benchmarks.json_rows import BOOTSTRAP, JsonRows
from benchmarks.quality.controls import CONTROLS, with_controls
from benchmarks.quality.frozen_backbones import frozen_name, with_frozen
from benchmarks.quality.one_setting import with_setting
from benchmarks.quality.retrained import Retrained, add_options
from benchmarks.quality.topic_probes import whitened
from livealign.alignment.towers import item_vectors
from livealign.dataset.content import content_of
from livealign.dataset.corpus import LEXICAL, RAW, TUNED, Corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.day_truth import DayTruth, read_day_truth
from livealign.evaluation.frame import CLICK
from livealign.llm.backbone import load_backbone, use_physical_cores
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder
from livealign.llm.lexical import Lexicon
from livealign.llm.texts import texts_of
from livealign.metrics import paired_bootstrap, user_auc
from livealign.ranking.variants import OTHER_CONTENT, RELEASE, TrainedVariant, ranker_items, train_variant
from livealign.release.bundle import LEXICON
from livealign.retrain.artifacts import DayArtifacts
from livealign.simulation.lexicon import lexicon, words_of

RESAMPLED = 2_000
TRUE_TOPIC = "true topic"
CEILINGS = {  # by name, what a probe reads
    TRUE_TOPIC: (),
    "topic by the frozen LLM": (RAW,),
    "topic by the tuned LLM": (TUNED,),
    "topic by both": (RAW, TUNED),
}
NAMED = [name for name in OTHER_CONTENT if {*OTHER_CONTENT[name]} <= {RAW, TUNED, LEXICAL, "tfidf", "minilm"}]


def main() -> None:
    """Print and record a row for each part of the impressions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="of towers, codes and ranker (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=2, help="of new members (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=NAMED, default=["raw_codes", "llm_codes", "raw_llm_codes"])
    parser.add_argument("--set", nargs=2, metavar=("SETTING", "VALUE"), help="train each variant with this value, too")
    parser.add_argument("--ceilings", action="store_true", help="add the true topic, and probes that learned it, as contents")
    parser.add_argument("--frozen", nargs="+", default=[], metavar="BACKBONE", help="add the full method on these, not tuned")
    parser.add_argument("--no-check", action="store_true", help="full trust in every source")
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    retrained = Retrained.of(arguments)
    home, profile, day = retrained
    if arguments.no_check:
        profile = replace(profile, alignment=replace(profile.alignment, check=False))
    profiles = {"": profile}
    if arguments.set:
        try:
            profiles[f", {arguments.set[0]} {arguments.set[1]}"] = with_setting(profile, *arguments.set)
        except ValueError as error:
            parser.error(str(error))
    out, corpus = JsonRows(arguments.json, profile.seed), retrained.corpus(profile)
    truth = read_day_truth(home.archive, corpus)
    if truth is None or "members" not in truth.slices:
        raise LiveAlignError(f"{home.archive} has no truth of new members: simulate a platform with --new-words")
    texts = texts_of(home.marts, corpus.segment_ids[1:], [*corpus.train_days, day], profile.segments)
    today = np.flatnonzero(~corpus.segment_is_train[1:])
    again = [retold([texts[row] for row in today], texts, draw) for draw in range(arguments.draws)]
    tellings = [texts, *(with_telling(texts, today, telling) for telling in again)]
    days = told_again(retrained, corpus, tellings, today, [c for c in CONTROLS if c in arguments.variants])
    days = with_frozen(days, tellings, arguments.frozen, home, profile)
    tells = np.concatenate([[False], np.zeros(len(texts), bool)])
    tells[1 + today] = [names_topic(text, topic, truth) for text, topic in zip(again[0], truth.topics[today], strict=True)]
    contents: dict[str, tuple[str, ...]] = {name: OTHER_CONTENT[name] for name in arguments.variants}
    contents |= {name: (name,) for name in map(frozen_name, arguments.frozen)}
    if arguments.ceilings:
        days = with_ceilings(days, truth.topics)
        contents |= {name: (name,) for name in CEILINGS}
    scores: dict[str, list[list[NDArray]]] = {}  # [seeds][days told][n]
    for (name, read), (suffix, changed) in product(contents.items(), profiles.items()):
        for seed in range(profile.seed, profile.seed + arguments.seeds):
            if name not in arguments.variants:
                trained = train_variant(RELEASE, days[0], changed, seed, content=name)
            else:
                trained = train_variant(name, days[0], changed, seed)
            scores.setdefault(name + suffix, []).append([rescored(trained, told, read) for told in days])
            print(f"trained {name}{suffix}, seed {seed}", flush=True)
    segment = corpus.test.segment
    kind = truth.slices["members"][segment]
    parts: dict[str, tuple[range, NDArray[np.bool_]]] = {"as told": (range(1), np.ones(len(segment), bool))}
    parts |= {f"as told, members {value}": (range(1), kind == value) for value in ("new", "said before")}
    parts["told again, members new"] = (range(1, len(days)), tells[segment])
    for part, (tellings, rows) in parts.items():
        show(
            part, {name: [each[day] for each in found for day in tellings] for name, found in scores.items()}, rows, corpus, out
        )
    out.write()


def retold(texts: Sequence[str], every: Sequence[str], draw: int) -> list[str]:
    """The texts with never-said members; each draw takes others, as far as the lexicon has them.

    Args:
        every: all texts of the corpus; what they name was said.
    """
    topics = lexicon().members
    written = {name.casefold(): name for names in topics for name in names}
    longest_first = sorted(written, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)

    def named(some: Sequence[str]) -> set[str]:
        return {written[found.casefold()] for text in some for found in pattern.findall(text)}

    said, today = named(every), named(texts)
    replaced = {}
    for names in topics:
        unsaid = [name for name in names if name not in said]
        used = [name for name in names if name in today]
        for place, name in enumerate(used if unsaid else []):
            replaced[name.casefold()] = unsaid[(draw * len(used) + place) % len(unsaid)]
    return [pattern.sub(lambda found: replaced.get(found[0].casefold(), found[0]), text) for text in texts]


def with_telling(texts: Sequence[str], today: NDArray[np.int64], telling: Sequence[str]) -> list[str]:
    """All texts, with those of `today` told anew."""
    told = dict(zip(today.tolist(), telling, strict=True))
    return [told.get(row, text) for row, text in enumerate(texts)]


def names_topic(text: str, topic: int, truth: DayTruth) -> bool:
    """Whether a text has a word that reveals its own topic."""
    return any(truth.topic_of_word.get(word) == topic for word in words_of(text))


def told_again(
    retrained: Retrained,
    corpus: Corpus,
    tellings: Sequence[Sequence[str]],
    today: NDArray[np.int64],
    controls: Sequence[str],
) -> list[Corpus]:
    """The corpus with the content of each telling, of which the first is as told.

    Args:
        tellings: texts of all segments without row 0; they differ in those of `today`.
    """
    home, profile, day = retrained
    artifacts = DayArtifacts.of(home, day)
    encoder = Encoder.load(load_backbone(profile.backbone, home.models), artifacts.adapter, profile.encoder, profile.segments)
    counted = Lexicon.load(artifacts.embeddings / LEXICON)
    known = np.load(artifacts.embeddings / "segment_ids.npy", allow_pickle=False)
    place = np.argsort(known)[np.searchsorted(np.sort(known), corpus.segment_ids[1:])]
    vectors = {name: np.load(artifacts.embeddings / f"{name}.npy", allow_pickle=False)[place] for name in (RAW, TUNED, LEXICAL)}
    by_minilm: dict[str, NDArray[np.float32]] = {}
    days = [with_controls(corpus, tellings[0], controls, encoded=by_minilm)]
    for texts in tellings[1:]:
        telling = [texts[row] for row in today.tolist()]
        raw, tuned = encoder.encode_raw_and_tuned(telling, cache=EmbeddingCache(home.embedding_cache))
        told = corpus
        for name, new in {RAW: raw, TUNED: tuned, LEXICAL: counted.encode(telling)}.items():
            whole = vectors[name].copy()
            whole[today] = new
            told = told.with_content(name, corpus.segment_ids[1:], whole)
        days.append(with_controls(told, texts, controls, encoded=by_minilm))
    return days


def with_ceilings(days: Sequence[Corpus], topics: NDArray[np.int64]) -> list[Corpus]:
    """The tellings with the true topic as content, one-hot, and with what probes read of it.

    Each is [segments, topics]. A probe is a ridge regression on whitened vectors. It reads a training segment by the rooms of
    the other folds, so that it is as sure of it as of the held-out day.

    Args:
        days: the tellings; probes are fitted to the training segments of the first.
        topics: true ones [S - 1] of every segment but row 0.
    """
    corpus = days[0]
    is_train, rooms = corpus.segment_is_train, corpus.segment_room_id[corpus.segment_is_train]
    topic = np.concatenate([[0], topics])
    one_hot = np.eye(topic.max() + 1, dtype=np.float32)[topic]
    one_hot[0] = 0.0
    found = [replace(told, content={**told.content, TRUE_TOPIC: one_hot}) for told in days]
    for name, sources in CEILINGS.items():
        if not sources:
            continue
        fitted_on = np.concatenate([corpus.content[source] for source in sources], axis=1)[is_train]
        probe = Ridge(alpha=10.0)
        for place, told in enumerate(found):
            rows = np.concatenate([told.content[source] for source in sources], axis=1)
            vectors = whitened(np.concatenate([fitted_on, rows]).astype(np.float64), len(fitted_on), 0.1)
            train, every = vectors[: len(fitted_on)], vectors[len(fitted_on) :]
            read = probe.fit(train, one_hot[is_train]).predict(every).astype(np.float32)
            read[is_train] = cross_val_predict(probe, train, one_hot[is_train], groups=rooms, cv=GroupKFold(5))
            read[~rows.any(1)] = 0.0
            found[place] = replace(told, content={**told.content, name: read})
    return found


def rescored(trained: TrainedVariant, corpus: Corpus, names: Sequence[str]) -> NDArray[np.float32]:
    """Probabilities of a click [n] of the held-out impressions, with another telling's content."""
    assert trained.alignment is not None
    assert trained.codebook is not None
    assert trained.ranker is not None
    vectors = item_vectors(trained.alignment, corpus, content_of(corpus, *names).vectors)
    items = ranker_items(trained.alignment, vectors, trained.codebook.encode(vectors))
    return trained.ranker.predict(corpus.test, items)[:, CLICK]


def show(part: str, scores: Mapping[str, Sequence[NDArray]], rows: NDArray[np.bool_], corpus: Corpus, out: JsonRows) -> None:
    """Print and record GAUC on some impressions.

    Each variant's differences from those before it come with it.
    """
    label, user = corpus.test.label("click")[rows], corpus.test.user_id[rows]
    found = {name: [user_auc(each[rows], label, user) for each in every] for name, every in scores.items()}
    impressions = next(iter(found.values()))[0].impressions
    auc = {name: np.mean([each.auc for each in every], axis=0) for name, every in found.items()}
    for place, (name, of_user) in enumerate(auc.items()):
        judged = ~np.isnan(of_user)
        value = float(np.average(of_user[judged], weights=impressions[judged]))
        print(f"{part}: {name} {value:.4f}", flush=True)
        out.add(f"{part}: {name}", value, "GAUC")
        for other in list(auc)[:place]:
            gain = paired_bootstrap(of_user, auc[other], impressions, RESAMPLED, out.seed or 0)
            print(f"    over {other} {gain.difference:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
            out.add(f"{part}: {name} over {other}", gain.difference, "GAUC", (gain.low, gain.high), BOOTSTRAP)


if __name__ == "__main__":
    main()
