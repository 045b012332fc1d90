"""Asset offline_report: metrics, slices, ceilings, plots and the HTML report of a retrain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from livealign.alignment.towers import Alignment
from livealign.calibration_metrics import ece_beyond_chance
from livealign.config import EvaluationConfig
from livealign.dataset.columns import rows_by_key
from livealign.dataset.content import content_names, content_of
from livealign.dataset.corpus import RAW, TUNED, Corpus, data_window
from livealign.dataset.examples import TASKS
from livealign.errors import TrainingError
from livealign.evaluation.ceilings import day_ceilings
from livealign.evaluation.certainty import with_interval
from livealign.evaluation.day_truth import read_day_truth
from livealign.evaluation.frame import CLICK, by_quality, held_out_frame, read_segments, segment_characters
from livealign.evaluation.held_out import ScoredDay, pooled
from livealign.evaluation.highlights import HighlightMetrics, compare_highlights, highlight_table
from livealign.evaluation.html import Section, write_report
from livealign.evaluation.moments import moments_html
from livealign.evaluation.off_policy import SELECTED, OffPolicyValue, selection_values
from livealign.evaluation.report import EvaluationReport, evaluate
from livealign.evaluation.report_plots import gain_by_slice, reliability_plot, variants_bar
from livealign.evaluation.shown_lists import ShownImpressions, shown_impressions
from livealign.files import read_json, replace_json
from livealign.home import Home
from livealign.llm.texts import texts_of
from livealign.profiles import Profile
from livealign.ranking.variants import RELEASE, source_pairs
from livealign.release.bundle import ALIGNMENT
from livealign.retrain.alignment import CheckedSource, read_checks
from livealign.retrain.artifacts import DayArtifacts, read_comparison, read_scores
from livealign.retrain.gates import gate_sections
from livealign.retrain.moments import NOTE, shown_moments
from livealign.retrain.online import value_dict
from livealign.retrain.pictures import day_pictures
from livealign.retrain.reading_budget import RECORD, reading_line
from livealign.retrain.rolling import read_not_judged, read_rolled


@dataclass(frozen=True)
class DayReport:
    """Results and pictures of the day's evaluation."""

    evaluation: EvaluationReport
    highlights: dict[str, HighlightMetrics]  # by inputs; empty where no room has ended on the day or before it
    pictures: dict[str, bytes]  # PNG by caption
    off_policy: dict[str, OffPolicyValue]  # by variant; empty where no list with exploration was logged


def evaluate_day(
    corpus: Corpus, home: Home, archive: Path, artifacts: DayArtifacts, profile: Profile, report_file: Path
) -> DayReport:
    """Evaluate the release and its comparison; write `evaluation.json` and the HTML report.

    The metrics are of the day and of the earlier days that are judged too (`livealign.retrain.rolling`). Pictures and the
    highlight task are of the day alone.

    Raises:
        EvaluationError: the truth of a simulated archive is damaged. LiveAlignError: a variant has not been scored.
    """
    config, marts = profile.evaluation, home.marts
    by_variant = {**read_comparison(artifacts), RELEASE: read_scores(artifacts)}
    segments, truth = read_segments(corpus, marts), read_day_truth(archive, corpus)
    characters = segment_characters(corpus, segments)
    frame = held_out_frame(corpus, marts, config, truth, characters)
    ceilings: dict[str, NDArray] = {}
    if truth is not None:
        days = [*corpus.train_days, corpus.day]
        ceilings = day_ceilings(corpus, truth, texts_of(marts, corpus.segment_ids[1:], days, profile.segments, segments))
    judged = pooled([*read_rolled(artifacts).values(), ScoredDay(frame, by_variant, ceilings)])
    report = evaluate(
        {name: scores[:, CLICK] for name, scores in judged.scores.items()},
        judged.frame,
        config,
        truth=judged.ceilings or None,
        other_tasks={
            task: {name: scores[:, column] for name, scores in judged.scores.items()}
            for column, task in enumerate(TASKS)
            if task != "click" and np.nansum(judged.frame.labels[task]) > 0
        },
        source_pairs=source_pairs(profile.alignment.sources),
    )
    alignment = Alignment.load(artifacts.alignment / ALIGNMENT)
    content, quality = content_of(corpus, *content_names(alignment.config.sources)).vectors, by_quality(characters, config)
    day = DayReport(
        report,
        day_highlights(corpus, marts, segments),
        {**report_plots(report), **day_pictures(corpus, segments, truth, artifacts, alignment, content, quality)},
        off_policy_values(shown_impressions(home.landing, marts, corpus.day), corpus, by_variant),
    )
    window, not_judged, reading = data_window(corpus), read_not_judged(artifacts), read_reading(artifacts)
    replace_json(
        artifacts.evaluation / "evaluation.json",
        {
            "data_window": window,
            **report.to_summary(),
            **({"not_judged": not_judged} if not_judged else {}),
            **({"reading": reading} if reading else {}),
            "calibration": _calibration(report, judged, config),
            "highlights": {name: metrics.to_dict() for name, metrics in day.highlights.items()},
            "off_policy": {name: value_dict(value) for name, value in day.off_policy.items()},
        },
        version=1,
    )
    sections = [*source_sections(report, read_checks(artifacts), config.least_users)]
    sections += gate_sections(alignment, corpus, content, quality)
    sections += [highlight_section(day.highlights)] if day.highlights else []
    sections += [off_policy_section(day.off_policy, report)] if day.off_policy else []
    moments = []
    if profile.reads_pictures:
        moments = shown_moments(corpus, segments, artifacts, marts, home.landing, characters, config.seed)
    further = [moments_html(moments, NOTE)] if moments else []
    facts = {**window, **({"reading budget": reading_line(reading)} if reading else {})}
    write_report(report, day.pictures, report_file, f"Offline evaluation of {corpus.day}", facts, sections, further)
    return day


