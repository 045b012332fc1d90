"""A few words for each code path: "3", "3-7", "3-7-0".

    names = name_codes(codes, texts, SegmentsOf(rooms, authors, started_at))    # {"3": "chess, queen", "3-7-0": "endgame"}
    path_names([3, 7, 0], names)                        # ["chess, queen", "", "endgame"]

A residual code has a meaning only after the codes before it. A path is therefore compared with its siblings, and takes no word
from the names above it. A word names a path if

- the path says it more often than its siblings do, beyond chance (log likelihood ratio, Dunning 1993);
- it is not the word of one room, one author or one child alone;
- it has company: the minutes around it have few first codes, in whatever room it is said. Greetings, places, fillers and
  garbled speech are said in rooms of every kind, and are found so in every language, without a list.

A path without such words, or whose windows seldom say them, has no name.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import ndtri, xlogy

from livealign.codes.words import words_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHANCE = 1.0  # words of a level that would pass by chance (Bonferroni)
INDEPENDENT = 0.25  # a room's n windows in a path count as n^0.25 independent ones (measured: docs/experiments/codes.md)
OTHERS = 0.5  # how often the other rooms, or authors, say a word of the loudest one, of what their windows would let expect
CHILDREN = 0.2  # the same of a path's children: a word of one child is left to it
SPELL = 300_000  # milliseconds of a room that keep company: a broadcast changes its subject
LEAST_COMPANY = 0.12  # of a word; greetings, places and laughter of the simulator and of Twitch have at most 0.1
COVERED = 0.15  # share of a path's windows with a word of its name, at least
ENOUGH = 10.0  # times as often as among the siblings: more counts no more, or rare words would win
WEAKEST = 0.3  # score of a name's last word by its first, at least
_BETWEEN = ", "  # the words of a name


class SegmentsOf(NamedTuple):
    """The rooms, authors and start times of n segments."""

    rooms: Ints  # [n] ids
    authors: Ints  # [n] ids
    started_at: Ints  # [n] epoch milliseconds


def name_codes(
    codes: NDArray[np.integer], texts: Sequence[str], segments: SegmentsOf, words: int = 3, minimum: int = 5
) -> dict[str, str]:
    """Names of the code paths that words distinguish from their siblings.

    Args:
        codes: [n, levels] of n segments; texts: what was said in them [n].
        words: of a name, at most; minimum: segments of a path, at least.

    Returns:
        path ("3", "3-7") → name.
    """
    rooms, authors, started_at = segments
    vocabulary, contains = words_of(texts)
    company = _company(contains, rooms, started_at, codes[:, 0]) if len(vocabulary) else np.zeros(0)
    telling = company > LEAST_COMPANY
    vocabulary, contains, company = vocabulary[telling], contains[:, telling], company[telling]
    names: dict[str, str] = {}
    for level in range(codes.shape[1] if len(vocabulary) else 0):
        families = _groups(codes[:, :level])
        for rows in families:
            paths = _groups(codes[rows, level : level + 1])
            if level and len(paths) == 1:
                continue  # an only child is its parent
            family = contains[rows]
            said = np.flatnonzero(family.getnnz(axis=0))
            if not len(said):
                continue  # silent windows
            parts = [(rooms[rows], OTHERS), (authors[rows], OTHERS)]
            parts += [(children, CHILDREN) for children in codes[rows, level + 1 : level + 2].T]
            scores = _scores(family[:, said], paths, parts, company[said], CHANCE / len(families))
            for members, score in zip(paths, scores, strict=True):
                path = codes[rows[members[0]], : level + 1].tolist()
                above = [word for depth in range(1, level + 1) for word in names.get(_key(path[:depth]), "").split(_BETWEEN)]
                best = _best(score, vocabulary[said], words, [word for word in above if word])
                covered = np.mean(family[members][:, said[best]].sum(1) > 0)
                if best and len(members) >= minimum and covered >= COVERED:
                    names[_key(path)] = _BETWEEN.join(vocabulary[said[best]].tolist())
    return names


def path_names(codes: Sequence[int], names: Mapping[str, str]) -> list[str]:
    """A name for each level of one code path; "" where the level has none of its own."""
    return [names.get(_key(codes[: level + 1]), "") for level in range(len(codes))]


def _key(path: Sequence[int]) -> str:
    return "-".join(map(str, path))


def _groups(keys: NDArray[np.integer]) -> list[Ints]:
    """The rows [·] of each distinct row of `keys` [n, k], in the order of the keys."""
    if not keys.shape[1]:
        return [np.arange(len(keys))]
    _, group = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group.reshape(-1)[order])) + 1)


def _company(contains: csr_matrix, rooms: Ints, started_at: Ints, first: NDArray[np.integer]) -> Floats:
    """[words] how alike the spells of different rooms are that say a word: 0 as any two, 1 all of one first code.

    Two spells are alike by the chance that a window of each has the same first code. A word of one room has no company.
    """
    (room, _), spell = np.unique(np.stack([rooms, started_at // SPELL]), axis=1, return_inverse=True)
    _, code = np.unique(first, return_inverse=True)
    by_spell = _means(spell.reshape(-1))
    kinds = (by_spell @ _sums(code.reshape(-1), np.ones(len(first))).T).toarray()  # [spells, codes] shares of its windows
    by_room = _means(np.unique(room, return_inverse=True)[1].reshape(-1))
    alike = _alike((by_spell @ contains).sqrt().tocsr(), kinds, by_room)
    (anywhere,) = _alike(csr_matrix(np.ones((len(kinds), 1))), kinds, by_room)
    if not 0 < anywhere < 1:
        return np.zeros(len(alike))
    return np.asarray(1 - np.log(np.maximum(alike, anywhere)) / np.log(anywhere))


def _alike(weight: csr_matrix, kinds: Floats, by_room: csr_matrix) -> Floats:
    """[words] mean product of the kinds of spells of two different rooms, by both spells' `weight` [spells, words]."""
    products = np.zeros(weight.shape[1])
    for kind in kinds.T:
        products += _pairs((by_room @ weight.multiply(kind[:, None])).tocsr())
    pairs = _pairs((by_room @ weight).tocsr())
    return np.divide(products, pairs, out=np.zeros(len(pairs)), where=pairs > 1e-12)


