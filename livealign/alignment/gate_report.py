"""The openness of the gate, by groups of segments."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.alignment.towers import Alignment
from livealign.dataset.corpus import Corpus


class GateGroup(NamedTuple):
    """The gate in one group of segments."""

    gate: float  # mean of the used sources' g; 1 = the author ID alone, 0 = all content let through
    id_share: float  # mean share of z that comes from the ID
    authors: int
    segments: int


GateReport = dict[str, GateGroup]  # by the name of the group, in order


def gate_by_popularity(
    alignment: Alignment, corpus: Corpus, content: NDArray[np.float32], edges: tuple[int, ...] = (0, 1, 10, 100, 1_000, 10_000)
) -> GateReport:
    """The gate by the author's training impressions, rarest authors first.

    `edges` are the lower bounds of the groups.
    """
    counts = np.bincount(corpus.train.author, minlength=corpus.authors.size)
    counts[0] = 0
    group = np.searchsorted(np.asarray(edges), counts[corpus.segment_author], side="right") - 1
    return gate_by(alignment, corpus, content, group, [f"from {edge}" for edge in edges])


def gate_by(
    alignment: Alignment, corpus: Corpus, content: NDArray[np.float32], group: NDArray[np.integer], names: Sequence[str]
) -> GateReport:
    """The gate in each group of the segments that have content.

    `group` [segments] are places in `names`.
    """
    rows = np.flatnonzero((content != 0).any(1))
    if not len(rows):
        return {}
    authors = corpus.segment_author[rows]
    gates, shares = alignment.gates(authors, content[rows]).mean((0, 2)), alignment.id_share(authors, content[rows])
    report: GateReport = {}
    for place, name in enumerate(names):
        mine = np.flatnonzero(group[rows] == place)
        if len(mine):
            n_authors = len(np.unique(corpus.segment_author_id[rows[mine]]))
            report[name] = GateGroup(float(gates[mine].mean()), float(shares[mine].mean()), n_authors, len(mine))
    return report


class SourceGate(NamedTuple):
    """The gate of one source of content, over the segments that have content of it."""

    source: str
    over_authors: float  # the mean of the authors' means; 1 = nothing of the source is let through
    authors: int
    groups: dict[str, tuple[float, int]]  # by the name of the group: mean gate, segments


def gate_by_source(
    alignment: Alignment,
    corpus: Corpus,
    content: NDArray[np.float32],
    group: NDArray[np.integer],
    names: Sequence[str],
    sources: Sequence[str] = (),
) -> list[SourceGate]:
    """The gate of each used source, over authors and in each group of segments.

    Args:
        content: [segments, Σ sources] as the towers read it.
        group: [segments] places in `names`.
        sources: names of the content's sources, where they are not those of the towers' own settings.
    """
    sources = sources or alignment.source_names
    if alignment.gate_mode == "id":
        return []
    used = [place for place in range(len(alignment.sizes.sources)) if place not in alignment.sizes.unused]
    parts = np.split(content, np.cumsum(alignment.sizes.sources)[:-1], axis=1)
    found = []
    for number, place in enumerate(used):
        rows = np.flatnonzero((parts[place] != 0).any(1))
        if not len(rows):
            continue
        gates = alignment.gates(corpus.segment_author[rows], content[rows])[number].mean(1)
        _, author = np.unique(corpus.segment_author_id[rows], return_inverse=True)
        of_authors = np.bincount(author, gates) / np.bincount(author)
        groups = {
            name: (float(gates[mine].mean()), int(mine.sum()))
            for value, name in enumerate(names)
            if (mine := group[rows] == value).any()
        }
        found.append(SourceGate(sources[place], float(of_authors.mean()), len(of_authors), groups))
    return found
