"""The drift of one day: which days are the reference, and what is compared."""

from datetime import date

import numpy as np
import pandas as pd

from livealign.artifacts import DayArtifacts
from livealign.challenger import day_corpus, read_codes, read_vectors
from livealign.content import RAW
from livealign.dataset import Corpus
from livealign.errors import BundleError
from livealign.files import replace_bytes, replaced_directory
from livealign.marts import built_days
from livealign.offline import window_days
from livealign.release import champion_bundle
from livealign.release_files import REFERENCE
from livealign.summary import reports_of
from orchestration.drift import DriftResult, day_frame, drift_report, reference_frame
from orchestration.resources import Workspace


def measure_drift(workspace: Workspace, day: date) -> DriftResult:
    """Compare `day` with the champion's training days (with the challenger's own before there is a champion).

    Codes and embeddings of both sides are the challenger's: numbers of one model can be compared, those of two cannot.
    The day's report is written to `reports/<day>/`, the challenger's own reference to its artifacts, for the bundle.
    """
    home, config = workspace.home, workspace.profile.drift
    artifacts = workspace.artifacts(day)
    corpus = day_corpus(home, day, workspace.dataset)
    codes = pd.Series(read_codes(artifacts)[1 : len(corpus.segment_ids), 0], index=corpus.segment_ids[1:])
    reference_days = [one for one in _champion_days(workspace) if one < day] or list(corpus.train_days)
    reference = reference_frame(home.marts, reference_days, config, codes)
    current = day_frame(home.marts, [day], config, codes)
    before, now = _segments_of(corpus, reference_days), _segments_of(corpus, [day])
    embeddings = {"raw_llm": corpus.content[RAW], "aligned": read_vectors(artifacts)}
    result = drift_report(
        reference,
        current,
        {name: (vectors[before], vectors[now]) for name, vectors in embeddings.items()},
        config,
        reports_of(home, day),
        rooms=(corpus.segment_room_id[before], corpus.segment_room_id[now]),
    )
    _keep_for_the_bundle(workspace, corpus, artifacts, codes, result)
    return result


def _champion_days(workspace: Workspace) -> list[date]:
    """The champion's training days that the marts still have."""
    try:
        champion = champion_bundle(workspace.home.releases)
    except BundleError:  # a damaged champion must not keep its successor from being made: the gate says what is wrong with it
        champion = None
    if champion is None:
        return []
    first, last = window_days(champion.manifest["data_window"])
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
    frame = reference_frame(workspace.home.marts, corpus.train_days, workspace.profile.drift, codes)
    with replaced_directory(artifacts.drift) as folder:
        (folder / REFERENCE).mkdir()
        frame.to_parquet(folder / REFERENCE / "frame.parquet", index=False)
        replace_bytes(folder / "drift.json", result.json.read_bytes())
