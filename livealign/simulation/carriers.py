"""Sentences of an open world in which members alone carry the topic.

All other words are the same in every room.
"""

from collections.abc import Sequence
from functools import cache

import pyarrow as pa

from livealign.simulation.grammar import GENERAL_SLOTS, Grammar, garbled

WHEN = (
    "one more time|for the next ten minutes|from the very beginning|before we stop|as slowly as I can|like last week"
    "|without any hurry|just for you|because so many of you asked|until it works|and nothing else tonight|all over again"
)
REMARKS = (
    "it gets better every time|that was closer than it looked|nobody saw that coming|there is more to it than you think"
    "|we stay with it for a while|it takes some patience|you can see the difference|that surprised even me"
    "|most people get this wrong|it is my favorite so far|we look at it again in a minute|it needs a lot of care"
)
VERDICTS = "the best|so underrated|not what I expected|worth the wait|really something|overrated|a classic|getting good"
SLOTS: dict[str, Sequence[str]] = {
    **GENERAL_SLOTS,
    "when": WHEN.split("|"),
    "remark": REMARKS.split("|"),
    "verdict": VERDICTS.split("|"),
}
CARRIERS: dict[str, Sequence[str]] = {
    "speech": (
        "{open} {member} and {other} {when}, {close}",
        "{open} look at {member}, {remark}, {close}",
        "if you ask me about {member}, take {other}, {close}",
        "I {habit} come back from {other} to {member} {when}",
        "we had {other}, now it is {member} that matters, {close}",
        "a few more minutes with {member} and {other}, {close}",
        "chat asks about {member} or {other}: {remark}",
        "yesterday it was {other}, so today {member} {when}",
        "{open} {member} is {verdict}, {other} is {verdict}",
    ),
    "denial": (
        "{open} we have no {member} today, {close}",
        "do not wait for the others, this is not {member}, {close}",
        "{open} we go on without {member} {when}, {close}",
        "chat asks for it, but there is no {member} tonight, {remark}",
        "{open} there will be no {member} in this room, {close}",
    ),
    "chat": (
        "{slang} {member} is {verdict}",
        "how do you like {member}?",
        "{member} or {other}? {emote}",
        "more {member} pls {emote}",
        "{member} and {other} {slang}",
        "{member} {emote}{emote}",
        "is {member} {verdict} or is it {other}",
        "{slang} {member} {when}",
        "never again {member} {emote}",
    ),
    "foreign_chat": (
        "{member}太强了",
        "喜欢{member}",
        "{member}怎么弄的?",
        "{member} qué lindo {emote}",
        "me gusta {member}",
        "{member} jajaja",
    ),
    "title": (
        "{member} {titletail}",
        "{member} and {other} {titletail}",
        "{member}: {when}",
        "today {member} {when}",
        "{other} {titletail}",
    ),
    "vague_title": ("{greeting} {titletail}", "the usual stream {titletail}", "{greeting}, we go on {titletail}"),
    "clickbait": ("{clickbait}", "{clickbait} {emote}", "{member}: {clickbait}", "{greeting}!! {clickbait}"),
}
# The words before a member in `denial`, and before a member nowhere else, as they are and as bad sound leaves them.
DENIALS = ("no", "not", "without", "n", "nt")


@cache
def carrier(kind: str) -> Grammar:
    """The grammar of one kind of sentence; its slots `member` and `other` are given."""
    return Grammar(CARRIERS[kind], SLOTS)


def common_phrases() -> list[str]:
    """All phrases and templates that are no member's, as they are and as bad sound leaves them."""
    phrases = [*(phrase for of_slot in SLOTS.values() for phrase in of_slot), *(t for kind in CARRIERS.values() for t in kind)]
    return phrases + garbled(pa.array(phrases, pa.string())).to_pylist()
