"""The gate's share by source, as a table of the day's report."""

import numpy as np
from numpy.typing import NDArray

from livealign.alignment.gate_report import gate_by_source
from livealign.alignment.towers import Alignment
from livealign.dataset.corpus import Corpus
from livealign.evaluation.html import Section

QUALITIES = ("no text", "little text", "much text")  # in the order of `evaluation.frame.by_quality`


def gate_sections(
    alignment: Alignment, corpus: Corpus, content: NDArray[np.float32], quality: NDArray[np.int64]
) -> list[Section]:
    """The mean gate of each source, over authors and by how much was said.

    Empty where content is switched off.

    Args:
        content: [segments, Σ sources] as the towers read it.
        quality: [segments] places in QUALITIES.
    """
    gates = gate_by_source(alignment, corpus, content, quality, QUALITIES)
    if not gates:
        return []
    rows = [
        (
            gate.source,
            f"{gate.over_authors:.3f}",
            f"{gate.authors:,}",
            *(f"{gate.groups[name][0]:.3f}; {gate.groups[name][1]:,}" if name in gate.groups else "–" for name in QUALITIES),
        )
        for gate in gates
    ]
    note = (
        "Mean gate of the segments that have content of the source: 1 lets nothing of it through, 0 all of it. Over authors it "
        "is the mean of their means; by how much was said, the mean and the number of segments."
    )
    return [Section("The gate by source", ("source", "over authors", "authors", *QUALITIES), rows, note)]
