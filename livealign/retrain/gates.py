"""The gate's share by source, as a table of the day's report."""

import numpy as np
from numpy.typing import NDArray

from livealign.alignment.gate_report import gate_by_source
from livealign.alignment.towers import Alignment
from livealign.config import EvaluationConfig
from livealign.dataset.content import content_names, content_of
from livealign.dataset.corpus import Corpus
from livealign.evaluation.html import Section
from livealign.release.bundle import ALIGNMENT
from livealign.retrain.artifacts import DayArtifacts

QUALITIES = ("no text", "little text", "much text")


def by_quality(characters: NDArray[np.int64], config: EvaluationConfig) -> NDArray[np.int64]:
    """Place in QUALITIES of each segment, by the length of what was said in it."""
    return np.where(characters <= 0, 0, np.where(characters < config.much_text_characters, 1, 2))


def gate_sections(
    corpus: Corpus, artifacts: DayArtifacts, characters: NDArray[np.int64], config: EvaluationConfig
) -> list[Section]:
    """The mean gate of each source, over authors and by how much was said.

    Empty where content is switched off.

    Args:
        characters: [segments] length of what was said in each segment.
    """
    alignment = Alignment.load(artifacts.alignment / ALIGNMENT)
    content = content_of(corpus, *content_names(alignment.config.sources)).vectors
    gates = gate_by_source(alignment, corpus, content, by_quality(characters, config), QUALITIES)
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
