"""The context of impressions: the hour, and the viewer's language and country.

It is what was known when the list was asked for: the hour is that of the impression, the language that of most rooms which
the viewer had entered before it, the country that of the viewer's profile. Beside it stand the properties of the room that a
context may prefer. Names are case-folded; "" is unknown.
"""

from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.columns import Ints, place
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Examples
from livealign.dataset.marts import built_days, read_mart

HOUR_MS = 3_600_000

Names = NDArray[np.object_]


def hour_of(at: int) -> str:
    """The hour of a context; `at`: epoch milliseconds."""
    return str(at // HOUR_MS % 24)


class ContextColumns(NamedTuple):
    """n impressions: three columns of the context, two of the room."""

    hour: Names  # [n] of the day, UTC, "0" to "23"
    language: Names  # [n] the viewer's
    country: Names  # [n] the viewer's
    room_code: Names  # [n] first code of the room's content
    room_language: Names  # [n]


def context_columns(corpus: Corpus, examples: Examples, codes: NDArray[np.integer], marts: Path) -> ContextColumns:
    """The contexts of impressions of the corpus.

    Args:
        codes: [items, levels] of the corpus' items. marts: the marts' folder; a platform whose profiles have no country, and
            rooms of days that were not built, are unknown.
    """
    of_room = _by_id(marts, "rooms", "room_id", "language", corpus.day)
    return ContextColumns(
        hour=(examples.shown_at // HOUR_MS % 24).astype(str).astype(object),
        language=_languages_entered(corpus, examples, of_room),
        country=_looked_up(_by_id(marts, "user_countries", "user_id", "country", corpus.day), examples.user_id),
        room_code=codes[examples.item, 0].astype(str).astype(object),
        room_language=_looked_up(of_room, examples.room_id),
    )


class _NamesById(NamedTuple):
    ids: Ints  # sorted
    names: Names


def _by_id(marts: Path, mart: str, key: str, column: str, until: date) -> _NamesById:
    """The newest known name of each id, over the days of a mart."""
    days = [day for day in built_days(marts, mart) if day <= until]
    if not days:  # an earlier version built the marts
        return _NamesById(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=object))
    rows = read_mart(marts, mart, days, [key, column])
    names = {key: name.casefold() for key, name in zip(rows[key].to_pylist(), rows[column].to_pylist(), strict=True) if name}
    ids = np.array(sorted(names), dtype=np.int64)
    return _NamesById(ids, np.array([names[key] for key in ids.tolist()], dtype=object))


def _looked_up(known: _NamesById, ids: Ints) -> Names:
    return np.append(known.names, "")[place(known.ids, ids)]  # -1, the last, where unknown


def _languages_entered(corpus: Corpus, examples: Examples, of_room: _NamesById) -> Names:
    """[n] the language of most rooms of each history; of equally many, the first by the alphabet."""
    of_segment = _looked_up(of_room, corpus.segment_room_id)
    languages, index = np.unique(of_segment.astype(str), return_inverse=True)
    counts = np.zeros((len(examples), len(languages)), dtype=np.int32)
    for position in range(examples.places):
        inside = np.flatnonzero(position < examples.history_length)
        segments = examples.engaged.segment[examples.history[inside, position]]
        counts[inside, index[segments]] += 1
    counts[:, languages == ""] = 0
    return np.where(counts.any(1), languages[counts.argmax(1)], "").astype(object)
