"""Comparison of backbones, layers and poolings on a sample of windows, and the choice.

Everything is measured with frozen weights. The mean called `telling` takes its token weights from the sample's own texts, as
a tuning takes them from its texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livealign.config import EncoderConfig, FinetuneConfig, LexicalConfig, SegmentConfig
from livealign.llm.backbone import Backbone
from livealign.llm.depths import encode_at_depths
from livealign.llm.fitting import layers_of
from livealign.llm.lexical import fit_lexicon
from livealign.llm.pooling import LAST, MEAN, TELLING, Pooling, telling_weights
from livealign.setting_types import toml_text
from livealign.tuning.comparison_sample import ComparisonSample
from livealign.tuning.content_measures import Measures, measure, whitened

SHARES = (0.1, 0.2, 0.33, 0.5, 0.67, 1.0)  # of the depth; those that round to one layer are tried once
COUNTED = LexicalConfig(width=512, least_rooms=1)  # of the baseline: every word of the sample counts
FROZEN_PART = 1 / 3  # of the layers that are run: as many of them the default leaves without an adapter


@dataclass(frozen=True, eq=False)
class Candidate:
    """One backbone, layer and pooling, with what was measured of it."""

    backbone: str
    share: float
    layers: int
    pooling: str
    measures: Measures
    texts_per_second: float  # of processor time
    weight_bytes: int
    fused: bool

    @property
    def score(self) -> float:
        """Mean reciprocal rank, over both retrievals and all authors."""
        return float(self.measures.score.mean())

    def row(self) -> dict[str, Any]:
        """All of it as plain values; None is not measured."""
        return {
            "backbone": self.backbone,
            "layers": self.layers,
            "share": self.share,
            "pooling": self.pooling,
            **self.measures.means(),
            "texts_per_second": self.texts_per_second,
            "weight_bytes": self.weight_bytes,
            "fused": self.fused,
        }

    def applied_to(self, encoder: EncoderConfig) -> EncoderConfig:
        """An encoder with its layers, as shares of the depth, and its pooling."""
        frozen = round(self.share * FROZEN_PART, 2)
        return replace(encoder, exit_layer=self.share, first_adapted_layer=frozen, pooling=self.pooling)

    def settings(self) -> str:
        """The lines of livealign.toml that choose it."""
        chosen = self.applied_to(EncoderConfig())
        return (
            f"backbone = {toml_text(self.backbone)}\n\n[encoder]\nexit_layer = {chosen.exit_layer}\n"
            f'first_adapted_layer = {chosen.first_adapted_layer:.2f}\npooling = "{chosen.pooling}"\n'
        )


def compare_layers(
    backbone: Backbone,
    name: str,
    sample: ComparisonSample,
    segments: SegmentConfig,
    encoder: EncoderConfig,
    finetune: FinetuneConfig,
    advance: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Measure a backbone at SHARES of its depth with each pooling, in one forward pass.

    Args:
        name: the value of the setting `backbone`.

    Raises:
        BackboneError: the backbone cannot be run, or reads no texts of the token budget.
    """
    share_of: dict[int, float] = {}
    for share in SHARES:
        share_of.setdefault(layers_of(backbone, EncoderConfig(exit_layer=share, first_adapted_layer=0))[1], share)

    def poolings(tokens: list[list[int]]) -> dict[str, Pooling]:
        weights = telling_weights(tokens, backbone.vocabulary, encoder.half_share).to(backbone.device)
        return {MEAN: Pooling(MEAN), LAST: Pooling(LAST), TELLING: Pooling(TELLING, weights)}

    depths = encode_at_depths(backbone, sample.texts, list(share_of), poolings, segments.token_budget, advance)
    return [
        Candidate(
            name,
            share_of[layers],
            layers,
            pooling,
            measure(whitened(vectors, finetune.whitening_floor), sample),
            len(sample.texts) / max(depths.seconds[layers], 1e-9),
            depths.weight_bytes[layers],
            depths.fused,
        )
        for (layers, pooling), vectors in depths.vectors.items()
    ]


def counted_words(sample: ComparisonSample) -> Measures:
    """The measures of counted words, the baseline without a language model."""
    lexicon = fit_lexicon(sample.texts, sample.room, COUNTED)
    return measure(lexicon.encode(sample.texts), sample)


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The shallowest candidate of one backbone that is within the noise of the best one.

    Noise is one standard error over authors of the paired difference of scores. Of several of one depth the best is chosen.
    """
    best = max(candidates, key=lambda one: one.score)
    within = [one for one in candidates if within_noise(best.measures.score - one.measures.score)]
    return min(within, key=lambda one: (one.layers, -one.score))


def within_noise(differences: NDArray[np.float64]) -> bool:
    """Whether the mean of the differences [authors] is at most its standard error."""
    error = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return float(differences.mean()) <= float(error)
