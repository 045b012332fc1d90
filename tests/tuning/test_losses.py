"""The losses of tuning against plain references."""

import math

import numpy as np
import pytest
import torch

from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.fused_layers import stack_of
from livealign.llm.packing import pack_whole
from livealign.tuning.descriptions import description_loss
from livealign.tuning.losses import contrastive_loss, false_negatives
from livealign.tuning.pairs import NO_USER, TextPairs


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    return load_backbone("tiny", tmp_path_factory.mktemp("models"), device="cpu")


def test_the_description_loss_is_that_of_the_model_itself(backbone):
    tokens, begins = [[5, 6, 7, 8, 9], [10, 11, 12]], [2, 1]
    rows, batch = pack_whole(tokens, True, backbone.device)
    stack = stack_of(backbone.model)
    found = description_loss(backbone.model, stack.run(stack.embed(batch), batch, 0, 2), batch, [begins[row] for row in rows])
    losses = []
    for ids, begin in zip(tokens, begins, strict=True):
        logits = backbone.model(input_ids=torch.tensor([ids])).last_hidden_state[0] @ backbone.model.embed_tokens.weight.T
        losses += [-float(logits[place - 1].log_softmax(dim=0)[ids[place]]) for place in range(begin, len(ids))]
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_loss_agrees_with_a_plain_reference():
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(5, 8, generator=generator), torch.randn(5, 8, generator=generator)
    mask = torch.rand(10, 10, generator=generator) < 0.2
    vectors = [v / v.norm() for v in [*left, *right]]
    terms = []
    for i in range(10):
        partner = (i + 5) % 10
        kept = [j for j in range(10) if j == partner or (j != i and not mask[i, j])]
        total = sum(math.exp(float(vectors[i] @ vectors[j]) / 0.1) for j in kept)
        terms.append(math.log(total) - float(vectors[i] @ vectors[partner]) / 0.1)
    assert float(contrastive_loss(left, right, mask, 0.1)[0]) == pytest.approx(np.mean(terms), rel=1e-5)


def test_same_text_same_user_and_near_windows_are_no_negatives():
    pairs = TextPairs(
        ["a", "b", "c", "a"],
        ["e", "f", "g", "h"],
        np.array([1, 1, 1, 2]),
        np.array([5, 6, 7, 8]),
        np.array([100, 105, 200, 0]),
        np.array([0, 0, 0, 0]),
        np.array([NO_USER, 9, 9, NO_USER]),
    )
    mask = false_negatives(pairs, near_windows=20)
    assert mask[0, 1]  # one room, five windows apart
    assert not mask[0, 2]  # one room, fifty minutes apart: a hard negative
    assert mask[1, 2]  # one user
    assert mask[0, 3]  # the same text
    assert not mask[0, 7]
    assert torch.equal(mask, mask.T)
