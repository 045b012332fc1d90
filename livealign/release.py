"""From a day's challenger to a release: the bundle, the champion's score on the same day, the decision."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.alignment import Alignment, item_vectors
from livealign.artifacts import DayArtifacts, read_json
from livealign.backbone import Backbone, choose_device, load_backbone
from livealign.bundle import Bundle, open_bundle, write_bundle
from livealign.challenger import read_codes, read_scores, read_vectors
from livealign.config import DatasetConfig, EncoderConfig, Profile, SegmentConfig
from livealign.content import TUNED, texts_of
from livealign.dataset import Corpus, load_corpus
from livealign.embed import Encoder
from livealign.embedding_cache import EmbeddingCache
from livealign.errors import BundleError
from livealign.evaluation import release_metrics
from livealign.files import replace_json
from livealign.finetune import RECORD
from livealign.home import Home
from livealign.offline import CLICK, RELEASE, data_window, held_out_frame, window_days
from livealign.promotion import Decision, decide
from livealign.ranking import ItemTable, Ranker
from livealign.release_parts import (
    ADAPTER,
    ALIGNMENT,
    CODE_NAMES,
    CODEBOOK,
    RANKER,
    REFERENCE,
    SNAPSHOT,
    VOCABULARY,
    moments_with_content,
    read_vocabulary,
)
from livealign.releases import champion_path, promote, read_champion
from livealign.semantic_codes import Codebook
from livealign.snapshot import busy_moment, write_snapshot


def champion_bundle(releases: Path) -> Bundle | None:
    """The verified bundle of the champion, or None before the first promotion.

    Raises:
        BundleError: the champion is damaged.
    """
    return None if read_champion(releases) is None else open_bundle(champion_path(releases))


def build_bundle(corpus: Corpus, home: Home, profile: Profile, reference: Path) -> Bundle:
    """Pack the day's challenger, with a snapshot of the day's busiest end to start serving from; write it and verify it.

    Args:
        reference: folder with the statistics that later days are held against for drift.
    """
    artifacts = DayArtifacts.of(home, corpus.day)
    backbone = load_backbone(profile.backbone, home.models)
    evaluation = read_json(artifacts.evaluation / "evaluation.json")
    with tempfile.TemporaryDirectory(prefix="livealign-snapshot-") as scratch:
        snapshot = write_snapshot(
            Path(scratch) / SNAPSHOT,
            home.marts,
            busy_moment(home.marts, corpus.day),
            *moments_with_content(corpus, corpus.content[TUNED], read_vectors(artifacts), read_codes(artifacts)),
            history_length=profile.dataset.history_length,
        )
        path = write_bundle(
            home.releases,
            {
                # Without the record of the tuning: its timings would give the same release another id each time.
                **{f"{ADAPTER}/{file.name}": file for file in artifacts.adapter.iterdir() if file.name != RECORD},
                ALIGNMENT: artifacts.alignment / ALIGNMENT,
                CODEBOOK: artifacts.codes / CODEBOOK,
                CODE_NAMES: artifacts.codes / CODE_NAMES,
                RANKER: artifacts.ranker / RANKER,
                VOCABULARY: artifacts.ranker / VOCABULARY,
                SNAPSHOT: snapshot,
                REFERENCE: reference,
            },
            {
                "platform": home.platform,
                "profile": profile.name,
                "config": profile.to_dict(),
                "data_window": data_window(corpus),
                "backbone": {"id": backbone.name, "sha256": backbone.sha256},
                "seeds": {"all": profile.seed},
                "codebook_version": Codebook.load(artifacts.codes / CODEBOOK).version,
                "metrics": {**evaluation["variants"][RELEASE], "against_id_only": evaluation["differences"].get(RELEASE)},
            },
        )
    bundle = open_bundle(path)
    record = {"release_id": bundle.release_id, "path": str(path), "backbone": bundle.manifest["backbone"]}
    replace_json(artifacts.release / "bundle.json", record)
    return bundle


def decide_promotion(
    corpus: Corpus, challenger: Bundle, home: Home, dataset: DatasetConfig, profile: Profile, checks: Mapping[str, bool]
) -> Decision:
    """Hold the challenger against the champion on the day that neither was trained on, and move the pointer if it wins.

    The decision is written to the day's artifacts, beside the numbers that it was made from.
    """
    artifacts = DayArtifacts.of(home, corpus.day)
    frame = held_out_frame(corpus, home.marts, profile.evaluation)
    mine = release_metrics(read_scores(artifacts)[:, CLICK], frame, corpus.day)
    champion = champion_bundle(home.releases)
    theirs = None
    if champion is not None:
        unseen = window_days(champion.manifest["data_window"])[1] < corpus.day
        checks = {**checks, f"the champion was not trained on {corpus.day}": unseen}
        if unseen:
            same = champion.release_id == challenger.release_id
            scores = read_scores(artifacts) if same else champion_scores(champion, corpus, home, dataset)
            theirs = release_metrics(scores[:, CLICK], frame, corpus.day)
    decision = decide(theirs, mine, checks, profile.promotion)
    if decision.decision == "promote":
        promote(home.releases, challenger.release_id, decision.reason)
    record = {**decision.to_dict(), "release": challenger.release_id, "champion": read_champion(home.releases)}
    replace_json(artifacts.release / "promotion.json", record)
    return decision


def champion_scores(champion: Bundle, corpus: Corpus, home: Home, dataset: DatasetConfig) -> NDArray[np.float32]:
    """Probabilities [n, tasks] that the champion gives the corpus' held-out impressions, all by its own parts.

    Its own adapter reads the segments (vectors that it made before are in the cache), its own vocabularies number the ids.
    """
    device = choose_device()
    half_life = float(champion.manifest["config"]["dataset"]["half_life_seconds"])
    theirs = load_corpus(home.marts, corpus.day, replace(dataset, half_life_seconds=half_life), read_vocabulary(champion))
    content = _champion_content(champion, theirs, home)
    alignment = Alignment.load(champion.file(ALIGNMENT), device)
    codebook = Codebook.load(champion.file(CODEBOOK))
    ranker = Ranker.load(champion.file(RANKER), codebook.version, device)
    vectors = item_vectors(alignment, theirs, content)
    return ranker.predict(theirs.test, ItemTable(vectors, codebook.encode(vectors)))


def _champion_content(champion: Bundle, corpus: Corpus, home: Home) -> NDArray[np.float32]:
    """[segments, hidden] of all windows of the rooms that the held-out impressions name; zero for the others."""
    config = champion.manifest["config"]
    segments, backbone = SegmentConfig(**config["segments"]), _champion_backbone(champion, home)
    encoder = Encoder.load(backbone, champion.path / ADAPTER, EncoderConfig(**config["encoder"]), segments)
    test = corpus.test
    named = np.unique(np.concatenate([test.segment, test.history_segment.reshape(-1)]))
    rooms = np.unique(corpus.segment_room_id[named[named > 0]])
    rows = np.flatnonzero(np.isin(corpus.segment_room_id, rooms))
    segment_ids = corpus.segment_ids[rows[rows > 0]]
    texts = texts_of(home.marts, segment_ids, [*corpus.train_days, corpus.day], segments)
    vectors = encoder.encode(texts, cache=EmbeddingCache(home.embedding_cache))
    return corpus.with_content(TUNED, segment_ids, vectors).content[TUNED]


def _champion_backbone(champion: Bundle, home: Home) -> Backbone:
    wanted = champion.manifest["backbone"]
    backbone = load_backbone(wanted["id"], home.models)
    if backbone.sha256 != wanted["sha256"]:
        raise BundleError(
            f"the champion {champion.release_id} was made with backbone {wanted['id']} {wanted['sha256'][:12]}, but "
            f"{home.models} holds {backbone.sha256[:12]}; fetch the right one: livealign backbone"
        )
    return backbone
