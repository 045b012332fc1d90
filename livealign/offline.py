"""The held-out day, measured: scores of every variant → metrics, slices, ceilings, plots and the HTML report."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign import plots
from livealign.artifacts import DayArtifacts
from livealign.ceilings import day_ceilings
from livealign.challenger import read_comparison, read_scores
from livealign.config import EvaluationConfig, Profile
from livealign.content import TEXT_COLUMNS, texts_of
from livealign.dataset import RAW, TUNED, Corpus
from livealign.dataset_examples import TASKS
from livealign.dataset_marts import rows_by_key
from livealign.day_pictures import day_pictures
from livealign.day_truth import DayTruth, read_day_truth
from livealign.errors import TrainingError
from livealign.evaluation import EvaluationReport, evaluate
from livealign.files import replace_json
from livealign.heldout import EvaluationFrame, standard_slices
from livealign.highlights import SEGMENT_COLUMNS, HighlightMetrics, compare_highlights, highlight_table
from livealign.marts import read_mart
from livealign.report import Section, write_report

RELEASE = "aligned_codes"
CLICK = TASKS.index("click")


def read_segments(corpus: Corpus, marts: Path) -> pa.Table:
    """The mart `segments` of the corpus' days with all that an evaluation wants of it, so that it is read once."""
    return read_mart(
        marts, "segments", [*corpus.train_days, corpus.day], list(dict.fromkeys([*TEXT_COLUMNS, *SEGMENT_COLUMNS]))
    )


def held_out_frame(
    corpus: Corpus,
    marts: Path,
    config: EvaluationConfig,
    truth: DayTruth | None = None,
    characters: NDArray[np.int64] | None = None,
) -> EvaluationFrame:
    """The corpus' test impressions with the slices of the protocol; with a truth by the streams' quality, too.

    Args:
        characters: `segment_characters`, where the caller has them already.
    """
    if characters is None:
        characters = segment_characters(corpus, read_segments(corpus, marts))
    test = corpus.test
    shown = read_mart(marts, "interactions", [corpus.day], ["impression_id", "minute_in_room"])
    minute = _aligned(shown["impression_id"], shown["minute_in_room"], test.impression_id)
    slices = standard_slices(
        author=test.author_id,
        user=test.user_id,
        train_author=corpus.train.author_id,
        train_user=corpus.train.user_id,
        text_characters=characters[test.segment],
        minute_in_room=minute,
        config=config,
    )
    if truth is not None:
        slices["stream_quality"] = np.where(truth.low_quality[test.segment], "poor", "clear")
    return EvaluationFrame.from_examples(test, slices)


@dataclass(frozen=True)
class DayReport:
    """What the day's evaluation found and shows."""

    evaluation: EvaluationReport
    highlights: dict[str, HighlightMetrics]  # by inputs; empty where no room has ended on the day or before it
    pictures: dict[str, bytes]  # PNG by caption


def evaluate_day(
    corpus: Corpus, marts: Path, archive: Path, artifacts: DayArtifacts, profile: Profile, report_file: Path
) -> DayReport:
    """Measure the release and its comparison on the held-out day; write `evaluation.json` and the HTML report.

    Raises:
        EvaluationError: the truth of a simulated archive is damaged. LiveAlignError: a variant has not been scored.
    """
    config = profile.evaluation
    by_variant = {**read_comparison(artifacts), RELEASE: read_scores(artifacts)}
    segments, truth = read_segments(corpus, marts), read_day_truth(archive, corpus)
    characters = segment_characters(corpus, segments)
    frame = held_out_frame(corpus, marts, config, truth, characters)
    ceilings = None
    if truth is not None:
        days = [*corpus.train_days, corpus.day]
        ceilings = day_ceilings(corpus, truth, texts_of(marts, corpus.segment_ids[1:], days, profile.segments, segments))
    report = evaluate(
        {name: scores[:, CLICK] for name, scores in by_variant.items()},
        frame,
        config,
        truth=ceilings,
        other_tasks={
            task: {name: scores[:, column] for name, scores in by_variant.items()}
            for column, task in enumerate(TASKS)
            if task != "click" and np.nansum(frame.labels[task]) > 0
        },
    )
    day = DayReport(
        report,
        day_highlights(corpus, marts, segments),
        {**report_plots(report), **day_pictures(corpus, segments, truth, artifacts, characters, config)},
    )
    window = data_window(corpus)
    replace_json(
        artifacts.evaluation / "evaluation.json",
        {
            "data_window": window,
            **report.to_summary(),
            "highlights": {name: metrics.to_dict() for name, metrics in day.highlights.items()},
        },
    )
    sections = [highlight_section(day.highlights)] if day.highlights else []
    write_report(report, day.pictures, report_file, f"Offline evaluation of {corpus.day}", window, sections)
    return day


def day_highlights(corpus: Corpus, marts: Path, segments: pa.Table) -> dict[str, HighlightMetrics]:
    """The highlight task with the same embeddings; empty where there are no ended rooms to learn from and measure on."""
    try:
        table = highlight_table(corpus, marts, segments)
    except TrainingError:
        return {}
    return compare_highlights(table, {name: corpus.content[name] for name in (RAW, TUNED) if name in corpus.content})


def highlight_section(highlights: Mapping[str, HighlightMetrics]) -> Section:
    """The highlight task as a table of the report."""
    rows = [(name, *(f"{value:.4f}" for value in metrics.to_dict().values())) for name, metrics in highlights.items()]
    note = (
        "Score of a room's next window from what is known at the end of this one; means over the rooms that ended on the "
        "held-out day. F1@50%: the half of the windows predicted to be best, against the half that was."
    )
    return Section("Highlight task", ("inputs", "mAP", "F1@50%", "Kendall", "Spearman", "rooms"), rows, note)


def report_plots(report: EvaluationReport) -> dict[str, bytes]:
    """The plots of the report by caption, as PNG."""
    return {
        "GAUC of each variant": plots.variants_bar(report),
        "Gain over the author ID alone, by the author's popularity": plots.gain_by_slice(report),
        "Calibration": plots.reliability_plot(report.reliability),
    }


def data_window(corpus: Corpus) -> dict[str, str]:
    """What was trained on and what was held out."""
    return {
        "start": corpus.train_days[0].isoformat(),
        "train_end": corpus.train_days[-1].isoformat(),
        "end": corpus.day.isoformat(),
    }


def window_days(window: dict[str, str]) -> tuple[date, date]:
    """First and last training day of a `data_window`."""
    return date.fromisoformat(window["start"]), date.fromisoformat(window["train_end"])


def segment_characters(corpus: Corpus, segments: pa.Table) -> NDArray[np.int64]:
    """[segments] length of what was said in each segment row; 0 for no segment."""
    lengths = pc.add(*(pc.utf8_length(pc.fill_null(segments[name], "")) for name in ("speech_text", "chat_text")))
    return _aligned(segments["segment_id"], lengths, corpus.segment_ids).astype(np.int64)


def _aligned(keys: pa.ChunkedArray, values: pa.ChunkedArray, wanted: NDArray[np.int64]) -> NDArray:
    """The value of each wanted key, 0 where the table has none."""
    rows = rows_by_key(keys.to_numpy(), wanted)
    numbers = np.nan_to_num(values.cast(pa.float64()).to_numpy())
    return np.where(rows >= 0, numbers[rows], 0.0)
