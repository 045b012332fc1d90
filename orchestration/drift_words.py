"""How much of what is said on a day was never said in the reference: the share of new words, room by room.

A topic that appears overnight is a few rooms among dozens, which distributions over all impressions hardly show. Its words
show it at once: in its rooms a good part of the vocabulary is new. How much is new by chance, because every room has words of
its own, whole rooms changing sides tell.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from livealign.config import DriftConfig
from orchestration.drift_chance import MAXIMUM_ROOMS, MINIMUM_ROOMS
from orchestration.drift_frames import DriftError, segment_files

NEW_WORDS = "new_words"
_PERMUTATIONS_AT_ONCE = 250
_EXAMPLES = 8
QUERY = """
with segments as (
    select room_id, lower(concat_ws(' ', speech_text, chat_text)) as said
    from read_parquet($segments, hive_partitioning = false, union_by_name = true)
),
rooms as (select distinct room_id from segments order by hash(room_id, $seed), room_id limit $rooms)
select distinct room_id, unnest(regexp_extract_all(said, '\\p{L}{3,}')) as word
from segments semi join rooms using (room_id)
order by room_id, word
"""


class NewWords(NamedTuple):
    """What the day's rooms say that no room of the reference said."""

    score: float  # mean over the day's rooms of the share of a room's distinct words that are new
    null: NDArray[np.float64]  # [permutations] the same after whole rooms have changed sides
    examples: tuple[str, ...]  # new words that most of the day's rooms share, most common first


def room_words(marts: Path, days: Sequence[date], config: DriftConfig) -> pd.DataFrame:
    """The distinct words (three letters or more) of each room of these days: columns room_id, word.

    Of at most 1,000 rooms, drawn by the seed; more would tell little more and cost much.

    Raises:
        DriftError: a day's segments are missing or unreadable.
    """
    files = [segment_files(marts, day)[0] for day in days]
    try:
        with duckdb.connect() as connection:
            return connection.execute(QUERY, {"segments": files, "seed": config.seed, "rooms": MAXIMUM_ROOMS}).df()
    except duckdb.Error as error:
        raise DriftError(
            f"{marts}: the segments of {days[0]} to {days[-1]} cannot be read ({error}); build them again"
        ) from error


def new_words(reference: pd.DataFrame, current: pd.DataFrame, config: DriftConfig) -> NewWords:
    """Hold the rooms' words of a day against those of the reference, both from `room_words`.

    With fewer than three rooms on a side nothing is permuted.
    """
    sides = [frame["room_id"].nunique() for frame in (reference, current)]
    if not min(sides):
        return NewWords(0.0, np.empty(0), ())
    word, words = pd.factorize(pd.concat([reference["word"], current["word"]], ignore_index=True))
    left, right = (np.unique(frame["room_id"], return_inverse=True)[1] for frame in (reference, current))
    room = np.concatenate([left, right + sides[0]])
    said = csr_array((np.ones(len(room), np.float32), (room, word)), shape=(sum(sides), len(words)))
    is_reference = np.repeat(np.array([1, 0], np.float32), sides)
    times = config.permutations if min(sides) >= MINIMUM_ROOMS else 0
    rng = np.random.default_rng(config.seed)
    null = [
        _shares(said, rng.permuted(np.tile(is_reference, (min(_PERMUTATIONS_AT_ONCE, times - done), 1)), axis=1))
        for done in range(0, times, _PERMUTATIONS_AT_ONCE)
    ]
    today = np.asarray(said[sides[0] :].sum(axis=0)).reshape(-1)
    unseen = np.asarray(said[: sides[0]].sum(axis=0)).reshape(-1) == 0
    common = np.argsort(-today * unseen, kind="stable")[:_EXAMPLES]
    examples = tuple(str(words[one]) for one in common if unseen[one] and today[one] > 1)
    score = float(_shares(said, is_reference[None])[0])
    return NewWords(score, np.concatenate(null) if null else np.empty(0), examples)


def _shares(said: csr_array, is_reference: NDArray[np.float32]) -> NDArray[np.float64]:
    """[k] the mean share of new words of the rooms that are not reference, for assignments [k, rooms] of rooms to sides."""
    unseen = ((said.T @ is_reference.T) == 0).astype(np.float32)  # [words, k]
    new = np.asarray(said @ unseen) / np.asarray(said.sum(axis=1)).reshape(-1, 1)  # [rooms, k]
    others = 1 - is_reference.T
    return ((new * others).sum(0) / others.sum(0)).astype(np.float64)
