"""Residual k-means: vectors to semantic codes, coarse to fine.

    codebook = fit_codebook(vectors, config)
    codebook = fit_codebook(vectors, config, previous_codes)   # the same, and codes keep yesterday's meaning
    codes = codebook.encode(vectors)                           # int32 [n, levels]

Level one clusters the vectors, each further level the residuals of the previous levels (residual quantization; GRID
`residual_quantization.py` and RQ-VAE-Recommender `quantize.py` do the same with k-means or gradient).

A retrain from scratch makes a new space, in which yesterday's centroids mean nothing. But the segments that the previous
release coded are known: `previous_codes`. K-means starts from the mean of each previous code in the new space, and the new
codes are numbered so that as many segments as possible keep their code.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from livealign.config import CodesConfig
from livealign.dataset.corpus import Corpus
from livealign.errors import BundleError, TrainingError

_FORMAT = "livealign-codebook-2"
_BALANCING_ROUNDS, _SINKHORN_STEPS, _BALANCING_SAMPLE = 8, 100, 50_000

Floats = NDArray[np.float32]
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Codebook:
    """A codebook: centroids float32 [levels, codes, dim] and prices [levels, codes].

    A vector gets the code with the smallest squared distance + price. Prices are zero unless the codes were balanced. The
    version is the hash of both arrays.
    """

    centroids: Floats
    prices: Floats

    @classmethod
    def of(cls, centroids: Floats) -> "Codebook":
        """A codebook without prices."""
        return cls(centroids, np.zeros(centroids.shape[:2], dtype=np.float32))

    @property
    def levels(self) -> int:
        return self.centroids.shape[0]

    @property
    def codes_per_level(self) -> int:
        return self.centroids.shape[1]

    @property
    def dim(self) -> int:
        return self.centroids.shape[2]

    @property
    def version(self) -> str:
        """16 hex digits: hash of centroids and prices."""
        digest = hashlib.sha256(str(self.centroids.shape).encode())
        for array in (self.centroids, self.prices):
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return digest.hexdigest()[:16]

    def encode(self, vectors: Floats) -> Codes:
        """[n, dim] → codes int32 [n, levels]: at each level the nearest centroid to the residual."""
        return self.encode_with_residuals(vectors)[0]

    def encode_with_residuals(self, vectors: Floats) -> tuple[Codes, Floats]:
        """Codes [n, levels] and the length of the residual after each level [n, levels]."""
        residual = np.array(vectors, dtype=np.float32, order="C")
        codes = np.empty((len(residual), self.levels), dtype=np.int32)
        norms = np.empty((len(residual), self.levels), dtype=np.float32)
        for level, centroids in enumerate(self.centroids):
            codes[:, level] = _nearest(centroids, residual, self.prices[level])
            residual -= centroids[codes[:, level]]
            norms[:, level] = np.linalg.norm(residual, axis=1)
        return codes, norms

    def decode(self, codes: NDArray[np.integer]) -> Floats:
        """[n, levels] → vectors [n, dim]: the sum of the codes' centroids."""
        return np.stack([self.centroids[level][codes[:, level]] for level in range(self.levels)]).sum(0)

    def save(self, path: Path) -> None:
        """Write an npz without pickle."""
        np.savez(path, format=np.array(_FORMAT), version=np.array(self.version), centroids=self.centroids, prices=self.prices)

    @classmethod
    def load(cls, path: Path) -> "Codebook":
        """Read the codebook that `save` wrote.

        Raises:
            BundleError: the file is missing or damaged, or its content has another hash than its version.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                file_format, version = str(file["format"]), str(file["version"])
                centroids, prices = file["centroids"], file["prices"]
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} is not a readable codebook ({error}); run the retrain again") from error
        if file_format != _FORMAT or centroids.ndim != 3 or centroids.dtype != np.float32:
            raise BundleError(
                f"{path} is no codebook of this version ({_FORMAT}, not {file_format[:40]}); run the retrain again"
            )
        codebook = cls(centroids, prices)
        if codebook.version != version:
            raise BundleError(f"{path} says it is codebook {version} but holds {codebook.version}; it is damaged")
        return codebook


def fit_codebook(vectors: Floats, config: CodesConfig, previous_codes: Codes | None = None) -> Codebook:
    """Fit `config.levels` × `config.codes_per_level` centroids to [n, dim], level by level.

    Without `previous_codes` the best of `config.restarts` seeded starts is used. Codes beyond the number of distinct vectors
    repeat a centroid and stay unused.

    Args:
        previous_codes: int [n, levels], the previous release's codes of these vectors, −1 for a vector without. They make
            codes keep their meaning.

    Raises:
        TrainingError: there are no vectors, or they are not finite.
    """
    if not len(vectors) or not np.isfinite(vectors).all():
        raise TrainingError("semantic codes need finite vectors, and at least one; check the alignment that made them")
    size = config.codes_per_level
    if previous_codes is not None and (
        previous_codes.shape != (len(vectors), config.levels) or previous_codes.max(initial=-1) >= size
    ):
        previous_codes = None  # of other sizes
    residual = np.array(vectors, dtype=np.float32, order="C")
    centroids = np.empty((config.levels, size, vectors.shape[1]), dtype=np.float32)
    prices = np.zeros((config.levels, size), dtype=np.float32)
    for level in range(config.levels):
        previous = None if previous_codes is None else previous_codes[:, level]
        if previous is not None and not (previous >= 0).any():
            previous = None
        start = None if previous is None else _means(residual, previous, size, config.seed + level)
        centroids[level] = _kmeans(residual, config, config.seed + level, start)
        if config.balance > 0:
            centroids[level], prices[level] = _balanced(residual, centroids[level], config.balance, config.seed + level)
        if previous is not None:
            order = _numbering(_nearest(centroids[level], residual, prices[level]), previous, size)
            centroids[level], prices[level] = centroids[level][order], prices[level][order]
        residual -= centroids[level][_nearest(centroids[level], residual, prices[level])]
    return Codebook(centroids, prices)


def _means(vectors: Floats, codes: NDArray[np.integer], size: int, seed: int) -> Floats:
    """[size, dim] mean of the vectors of each previous code; a code without vectors starts at a random vector."""
    has = codes >= 0
    counts = np.bincount(codes[has], minlength=size)
    sums = np.zeros((size, vectors.shape[1]))
    np.add.at(sums, codes[has], vectors[has])
    means = sums / np.maximum(counts, 1)[:, None]
    unused = np.flatnonzero(counts == 0)
    means[unused] = vectors[np.random.default_rng(seed).integers(len(vectors), size=len(unused))]
    return means.astype(np.float32)


def _numbering(codes: NDArray[np.int64], previous: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """The present code for each number [size], so that most vectors keep their number (the Hungarian method)."""
    has = previous >= 0
    together = np.zeros((size, size))
    np.add.at(together, (previous[has], codes[has]), 1)
    return linear_sum_assignment(together, maximize=True)[1]


def _kmeans(vectors: Floats, config: CodesConfig, seed: int, start: Floats | None) -> Floats:
    """Centroids [codes, dim] by faiss' Lloyd iterations, seeded, at most `config.iterations` for each start."""
    k, distinct = config.codes_per_level, np.unique(vectors, axis=0) if len(vectors) <= 10 * config.codes_per_level else None
    if distinct is not None and len(distinct) <= k:
        return np.ascontiguousarray(distinct[np.arange(k) % len(distinct)])
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=config.iterations if start is None else config.warm_iterations,
        nredo=1 if start is not None else config.restarts,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=10_000,
        verbose=False,
    )
    kmeans.train(vectors, init_centroids=None if start is None else np.ascontiguousarray(start))
    return np.ascontiguousarray(kmeans.centroids, dtype=np.float32)


