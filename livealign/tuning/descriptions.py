"""Moments and what a language model should say of them: the second objective of tuning.

A description is the platform's own (category and title), or a caption that a teacher wrote, where the user has a file of them.
The model reads what was said, without title and category, and learns the description token by token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livealign.config import FinetuneConfig, SegmentConfig
from livealign.errors import TrainingError
from livealign.llm.backbone import Backbone
from livealign.llm.encoder import tokenize
from livealign.llm.packing import PackedBatch
from livealign.llm.segment_text import compose_text, sorted_moments, with_earlier

CUE = " | about:"
DESCRIPTION_TOKENS = 24  # of one description; what is longer is cut
MOST_DESCRIPTIONS = 20_000  # that are kept to draw from


@dataclass(frozen=True)
class Descriptions:
    """n moments: what was said in each, and what should be said of it."""

    said: Sequence[str]
    descriptions: Sequence[str]

    def __len__(self) -> int:
        return len(self.said)

    def tokens(self, backbone: Backbone, step: int, budget: int, config: FinetuneConfig) -> tuple[list[list[int]], list[int]]:
        """(token ids of some moments with their descriptions, where each description begins), drawn by seed and step."""
        rng = np.random.default_rng((config.seed, step))
        rows = rng.choice(len(self), size=min(len(self), config.description_texts), replace=False)
        described = tokenize(backbone, [f" {self.descriptions[row]}" for row in rows], DESCRIPTION_TOKENS)
        cue = tokenize(backbone, [CUE], budget)[0]
        said = tokenize(backbone, [self.said[row] for row in rows], max(1, budget - len(cue)))
        joined = [[*a, *cue, *b] for a, b in zip(said, described, strict=True)]
        return joined, [len(a) + len(cue) for a in said]


def choose_descriptions(
    segments: pa.Table, segment_config: SegmentConfig, config: FinetuneConfig, captions: Mapping[int, str] | None = None
) -> Descriptions:
    """Moments of the mart `segments` in which something was said, each with its caption or else its category and title."""
    rooms, moments, ids = sorted_moments(segments)
    said, descriptions = [], []
    for (moment, earlier), segment_id in zip(
        with_earlier(zip(rooms.tolist(), moments, strict=True), segment_config), ids.tolist(), strict=True
    ):
        description = (captions or {}).get(segment_id) or ", ".join(part for part in (moment.category, moment.title) if part)
        if description and not moment.is_silent:
            untitled = moment._replace(title="", category="")
            said.append(compose_text(untitled, earlier, segment_config))
            descriptions.append(description)
    kept = np.random.default_rng(config.seed).permutation(len(said))[:MOST_DESCRIPTIONS]
    return Descriptions([said[row] for row in kept], [descriptions[row] for row in kept])


def read_captions(file: Path) -> dict[int, str]:
    """A teacher's captions by segment id, from a .parquet or .csv file with columns segment_id and caption.

    Raises:
        TrainingError: the file cannot be read or has other columns.
    """
    try:
        table = pq.read_table(file) if file.suffix == ".parquet" else pyarrow.csv.read_csv(file)
        ids, captions = table["segment_id"].cast(pa.int64()).to_pylist(), table["caption"].cast(pa.string()).to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise TrainingError(f"{file} is no table of captions (columns segment_id and caption): {error}") from error
    return {segment: caption for segment, caption in zip(ids, captions, strict=True) if segment is not None and caption}


def description_loss(model: nn.Module, hidden: Tensor, batch: PackedBatch, begins: Sequence[int]) -> Tensor:
    """Mean cross-entropy of the descriptions' tokens, in nats, read off at the exit layer by the model's own output weights.

    Args:
        model: a causal body with `norm` and `embed_tokens` (its output weights are its input weights).
        hidden: [nodes, hidden] after the exit layer.
        begins: where the description begins in each text of the batch, in the batch's order.
    """
    reading, read = [], []
    row = 0
    for group in batch.groups:
        for nodes, length in zip(group.nodes, group.lengths.tolist(), strict=True):
            reading.append(nodes[begins[row] - 1 : length - 1])
            read.append(nodes[begins[row] : length])
            row += 1
    body: Any = model  # its parts are looked up by name
    states = body.norm(F.embedding(torch.cat(reading), hidden))
    logits = F.linear(states, body.embed_tokens.weight)
    return F.cross_entropy(logits.float(), batch.ids[torch.cat(read)])
