"""Telling words that both texts of a pair have, kept on one side only.

The two texts of a pair name the same few things, and equal words alone would match them. A model tuned on that learns to find
words again, which counting does as well, and nothing of words that it was not tuned on. Where a telling word is on one side
only, the pair is matched by what its words mean: "the Najdorf" with "the Berlin Defence", which were said in one broadcast.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from livealign.llm.segment_text import WindowText

_WORD = re.compile(r"\w\w+")
_MANY_ROOMS = 0.05  # share of rooms; a word that more of them say tells little of one


def telling_words(rooms: np.ndarray, windows: Sequence[WindowText]) -> frozenset[str]:
    """The words, casefolded, that few rooms say.

    Args:
        rooms: int64 [n], of each window.
        windows: n windows.
    """
    said = {(int(room), word) for room, window in zip(rooms, windows, strict=True) for word in _words(window)}
    in_rooms = Counter(word for _, word in said)
    most = max(1.0, _MANY_ROOMS * len(np.unique(rooms)))
    return frozenset(word for word, count in in_rooms.items() if count <= most)


def with_shared_words_split(
    left: WindowText, right: WindowText, telling: Collection[str], rng: np.random.Generator
) -> tuple[WindowText, WindowText]:
    """Both windows, with each shared telling word on one of them.

    They are unchanged where a side would lose all that tells. Words that stand side by side are one name and stay together.
    """
    names = _shared_names(left, right, telling)
    if len(names) < 2:
        return left, right
    on_left = rng.permutation(len(names)) < rng.integers(1, len(names))
    from_left = {word for name, here in zip(names, on_left, strict=True) if not here for word in name}
    from_right = {word for name, here in zip(names, on_left, strict=True) if here for word in name}
    return _without(left, from_left), _without(right, from_right)


def _shared_names(left: WindowText, right: WindowText, telling: Collection[str]) -> list[set[str]]:
    """The telling words of both windows, in names: words that are neighbours on either side."""
    shared = {word for word in _words(left) if word in telling} & set(_words(right))
    names: list[set[str]] = []
    for window in (left, right):
        for text in (window.title, window.speech, *window.chat):
            for run in _runs(text, shared):
                joined = [name for name in names if name & run]
                names = [name for name in names if not name & run] + [run.union(*joined)]
    return sorted(names, key=sorted)


def _runs(text: str, shared: Collection[str]) -> Iterator[set[str]]:
    run: set[str] = set()
    for match in _WORD.finditer(text):
        word = match.group().casefold()
        if word in shared:
            run.add(word)
        elif run:
            yield run
            run = set()
    if run:
        yield run


def _words(window: WindowText) -> Iterator[str]:
    for text in (window.title, window.speech, *window.chat):
        for match in _WORD.finditer(text):
            yield match.group().casefold()


def _without(window: WindowText, words: Collection[str]) -> WindowText:
    """The window without these words; messages that had nothing else are gone."""
    if not words:
        return window

    def kept(text: str) -> str:
        return _WORD.sub(lambda match: "" if match.group().casefold() in words else match.group(), text).strip()

    chat = tuple(text for message in window.chat if (text := kept(message)))
    return window._replace(title=kept(window.title), speech=kept(window.speech), chat=chat)
