"""Every variant over several seeds of its heads, with ceilings and controls.

make retrain && .venv/bin/python -m benchmarks.quality.variants --seeds 3
.venv/bin/python -m benchmarks.quality.variants --content tfidf --day 2025-06-08   # without any LLM, on another day
.venv/bin/python -m benchmarks.quality.variants --texts lexical --variants id_only text_only text_frames   # pictures too

On the day that the last `make retrain` held out. Prints GAUC and its spread over seeds; the gain over `id_only` with its
interval; the way from `oracle_static` to `oracle` and to `oracle_text`, as the lists were shown and for any place in the list
(`livealign.evaluation.ceilings`); the p-value of a permutation test against `shuffled`; the gain by author popularity and by
the quality of the streams, beside that of the ceilings; and the gain of each part over those before it: in the ranker, and of
the gate also in the towers' own score, which retrieves rooms; the same gains by what is said (new members, wording); and the
mean gate of each source where pictures are read, by how much was said.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_rows import BOOTSTRAP, JsonRows, add_json_option
from benchmarks.quality.controls import CONTROLS, MINILM, has_minilm, with_controls
from benchmarks.quality.retrained import kinds_of_pictures, last_held_out, profile_of, with_frames, with_lexical
from livealign.alignment.gate_report import gate_by_source
from livealign.alignment.towers import Alignment
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.evaluation.ceilings import day_ceilings
from livealign.evaluation.day_truth import read_day_truth
from livealign.evaluation.frame import CLICK, EvaluationFrame, by_quality, held_out_frame, read_segments, segment_characters
from livealign.evaluation.report import EvaluationReport, evaluate
from livealign.home import Home
from livealign.llm.backbone import choose_device, use_physical_cores
from livealign.llm.texts import texts_of
from livealign.metrics import paired_bootstrap, permutation_test, user_auc
from livealign.profiles import Profile
from livealign.ranking.variants import BY_SOURCES, OF_FRAMES, RELEASE, VARIANTS, train_variant
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.corpus import with_embeddings
from livealign.retrain.gates import QUALITIES
from livealign.simulation.truth import ANY_PLACE, ORACLES

LLM = ("raw_llm", "tuned_llm")
OF_LLM = (*LLM, "raw_codes", "raw_llm_codes", "llm_codes", "llm_lexical_codes")
GATED = ("no_gate", "aligned")
WORDS = ("members", "wording")  # slices by what is said, of the open world
PICTURES = ("content", "pictures")  # slices by how much was said, and by what pictures the room had
PARTS = (
    ("raw_llm", "tuned_llm"),
    ("tuned_llm", "aligned"),
    GATED,
    ("aligned", "aligned_codes"),
    ("raw_codes", "llm_codes"),
    ("raw_codes", "raw_llm_codes"),
    ("llm_codes", "raw_llm_codes"),
    ("llm_codes", "llm_lexical_codes"),
    ("lexical_codes", "llm_lexical_codes"),
    ("tfidf", "llm_lexical_codes"),
    ("tfidf", "llm_codes"),
    ("minilm", "llm_codes"),
    ("text_only", "text_frames"),
    ("text_only", "frames_shuffled"),
    ("frames_only", "text_frames"),
)


def main() -> None:
    """Train and score the variants; print and record the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--platform", default="simulator")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--day", type=date.fromisoformat, help="held out; default: that of the last retrain")
    parser.add_argument("--days", type=int, help="of history; default: the profile's")
    parser.add_argument("--content", help="what the method aligns in place of alignment.sources; tfidf needs no LLM")
    parser.add_argument("--texts", nargs="+", choices=("llm", "lexical"), help="sources of text; default: the profile's")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS)
    add_json_option(parser)
    arguments = parser.parse_args()

    use_physical_cores()
    home, profile = Home.from_environment(arguments.platform), profile_of(arguments.profile, arguments.platform)
    if arguments.texts:
        profile = replace(profile, alignment=replace(profile.alignment, sources=tuple(arguments.texts)))
    out = JsonRows(arguments.json, profile.seed)
    day = arguments.day or last_held_out(home)
    dataset = replace(profile.dataset, train_days=arguments.days or profile.dataset.train_days)
    corpus = load_corpus(home.marts, day, dataset)
    reads_llm = arguments.content in LLM or (arguments.content is None and "llm" in profile.alignment.sources)
    if reads_llm:
        corpus = with_embeddings(corpus, DayArtifacts.of(home, day).embeddings)
    corpus = with_lexical(corpus, home, profile)
    wanted = arguments.variants or [
        name
        for name in VARIANTS
        if (name not in OF_LLM or reads_llm) and (name != MINILM or has_minilm()) and name not in OF_FRAMES
    ]
    if {*wanted} & {*OF_FRAMES}:
        corpus = with_frames(corpus, home, profile)
    of_segments = corpus.segment_ids[1:], [*corpus.train_days, day], profile.segments
    controls = {arguments.content, *wanted} & {*CONTROLS}
    if controls:
        corpus = with_controls(corpus, texts_of(home.marts, *of_segments), controls)
    own = None if arguments.content else BY_SOURCES[tuple(sorted(profile.alignment.sources))]
    scores: dict[str, list] = {}
    dots: dict[str, list] = {}
    for name in wanted:
        if name == own and RELEASE in scores:  # the same by another name
            scores[name] = scores[RELEASE]
            continue
        for seed in range(arguments.seeds):
            trained = train_variant(
                name, corpus, profile, profile.seed + seed, content=arguments.content, device=choose_device()
            )
            scores.setdefault(name, []).append(trained.score(corpus.test)[:, CLICK])
            if name in GATED and trained.alignment is not None and trained.items.vectors is not None:
                dots.setdefault(name, []).append(trained.alignment.logits(corpus.test, trained.items.vectors))
            print(f"trained {name}, seed {profile.seed + seed}", flush=True)
            if name == "text_frames" and seed == 0 and trained.alignment is not None and trained.content is not None:
                print_gates(trained.alignment, corpus, trained.content, home, profile, out)
    known = read_day_truth(home.archive, corpus)
    frame = held_out_frame(corpus, home.marts, profile.evaluation, known)
    kinds = kinds_of_pictures(home, corpus)
    if kinds is not None:
        frame = replace(frame, slices={**frame.slices, "pictures": kinds})
    truth = None if known is None else day_ceilings(corpus, known, texts_of(home.marts, *of_segments))
    table = {name: np.stack(values) for name, values in scores.items()}
    label = np.asarray(frame.labels["click"])
    impressions = user_auc(label, label, frame.user).impressions
    mean = {name: mean_auc(values, label, frame.user) for name, values in table.items()}
    above = {
        name: permutation_test(mean[name], mean["shuffled"], impressions, 2_000, profile.seed)
        for name in mean
        if "shuffled" in mean and name != "shuffled"
    }
    report = evaluate(table, frame, profile.evaluation, truth)
    print_report(report, above, out)
    print_slices(report, out)
    if truth is not None and "id_only" in table:
        ceilings = {row + ANY_PLACE: truth[ORACLES[row + ANY_PLACE]][None] for row in ("oracle_text", "oracle")}
        print_slices(evaluate({"id_only": table["id_only"], **ceilings}, frame, profile.evaluation), out)
    towers = {name: mean_auc(values, label, frame.user) for name, values in dots.items()}
    steps = [("", mean, *part) for part in PARTS] + [("dot product of ", towers, *GATED)]
    for what, auc_of, less, more in steps:
        if {less, more} <= set(auc_of):
            part = paired_bootstrap(auc_of[more], auc_of[less], impressions, 2_000, profile.seed)
            print(f"{what}{more} over {less}: {part.difference:+.4f} [{part.low:+.4f}, {part.high:+.4f}]")
            out.add(f"{what}{more} over {less}", part.difference, "GAUC", (part.low, part.high), BOOTSTRAP)
    pairs = [pair for pair in PARTS if {*pair} <= set(table)]
    sliced = WORDS + PICTURES * bool({*wanted} & {*OF_FRAMES})
    for name in (name for name in sliced if name in frame.slices):
        for value in np.unique(frame.slices[name]).tolist():
            rows = np.asarray(frame.slices[name]) == value
            print_pairs(table, frame, rows, pairs, value, out)
    out.write()


