"""Sentences from templates and word lists: a topic's speech, its chat, and titles.

`{slot}` in a template is filled with one phrase of that slot's list. A template is chosen in proportion to the square root of
the number of sentences that it can make, so no template dominates and sentences rarely repeat. A whole column is
made at once.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache, cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from livealign.simulation import vocabulary as words
from livealign.simulation.topics import TOPICS
from livealign.simulation.vocabulary import GENRES

SPEECH_TEMPLATES = (
    "{open} {act} {how}, {close}",
    "{open} look at the {thing}, {event}, {close}",
    "if you {act} now, {event}, {close}",
    "I {habit} {act} when the {thing} is {state}",
    "forget the {thing}, it is the {thing} that matters, {close}",
    "a few more minutes with the {thing} and then we {act} {how}",
    "chat asks about the {thing}: {act} {how}, {close}",
    "yesterday the {thing} was {state}, so today we {act}",
    "{open} {event} and the {thing} is {state}",
)
CHAT_TEMPLATES = (
    "{slang} the {thing} is {state}",
    "how do you {act} {how}?",
    "{event} {emote}",
    "more {thing} pls {emote}",
    "{act} already {slang}",
    "{thing} {emote}{emote}",
    "is the {thing} {state} or is it just me",
    "{slang} {event}",
    "never {act} {how} {emote}",
)
FOREIGN_TOPIC_TEMPLATES = (
    "{chinese}太强了",
    "喜欢{chinese}",
    "{chinese}怎么弄的?",
    "{spanish} {emote}",
    "me gusta {spanish}",
    "{spanish} jajaja",
)
FILLER_TEMPLATES = ("{open} {filler}, {fillertail}", "{filler}, {close}", "{filler} and {filler}")
NOISE_TEMPLATES = (
    "{slang}",
    "{slang} {emote}",
    "{emote}",
    "{emote}{emote}{emote}",
    "{sixes}",
    "{sixes}",
    "{greeting} from {city}",
    "{greeting}",
)
FOREIGN_TEMPLATES = ("{foreign}", "{foreign} {emote}")
SPAM_TEMPLATES = ("{spam}", "{spam} {emote}")
BOT_TEMPLATES = ("{bot}",)
CHEER_TEMPLATES = ("{cheer}", "{cheer} {cheer}", "{cheer} {emote}", "{sixes}")
TITLE_TEMPLATES = (
    "{topicname} {titletail}",
    "{thing} and {thing} {titletail}",
    "{topicname}: {act}",
    "today we {act}",
    "{thing} {titletail}",
)
VAGUE_TITLE_TEMPLATES = ("{genre} {titletail}", "{genre} stream", "{greeting}, {genre} {titletail}")
CLICKBAIT_TEMPLATES = ("{clickbait}", "{clickbait} {emote}", "{thing}: {clickbait}", "{genre}!! {clickbait}")

GENERAL_SLOTS: dict[str, Sequence[str]] = {
    "open": words.OPENERS.split("|"),
    "close": words.CLOSERS.split("|"),
    "habit": words.HABITS.split("|"),
    "filler": words.FILLERS.split("|"),
    "fillertail": words.FILLER_TAILS.split("|"),
    "cheer": words.CHEERS.split("|"),
    "slang": words.SLANG.split("|"),
    "emote": words.EMOTES.split("|"),
    "greeting": words.GREETINGS.split("|"),
    "city": words.CITIES.split("|"),
    "foreign": words.FOREIGN.split("|"),
    "bot": words.BOTS.split("|"),
    "spam": words.SPAM.split("|"),
    "clickbait": words.CLICKBAIT.split("|"),
    "titletail": words.TITLE_TAILS.split("|"),
    "sixes": ("666", "6666", "66666", "666666666"),
}
GARBLED_WORD = "mm"
PHRASES: Sequence[str] = words.PHRASES.split("|")
GENRE_OF_TOPIC = np.array([[genre.name for genre in GENRES].index(topic.genre) for topic in TOPICS], dtype=np.int32)


class Grammar:
    """One set of templates over one set of word lists."""

    def __init__(self, templates: Sequence[str], slots: dict[str, Sequence[str]]) -> None:
        self._parts = [_parse(template) for template in templates]
        self._slots = slots

    @cached_property
    def _columns(self) -> dict[str, pa.Array]:
        used = {text for parts in self._parts for is_slot, text in parts if is_slot and text in self._slots}
        return {name: pa.array(self._slots[name], pa.string()) for name in sorted(used)}

    @property
    def combinations(self) -> list[int]:
        """The number of ways to fill each template; a slot without a list counts as one."""
        return [math.prod(len(self._slots.get(text, "1")) for is_slot, text in parts if is_slot) for parts in self._parts]

    def sentences(self, count: int, rng: np.random.Generator, given: Mapping[str, pa.Array] | None = None) -> pa.Array:
        """`count` sentences, as strings [count].

        Args:
            given: phrases [count] of slots that have no list: the phrase of each sentence.
        """
        weights = np.sqrt(np.array(self.combinations, dtype=np.float64))
        template = rng.choice(len(self._parts), size=count, p=weights / weights.sum())
        pieces = []
        for index, parts in enumerate(self._parts):
            rows = np.flatnonzero(template == index)
            if len(rows):
                pieces.append((rows, self._fill(parts, rows, rng, given or {})))
        return scatter(pieces, count)

    def _fill(
        self, parts: list[tuple[bool, str]], rows: np.ndarray, rng: np.random.Generator, given: Mapping[str, pa.Array]
    ) -> pa.Array:
        columns = []
        for is_slot, text in parts:
            if is_slot and text in given:
                columns.append(given[text].take(pa.array(rows)))
            elif is_slot:
                phrases = self._columns[text]
                columns.append(phrases.take(pa.array(rng.integers(len(phrases), size=len(rows)))))
            else:
                columns.append(pa.scalar(text))
        if len(columns) == 1:
            return columns[0]
        return pc.binary_join_element_wise(*columns, "")


@cache
def topic_grammar(kind: str, topic: int) -> Grammar:
    """The grammar of one kind of text about one topic.

    Kinds: speech, chat, foreign_chat, title, vague_title, clickbait.
    """
    templates = {
        "speech": SPEECH_TEMPLATES,
        "chat": CHAT_TEMPLATES,
        "foreign_chat": FOREIGN_TOPIC_TEMPLATES,
        "title": TITLE_TEMPLATES,
        "vague_title": VAGUE_TITLE_TEMPLATES,
        "clickbait": CLICKBAIT_TEMPLATES,
    }
    return Grammar(templates[kind], _topic_slots(topic))


@cache
def general_grammar(kind: str) -> Grammar:
    """The grammar of what is said in every room: filler, noise, foreign, spam, bot or cheer."""
    templates = {
        "filler": FILLER_TEMPLATES,
        "noise": NOISE_TEMPLATES,
        "foreign": FOREIGN_TEMPLATES,
        "spam": SPAM_TEMPLATES,
        "bot": BOT_TEMPLATES,
        "cheer": CHEER_TEMPLATES,
    }
    return Grammar(templates[kind], GENERAL_SLOTS)


def about_topics(kind: str, topics: np.ndarray, rng: np.random.Generator) -> pa.Array:
    """One sentence of the kind for each topic in `topics` [n], as strings [n]."""
    pieces = []
    for topic in np.unique(topics):
        rows = np.flatnonzero(topics == topic)
        pieces.append((rows, topic_grammar(kind, int(topic)).sentences(len(rows), rng)))
    return scatter(pieces, len(topics))


def scatter(pieces: list[tuple[np.ndarray, pa.Array]], count: int) -> pa.Array:
    """Put each piece's values at its row numbers, as strings [count].

    The pieces together name every row once.
    """
    if not pieces:
        return pa.array([], pa.string())
    rows = np.concatenate([rows for rows, _ in pieces])
    origin = np.empty(count, dtype=np.int64)
    origin[rows] = np.arange(count)
    return pa.concat_arrays([values for _, values in pieces]).take(pa.array(origin))


def garbled(text: pa.Array) -> pa.Array:
    """The strings as bad sound leaves them.

    Long words become `GARBLED_WORD`, the others lose vowels.
    """
    return pc.replace_substring_regex(pc.replace_substring_regex(text, r"\w{6,}", GARBLED_WORD), "[aeo]", "")


def _topic_slots(topic: int) -> dict[str, Sequence[str]]:
    own = TOPICS[topic]
    genre = GENRES[GENRE_OF_TOPIC[topic]]
    return {
        **GENERAL_SLOTS,
        "thing": (own.things + "|" + genre.things).split("|"),
        "act": (own.acts + "|" + genre.acts).split("|"),
        "event": own.events.split("|"),
        "how": genre.hows.split("|"),
        "state": genre.states.split("|"),
        "chinese": own.chinese.split("|"),
        "spanish": own.spanish.split("|"),
        "genre": (genre.name,),
        "topicname": (own.name,),
    }


def _parse(template: str) -> list[tuple[bool, str]]:
    """The template as (is it a slot, its name or the literal text) in order."""
    parts: list[tuple[bool, str]] = []
    for piece in template.replace("}", "{").split("{"):
        parts.append((len(parts) % 2 == 1, piece))
    return [(is_slot, text) for is_slot, text in parts if is_slot or text]
