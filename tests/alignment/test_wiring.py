"""The first batch of a training: what reaches the loss."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from livealign.alignment import training
from livealign.alignment.batches import ImpressionTensors
from livealign.alignment.network import TwoTower
from livealign.alignment.training import train_alignment
from livealign.config import AlignmentConfig
from livealign.dataset.corpus import Corpus
from tests.support.topic_corpus import CONFIG, CONTENT


class _FirstBatchError(Exception):
    """Ends a training whose first batch has been looked at."""


def first_batch(monkeypatch: pytest.MonkeyPatch, corpus: Corpus, config: AlignmentConfig) -> SimpleNamespace:
    """The first batch of a training: its `loss`, the `softmax`'s arguments, and what `_batch_loss` was given."""
    seen = SimpleNamespace()
    batch_loss, softmax = training._batch_loss, training.in_batch_softmax

    def looked_at(network: TwoTower, tables: ImpressionTensors, rows: Tensor, *rest: Any) -> Tensor:
        seen.network, seen.tables, seen.rows, seen.log_q = network, tables, rows, rest[3]
        seen.loss = batch_loss(network, tables, rows, *rest).item()
        raise _FirstBatchError

    def remembered(*arguments: Tensor) -> Tensor:
        seen.softmax = arguments
        return softmax(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_batch_loss", looked_at)
        patch.setattr(training, "in_batch_softmax", remembered)
        with pytest.raises(_FirstBatchError):
            train_alignment(corpus, corpus.content[CONTENT], replace(config, check=False))
    return seen


def test_negatives_are_other_users_rooms_of_that_time_and_hidden_authors_keep_their_share(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = first_batch(monkeypatch, corpus, replace(CONFIG, id_dropout=0.5, negative_minutes=30))
    similarity, temperature, log_q, same_user, same_room, same_time = seen.softmax
    rows = seen.rows[seen.tables.click[seen.rows] == 1]
    user, room, at = (getattr(seen.tables, name)[rows].numpy() for name in ("user", "room", "shown_at"))
    assert (same_user.numpy() == (user[:, None] == user)).all()
    assert (same_room.numpy() == (room[:, None] == room)).all()
    assert (same_time.numpy() == (abs(at[:, None] - at) <= 30 * 60_000)).all()
    for mask in (same_user, same_room, same_time):
        assert len(rows) < mask.sum() < len(rows) ** 2, "some pairs are the same, and some are not"
    assert torch.equal(log_q, seen.log_q[seen.tables.author[rows]])
    assert torch.equal(temperature, seen.network.temperature)
    (of_ids,) = torch.autograd.grad(similarity.square().sum(), seen.network.users.user.weight)
    assert of_ids.abs().max() < 1e-5, "the user's ID does not learn the clicks by heart"


@pytest.mark.parametrize("prior", ["user_l2", "author_l2"])
def test_the_prior_on_ids_is_part_of_the_loss(prior: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    free, held = (first_batch(monkeypatch, corpus, replace(CONFIG, **{prior: weight})).loss for weight in (0.0, 100.0))
    assert held > free + 0.01
