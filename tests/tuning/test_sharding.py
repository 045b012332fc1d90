"""Ranks that share out the weights: the gradient of one process that holds them all, and no layer left gathered."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.distributed.tensor import DTensor

from livealign.config import FinetuneConfig
from livealign.errors import TrainingError
from livealign.llm.backbone import load_backbone
from livealign.llm.tiny_backbone import make_tiny_backbone
from livealign.tuning.adapter import tune_adapter
from livealign.tuning.batches import batches_of
from livealign.tuning.pairs import PairPictures
from livealign.tuning.sharding import ShardedStack
from tests.planted.text_pairs import CONFIG, ENCODER, SEGMENTS
from tests.tuning.test_ranks import PAIRS, STEPS, gradient, on_ranks, ready_loop


def uneven_chunk_tokens() -> int:
    """Tokens of a chunk with which one of two ranks would have one chunk of the first batch, and the other two."""
    texts, tokenizer = next(batches_of(PAIRS, STEPS)).texts, make_tiny_backbone()[1]
    halves = [
        sum(len(tokenizer(text)["input_ids"]) for text in half) for half in (texts[: len(texts) // 2], texts[len(texts) // 2 :])
    ]
    assert halves[0] != halves[1]
    return min(halves)


def sharded_gradients(folder: Path, config: FinetuneConfig) -> np.ndarray:
    """`sharded_gradient` with one chunk, uneven ones and many."""
    chunks = (config.chunk_tokens, uneven_chunk_tokens(), 150)
    return np.stack([sharded_gradient(folder, replace(config, chunk_tokens=tokens)) for tokens in chunks])


def sharded_gradient(folder: Path, config: FinetuneConfig) -> np.ndarray:
    """The gradient of one step, then the share of the frozen weights that this rank holds, then what is gathered at a time."""
    loop = ready_loop(folder, config, sharded=True)
    gathered: list[int] = []
    for stack in (loop.frozen, loop.adapted):
        assert isinstance(stack, ShardedStack)
        for layer in stack.plain.layers[: loop.last]:
            layer.register_forward_hook(lambda *_: gathered.append(whole(loop.adapted) + whole(loop.frozen)))
    found = gradient(loop)
    assert whole(loop.adapted) == whole(loop.frozen) == 0
    weights = [one for layer in loop.adapted.model.layers for one in layer.parameters() if isinstance(one, DTensor)]
    held = sum(one.to_local().numel() for one in weights) / sum(one.numel() for one in weights)
    return np.concatenate([found, [held, max(gathered)]])


def whole(stack: ShardedStack) -> int:
    """The number of layers whose frozen weights are gathered on this rank."""
    return sum(not any(isinstance(one, DTensor) for one in layer.parameters()) for layer in stack.plain.layers)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_gradient_of_shards_is_that_of_whole_weights(tmp_path: Path) -> None:
    alone = gradient(ready_loop(tmp_path, STEPS))
    one, other = on_ranks(sharded_gradients, tmp_path / "ranks", STEPS)
    np.testing.assert_array_equal(one[:, :-2], other[:, :-2])
    assert (np.linalg.norm(one[:, :-2] - alone, axis=1) / np.linalg.norm(alone) < 1e-5).all()
    assert one[:, -2:].tolist() == [[0.5, 1]] * 3


def test_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    none = np.full(len(PAIRS), -1)
    pictures = PairPictures(np.zeros((1, 4), np.float32), none, none, 2, "0")
    backbone = load_backbone("tiny", tmp_path, device="cpu")
    with pytest.raises(TrainingError, match=r"is tuned whole; set frames\.prefix_tokens to 0"):
        tune_adapter(backbone, replace(PAIRS, pictures=pictures), SEGMENTS, ENCODER, CONFIG, tmp_path / "a", sharded=True)
