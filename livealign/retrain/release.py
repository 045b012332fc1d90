"""Assets bundle and promotion.

The day's challenger becomes a bundle; it is compared with the champion on the same day and promoted or not.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livealign.codes.codebook import Codebook
from livealign.config import DatasetConfig
from livealign.dataset.content import own_content
from livealign.dataset.corpus import Corpus, data_window, load_corpus
from livealign.errors import BundleError, LiveAlignError
from livealign.evaluation.frame import CLICK, EvaluationFrame, held_out_frame
from livealign.evaluation.held_out import ScoredDay, pooled
from livealign.files import read_json, replace_json
from livealign.home import Home
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.fitting import with_layers
from livealign.llm.image_encoder import load_image_encoder
from livealign.profiles import Profile
from livealign.ranking.contexts import contexts_of
from livealign.ranking.variants import RELEASE
from livealign.release.bundle import (
    ADAPTER,
    ALIGNMENT,
    CODE_NAMES,
    CODEBOOK,
    CODED_SEGMENTS,
    CONTEXTS,
    HELD_OUT_SCORES,
    LEXICON,
    RANKER,
    REFERENCE,
    SNAPSHOT,
    VOCABULARY,
    Bundle,
    open_bundle,
    window_days,
    write_bundle,
)
from livealign.release.contents import rows_with_content
from livealign.release.decisions import read_decision, unscored_days, write_decision
from livealign.release.promotion import ReleaseMetrics, Unscored, decide
from livealign.release.registry import champion_bundle, promote, read_champion
from livealign.release.snapshot import busiest_time, write_snapshot
from livealign.retrain.artifacts import DayArtifacts, read_codes, read_scores, read_vectors
from livealign.retrain.champion import champion_scores, release_metrics
from livealign.retrain.encoder_choice import with_encoder_of
from livealign.retrain.rolling import read_rolled
from livealign.tuning.adapter import RECORD


def build_bundle(
    corpus: Corpus, home: Home, profile: Profile, reference: Path, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> Bundle:
    """Pack the day's challenger as a bundle, write it and verify it.

    Its snapshot, from which a service starts, is of the busiest window's end.

    Args:
        reference: folder with the statistics that later days are compared with for drift.
        settings: what a person set, and where (`livealign.settings.Settings.of_a_release`).
    """
    artifacts = DayArtifacts.of(home, corpus.day)
    backbone = load_backbone(profile.backbone, home.models, seeing=profile.reads_pictures)
    profile = with_encoder_of(profile, artifacts.adapter)
    evaluation, sources = read_json(artifacts.evaluation / "evaluation.json"), profile.alignment.sources
    with tempfile.TemporaryDirectory(prefix="livealign-snapshot-") as scratch:
        snapshot = write_snapshot(
            Path(scratch) / SNAPSHOT,
            home.marts,
            busiest_time(home.marts, corpus.day),
            *rows_with_content(corpus, own_content(corpus, sources), read_vectors(artifacts), read_codes(artifacts)),
            history_length=profile.dataset.history_length,
        )
        path = write_bundle(
            home.releases,
            {
                # Without the record of the tuning: its timings would give the same release another id each time.
                **{f"{ADAPTER}/{file.name}": file for file in artifacts.adapter.iterdir() if file.name != RECORD},
                ALIGNMENT: artifacts.alignment / ALIGNMENT,
                **({LEXICON: artifacts.embeddings / LEXICON} if "lexical" in sources else {}),
                CODEBOOK: artifacts.codes / CODEBOOK,
                CODE_NAMES: artifacts.codes / CODE_NAMES,
                CONTEXTS: contexts_of(corpus, read_codes(artifacts), home.marts).to_bytes(),
                CODED_SEGMENTS: artifacts.codes / CODED_SEGMENTS,
                RANKER: artifacts.ranker / RANKER,
                VOCABULARY: artifacts.ranker / VOCABULARY,
                SNAPSHOT: snapshot,
                REFERENCE: reference,
                HELD_OUT_SCORES: artifacts.ranker / HELD_OUT_SCORES,
            },
            {
                "platform": home.platform,
                "profile": profile.name,
                # Whole layers stand in place of shares of the backbone's depth: so it is read without the backbone.
                "config": replace(profile, encoder=with_layers(backbone, profile.encoder)).of_a_release(),
                "settings": dict(settings or {}),
                "data_window": data_window(corpus),
                "backbone": backbone.reference(),
                **_image_backbone(profile, home, backbone),
                "seeds": {"all": profile.seed},
                "codebook_version": Codebook.load(artifacts.codes / CODEBOOK).version,
                "metrics": {
                    **evaluation["variants"][RELEASE],
                    "against_id_only": evaluation["differences"].get(RELEASE),
                    **{name: evaluation[name] for name in ("judged_days",) if name in evaluation},
                },
            },
        )
    bundle = open_bundle(path)
    record = {"release_id": bundle.release_id, "path": str(path), "backbone": bundle.manifest["backbone"]}
    replace_json(artifacts.release / "bundle.json", record, version=1)
    return bundle


def _image_backbone(profile: Profile, home: Home, backbone: Backbone) -> dict[str, Any]:
    """The manifest's entry of the image encoder, where pictures are read."""
    if not profile.reads_pictures:
        return {}
    return {"image_backbone": load_image_encoder(profile.frames.backbone, home.models, backbone=backbone).reference()}


