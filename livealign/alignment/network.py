"""The gate and the two towers as torch modules."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livealign.config import AlignmentConfig

T = TypeVar("T")

GATE_MODES = ("learned", "mean", "id", "content")


class Sizes(NamedTuple):
    """Table sizes of the network; index 0 of users and authors is "unknown"."""

    users: int
    authors: int
    sources: tuple[int, ...]  # width of each source of content, in the order of a content row
    content_rank: int  # largest number of principal directions of each source
    user_features: int
    unused: tuple[int, ...] = ()  # places of the sources that did not gain: the network has no weights for them

    @property
    def content_dim(self) -> int:
        """Width of a content row: all sources side by side."""
        return sum(self.sources)


class ContentScaler(nn.Module):
    """Content vectors to their first `rank` principal components, centred and scaled.

    It is fitted to the training segments.
    LLM embeddings lie in a narrow cone with a few dominant directions; a linear map of whitened components trains far
    faster than one of the raw vector. Components are scaled to unit variance, floored at a share of the largest.

    A few dimensions of an LLM vary hundreds of times as much as the others, and say little. With an evenness of 1 each
    dimension is first divided by the root of its variance plus the median one: large ones become alike, small ones stay in
    proportion. So the large ones do not choose the components (docs/experiments/content.md).
    """

    mean: Tensor
    components: Tensor

    def __init__(self, content_dim: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(content_dim))
        self.register_buffer("components", torch.zeros(content_dim, rank))

    @torch.no_grad()
    def fit(self, content: Tensor, whitening: float = 0.5, evenness: float = 0.0) -> None:
        """Fit to [n, content_dim].

        `whitening` 1 gives all components equal variance, 0 keeps their proportions. `evenness` 1 divides large dimensions down
        before, 0 leaves all as they are.
        """
        self.mean.copy_(content.mean(0))
        centred = content - self.mean
        variance = centred.square().mean(0)
        usual = torch.maximum(variance.median(), 1e-6 * variance.mean()).clamp_min(1e-24)
        spread = (variance + usual).pow(evenness / 2)
        standard = centred / spread
        covariance = standard.T @ standard / max(1, len(content) - 1)
        values, vectors = torch.linalg.eigh(covariance.double().cpu())
        rank = self.components.shape[1]
        values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
        # A component's sign is arbitrary; fix it, so that all runs and machines agree.
        vectors = vectors * torch.sign(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)))
        scale = values.clamp_min(1e-4 * float(values[0].clamp_min(1e-12))).pow(-whitening / 2)
        scaled = vectors * scale
        total = (values * scale.square()).mean().clamp_min(1e-12).sqrt()
        self.components.copy_((scaled / total).float() / spread[:, None])

    def forward(self, content: Tensor) -> Tensor:
        """[n, content_dim] → [n, rank], of unit variance on average."""
        return (content - self.mean) @ self.components


class ContentSource(nn.Module):
    """One source of content: its scaler, its projection P_s and its gate g_s.

    g_s = σ(W_s [P_id; P_s; popularity]).
    """

    def __init__(self, content_dim: int, config: AlignmentConfig, content_rank: int) -> None:
        super().__init__()
        self.rank = min(content_rank, content_dim)
        self.scaler = ContentScaler(content_dim, self.rank)
        self.dropout = nn.Dropout(config.content_dropout)
        # Layer-normed without a scale of its own, so that no projection can outgrow its gate.
        self.project = nn.Sequential(
            nn.Linear(self.rank, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.dim),
            nn.LayerNorm(config.dim, elementwise_affine=False),
        )
        self.gate = nn.Linear(2 * config.dim + 1, config.dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, config.gate_bias)

    def forward(self, by_id: Tensor, scaled: Tensor, popularity: Tensor) -> tuple[Tensor, Tensor]:
        """P_s and g_s, each [n, dim]; scaled: [n, rank], by_id: [n, dim], popularity: [n, 1]."""
        projected = self.project(self.dropout(scaled))
        return projected, torch.sigmoid(self.gate(torch.cat([by_id, projected, popularity], dim=1)))


class RoomTower(nn.Module):
    """The room tower: z = P_id(e_author) + Σ_s (1 − g_s) ⊙ P_s(h_s).

    The sources s of content are the LLM, counted words and the platform's own vectors. It is LARM's gated alignment (arXiv
    2504.05217) in residual form: the ID is always used, and content adds the share that its gate lets through, 1 − g. The paper
    mixes the two, g ⊙ P_id + (1 − g) ⊙ P_llm; content without information then dilutes the ID.

    Each gate starts with zero weights and a bias towards 1. Its context is the author's number of training impressions. The
    trust in what a source says of the author, t_as (`livealign.alignment.content_check`), caps it: 1 − g_s = t_as (1 − σ(…)). A
    room without content of a source has g_s = 1.
    """

    author_popularity: Tensor
    author_trust: Tensor

    def __init__(self, sizes: Sizes, config: AlignmentConfig, gate_mode: str) -> None:
        super().__init__()
        self.gate_mode, self.evenness = gate_mode, config.even_dimensions
        self.author = nn.Embedding(sizes.authors, config.dim)
        nn.init.normal_(self.author.weight, std=0.05)
        self.project_id = nn.Linear(config.dim, config.dim)
        # An unused source has no weights and draws no random numbers, so the towers are exactly those without it.
        self.sources = nn.ModuleList(
            nn.Identity() if place in sizes.unused else ContentSource(width, config, sizes.content_rank)
            for place, width in enumerate(sizes.sources)
        )
        self.widths = list(sizes.sources)
        self.used = [place for place in range(len(sizes.sources)) if place not in sizes.unused]
        self.ranks = [min(sizes.content_rank, sizes.sources[place]) for place in self.used]
        self.register_buffer("author_popularity", torch.zeros(sizes.authors))
        self.register_buffer("author_trust", torch.ones(sizes.authors, len(sizes.sources)))

    def fit_scalers(self, content: Tensor) -> None:
        """Fit each source's scaler to the rows of content [n, Σ widths] that have it."""
        for source, part in zip(self._sources(), self._used(content.split(self.widths, dim=1)), strict=True):
            rows = (part != 0).any(1)
            if rows.any():
                source.scaler.fit(part[rows], evenness=self.evenness)

    def read(self, author: Tensor, content: Tensor) -> tuple[Tensor, Tensor]:
        """(scaled content [n, Σ ranks], trust in each source [n, sources]); used sources only.

        Trust is the author's in the source, 0 if a room has no content of it.

        Args:
            author: int [n]; content: [n, Σ widths].
        """
        if not self.used:
            return content[:, :0], content[:, :0]
        parts = self._used(content.split(self.widths, dim=1))
        scaled = [source.scaler(part) for source, part in zip(self._sources(), parts, strict=True)]
        has_content = torch.stack([(part != 0).any(1) for part in parts], dim=1)
        return torch.cat(scaled, dim=1), has_content * self.author_trust[author][:, self.used]

    def forward(self, author: Tensor, scaled_content: Tensor, trusted: Tensor) -> Tensor:
        """Unit room vectors z [n, dim].

        Args:
            author: int [n]; scaled_content: [n, Σ ranks] and trusted: [n, sources], from `read`.
        """
        by_id, by_content, _ = self.gated(author, scaled_content, trusted)
        return F.normalize(by_id + by_content, dim=1)

    def gated(self, author: Tensor, scaled_content: Tensor, trusted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """P_id [n, dim], Σ_s (1 − g_s) ⊙ P_s [n, dim], and the gates g [used sources, n, dim]."""
        by_id, popularity = self.project_id(self.author(author)), self.author_popularity[author].unsqueeze(1)
        by_content, gates = torch.zeros_like(by_id), []
        if self.gate_mode == "id" or not self.used:
            return by_id, by_content, torch.ones_like(by_id).expand(max(1, len(self.used)), *by_id.shape)
        for source, part, trust in zip(self._sources(), scaled_content.split(self.ranks, dim=1), trusted.T, strict=True):
            projected, gate = source(by_id, part, popularity)
            if self.gate_mode != "learned":
                gate = torch.full_like(by_id, {"mean": 0.5, "content": 0.0}[self.gate_mode])
            gate = 1 - trust.unsqueeze(1) * (1 - gate)
            by_content = by_content + (1 - gate) * projected
            gates.append(gate)
        if self.gate_mode == "content":  # the ID only of rooms without content
            by_id = by_id * ~trusted.any(1, keepdim=True)
        return by_id, by_content, torch.stack(gates)

    def _sources(self) -> list[ContentSource]:
        return cast(list[ContentSource], self._used(list(self.sources)))

    def _used(self, parts: Sequence[T]) -> list[T]:
        """The parts, one a source, of the used sources."""
        return [parts[place] for place in self.used]


class UserTower(nn.Module):
    """The user tower: ID, room vectors of the last engagements, the user's statistics."""

    def __init__(self, sizes: Sizes, config: AlignmentConfig, history_length: int) -> None:
        super().__init__()
        self.user = nn.Embedding(sizes.users, config.dim)
        nn.init.normal_(self.user.weight, std=0.01)
        self.recency = nn.Parameter(torch.zeros(history_length))
        self.project_history = nn.Linear(config.dim, config.dim)
        # A user starts near the rooms they engaged with.
        nn.init.eye_(self.project_history.weight)
        nn.init.zeros_(self.project_history.bias)
        self.project_features = nn.Linear(sizes.user_features, config.dim)

    def weights(self, mask: Tensor) -> Tensor:
        """Weights [n, L] of the history's entries.

        They are divided by the root of the entries' number, so that a long consistent history has a longer vector than a
        single click.

        Args:
            mask: bool [n, L], newest first, True for an entry.
        """
        recency = torch.softmax(self.recency, dim=0) * len(self.recency)
        return recency * mask / mask.sum(1, keepdim=True).clamp_min(1).sqrt()

    def forward(self, user: Tensor, history: Tensor, features: Tensor) -> Tensor:
        """User vectors [n, dim]; their length shows how certain the taste is.

        Args:
            user: int [n]; history: [n, dim], room vectors summed by `weights`; features: [n, user_features], standardised.
        """
        return self.user(user) + self.project_history(history) + self.project_features(features)


class TwoTower(nn.Module):
    """Both towers, the temperature, and the click head used in training."""

    def __init__(self, sizes: Sizes, config: AlignmentConfig, history_length: int, gate_mode: str) -> None:
        super().__init__()
        self.rooms = RoomTower(sizes, config, gate_mode)
        self.users = UserTower(sizes, config, history_length)
        self.log_temperature = nn.Parameter(torch.tensor(config.initial_temperature).log())
        self.author_bias = nn.Embedding(sizes.authors, 1)
        self.position_bias = nn.Embedding(config.positions + 1, 1)
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.tensor(-2.0))
        nn.init.zeros_(self.author_bias.weight)
        nn.init.zeros_(self.position_bias.weight)

    @property
    def temperature(self) -> Tensor:
        """Learned, kept within [0.02, 1]."""
        return self.log_temperature.exp().clamp(0.02, 1.0)


def in_batch_softmax(
    similarity: Tensor, temperature: Tensor, log_q: Tensor, same_user: Tensor, same_room: Tensor, same_time: Tensor
) -> Tensor:
    """In-batch softmax loss over clicks, corrected for the authors' sampling rates.

    loss = −mean_i log softmax_j(s_ij / τ − log q_j)_i, the log-q correction of Yi et al. (RecSys 2019, eq. 4). Pairs
    (i, j ≠ i) of the same user or the same room are no negatives, because the user may like them. Rooms of another time are
    none either, because the user could not enter them. Both are left out of the sum.

    Args:
        similarity: [b, b], user i against room j; log_q: [b], log of author j's share of the clicks; same_user,
        same_room, same_time: bool [b, b].
    """
    logits = similarity / temperature - log_q.unsqueeze(0)
    others = (same_user | same_room | ~same_time) & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(others, float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
