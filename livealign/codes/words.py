"""The words of texts in any language, as one sparse matrix.

    vocabulary, contains = words_of(texts)    # str [w], csr float64 0/1 [texts, w]

Most scripts have spaces between words. In those without (Chinese, Japanese, Thai, Lao, Khmer, Burmese) a word is a run of two
to four characters that occurs in more than one surrounding: "欢象" always lies within "喜欢象棋" and is no word, "象棋" is one.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from livealign.scripts import COMBINING_MARKS, UNSPACED

VOCABULARY = 20_000  # words at most: those of the most texts
SHORTEST = 3  # characters of a word between spaces
RUN = range(2, 5)  # characters of a word in a script without spaces
ONE_SURROUNDING = 0.8  # share of a run's texts that have one and the same longer run: from here on the run is a part of it

_TOKEN = re.compile(f"([{UNSPACED}]+)|[^\\W\\d_{UNSPACED}](?:[^\\W_{UNSPACED}]|[{COMBINING_MARKS}])*")
_RUN = re.compile(f"[{UNSPACED}]")
_LAUGHTER = re.compile(r"(\w{1,2})\1{2,}\w?|(\w)\2+")  # "jajaja", "hahahah", "kkkk", "哈哈": one or two letters again and again


def words_of(texts: Sequence[str]) -> tuple[NDArray[np.str_], csr_matrix]:
    """The vocabulary [w] in alphabetical order, and 1 where a text has the word [texts, w]."""
    of_text = [set(_tokens(text.lower())) for text in texts]
    counts = Counter(token for tokens in of_text for token in tokens)
    within: dict[str, int] = {}  # texts with the most frequent run of one character more
    for token, count in counts.items():
        for part in (token[1:], token[:-1]) if _is_run(token) else ():
            within[part] = max(within.get(part, 0), count)
    words = [word for word, count in counts.items() if _is_word(word, count, within.get(word, 0))]
    vocabulary = sorted(sorted(words, key=lambda word: (-counts[word], word))[:VOCABULARY])
    column = {word: place for place, word in enumerate(vocabulary)}
    rows, columns = [], []
    for row, tokens in enumerate(of_text):
        known = [column[token] for token in tokens if token in column]
        columns += known
        rows += [row] * len(known)
    contains = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), len(vocabulary)))
    contains.sort_indices()  # the order within a set of texts differs from run to run
    return np.array(vocabulary, dtype=np.str_), contains


def _tokens(text: str) -> Iterator[str]:
    """Words between spaces; of scripts without, every run of RUN characters and of one more."""
    for found in _TOKEN.finditer(text):
        if not found[1]:
            yield found[0]
            continue
        for length in range(RUN.start, RUN.stop + 1):
            for start in range(len(found[0]) - length + 1):
                yield found[0][start : start + length]


def _is_word(token: str, count: int, within: int) -> bool:
    if _LAUGHTER.fullmatch(token):
        return False
    return len(token) in RUN and within < ONE_SURROUNDING * count if _is_run(token) else len(token) >= SHORTEST


def _is_run(token: str) -> bool:
    return bool(_RUN.match(token))
