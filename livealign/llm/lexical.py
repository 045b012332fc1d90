"""Counted words: the vector of a text from the words that it has, without a language model.

    lexicon = fit_lexicon(texts, rooms, config)          # on the training days
    lexicon = lexicon.with_new_words(texts, rooms, config)    # on a later day; known words keep their vectors
    vectors = lexicon.encode(texts)                      # float32 [n, width]

A text's vector is the sum of its words' vectors, weighted by TF-IDF (sublinear counts). The words' vectors are the first
singular directions of the training texts (latent semantic analysis, Deerwester et al. 1990). Words are kept as hashes. An
unknown word has no vector, but it takes its part of the text's length: a text of which half is unknown has a shorter vector,
and one without any known word has none. A text's vector depends on that text alone, so service and retrain compute the same.
"""

import hashlib
import re
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from livealign.config import LexicalConfig
from livealign.errors import BundleError, TrainingError
from livealign.llm.token_budget import SEPARATOR
from livealign.scripts import COMBINING_MARKS, UNSPACED, VARIATION_SELECTORS

_FORMAT = "livealign-lexicon-1"
_FITTED_TEXTS = 50_000  # drawn at most for the singular directions
_RIDGE = 0.1  # of a new word's vector, in mean strengths of a direction

_LABEL = re.compile(r"^(?:host|chat|before): ")
_NOT_SAID = re.compile(r"minute \d+|quiet for \d+ min")  # parts of a segment text that nobody said
_REPEATS = re.compile(r"x\d+")  # of a folded message
_MARKS = re.sub(f"[{VARIATION_SELECTORS}]", "", COMBINING_MARKS)
_WORD = re.compile(rf"\w[\w{_MARKS}]*")
# Scripts without spaces between words, and Hangul, whose particles hang on the word.
_RUN = re.compile(f"[{UNSPACED}\u3005\u3040\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]+")

Floats = NDArray[np.float32]
Hashes = NDArray[np.uint32]


class _Counts(NamedTuple):
    """Each word of each text once, by text and hash."""

    row: NDArray[np.int64]
    word: Hashes
    weight: NDArray[np.float64]  # 1 + log of how often the text has it


