"""The drift of one day: which days are the reference, and what is compared."""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from livealign.artifacts import DayArtifacts
from livealign.bundle import Bundle
from livealign.challenger import day_corpus, read_codes, read_vectors
from livealign.content import RAW, TUNED
from livealign.dataset import Corpus
from livealign.errors import BundleError, LiveAlignError
from livealign.files import replace_bytes, replaced_directory
from livealign.marts import built_days
from livealign.offline import CLICK, window_days
from livealign.release import champion_bundle, champion_scores
from livealign.release_files import HELD_OUT_SCORES, REFERENCE
from livealign.summary import reports_of
from orchestration.drift import DriftResult, day_frame, drift_report
from orchestration.drift_words import room_words
from orchestration.resources import Workspace

TREND = "drift_trend"  # folder in `reports/`: the Evidently workspace


class DayDrift(NamedTuple):
    """Both reports of a day."""

    champion: DriftResult  # against the champion's days: this one decides
    yesterday: DriftResult | None  # None where the marts lack the day before


def measure_drift(workspace: Workspace, day: date) -> DayDrift:
    """Compare `day` with the champion's days (with the challenger's own before there is a champion), and with the day before.

    Codes and embeddings of both sides are the challenger's: numbers of one model can be compared, those of two cannot. Scores
    are the champion's for the same reason, and of days that it was not trained on: its held-out day and this one. The reports
    are written to `reports/<day>/`, the challenger's own reference to its artifacts, for the bundle.
    """
    home, artifacts = workspace.home, workspace.artifacts(day)
    corpus = day_corpus(home, day, workspace.dataset)
    codes = pd.Series(read_codes(artifacts)[1 : len(corpus.segment_ids), 0], index=corpus.segment_ids[1:])
    vectors = {RAW: corpus.content[RAW], TUNED: corpus.content[TUNED], "aligned": read_vectors(artifacts)}
    config, champion = workspace.profile.drift, _champion(workspace)
    scores = champion_scores_of_days(champion, corpus, workspace)
    current, words = day_frame(home.marts, [day], config, codes, scores), room_words(home.marts, [day], config)

    def against(days: list[date], name: str, project: str) -> DriftResult:
        before, now = _segments_of(corpus, days), _segments_of(corpus, [day])
        return drift_report(
            day_frame(home.marts, days, config, codes, scores),
            current,
            {one: (matrix[before], matrix[now]) for one, matrix in vectors.items()},
            config,
            reports_of(home, day),
            rooms=(corpus.segment_room_id[before], corpus.segment_room_id[now]),
            name=name,
            trend=(home.reports / TREND, project),
            words=(room_words(home.marts, days, config), words),
        )

    days = [one for one in _champion_days(workspace, champion) if one < day] or list(corpus.train_days)
    main = against(days, "drift", "each day against the champion's days")
    yesterday = day - timedelta(days=1)
    beside = None
    if yesterday in built_days(home.marts, "interactions"):
        beside = against([yesterday], "drift_yesterday", "each day against the day before")
    _keep_for_the_bundle(workspace, corpus, artifacts, codes, main)
    return DayDrift(main, beside)


def champion_scores_of_days(champion: Bundle | None, corpus: Corpus, workspace: Workspace) -> pd.Series | None:
    """impression_id → the champion's probability of a click, on its own held-out day and on the corpus'; None where it cannot
    be known: no champion, one of an earlier version, or one that has seen this day."""
    if champion is None or HELD_OUT_SCORES not in champion.manifest["files"]:
        return None
    if date.fromisoformat(champion.manifest["data_window"]["end"]) >= corpus.day:
        return None
    try:
        with np.load(champion.file(HELD_OUT_SCORES), allow_pickle=False) as file:
            before = pd.Series(file["click"], index=file["impression_id"])
        now = champion_scores(champion, corpus, workspace.home, workspace.dataset)[:, CLICK]
    except (LiveAlignError, OSError, ValueError, KeyError):  # the gate tells what is wrong with it; drift does without
        return None
    return pd.concat([before, pd.Series(now, index=corpus.test.impression_id)])


def _champion(workspace: Workspace) -> Bundle | None:
    try:
        return champion_bundle(workspace.home.releases)
    except BundleError:  # a damaged champion must not keep its successor from being made: the gate says what is wrong with it
        return None


def _champion_days(workspace: Workspace, champion: Bundle | None) -> list[date]:
    """The champion's training days, and the day that it was held against, as far as the marts still have them."""
    if champion is None:
        return []
    first, last = window_days(champion.manifest["data_window"])
    last = max(last, date.fromisoformat(champion.manifest["data_window"]["end"]))
    return [day for day in built_days(workspace.home.marts, "interactions") if first <= day <= last]


def _segments_of(corpus: Corpus, days: list[date]) -> np.ndarray:
    """Rows of the corpus' segments that began on one of the days."""
    epoch_days = corpus.segment_started_at // 86_400_000
    wanted = np.isin(epoch_days, [(one - date(1970, 1, 1)).days for one in days])
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