def print_gates(
    alignment: Alignment, corpus: Corpus, content: NDArray[np.float32], home: Home, profile: Profile, out: JsonRows
) -> None:
    """Print and record the mean gate of each source, over authors and by how much was said."""
    characters = segment_characters(corpus, read_segments(corpus, home.marts))
    quality = by_quality(characters, profile.evaluation)
    sources = (
        *(source for source in profile.alignment.sources if source != "frames"),
        "frames",
        "platform",
    )  # of `text_frames`
    for gate in gate_by_source(alignment, corpus, content, quality, QUALITIES, sources):
        groups = ", ".join(f"{name} {value:.3f} ({segments:,})" for name, (value, segments) in gate.groups.items())
        print(f"gate of {gate.source}: {gate.over_authors:.3f} over {gate.authors} authors; {groups}")
        out.add(f"gate of {gate.source}, over authors", gate.over_authors, "gate")
        for name, (value, _) in gate.groups.items():
            out.add(f"gate of {gate.source}, {name}", value, "gate")


def mean_auc(seeds: Iterable[NDArray], label: NDArray, user: NDArray) -> NDArray:
    """AUC of each user, the mean over seeds [users]."""
    return np.mean([user_auc(score, label, user).auc for score in seeds], axis=0)


def print_pairs(
    scores: Mapping[str, NDArray],
    frame: EvaluationFrame,
    rows: NDArray,
    pairs: Sequence[tuple[str, str]],
    value: str,
    out: JsonRows,
) -> None:
    """Print and record the gains of pairs of variants on the rows of one slice."""
    label, user = np.asarray(frame.labels["click"])[rows], frame.user[rows]
    impressions = user_auc(label, label, user).impressions
    means = {name: mean_auc(seeds[:, rows], label, user) for name, seeds in scores.items()}
    for less, more in pairs:
        part = paired_bootstrap(means[more], means[less], impressions, 2_000, out.seed)
        name = f"{value}: {more} over {less}"
        print(f"{name}: {part.difference:+.4f} [{part.low:+.4f}, {part.high:+.4f}], {part.n_users} users")
        out.add(name, part.difference, "GAUC", (part.low, part.high), BOOTSTRAP)


