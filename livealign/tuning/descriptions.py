"""The second objective: describe a moment token by token.

A description is the platform's own (category and title), or a teacher model's caption if the user has a file of them. The
model reads a window's words, without title and category, and learns the description token by token.
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
from livealign.errors import TrainingError, reason_of
from livealign.files import plain_file
from livealign.llm.backbone import Backbone
from livealign.llm.packing import PackedBatch
from livealign.llm.prefix import tokenize
from livealign.llm.segment_text import compose_text, sorted_window_texts, with_earlier

CUE = " | about:"
DESCRIPTION_TOKENS = 24  # of one description; longer ones are cut
MOST_DESCRIPTIONS = 20_000  # to draw from


@dataclass(frozen=True)
class Descriptions:
    """n windows: the words of each, and its description."""

    said: Sequence[str]
    descriptions: Sequence[str]

    def __len__(self) -> int:
        return len(self.said)

    def tokens(self, backbone: Backbone, step: int, budget: int, config: FinetuneConfig) -> tuple[list[list[int]], list[int]]:
        """(token ids of some windows with their descriptions, where each description begins).

        The windows are drawn by seed and step.
        """
        rng = np.random.default_rng((config.seed, step))
        rows = rng.choice(len(self), size=min(len(self), config.description_texts), replace=False)
        answers = tokenize(backbone, [f" {self.descriptions[row]}" for row in rows], DESCRIPTION_TOKENS)
        cue = tokenize(backbone, [CUE], budget)[0]
        words = tokenize(backbone, [self.said[row] for row in rows], max(1, budget - len(cue)))
        whole = [[*text, *cue, *answer] for text, answer in zip(words, answers, strict=True)]
        return whole, [len(text) + len(cue) for text in words]


def choose_descriptions(
    segments: pa.Table, segment_config: SegmentConfig, config: FinetuneConfig, captions: Mapping[int, str] | None = None
) -> Descriptions:
    """Windows of the mart `segments` that have words, each with its description.

    The description is the caption, or else category and title.
    """
    rooms, window_texts, ids = sorted_window_texts(segments)
    said, descriptions = [], []
    for (window_text, earlier), segment_id in zip(
        with_earlier(zip(rooms.tolist(), window_texts, strict=True), segment_config), ids.tolist(), strict=True
    ):
        description = (captions or {}).get(segment_id) or ", ".join(
            part for part in (window_text.category, window_text.title) if part
        )
        if description and not window_text.is_silent:
            untitled = window_text._replace(title="", category="")
            said.append(compose_text(untitled, earlier, segment_config))
            descriptions.append(description)
    drawn = np.random.default_rng(config.seed).permutation(len(said))[:MOST_DESCRIPTIONS]
    return Descriptions([said[row] for row in drawn], [descriptions[row] for row in drawn])


def read_captions(file: Path) -> dict[int, str]:
    """A teacher model's captions by segment id, from a .parquet or .csv file.

    The file has the columns segment_id and caption.

    Raises:
        TrainingError: the file cannot be read or has other columns.
    """
    try:
        table = pq.read_table(plain_file(file)) if file.suffix == ".parquet" else pyarrow.csv.read_csv(plain_file(file))
        ids, captions = table["segment_id"].cast(pa.int64()).to_pylist(), table["caption"].cast(pa.string()).to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise TrainingError(f"{file} is no table of captions (columns segment_id and caption): {reason_of(error)}") from error
    return {segment: caption for segment, caption in zip(ids, captions, strict=True) if segment is not None and caption}


def can_describe(backbone: Backbone) -> bool:
    """Whether the backbone predicts tokens with what is loaded: a causal body, an embedding."""
    model: Any = backbone.model
    parts = hasattr(model, "norm") and hasattr(model, "embed_tokens")
    return parts and backbone.causal and bool(model.config.tie_word_embeddings)


def description_loss(model: nn.Module, hidden: Tensor, batch: PackedBatch, begins: Sequence[int]) -> Tensor:
    """Mean cross-entropy of the descriptions' tokens, in nats.

    The model's own output weights read the hidden states of the exit layer.

    Args:
        model: a causal body with `norm` and `embed_tokens` (its output weights are its input weights).
        hidden: [nodes, hidden] after the exit layer.
        begins: where the description begins in each text of the batch, in the batch's order.
    """
    predicting, predicted = [], []  # nodes
    row = 0
    for group in batch.groups:
        for nodes, length in zip(group.nodes, group.lengths.tolist(), strict=True):
            predicting.append(nodes[begins[row] - 1 : length - 1])
            predicted.append(nodes[begins[row] : length])
            row += 1
    body: Any = model  # its parts are looked up by name
    states = body.norm(F.embedding(torch.cat(predicting), hidden))
    logits = F.linear(states, body.embed_tokens.weight)
    return F.cross_entropy(logits.float(), batch.ids[torch.cat(predicted)])
