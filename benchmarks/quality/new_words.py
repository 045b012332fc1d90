"""The share of real broadcasts that speak of what was unsaid in the week before.

    python -m benchmarks.quality.new_words --archive ../shared/data/twitch_archive     # Twitch VOD chat archives

The telling words of a broadcast are those of its title and of at least three viewers with the highest class-based TF-IDF
against the other broadcasts. A broadcast is new if most of them were unsaid in the broadcasts of the seven days before: in no
message and no title, or in fewer than two or ten. Broadcasts of the first seven days, and those with none in the seven days
before, are left out. The interval is bootstrapped over broadcasts. `NEW_WORDS` of the simulated platform is the
first row's share, rounded to a tenth.
"""

import argparse
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import DictVectorizer

from benchmarks.json_rows import BOOTSTRAP, JsonRows, add_json_option
from livealign.days import DAY_MS
from livealign.platforms.registry import archive_days, land
from livealign.simulation.lexicon import words_of

DAYS_BEFORE = 7
FEWEST_VIEWERS = 3  # who say a word, for it to tell of the broadcast
FEWEST_WORDS = 20  # of a broadcast that is measured
SHORTEST_WORD = 3  # letters
RESAMPLES = 2_000


@dataclass(frozen=True)
class Broadcast:
    """One broadcast: in how many messages each word was said.

    `counts` has only the words of the title and of three viewers.
    """

    channel: int
    started_at: int  # epoch milliseconds
    said: Counter[str]
    counts: dict[str, int]


def main() -> None:
    """Print and record the share by scope, by what counts as said, by number of words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="folder of channels")
    parser.add_argument("--seed", type=int, default=17, help="of the bootstrap (default: %(default)s)")
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, arguments.seed)
    broadcasts = read_broadcasts(arguments.archive.resolve())
    print(f"{'said':<42}{'telling words':>14}{'new':>8}{'interval':>18}{'broadcasts':>12}")
    for scope, least, number in product(("platform", "channel"), (1, 2, 10), (10, 5, 20)):
        new = new_broadcasts(broadcasts, number, scope == "channel", least)
        low, high = interval(new, arguments.seed)
        name = f"in fewer than {least} messages of the {scope}"
        print(f"{name:<42}{number:>14}{new.mean():>8.3f}{f'{low:.3f} to {high:.3f}':>18}{len(new):>12}")
        out.add(f"new broadcasts, {number} words said {name}", new.mean(), "share", (low, high), BOOTSTRAP)
    out.write()


def read_broadcasts(archive: Path) -> list[Broadcast]:
    """The broadcasts of an archive in the order of time; bots are not heard."""
    with tempfile.TemporaryDirectory() as folder:
        land("twitch", archive, Path(folder), archive_days("twitch", archive))
        rooms = (
            duckdb.read_parquet(f"{folder}/rooms/dt=*/*.parquet")
            .aggregate("room_id, any_value(author_id), epoch_ms(min(started_at)) as started_at, any_value(title)", "room_id")
            .order("started_at, room_id")
            .fetchall()
        )
        comments = (
            duckdb.read_parquet(f"{folder}/comments/dt=*/*.parquet")
            .filter("not is_bot")
            .project("room_id, user_id, text")
            .fetchall()
        )
    by_room: dict[int, list[tuple[int, str]]] = {room: [] for room, *_ in rooms}
    for room, user, text in comments:
        by_room[room].append((user, text))
    return [_broadcast(channel, started_at, title or "", by_room[room]) for room, channel, started_at, title in rooms]


def _broadcast(channel: int, started_at: int, title: str, messages: list[tuple[int, str]]) -> Broadcast:
    words = [(user, word) for user, text in messages for word in _words(text)]
    viewers = Counter(word for _, word in set(words))
    of_title = _words(title)
    said = Counter([*(word for _, word in words), *of_title])
    telling = {word: said[word] for word, count in viewers.items() if count >= FEWEST_VIEWERS}
    return Broadcast(channel, started_at, said, telling | {word: said[word] for word in of_title})


def _words(text: str) -> set[str]:
    return {word for word in words_of(text) if len(word) >= SHORTEST_WORD and not word.isdigit()}


def new_broadcasts(broadcasts: list[Broadcast], number: int, within_channel: bool, least: int) -> NDArray[np.bool_]:
    """Whether most telling words of each measured broadcast were unsaid [n].

    A broadcast has `number` of them; unsaid is said in fewer than `least` messages and titles of the seven days before.
    """
    telling = telling_words(broadcasts, number)
    first = broadcasts[0].started_at + DAYS_BEFORE * DAY_MS
    new = []
    for broadcast, words in zip(broadcasts, telling, strict=True):
        before = [
            other.said
            for other in broadcasts
            if broadcast.started_at - DAYS_BEFORE * DAY_MS <= other.started_at < broadcast.started_at
            and (not within_channel or other.channel == broadcast.channel)
        ]
        if broadcast.started_at >= first and before and len(broadcast.counts) >= FEWEST_WORDS:
            unsaid = sum(sum(said[word] for said in before) < least for word in words)
            new.append(2 * unsaid > len(words))
    return np.array(new)


def telling_words(broadcasts: list[Broadcast], number: int) -> list[set[str]]:
    """The words of each broadcast with the highest class-based TF-IDF.

    Frequency in the broadcast times log(1 + mean words of a broadcast / frequency in all of them).
    """
    vectorizer = DictVectorizer(dtype=np.float64)
    counts = vectorizer.fit_transform([broadcast.counts for broadcast in broadcasts])
    names = np.asarray(vectorizer.get_feature_names_out())
    weight = np.log1p(counts.sum() / len(broadcasts) / np.asarray(counts.sum(0)).ravel())
    found = []
    for row in range(len(broadcasts)):
        columns = counts[row].indices
        score = counts[row].data * weight[columns]
        found.append(set(names[columns[np.argsort(-score, kind="stable")[:number]]].tolist()))
    return found


def interval(new: NDArray[np.bool_], seed: int) -> tuple[float, float]:
    """The 95 % interval of the share, by bootstrap over broadcasts."""
    rng = np.random.default_rng(seed)
    shares = rng.choice(new, size=(RESAMPLES, len(new))).mean(axis=1)
    return float(np.quantile(shares, 0.025)), float(np.quantile(shares, 0.975))


if __name__ == "__main__":
    main()