def print_report(report: EvaluationReport, above_shuffled: dict[str, float], out: JsonRows) -> None:
    """Print and record the table, a row for each variant."""
    ceilings = ("oracle", "oracle_text", "oracle" + ANY_PLACE, "oracle_text" + ANY_PLACE)
    ways = [report.ways(ceiling) for ceiling in ceilings]
    print(
        f"{'variant':<23} {'GAUC':>7} {'spread':>7} {'UAUC':>7} {'AUC':>7} {'NDCG@10':>8} {'ECE':>7} "
        f"{'over id_only (95 %)':<28} {'way':>6} {'to text':>8} {'any place':>9} {'to text':>8} {'p above shuffled':>16}"
    )
    for name, metrics in {**report.variants, **report.oracle}.items():
        interval = report.differences.get(name)
        gain = f"{interval.difference:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]" if interval else ""
        of_ways = [f"{each[name]:+.3f}" if name in each else "" for each in ways]
        p = f"{above_shuffled[name]:.4f}" if name in above_shuffled else ""
        numbers = (metrics.gauc, metrics.gauc_seed_std or 0.0, metrics.uauc, metrics.auc)
        cells = " ".join(f"{value:7.4f}" for value in numbers)
        way, to_text, any_place, any_place_text = of_ways
        row = f"{name:<23} {cells} {metrics.ndcg:8.4f} {metrics.ece or 0:7.4f} {gain:<28} {way:>6} {to_text:>8}"
        print(f"{row} {any_place:>9} {any_place_text:>8} {p:>16}")
        numbers_of = {
            "GAUC": metrics.gauc,
            "GAUC spread over seeds": metrics.gauc_seed_std,
            "UAUC": metrics.uauc,
            "AUC": metrics.auc,
        }
        numbers_of |= {"NDCG@10": metrics.ndcg, "ECE": metrics.ece, "p-value against shuffled": above_shuffled.get(name)}
        numbers_of |= {f"way to {ceiling}": each.get(name) for ceiling, each in zip(ceilings, ways, strict=True)}
        for metric, value in numbers_of.items():
            if value is not None:
                out.add(f"{name}: {metric}", value, "share" if metric.startswith("way") else metric.split(" ")[0])
        if interval:
            out.add(f"{name} over id_only", interval.difference, "GAUC", (interval.low, interval.high), BOOTSTRAP)


def print_slices(report: EvaluationReport, out: JsonRows) -> None:
    """Print and record the gain over the baseline by slice.

    The slices are author popularity, stream quality, new members and wording.
    """
    names = ("author_popularity", "stream_quality", "members", "wording")
    for value, row in (part for name in names for part in report.slices.get(name, {}).items()):
        gains = {name: part.against_baseline for name, part in row.items() if part.against_baseline}
        if gains:
            shown = [f"{name} {gain.difference:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]" for name, gain in gains.items()]
            print(value, ", ".join(shown))
        for name, gain in gains.items():
            out.add(f"{name} over id_only, {value}", gain.difference, "GAUC", (gain.low, gain.high), BOOTSTRAP)


if __name__ == "__main__":
    main()
