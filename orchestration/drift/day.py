"""The drift of one day: its reference days, and what is compared."""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from livealign.dataset.corpus import RAW, TUNED, Corpus
from livealign.dataset.marts import built_days
from livealign.days import DAY_MS, EPOCH
from livealign.files import replace_bytes, replaced_directory
from livealign.release.bundle import REFERENCE, Bundle, window_days
from livealign.release.registry import previous_release
from livealign.retrain.artifacts import DayArtifacts, read_codes, read_vectors
from livealign.retrain.corpus import day_corpus
from livealign.retrain.summary import reports_of
from orchestration.drift.columns import day_frame
from orchestration.drift.report import DriftResult, DriftSide, drift_report
from orchestration.drift.scores import held_out_day, scores_of_champion
from orchestration.drift.surprise import room_surprise
from orchestration.drift.words import room_words
from orchestration.resources import Workspace

TREND = "drift_trend"  # folder in `reports/`: the Evidently workspace


class DayDrift(NamedTuple):
    """Both drift reports of a day."""

    champion: DriftResult  # compared with the champion's days: this report decides
    yesterday: DriftResult | None  # None if the marts lack the day before
    scored_by: str  # the release whose scores are compared, or the reason why none are


def measure_drift(workspace: Workspace, day: date) -> DayDrift:
    """Compare `day` with the champion's days and with the day before.

    Before there is a champion, it is compared with the challenger's own training days.

    Values are comparable only if one model made them. Codes and embeddings of both sides are therefore the challenger's, and
    scores of both sides the champion's. Scores are compared if the reference includes the day that the champion was held out
    on. The champion is the one before `day`, so that a rerun gives the same result. The reports are written to
    `reports/<day>/`, and the challenger's own reference to its artifacts, for the bundle.
    """
    home, artifacts, config = workspace.home, workspace.artifacts(day), workspace.profile.drift
    corpus = day_corpus(home, day, workspace.dataset)
    codes = pd.Series(read_codes(artifacts)[1 : len(corpus.segment_ids), 0], index=corpus.segment_ids[1:])
    vectors = {RAW: corpus.content[RAW], TUNED: corpus.content[TUNED], "aligned": read_vectors(artifacts)}
    champion = previous_release(home.releases, day)
    scores = scores_of_champion(champion, corpus, home, workspace.dataset)

    def side(days: list[date], scored: date | None) -> DriftSide:
        rows = _segments_of(corpus, days)
        probability = None if scored is None else scores.by_impression
        return DriftSide(
            day_frame(home.marts, days, config, codes, probability),
            room_words(home.marts, days, config),
            pd.DataFrame() if scored is None or probability is None else room_surprise(home.marts, scored, probability),
            {name: matrix[rows] for name, matrix in vectors.items()},
            corpus.segment_room_id[rows],
        )

    def against(days: list[date], name: str, project: str) -> DriftResult:
        held_out = scores.held_out if scores.held_out in days else None
        reference, current = side(days, held_out), side([day], day if held_out else None)
        return drift_report(reference, current, config, reports_of(home, day), name, (home.reports / TREND, project))

    days = [past for past in _champion_days(workspace, champion) if past < day] or list(corpus.train_days)
    main = against(days, "drift", "each day against the champion's days")
    yesterday = day - timedelta(days=1)
    beside = None
    if yesterday in built_days(home.marts, "interactions"):
        beside = against([yesterday], "drift_yesterday", "each day against the day before")
    _keep_for_the_bundle(workspace, corpus, artifacts, codes, main)
    scored_by = scores.scored_by
    if scores.held_out is not None and scores.held_out not in days:
        scored_by = f"the marts of {scores.held_out}, which {scored_by} scored, are gone"
    return DayDrift(main, beside, scored_by)


def _champion_days(workspace: Workspace, champion: Bundle | None) -> list[date]:
    """The champion's training days and its held-out day, as far as the marts still have them."""
    if champion is None:
        return []
    first, last = window_days(champion.manifest["data_window"])
    last = max(last, held_out_day(champion))
    return [day for day in built_days(workspace.home.marts, "interactions") if first <= day <= last]


def _segments_of(corpus: Corpus, days: list[date]) -> np.ndarray:
    """Rows of the corpus' segments that began on one of the days."""
    epoch_days = corpus.segment_started_at // DAY_MS
    wanted = np.isin(epoch_days, [(day - EPOCH).days for day in days])
    wanted[0] = False
    return np.flatnonzero(wanted)


def _keep_for_the_bundle(
    workspace: Workspace, corpus: Corpus, artifacts: DayArtifacts, codes: pd.Series, result: DriftResult
) -> None:
    frame = day_frame(workspace.home.marts, corpus.train_days, workspace.profile.drift, codes)
    with replaced_directory(artifacts.drift) as folder:
        (folder / REFERENCE).mkdir()
        frame.to_parquet(folder / REFERENCE / "frame.parquet", index=False)
        replace_bytes(folder / "drift.json", result.json.read_bytes())