@dataclass(frozen=True)
class Lexicon:
    """v known words with a vector each."""

    words: Hashes  # [v] hashes, sorted
    idf: Floats  # [v]
    vectors: Floats  # [v, width]
    strength: Floats  # [width] mean square of the training texts in each direction
    unknown_idf: float
    space: str  # name of the directions: lexicons that grew from one have the same

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.vectors.shape[1]

    def encode(self, texts: Sequence[str]) -> Floats:
        """Vectors [n, width] of segment texts; zeros for a text without a known word."""
        known, _ = self.weights(_count(texts), len(texts))
        return np.asarray(known @ self.vectors, dtype=np.float32)

    def with_new_words(self, texts: Sequence[str], rooms: NDArray[np.integer], config: LexicalConfig) -> "Lexicon":
        """This lexicon, and the words new to it that `least_rooms` of the texts' rooms have.

        A new word's vector is the ridge regression of its weights on the texts' vectors (folding in). Known words keep IDF and
        vector, so texts of known words alone keep theirs.

        Args:
            texts: n segment texts; rooms: [n] of each text.
        """
        counts = _count(texts)
        words, in_rooms = _rooms_by_word(counts, np.asarray(rooms))
        new = ~np.isin(words, self.words) & (in_rooms >= config.least_rooms)
        words, in_rooms = _most_common(words[new], in_rooms[new], config.most_words - len(self.words))
        if not len(words):
            return self
        idf = _idf(in_rooms, len(np.unique(rooms)))
        known, length = self.weights(counts, len(texts))
        of_texts = np.asarray(known @ self.vectors)
        at = np.minimum(np.searchsorted(words, counts.word), len(words) - 1)
        of_new = words[at] == counts.word
        row, column = counts.row[of_new], at[of_new]
        weights = (counts.weight[of_new] * idf[column] / length[row]).astype(np.float32)
        together = csr_matrix((weights, (row, column)), shape=(len(texts), len(words))).T @ of_texts
        vectors = together / (len(texts) * (self.strength + _RIDGE * self.strength.mean()))
        order = np.argsort(np.concatenate([self.words, words]), kind="stable")
        return replace(
            self,
            words=np.concatenate([self.words, words])[order],
            idf=np.concatenate([self.idf, idf])[order],
            vectors=np.concatenate([self.vectors, vectors.astype(np.float32)])[order],
        )

    def save(self, path: Path) -> None:
        """Write an npz without pickle."""
        np.savez(
            path,
            format=np.array(_FORMAT),
            words=self.words,
            idf=self.idf,
            vectors=self.vectors,
            strength=self.strength,
            unknown_idf=np.float64(self.unknown_idf),
            space=np.array(self.space),
        )

    @classmethod
    def load(cls, path: Path) -> "Lexicon":
        """The lexicon that `save` wrote.

        Raises:
            BundleError: the file is missing, damaged, or of another format.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                if (found := str(file["format"])) != _FORMAT:
                    raise BundleError(
                        f"{path} is no lexicon of this version ({_FORMAT}, not {found[:40]}); run the retrain again"
                    )
                words, idf, vectors, strength = (file[name] for name in ("words", "idf", "vectors", "strength"))
                unknown_idf, space = float(file["unknown_idf"]), str(file["space"])
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} is not a readable lexicon ({error}); run the retrain again") from error
        if words.dtype != np.uint32 or vectors.shape != (len(words), len(strength)) or len(idf) != len(words):
            raise BundleError(f"{path} is not a readable lexicon (its tables differ in size); run the retrain again")
        return cls(words, idf, vectors, strength, unknown_idf, space)

    def weights(self, counts: _Counts, texts: int) -> tuple[csr_matrix, NDArray[np.float64]]:
        """(weights of known words [texts, v], length of each text's row of all words [texts])."""
        at = np.minimum(np.searchsorted(self.words, counts.word), max(len(self.words) - 1, 0))
        is_known = self.words[at] == counts.word if len(self.words) else np.zeros(len(at), dtype=bool)
        weight = counts.weight * np.where(is_known, self.idf[at] if len(self.words) else 0.0, self.unknown_idf)
        length = np.sqrt(np.bincount(counts.row, weight**2, texts))
        row, column = counts.row[is_known], at[is_known]
        values = (weight[is_known] / length[row]).astype(np.float32)
        return csr_matrix((values, (row, column)), shape=(texts, len(self.words))), length


def fit_lexicon(texts: Sequence[str], rooms: NDArray[np.integer], config: LexicalConfig) -> Lexicon:
    """A lexicon of the words that at least `least_rooms` rooms of the training days have.

    A word that one room alone has tells which room it is, and no other room will have it: the towers would learn from it what
    they cannot use on the next day.

    Args:
        texts: n segment texts; rooms: [n] broadcast of each.

    Raises:
        TrainingError: `texts` and `rooms` differ in length.
    """
    from sklearn.decomposition import TruncatedSVD  # the service reads lexicons, and starts without scikit-learn

    rooms = np.asarray(rooms)
    if len(texts) != len(rooms):
        raise TrainingError(f"there are {len(texts)} texts and {len(rooms)} rooms; give a room for each text")
    n_rooms = len(np.unique(rooms))
    counts = _count(texts)
    words, in_rooms = _rooms_by_word(counts, rooms)
    words, in_rooms = _most_common(
        words[in_rooms >= config.least_rooms], in_rooms[in_rooms >= config.least_rooms], config.most_words
    )
    unknown_idf = float(_idf(np.array([1]), n_rooms)[0])
    empty = np.zeros((len(words), config.width), dtype=np.float32)
    lexicon = Lexicon(words, _idf(in_rooms, n_rooms), empty, np.ones(config.width, dtype=np.float32), unknown_idf, "empty")
    distinct = list(dict.fromkeys(texts))
    drawn = np.sort(np.random.default_rng(config.seed).permutation(len(distinct))[:_FITTED_TEXTS])
    known, _ = lexicon.weights(_count([distinct[row] for row in drawn.tolist()]), len(drawn))
    width = min(config.width, *(size - 1 for size in known.shape))
    if width < 1:
        return lexicon
    svd = TruncatedSVD(width, random_state=config.seed).fit(known)
    lexicon.vectors[:, :width] = svd.components_.T
    strength = np.zeros(config.width, dtype=np.float32)
    strength[:width] = svd.singular_values_**2 / len(drawn)
    space = hashlib.blake2b(words.tobytes() + lexicon.vectors.tobytes(), digest_size=8).hexdigest()
    return replace(lexicon, strength=strength, space=space)


def words_of(text: str) -> Iterator[str]:
    """The words of a segment text that were said or written.

    Of a script without spaces, pairs of neighbouring characters, as search engines count them; of a lone character, itself.
    """
    for part in text.split(SEPARATOR):
        if _NOT_SAID.fullmatch(part):
            continue
        said = _LABEL.sub("", part).casefold().replace("_", " ")
        for word in _WORD.findall(said):
            if word.isascii() or not _RUN.search(word):
                if not _REPEATS.fullmatch(word):
                    yield word
                continue
            for run in _RUN.findall(word):
                yield from (run[place : place + 2] for place in range(max(1, len(run) - 1)))
            yield from _RUN.sub(" ", word).split()


def _count(texts: Sequence[str]) -> _Counts:
    hashes = array("L")
    lengths = []
    for text in texts:
        before = len(hashes)
        hashes.extend(zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words_of(text))
        lengths.append(len(hashes) - before)
    keys = np.repeat(np.arange(len(texts), dtype=np.int64) << 32, lengths) | np.array(hashes).astype(np.int64)
    keys, times = np.unique(keys, return_counts=True)
    return _Counts(keys >> 32, (keys & 0xFFFFFFFF).astype(np.uint32), 1 + np.log(times))


def _rooms_by_word(counts: _Counts, rooms: NDArray[np.integer]) -> tuple[Hashes, NDArray[np.int64]]:
    """Each word, sorted, and the number of rooms that have it."""
    _, room = np.unique(rooms, return_inverse=True)
    pairs = np.unique(counts.word.astype(np.uint64) << np.uint64(32) | room[counts.row].astype(np.uint64))
    words, in_rooms = np.unique(pairs >> np.uint64(32), return_counts=True)
    return words.astype(np.uint32), in_rooms


def _most_common(words: Hashes, in_rooms: NDArray[np.int64], most: int) -> tuple[Hashes, NDArray[np.int64]]:
    """The words that most rooms have, at most `most`, sorted by hash."""
    kept = np.sort(np.argsort(-in_rooms, kind="stable")[: max(0, most)])
    return words[kept], in_rooms[kept]


def _idf(in_rooms: NDArray[np.integer], rooms: int) -> Floats:
    """Smoothed inverse document frequency, a broadcast being the document."""
    return (1 + np.log((1 + rooms) / (1 + in_rooms))).astype(np.float32)