def read_reading(artifacts: DayArtifacts) -> dict[str, int | float] | None:
    """The record of the day's reading budget; None where all windows were read."""
    file = artifacts.embeddings / RECORD
    return dict(read_json(file)) if file.exists() else None


def off_policy_values(
    shown: ShownImpressions, corpus: Corpus, by_variant: Mapping[str, NDArray[np.float32]]
) -> dict[str, OffPolicyValue]:
    """The click rate of the rooms that each variant scores highest, off-policy.

    Args:
        by_variant: probabilities [impressions of the held-out day, tasks].
    """
    rows = rows_by_key(shown.impression_id, corpus.test.impression_id) if len(shown) else np.zeros(0, np.int64)
    scored = np.flatnonzero(rows >= 0)
    if not len(scored):
        return {}
    rows = rows[scored]
    scores = {name: values[scored, CLICK] for name, values in by_variant.items()}
    return selection_values(scores, shown.click[rows], shown.propensity[rows], shown.user[rows])


def off_policy_section(values: Mapping[str, OffPolicyValue], report: EvaluationReport) -> Section:
    """The off-policy values as a table of the report, beside the held-out GAUC."""
    rows = []
    for name, value in values.items():
        metrics = report.variants.get(name)
        gauc = "–" if metrics is None or metrics.gauc is None else f"{metrics.gauc:.4f}"
        rows.append(
            (
                name,
                gauc,
                f"{value.low:.4f} to {value.high:.4f}, {value.value:.4f}",
                f"{value.effective:,.1f}",
                f"{value.rows:,}",
            )
        )
    note = (
        f"Self-normalised inverse propensity scores: the click rate of the {SELECTED:.0%} of candidates that a variant scores "
        "highest, from the lists that the service logged. A small effective sample says little."
    )
    columns = ("variant", "held-out GAUC", "CTR of its choice", "effective sample", "impressions")
    return Section("Off-policy", columns, rows, note)


def _calibration(report: EvaluationReport, judged: ScoredDay, config: EvaluationConfig) -> dict[str, float | int | None]:
    """The error of the release's click probabilities, and its part beyond chance."""
    probability, frame = judged.scores[RELEASE][:, CLICK], judged.frame
    broadcast = np.unique(np.stack([frame.author, frame.day], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    return {
        "error": report.variants[RELEASE].ece,
        "beyond_chance": ece_beyond_chance(probability, frame.labels["click"], broadcast, config.calibration_bins),
        "broadcasts": int(broadcast.max(initial=-1)) + 1,
    }


def day_highlights(corpus: Corpus, marts: Path, segments: pa.Table) -> dict[str, HighlightMetrics]:
    """Metrics of the highlight task with the same embeddings, by inputs.

    Empty where no room has ended to learn from or to measure on.
    """
    try:
        table = highlight_table(corpus, marts, segments)
    except TrainingError:
        return {}
    return compare_highlights(table, {name: corpus.content[name] for name in (RAW, TUNED) if name in corpus.content})


def source_sections(report: EvaluationReport, checks: Sequence[CheckedSource], least_users: int) -> list[Section]:
    """The gain by each source: on unseen rooms of the training days, and on the held-out day.

    The second needs the variants of single sources among `evaluation.comparison`.
    """
    sections = []
    if checks:
        rows = [
            (
                check.source,
                ", ".join(check.beside) or "the author ID",
                f"{check.gain:+.4f} ± {check.error:.4f}",
                "yes" if check.used else "no",
                f"{check.authors_not_trusted:,}",
            )
            for check in checks
        ]
        note = (
            "GAUC of the towers on rooms of the training days that they did not see, and its standard error over users. "
            "Sources are added one after another, the best first; each is used if it gains more than two standard errors."
        )
        columns = ("source", "added to", "gain", "used", "authors it is not trusted for")
        sections.append(Section("Sources of content: the check before training", columns, rows, note))
    if report.source_gains:
        gains = [(source, with_interval(gain, least_users)) for source, gain in report.source_gains.items()]
        note = "GAUC of the full method with the source minus that without it, on the held-out impressions."
        sections.append(Section("What each source adds", ("source", "gain"), gains, note))
    return sections


def highlight_section(highlights: Mapping[str, HighlightMetrics]) -> Section:
    """The highlight task as a table of the report."""
    rows = [
        (name, *("–" if value is None else f"{value:.4f}" for value in metrics.to_dict().values()))
        for name, metrics in highlights.items()
    ]
    note = (
        "Score of a room's next window from what is known at the end of this one; means over the rooms that ended on the "
        "held-out day. F1@50%: the half of the windows predicted to be best, against the half that was."
    )
    return Section("Highlight task", ("inputs", "mAP", "F1@50%", "Kendall", "Spearman", "rooms"), rows, note)


def report_plots(report: EvaluationReport) -> dict[str, bytes]:
    """The plots of the report by caption, as PNG."""
    return {
        "GAUC of each variant": variants_bar(report),
        "Gain over the author ID alone, by the author's popularity": gain_by_slice(report),
        "Calibration": reliability_plot(report.reliability),
    }
