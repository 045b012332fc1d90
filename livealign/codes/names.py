"""A few words for each code (class-based TF-IDF).

The words are from the segments with the code. A residual code has a meaning only after the codes before it, so a name belongs
to a path: "3", "3-7", "3-7-0". A path is named by the words that distinguish its segments from its siblings' (class-based
TF-IDF, as in BERTopic, arXiv 2203.05794, eq. 1). Segments are counted instead of words, so that a line repeated a hundred
times counts once.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

_WORD = r"(?u)\b[^\W\d_]{3,}\b"
_VOCABULARY = 20_000  # most frequent words, of which names are made
_NAMELESS = "little said"


def name_codes(
    codes: NDArray[np.integer], texts: Sequence[str], words: int = 3, minimum: int = 5, levels: int = 2
) -> dict[str, str]:
    """Names of all code paths of the first `levels` levels with `minimum` or more segments.

    Args:
        codes: [n, levels] of n segments; texts: what was said in them, [n].
        words: number of words of each name.

    Returns:
        path ("3", "3-7") → name.
    """
    if not any(text.strip() for text in texts):
        return {}
    vectorizer = CountVectorizer(binary=True, token_pattern=_WORD, max_features=_VOCABULARY)
    try:
        contains = vectorizer.fit_transform(texts)  # [n, words] 0/1
    except ValueError:  # sklearn raises it if no text has a word
        return {}
    vocabulary = vectorizer.get_feature_names_out()
    names: dict[str, str] = {}
    for level in range(min(levels, codes.shape[1])):
        paths, members = np.unique(codes[:, : level + 1], axis=0, return_inverse=True)
        sizes = np.bincount(members.reshape(-1), minlength=len(paths))
        of_path = np.zeros((len(paths), contains.shape[1]))
        for row in range(len(paths)):
            of_path[row] = np.asarray(contains[np.flatnonzero(members.reshape(-1) == row)].sum(0)).reshape(-1)
        _, parents = np.unique(paths[:, :level], axis=0, return_inverse=True)
        for family in np.unique(parents):
            siblings = np.flatnonzero(parents.reshape(-1) == family)
            if level and len(siblings) == 1:
                continue  # an only child has its parent's name
            scores = _distinctive(of_path[siblings], sizes[siblings])
            for sibling, score in zip(siblings, scores, strict=True):
                if sizes[sibling] >= minimum:
                    names["-".join(map(str, paths[sibling]))] = _name(score, vocabulary, words)
    return names


def path_names(codes: Sequence[int], names: Mapping[str, str]) -> list[str]:
    """A name for each level of one code path.

    A path without a name has the name of its longest named beginning.
    """
    result, last = [], f"code {codes[0]}" if len(codes) else ""
    for level in range(len(codes)):
        last = names.get("-".join(str(code) for code in codes[: level + 1]), last)
        result.append(last)
    return result


def _distinctive(counts: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """[paths, words]: share of the path's segments with the word × log(1 + mean size / segments with the word).

    Words that are no more frequent in the path than among all its siblings score 0.
    """
    share = counts / np.maximum(sizes, 1)[:, None]
    total = counts.sum(0)
    scores = share * np.log1p(sizes.mean() / np.maximum(total, 1))
    if len(counts) > 1:
        scores = np.where(share > total / sizes.sum(), scores, 0.0)
    return scores


def _name(scores: NDArray[np.float64], vocabulary: NDArray, words: int) -> str:
    best = np.lexsort((vocabulary, -scores))[:words]
    return ", ".join(str(vocabulary[word]) for word in best if scores[word] > 0) or _NAMELESS
