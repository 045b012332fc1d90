"""Test for new words: their share in the day's rooms, against permutations of whole rooms.

A new topic moves every average of the text a little, and that is lost among forty rooms that differ anyway. What sets it
apart is that its words were in no room before. Some words are always new: names, typing errors. How many is estimated from
the rooms themselves, by the same measure after rooms changed sides at random.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from livealign.files import duckdb_path
from livealign.operation_config import DriftConfig
from orchestration.drift.chance import RoomPermutations, RoomTest, chance_threshold, p_value
from orchestration.drift.columns import DriftError, partition

CELLS_AT_ONCE = 1 << 16  # bounds the memory of the permutations: half a KiB for each (room, word)
EXAMPLES = 10

# A word is three letters or more; scripts without spaces between words are cut into pairs of characters.
WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]{2}|[\p{L}\p{M}]{3,}"
QUERY = """
with texts as (
    select room_id, coalesce(speech_text, '') || ' ' || coalesce(chat_text, '') as text
    from read_parquet($segments, hive_partitioning = false)
),
sampled as (
    select room_id from texts group by room_id having max(length(text)) > 1 order by hash(room_id, $seed), room_id limit $rooms
),
words as (
    select room_id, unnest(regexp_extract_all(lower(text), $word)) as word
    from texts join sampled using (room_id)
)
select distinct room_id, word from words order by room_id, word
"""


def room_words(marts: Path, days: Sequence[date], config: DriftConfig) -> pd.DataFrame:
    """The words said and written in the rooms of these days.

    At most `config.word_rooms` rooms, spread evenly over the days.

    Args:
        marts: folder of `segments/dt=YYYY-MM-DD/part-0.parquet`.

    Returns:
        A row for each day, room and word of it: dt (str), room_id (int64), word (category). A room without words has no row.

    Raises:
        DriftError: a day's segments are missing or unreadable.
    """
    if not days:
        raise DriftError("drift needs at least one day")
    frames = []
    with duckdb.connect() as connection:
        for day in days:
            file = partition(marts, "segments", day)
            arguments = {
                "segments": duckdb_path(file),
                "word": WORD,
                "seed": config.seed,
                "rooms": max(config.word_rooms // len(days), 1),
            }
            try:
                table = connection.sql(QUERY, params=arguments).to_arrow_table()
            except duckdb.Error as error:
                raise DriftError(f"{file} cannot be read ({error}); materialize the mart segments of {day} again") from error
            words = table.column("word").combine_chunks().dictionary_encode()
            frames.append(table.set_column(1, "word", words).to_pandas().assign(dt=str(day)))
    kinds = pd.api.types.union_categoricals([frame["word"] for frame in frames]).categories
    for frame in frames:
        frame["word"] = frame["word"].cat.set_categories(kinds)
    return pd.concat(frames, ignore_index=True)[["dt", "room_id", "word"]]


def words_test(reference: pd.DataFrame, current: pd.DataFrame, config: DriftConfig, tests: int = 1) -> RoomTest:
    """The mean share of new words in the day's rooms, and its threshold.

    A word is new if no room of the reference says it. A word counts once in a room, however often it is said.

    The threshold is the largest of three: the mean of chance plus the floor, the score that chance exceeds only with
    probability `false_alarms / tests`, and the largest share that a reference day had (`_quiet_days`). With fewer than three
    rooms on a side it is 1, which no score exceeds.

    Args:
        reference, current: from `room_words`, neither empty.
        tests: how many columns and embeddings share the report's false alarms.

    Returns:
        The test; `examples` are new words, in order of the number of rooms that say them.
    """
    words = pd.api.types.union_categoricals([reference["word"], current["word"]])
    chance = RoomPermutations.of(_rooms(reference), _rooms(current), config)
    cells = _Cells.of(chance.room, words)
    (score,) = cells.new_share(chance.label[None])
    null = cells.new_share(chance.permuted)
    examples = cells.new_words(chance.label)
    if len(null) == 0:
        return RoomTest(float(score), 1.0, 1.0, examples)
    floor = float(null.mean()) + config.new_words_threshold
    threshold = max(floor, chance_threshold(null, tests, config), _quiet_days(reference, config))
    return RoomTest(float(score), threshold, p_value(score, null), examples)


def _quiet_days(reference: pd.DataFrame, config: DriftConfig) -> float:
    """The largest share of new words that a reference day had; 0 if there are too few days.

    Of each day against all others, and of the last days against those before them: where rooms always speak of what no day
    before spoke of, and speak of it again, only the days before show how much is new on a quiet day.
    """
    days = sorted(set(reference["dt"]))
    if len(days) < config.quiet_days:
        return 0.0
    last = days[max(config.quiet_days, len(days) - config.quiet_days) :]
    shares = [_share_of_days(reference, days)]
    shares += [_share_of_days(reference[reference["dt"] <= day], [day]) for day in last]
    return max(shares)


def _share_of_days(words: pd.DataFrame, days: Sequence[str]) -> float:
    """The largest share of new words of one of the days against all other days of `words`."""
    room = _rooms(words)
    day = words["dt"].to_numpy()[np.unique(room, return_index=True)[1]]  # [R]
    cells = _Cells.of(room, words["word"].array)
    return float(cells.new_share(np.array([day != one for one in days])).max())


def _rooms(words: pd.DataFrame) -> NDArray[np.int64]:
    """The room of each row, [n] 0..R-1: a room after midnight counts as another room."""
    return words.groupby(["dt", "room_id"]).ngroup().to_numpy()


@dataclass(frozen=True)
class _Cells:
    """Pairs of a room and a word that it says, sorted by word, so that the cells of a word are adjacent."""

    room: NDArray[np.int64]  # [cells] 0..R-1
    share: NDArray[np.float64]  # [cells] 1 / the number of the room's words
    first: NDArray[np.int64]  # [words] each word's first cell
    words: NDArray  # [words] str

    @classmethod
    def of(cls, room: NDArray[np.int64], words: pd.Categorical) -> "_Cells":
        order = np.argsort(words.codes, kind="stable")
        code, share = words.codes[order], 1 / np.bincount(room)[room]
        first = np.flatnonzero(np.diff(code, prepend=-1))
        return cls(room[order], share[order], first, np.asarray(words.categories[code[first]], object))

    def new_share(self, labels: NDArray) -> NDArray[np.float64]:
        """The mean share of new words in the day's rooms [k], for `labels` [k, R]: 1 for rooms of the reference."""
        is_day = np.asarray(labels) == 0
        bits = np.packbits(is_day.T, axis=1)  # [R, k / 8]: a bit for each of the k assignments
        total = np.zeros(len(is_day))
        for words, cells in self._pieces():
            first = self.first[words] - cells.start
            # A word is new where all rooms that say it are on the day's side.
            new = np.bitwise_and.reduceat(bits[self.room[cells]], first, axis=0)
            total += np.add.reduceat(self.share[cells], first) @ np.unpackbits(new, axis=1, count=len(is_day))
        return total / np.maximum(is_day.sum(axis=1), 1)

    def new_words(self, label: NDArray) -> tuple[str, ...]:
        """The new words by falling number of rooms; ties by their summed share of the rooms' words."""
        new = np.logical_and.reduceat(label[self.room] == 0, self.first)
        rooms, share = np.diff(np.append(self.first, len(self.room))), np.add.reduceat(self.share, self.first)
        order = np.lexsort((self.words.astype(str), -share, -rooms))
        return tuple(str(self.words[place]) for place in order[new[order]][:EXAMPLES])

    def _pieces(self) -> Iterator[tuple[slice, slice]]:
        """Yield slices of the words and of their cells, with a bounded number of cells each."""
        ends = np.append(self.first[1:], len(self.room))
        word = 0
        while word < len(self.first):
            until = max(int(np.searchsorted(ends, self.first[word] + CELLS_AT_ONCE, side="right")), word + 1)
            yield slice(word, until), slice(int(self.first[word]), int(ends[until - 1]))
            word = until
