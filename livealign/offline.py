"""The held-out day, measured: scores of every variant → metrics, slices, ceilings, plots and the HTML report."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign import plots
from livealign.artifacts import DayArtifacts
from livealign.challenger import read_comparison, read_scores
from livealign.config import EvaluationConfig, Profile, SegmentConfig
from livealign.dataset import TASKS, Corpus
from livealign.dataset_marts import rows_by_key
from livealign.evaluation import EvaluationReport, evaluate
from livealign.files import replace_json
from livealign.heldout import ORACLES, EvaluationFrame, read_truth, standard_slices
from livealign.marts import built_days, read_mart
from livealign.report import write_report
from livealign.text_oracle import text_oracle

RELEASE = "aligned_codes"
CLICK = TASKS.index("click")


def held_out_frame(corpus: Corpus, marts: Path, config: EvaluationConfig) -> EvaluationFrame:
    """The corpus' test impressions with the slices of the protocol."""
    test = corpus.test
    shown = read_mart(marts, "interactions", [corpus.day], ["impression_id", "minute_in_room"])
    minute = _aligned(shown["impression_id"], shown["minute_in_room"], test.impression_id)
    slices = standard_slices(
        author=test.author_id,
        user=test.user_id,
        train_author=corpus.train.author_id,
        train_user=corpus.train.user_id,
        text_characters=_characters(corpus, marts)[test.segment],
        minute_in_room=minute,
        config=config,
    )
    return EvaluationFrame.from_examples(test, slices)


def evaluate_day(
    corpus: Corpus, marts: Path, archive: Path, artifacts: DayArtifacts, profile: Profile, report_file: Path
) -> EvaluationReport:
    """Measure the release and its comparison on the held-out day; write `evaluation.json` and the HTML report.

    Raises:
        EvaluationError: the truth of a simulated archive is damaged. LiveAlignError: a variant has not been scored.
    """
    config = profile.evaluation
    by_variant = {**read_comparison(artifacts), RELEASE: read_scores(artifacts)}
    frame = held_out_frame(corpus, marts, config)
    report = evaluate(
        {name: scores[:, CLICK] for name, scores in by_variant.items()},
        frame,
        config,
        truth=day_truth(corpus, marts, archive, profile.segments),
        other_tasks={
            task: {name: scores[:, column] for name, scores in by_variant.items()}
            for column, task in enumerate(TASKS)
            if task != "click" and np.nansum(frame.labels[task]) > 0
        },
    )
    window = data_window(corpus)
    replace_json(artifacts.evaluation / "evaluation.json", {"data_window": window, **report.to_summary()})
    write_report(report, report_plots(report), report_file, title=f"Offline evaluation of {corpus.day}", facts=window)
    return report


def day_truth(corpus: Corpus, marts: Path, archive: Path, segments: SegmentConfig) -> dict[str, NDArray[np.float64]] | None:
    """The ceilings of the held-out day by column of `heldout.ORACLES`, each [n]; None on every real platform.

    Raises:
        EvaluationError: the truth of a simulated archive is damaged.
    """
    truth = read_truth(archive, corpus.test.impression_id, corpus.day)
    by_text = text_oracle(corpus, marts, archive, segments)
    return truth if truth is None or by_text is None else {**truth, ORACLES["oracle_text"]: by_text}


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


def _characters(corpus: Corpus, marts: Path) -> NDArray[np.int64]:
    """[segments] length of what was said in each segment row; 0 for no segment."""
    days = [day for day in built_days(marts, "segments") if corpus.train_days[0] <= day <= corpus.day]
    table = read_mart(marts, "segments", days, ["segment_id", "speech_text", "chat_text"])
    lengths = pc.add(*(pc.utf8_length(pc.fill_null(table[name], "")) for name in ("speech_text", "chat_text")))
    return _aligned(table["segment_id"], lengths, corpus.segment_ids).astype(np.int64)


def _aligned(keys: pa.ChunkedArray, values: pa.ChunkedArray, wanted: NDArray[np.int64]) -> NDArray:
    """The value of each wanted key, 0 where the table has none."""
    rows = rows_by_key(keys.to_numpy(), wanted)
    numbers = np.nan_to_num(values.cast(pa.float64()).to_numpy())
    return np.where(rows >= 0, numbers[rows], 0.0)
