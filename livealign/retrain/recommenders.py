"""Assets retriever, ranker and comparison.

retrieve(corpus, marts, folder)   # metrics.json
rank(corpus, profile, folder)     # ranker.safetensors, vocabulary/, scores.npy
compare(corpus, profile, folder)  # <variant>.npy
"""

from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.alignment.retrieval import RetrievalMetrics, retrieval_metrics
from livealign.alignment.towers import Alignment
from livealign.codes.codebook import Codebook
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import TASKS, Examples
from livealign.dataset.marts import built_days, read_mart
from livealign.files import replace_json, replaced_directory
from livealign.llm.backbone import choose_device
from livealign.profiles import Profile
from livealign.ranking.ranker import Ranker
from livealign.ranking.training import train_ranker
from livealign.ranking.variants import ranker_items, train_variant
from livealign.release.bundle import ALIGNMENT, CODEBOOK, HELD_OUT_SCORES, RANKER, VOCABULARY
from livealign.release.contents import write_vocabulary
from livealign.retrain.artifacts import CODES, SCORES, DayArtifacts, _load, read_vectors


def rank(corpus: Corpus, profile: Profile, artifacts: DayArtifacts) -> Ranker:
    """Train the ranker; write it with its vocabularies and its held-out scores [n, tasks]."""
    codebook = Codebook.load(artifacts.codes / CODEBOOK)
    alignment = Alignment.load(artifacts.alignment / ALIGNMENT)
    items = ranker_items(alignment, read_vectors(artifacts), _load(artifacts.codes / CODES))
    ranker = train_ranker(corpus, items, profile.ranker, codebook.version, codebook.codes_per_level, choose_device())
    scores = ranker.predict(corpus.test, items)
    with replaced_directory(artifacts.ranker) as folder:
        ranker.save(folder / RANKER)
        write_vocabulary(folder / VOCABULARY, corpus)
        np.save(folder / SCORES, scores, allow_pickle=False)
        # They go with the release: later days are compared with the last day that it had not learned from.
        np.savez(folder / HELD_OUT_SCORES, impression_id=corpus.test.impression_id, click=scores[:, TASKS.index("click")])
    return ranker


def retrieve(corpus: Corpus, marts: Path, artifacts: DayArtifacts) -> RetrievalMetrics:
    """Measure retrieval by the aligned vectors on the held-out day and write the numbers."""
    alignment = Alignment.load(artifacts.alignment / ALIGNMENT, choose_device())
    nearby = [day for day in built_days(marts, "rooms") if corpus.day - timedelta(days=1) <= day <= corpus.day]
    vectors = read_vectors(artifacts)

    def users(clicks: Examples) -> NDArray[np.float32]:
        return alignment.example_user_vectors(clicks, vectors)

    metrics = retrieval_metrics(corpus, users, vectors, read_mart(marts, "rooms", nearby))
    replace_json(artifacts.retriever / "metrics.json", metrics.to_dict(), version=1)
    return metrics


def compare(corpus: Corpus, profile: Profile, artifacts: DayArtifacts) -> tuple[str, ...]:
    """Train the variants that the method is compared with; write their held-out scores.

    Each file holds float32 [n, tasks].
    """
    with replaced_directory(artifacts.comparison) as folder:
        for name in profile.evaluation.comparison:
            scores = train_variant(name, corpus, profile, device=choose_device()).score(corpus.test)
            np.save(folder / f"{name}.npy", scores, allow_pickle=False)
    return profile.evaluation.comparison
