"""The words that hosts say and viewers write on one day."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from livealign.simulation.config import WINDOW_MS
from livealign.simulation.grammar import PHRASES, about_topics, garbled, general_grammar, scatter
from livealign.simulation.moments import Day, Rooms
from livealign.simulation.open_text import about_members
from livealign.simulation.world import Bools, Ints

Maker = Callable[[Ints], pa.Array]  # row numbers [n] → strings [n]
SENTENCES_AT_ONCE = 500_000  # bounds the memory while text is made


@dataclass(frozen=True)
class Sentences:
    """n sentences: the row of their window among the day's, the time in ms, and the text."""

    window_row: Ints
    at: Ints
    text: pa.ChunkedArray


def speech(day: Day) -> Sentences:
    """Utterances of the hosts, two or so a window.

    Rooms of low quality have fewer and garbled ones, silent windows have none.
    """
    rooms, rng = day.rooms, day.generator("speech")
    poor = rooms.low_quality[rooms.room]
    counts = rng.poisson(np.where(poor, 0.35, 1.0) * day.config.utterances, len(rooms.room))
    counts = np.where(rooms.silent, 0, np.minimum(counts, 5))
    window_row = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(window_row)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = WINDOW_MS // np.maximum(counts, 1)[window_row]
    at = rooms.window[window_row] * WINDOW_MS + place * step + rng.integers(0, np.maximum(step // 3, 1))
    inside = _within(rooms, window_row, at)
    window_row, at = window_row[inside], at[inside]
    return Sentences(window_row, at, _in_pieces(window_row, lambda rows: _speech_text(day, rows, rng)))


def chat(day: Day) -> Sentences:
    """Messages of viewers from outside the panel.

    Popular rooms and highlights have more, up to the limit of a window.
    """
    config, authors, rooms, rng = day.config, day.authors, day.rooms, day.generator("chat")
    popularity = authors.popularity[rooms.author] / authors.popularity[rooms.author].mean()
    rate = config.chat_messages * (0.5 + 0.5 * np.minimum(popularity, 3.0))[rooms.room]
    rate = rate * np.where(rooms.highlight, 2.2, 1.0) * np.where(rooms.low_quality[rooms.room], 0.5, 1.0)
    counts = np.minimum(rng.poisson(rate), config.chat_limit)
    window_row = np.repeat(np.arange(len(counts)), counts)
    at = rooms.window[window_row] * WINDOW_MS + rng.integers(0, WINDOW_MS, len(window_row))
    inside = _within(rooms, window_row, at)
    window_row, at = window_row[inside], at[inside]
    return Sentences(window_row, at, messages(day, window_row, rng))


def messages(day: Day, window_row: Ints, rng: np.random.Generator) -> pa.ChunkedArray:
    """One viewer's message for each window row [n].

    Half are about the topic, the rest is what people write everywhere.
    """
    return _in_pieces(window_row, lambda rows: _chat_text(day, rows, rng))


def bot_messages(day: Day) -> Sentences:
    """Announcements of the bots that four rooms in ten have, every few minutes."""
    rooms, rng = day.rooms, day.generator("bots")
    has_bot = rng.random(len(rooms.ids)) < 0.4
    window_row = np.flatnonzero(has_bot[rooms.room] & (rng.random(len(rooms.room)) < 0.12))
    at = rooms.window[window_row] * WINDOW_MS + rng.integers(0, WINDOW_MS, len(window_row))
    inside = _within(rooms, window_row, at)
    window_row, at = window_row[inside], at[inside]
    return Sentences(window_row, at, pa.chunked_array([general_grammar("bot").sentences(len(window_row), rng)], pa.string()))


def titles(day: Day) -> pa.Array:
    """Titles [R] written before the broadcast.

    They name the planned topic, or only its genre, or are clickbait.
    """
    rooms, rng = day.rooms, day.generator("titles")
    kind = rng.choice(3, size=len(rooms.ids), p=(0.5, 0.35, 0.15))
    return _mixture(
        kind,
        [
            lambda rows: _about(day, "title", rows, rooms.title_topic[rows], rng),
            lambda rows: _about(day, "vague_title", rows, rooms.title_topic[rows], rng),
            lambda rows: _about(day, "clickbait", rows, rooms.title_topic[rows], rng),
        ],
    )


def _speech_text(day: Day, window_row: Ints, rng: np.random.Generator) -> pa.Array:
    authors, rooms = day.authors, day.rooms
    author = rooms.author[rooms.room[window_row]]
    filler = rng.random(len(window_row)) < 0.25
    text = _mixture(
        filler.astype(np.int64),
        [
            lambda rows: _about_window(day, "speech", window_row[rows], rng),
            lambda rows: general_grammar("filler").sentences(len(rows), rng),
        ],
    )
    habit = rng.random(len(window_row)) < authors.phrase_rate[author]
    text = _prefixed(text, habit, pa.array(PHRASES).take(pa.array(authors.phrase[author])))
    excited = rooms.highlight[window_row] & (rng.random(len(window_row)) < 0.6)
    text = _prefixed(text, excited, general_grammar("cheer").sentences(len(window_row), rng))
    broken = rooms.low_quality[rooms.room[window_row]] & (rng.random(len(window_row)) < 0.6)
    return pc.if_else(pa.array(broken), garbled(text), text)


def _chat_text(day: Day, window_row: Ints, rng: np.random.Generator) -> pa.Array:
    share = np.array([0.45, 0.05, 0.38, 0.09, 0.03])
    kind = rng.choice(len(share), size=len(window_row), p=share)
    kind[day.rooms.highlight[window_row] & (kind == 2)] = 5
    return _mixture(
        kind,
        [
            lambda rows: _about_window(day, "chat", window_row[rows], rng),
            lambda rows: _about_window(day, "foreign_chat", window_row[rows], rng),
            lambda rows: general_grammar("noise").sentences(len(rows), rng),
            lambda rows: general_grammar("foreign").sentences(len(rows), rng),
            lambda rows: general_grammar("spam").sentences(len(rows), rng),
            lambda rows: general_grammar("cheer").sentences(len(rows), rng),
        ],
    )


def _about_window(day: Day, kind: str, window_row: Ints, rng: np.random.Generator) -> pa.Array:
    """One sentence of the kind about what people talk of in each window [n]."""
    return _about(day, kind, day.rooms.room[window_row], day.rooms.talk[window_row], rng)


def _about(day: Day, kind: str, room: Ints, topic: Ints, rng: np.random.Generator) -> pa.Array:
    """One sentence of the kind for each room and topic [n]: of a closed vocabulary, or with the room's members."""
    if day.members is None:
        return about_topics(kind, topic, rng)
    return about_members(kind, day.members, room, topic, rng)


def _mixture(kind: Ints, makers: Sequence[Maker]) -> pa.Array:
    """Strings [n]: row i comes from `makers[kind[i]]`, which receives all of its rows at once."""
    pieces = []
    for index, maker in enumerate(makers):
        rows = np.flatnonzero(kind == index)
        if len(rows):
            pieces.append((rows, maker(rows)))
    return scatter(pieces, len(kind))


def _in_pieces(window_row: Ints, maker: Maker) -> pa.ChunkedArray:
    starts = range(0, len(window_row), SENTENCES_AT_ONCE)
    return pa.chunked_array([maker(window_row[start : start + SENTENCES_AT_ONCE]) for start in starts], pa.string())


def _prefixed(text: pa.Array, where: Bools, prefix: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(where), pc.binary_join_element_wise(prefix, text, ", "), text)


def _within(rooms: Rooms, window_row: Ints, at: Ints) -> Bools:
    """Whether each time falls within its broadcast: the first and last windows are cut by its start and end."""
    room = rooms.room[window_row]
    return (rooms.start[room] <= at) & (at < rooms.end[room])