def _pairs(matrix: csr_matrix) -> Floats:
    """[columns] sum over pairs of different rows of the product of their values."""
    return np.asarray(matrix.sum(0)).reshape(-1) ** 2 - np.asarray(matrix.multiply(matrix).sum(0)).reshape(-1)


def _scores(
    contains: csr_matrix,
    paths: Sequence[Ints],
    parts: Sequence[tuple[NDArray[np.integer], float]],
    company: Floats,
    chance: float,
) -> Floats:
    """[paths, words] how well a word distinguishes a path from its siblings, 0 where it does not.

    Args:
        contains: [n, words] of a family's windows; paths: the windows of each sibling.
        parts: groupings of the windows [n], the rooms first, and what `_is_shared` asks of each.
        chance: words of the family that would pass by chance.
    """
    said, total = np.zeros((len(paths), contains.shape[1])), np.zeros((len(paths), 1))
    shared = np.zeros(said.shape, dtype=np.bool_)
    for place, rows in enumerate(paths):
        _, room, windows = np.unique(parts[0][0][rows], return_inverse=True, return_counts=True)
        weight = windows[room.reshape(-1)] ** (INDEPENDENT - 1)
        said[place], total[place] = weight @ contains[rows], weight.sum()
        shared[place] = np.all([_is_shared(contains[rows], part[rows], weight, least) for part, least in parts], axis=0)
    rest, others = said.sum(0) - said, total.sum() - total
    everywhere = said.sum(0) / total.sum()
    surprise = _divergence(said, total, everywhere) + _divergence(rest, others, everywhere)  # half of Dunning's G
    here, there = said / total, rest / np.maximum(others, 1e-12)
    sure = (here > there) & (np.sqrt(2 * np.maximum(surprise, 0)) > -ndtri(chance / said.size))
    times = np.divide(here, there, out=np.full(here.shape, ENOUGH), where=there * ENOUGH > here)
    return np.where(sure & shared, here * np.log(np.maximum(times, 1.0)) * company, 0.0)


def _divergence(said: Floats, total: Floats, share: Floats) -> Floats:
    """Log likelihood that `said` of `total` gain by their own share over a given one."""
    own = said / np.maximum(total, 1e-12)
    return xlogy(said, own / share) + xlogy(total - said, (1 - own) / np.maximum(1 - share, 1e-12))


def _is_shared(contains: csr_matrix, part: NDArray[np.integer], weight: Floats, least: float) -> NDArray[np.bool_]:
    """[words] whether a word's loudest part leaves the others `least` of what their share of the windows [n] would be."""
    sums = _sums(np.unique(part, return_inverse=True)[1].reshape(-1), weight)
    by_part, windows = (sums @ contains).toarray(), np.asarray(sums.sum(1)).reshape(-1)
    others = 1 - windows[by_part.argmax(0)] / windows.sum()
    said = by_part.sum(0)
    return np.asarray(said - by_part.max(0) > least * others * said - 1e-9)


def _sums(group: Ints, weight: Floats) -> csr_matrix:
    """[groups, n] that sums n weighted rows by group."""
    return csr_matrix((weight, (group, np.arange(len(group)))))


def _means(group: Ints) -> csr_matrix:
    """[groups, n] that averages n rows by group."""
    return _sums(group, 1 / np.bincount(group)[group])


def _best(scores: Floats, vocabulary: NDArray[np.str_], words: int, above: Sequence[str]) -> list[int]:
    """Places of the best words; none contains a word of the paths above or another of them, or is contained in it."""
    chosen: list[int] = []
    taken = list(above)
    for place in np.lexsort((vocabulary, -scores)).tolist():
        if len(chosen) == words or scores[place] <= WEAKEST * scores.max():
            break
        word = str(vocabulary[place])
        if not any(word in other or other in word for other in taken):
            chosen.append(place)
            taken.append(word)
    return chosen
