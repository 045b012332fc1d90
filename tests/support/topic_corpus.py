"""A corpus whose authors air one topic or all, and the score of towers within users."""

from pathlib import Path

import numpy as np

from livealign.alignment.towers import Alignment, item_vectors
from livealign.config import AlignmentConfig, DatasetConfig
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.metrics import gauc, user_auc
from tests.planted.marts import plant_marts

CONFIG = AlignmentConfig(sources=("llm",), dim=16, hidden=32, epochs=8, batch_size=256, content_rank=16)
CONTENT = "tuned_llm"


def planted_corpus(folder: Path, topics_of_author: int) -> Corpus:
    planted = plant_marts(
        folder,
        users=100,
        authors=16,
        topics=4,
        days=4,
        requests_per_day=350,
        noise=0.1,
        taste_scale=1.8,
        base_logit=-1.2,
        topics_of_author=topics_of_author,
    )
    corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=10, half_life_seconds=0))
    return corpus.with_content(CONTENT, planted.segment_ids, planted.vectors)


def noise_like(content: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=content.shape).astype(np.float32)
    noise[0] = 0
    return noise


def within_users(alignment: Alignment, corpus: Corpus, content: np.ndarray) -> float:
    scores = alignment.scores(corpus.test, item_vectors(alignment, corpus, content))
    known = ~np.isnan(corpus.test.label("click"))
    return float(gauc(user_auc(scores[known], corpus.test.label("click")[known], corpus.test.user_id[known])))
