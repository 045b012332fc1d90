"""The words of an open world: carrier sentences with the members that a broadcast uses."""

from functools import cache

import numpy as np
import pyarrow as pa

from livealign.simulation.carriers import carrier
from livealign.simulation.grammar import scatter
from livealign.simulation.lexicon import lexicon
from livealign.simulation.members import CONTRADICTION, DENIAL, FEW, HOMONYM, UsedMembers
from livealign.simulation.world import Ints

ODD_SHARE = 0.5  # of a room's sentences: how many have its homonym, or deny


def about_members(kind: str, used: UsedMembers, room: Ints, topic: Ints, rng: np.random.Generator) -> pa.Array:
    """One sentence of the kind for each broadcast and topic [n], as strings [n].

    Kinds: speech, chat, foreign_chat, title, vague_title, clickbait. A host who denies speaks of another topic's members in
    half of the sentences; a title that contradicts names those, whatever its kind.
    """
    odd = rng.random(len(room)) < ODD_SHARE
    denies = odd & (kind == "speech") & (used.wording[room] == DENIAL)
    contradicts = kind.endswith(("title", "clickbait")) & (used.wording[room] == CONTRADICTION)
    topic = np.where(denies | contradicts, used.other_topic[room], topic)
    column = rng.integers(FEW, size=len(room))
    one, other = (_first_member()[topic] + used.members[room, topic, (column + step) % FEW] for step in range(2))
    homonym = _first_homonym() + used.homonym[room, topic]
    one = np.where(odd & (used.wording[room] == HOMONYM), homonym, one)
    given = {"member": _names().take(pa.array(one)), "other": _names().take(pa.array(other))}
    pieces = []
    for name, rows in (
        ("denial", np.flatnonzero(denies)),
        ("title", np.flatnonzero(contradicts)),
        (kind, np.flatnonzero(~(denies | contradicts))),
    ):
        own = {slot: phrases.take(pa.array(rows)) for slot, phrases in given.items()}
        if len(rows):
            pieces.append((rows, carrier(name).sentences(len(rows), rng, own)))
    return scatter(pieces, len(room))


@cache
def _names() -> pa.Array:
    """All members, topic after topic, and then the homonyms."""
    return pa.array([*(name for members in lexicon().members for name in members), *lexicon().homonyms], pa.string())


@cache
def _first_member() -> Ints:
    """The row of each topic's first member among all names [topics]."""
    size = np.array([len(members) for members in lexicon().members])
    first: Ints = np.cumsum(size) - size
    return first


def _first_homonym() -> int:
    return len(_names()) - len(lexicon().homonyms)