def _balanced(vectors: Floats, centroids: Floats, strength: float, seed: int) -> tuple[Floats, Floats]:
    """Centroids and prices [codes] with which the codes have equally many vectors (`strength` 1), or nearly.

    It alternates: prices that even out the entropy-smoothed assignment (Sinkhorn's iteration, Cuturi 2013, as in SwAV, arXiv
    2006.09882), then centroids at the means of the vectors assigned to them. Prices are computed on a sample.
    """
    size, centroids = len(centroids), centroids.astype(np.float64)
    drawn = np.random.default_rng(seed).permutation(len(vectors))[:_BALANCING_SAMPLE]
    sample, prices = vectors[drawn].astype(np.float64), np.zeros(size)
    for _ in range(_BALANCING_ROUNDS):
        distance = (sample**2).sum(1)[:, None] - 2 * sample @ centroids.T + (centroids**2).sum(1)
        smoothing = 0.02 * float(distance.min(1).mean()) + 1e-12
        for _ in range(_SINKHORN_STEPS):
            logits = -(distance + prices) / smoothing
            weights = np.exp(logits - logits.max(1, keepdims=True))
            share = (weights / weights.sum(1, keepdims=True)).mean(0)
            prices += smoothing * np.log(np.maximum(share, 1e-6) * size)
        codes = _nearest(centroids, vectors, strength * prices)
        counts = np.bincount(codes, minlength=size)
        sums = np.zeros(centroids.shape)
        np.add.at(sums, codes, vectors)
        centroids = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids)
    return centroids.astype(np.float32), (strength * (prices - prices.min())).astype(np.float32)


def _nearest(centroids: NDArray, vectors: Floats, prices: NDArray) -> NDArray[np.int64]:
    """Code of each vector [n, dim] with the smallest squared distance + price, which is the distance in one more dimension."""
    if not len(vectors):
        return np.zeros(0, dtype=np.int64)
    if prices.any():
        centroids = np.column_stack([centroids, np.sqrt(prices - prices.min())])
        vectors = np.column_stack([vectors, np.zeros(len(vectors), dtype=np.float32)])
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids, dtype=np.float32))
    return index.search(np.ascontiguousarray(vectors, dtype=np.float32), 1)[1][:, 0]


def codebook_rows(corpus: Corpus, content: NDArray[np.float32]) -> NDArray[np.int64]:
    """Item rows that a codebook is fitted to: the training segments that have content.

    All item rows if no training segment has content.
    """
    rows = np.flatnonzero((content != 0).any(1) & corpus.segment_is_train)
    return rows if len(rows) else np.arange(1, corpus.n_items)
