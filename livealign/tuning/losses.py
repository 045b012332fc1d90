"""InfoNCE in both directions, masks for false negatives, whitening.

InfoNCE (van den Oord et al. 2018, equation 4) over both sides of the batch is NT-Xent (Chen et al. 2020).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from livealign.tuning.pairs import NO_USER, TextPairs


def contrastive_loss(left: Tensor, right: Tensor, no_negative: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """InfoNCE over the 2n vectors of n pairs: each must find its partner among all others.

    Args:
        left, right: float32 [n, hidden]; row i of both belong together.
        no_negative: bool [2n, 2n], True where two texts may belong together; it does not apply to partners.
        temperature: of the softmax over cosines.

    Returns:
        (mean loss, share of the 2n texts whose partner is nearest), scalars.
    """
    vectors = F.normalize(torch.cat([left, right]), dim=1)
    count = len(vectors)
    partner = torch.arange(count, device=vectors.device).roll(count // 2)
    excluded = no_negative.clone()
    excluded[torch.arange(count), partner] = False
    excluded.fill_diagonal_(True)
    logits = (vectors @ vectors.T / temperature).masked_fill(excluded, -torch.inf)
    return F.cross_entropy(logits, partner), (logits.argmax(dim=1) == partner).float().mean()


def whitening(vectors: Tensor, floor: float = 0.1) -> Tensor:
    """Matrix [hidden, hidden] that gives float32 `vectors` [n, hidden] equal variances.

    `floor` is added to the variances, in units of one dimension's: directions of almost no variance are noise.
    """
    spread = vectors.std(dim=0).clamp_min(1e-6)
    standard = (vectors - vectors.mean(dim=0)) / spread
    variances, directions = torch.linalg.eigh(standard.T @ standard / len(standard))
    return (directions / (variances.clamp_min(0.0) + floor).sqrt()) / spread[:, None]


def false_negatives(pairs: TextPairs, near_windows: int) -> Tensor:
    """Mask of the texts that may belong together: bool [2n, 2n], left sides, then right.

    They are equal with equal pictures, of one room and near in time, or from one user's engagements.
    """
    room = np.concatenate([pairs.left_room, pairs.right_room])
    window = np.concatenate([pairs.left_window, pairs.right_window])
    user = np.concatenate([pairs.user, pairs.user])
    text = np.unique(np.array(pairs.texts, dtype=object), return_inverse=True)[1]
    picture = pairs.picture
    near = (room[:, None] == room) & (np.abs(window[:, None] - window) < near_windows)
    same_user = (user[:, None] == user) & (user[:, None] != NO_USER)
    equal = (text[:, None] == text) & (picture[:, None] == picture)
    return torch.from_numpy(near | same_user | equal)