def decide_promotion(
    corpus: Corpus, bundle: Path, home: Home, dataset: DatasetConfig, profile: Profile, checks: Mapping[str, bool]
) -> dict[str, Any]:
    """Compare challenger and champion on held-out days; move the pointer on a promotion.

    Neither was trained on the retrain's day. On earlier days that are judged too (`livealign.retrain.rolling`) models of the
    same method, each trained on the days before its own, take the challenger's place; days that the champion was trained on
    are left out.

    The decision is written beside the bundle before the pointer moves: a run that was killed in between finds it when it is
    run again, and ends the same way. A release that already serves keeps its decision.

    Args:
        bundle: the challenger's.
        checks: name of each guarding check → whether it passed.

    Returns:
        The record of `decisions.read_decision`.

    Raises:
        BundleError: the challenger's bundle is damaged. The decision to reject it is written first.
    """
    try:
        challenger = open_bundle(bundle)
    except BundleError as error:
        whole = {**checks, f"the bundle is whole ({error})": False}
        refused = decide(None, None, whole, profile.promotion, profile.evaluation.least_users)
        write_decision(home.releases, bundle.name, read_champion(home.releases), refused)
        raise
    checks = {**checks, "the bundle is whole": True}
    champion_id = read_champion(home.releases)
    record = read_decision(home.releases, challenger.release_id)
    if record is None or record["decision"] != "promote" or champion_id != challenger.release_id:
        record = _decide(corpus, challenger, home, dataset, profile, checks)
    outcome = {**record, "champion": read_champion(home.releases)}
    replace_json(DayArtifacts.of(home, corpus.day).release / "promotion.json", outcome, version=1)
    return record


def _decide(
    corpus: Corpus, challenger: Bundle, home: Home, dataset: DatasetConfig, profile: Profile, checks: Mapping[str, bool]
) -> dict[str, Any]:
    artifacts = DayArtifacts.of(home, corpus.day)
    checks = {**checks, f"the challenger was not trained on {corpus.day}": _is_unseen(challenger, corpus.day)}
    frames = {day: scored.frame for day, scored in read_rolled(artifacts).items()}
    frames[corpus.day] = held_out_frame(corpus, home.marts, profile.evaluation)
    champion, checks = _champion(home, corpus.day, checks)
    theirs: ReleaseMetrics | Unscored | None
    if isinstance(champion, Bundle):
        # A model's scores on its training days do not measure it: both are judged on the days that are new to the champion.
        frames = {day: frame for day, frame in frames.items() if _is_unseen(champion, day)}
        theirs = _champion_metrics(champion, challenger, corpus, frames, home, dataset)
    else:
        theirs = champion
    mine = _challenger_metrics(corpus.day, frames, artifacts)
    decision = decide(theirs, mine, checks, profile.promotion, profile.evaluation.least_users)
    record = write_decision(home.releases, challenger.release_id, read_champion(home.releases), decision)
    if decision.decision == "promote":
        promote(home.releases, challenger.release_id, decision.reason)
    return record


def _is_unseen(release: Bundle, day: date) -> bool:
    return window_days(release.manifest["data_window"])[1] < day


def _challenger_metrics(day: date, frames: Mapping[date, EvaluationFrame], artifacts: DayArtifacts) -> ReleaseMetrics | None:
    """The challenger on the day, and the models trained in its place on earlier days.

    None if the ranker's scores of the day are missing or unreadable.
    """
    try:
        scores = {day: read_scores(artifacts)}
    except LiveAlignError:
        return None
    scores |= {earlier: scored.scores[RELEASE] for earlier, scored in read_rolled(artifacts).items()}
    return _metrics(day, frames, scores)


def _champion(home: Home, day: date, checks: Mapping[str, bool]) -> tuple[Bundle | Unscored | None, dict[str, bool]]:
    """The champion, and the checks with one added: that it was not trained on the day.

    None before the first promotion; `Unscored` if it cannot be scored on the day.
    """
    try:
        champion = champion_bundle(home.releases)
    except BundleError as error:
        return Unscored(str(error), "damaged"), dict(checks)
    if champion is None:
        return None, dict(checks)
    unseen = _is_unseen(champion, day)
    checks = {**checks, f"the champion was not trained on {day}": unseen}
    return champion if unseen else Unscored(f"it was trained on {day}", "missing"), checks


def _champion_metrics(
    champion: Bundle,
    challenger: Bundle,
    corpus: Corpus,
    frames: Mapping[date, EvaluationFrame],
    home: Home,
    dataset: DatasetConfig,
) -> ReleaseMetrics | Unscored:
    """The champion on all the days; it was trained on none of them."""
    artifacts = DayArtifacts.of(home, corpus.day)
    scores: dict[date, NDArray[np.float32]] = {}
    try:
        for day in frames:
            if day == corpus.day and champion.release_id == challenger.release_id:
                scores[day] = read_scores(artifacts)
            elif day == corpus.day:
                scores[day] = champion_scores(champion, corpus, home, dataset)
            else:
                earlier = load_corpus(home.marts, day, dataset)
                scores[day] = champion_scores(champion, earlier, home, dataset, artifacts.champion_on(day))
    except BundleError as error:  # its files are whole, so another version wrote them
        return Unscored(str(error), "unreadable")
    except LiveAlignError as error:
        days = unscored_days(home.releases, champion.release_id) | {corpus.day.isoformat()}
        return Unscored(str(error), "missing", len(days))
    return _metrics(corpus.day, frames, scores)


def _metrics(day: date, frames: Mapping[date, EvaluationFrame], scores: Mapping[date, NDArray[np.float32]]) -> ReleaseMetrics:
    judged = pooled([ScoredDay(frame, {RELEASE: scores[scored_day]}) for scored_day, frame in frames.items()])
    return release_metrics(judged.scores[RELEASE][:, CLICK], judged.frame, day)
