"""Trained towers: room vectors, user vectors, gates, save and load."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from livealign.alignment.network import Sizes, TwoTower
from livealign.config import AlignmentConfig, pictures_last
from livealign.dataset.content import pad_or_cut
from livealign.dataset.corpus import PLATFORM_CONTENT, Corpus
from livealign.dataset.examples import Examples
from livealign.dataset.features import USER_FEATURES
from livealign.dataset.scaling import METADATA, position_index, standardise
from livealign.errors import BundleError

_FORMAT, _ONE_TRUST, _WITHOUT_TRUST = "livealign-alignment-4", "livealign-alignment-3", "livealign-alignment-2"
_CHUNK = 16_384  # rooms at a time


@dataclass(frozen=True)
class Alignment:
    """A trained pair of towers. All methods take and return NumPy arrays in the same order."""

    network: TwoTower
    sizes: Sizes
    config: AlignmentConfig
    gate_mode: str
    history_length: int
    feature_mean: NDArray[np.float32]
    feature_std: NDArray[np.float32]
    device: torch.device

    @torch.no_grad()
    def room_vectors(self, author: NDArray, content: NDArray) -> NDArray[np.float32]:
        """Unit vectors z [n, dim] of rooms with author index [n] and content [n, d].

        A row of zeros has no content. Content may be narrower than in training: a missing source, such as the platform's
        vectors in the running service, counts as no content of that source.
        """
        return np.concatenate([self.network.rooms(*rows).cpu().numpy() for rows in self._inputs(author, content)])

    @torch.no_grad()
    def gates(self, author: NDArray, content: NDArray) -> NDArray[np.float32]:
        """Gates g [used sources, n, dim]: 1 lets no content of a source through, 0 all of it.

        Towers of the ID alone have one gate, which is 1.
        """
        parts = [self.network.rooms.gated(*rows)[2].cpu().numpy() for rows in self._inputs(author, content)]
        return np.concatenate(parts, axis=1)

    @property
    def author_trust(self) -> NDArray[np.float32]:
        """[authors, sources] trust, 0 to 1; row 0 is an unknown author's.

        See `livealign.alignment.content_check`.
        """
        return self.network.rooms.author_trust.cpu().numpy()

    @property
    def source_names(self) -> tuple[str, ...]:
        """The names of a content row's sources: `alignment.sources`, then the platform's."""
        return (*pictures_last(self.config.sources), PLATFORM_CONTENT)[: len(self.sizes.sources)]

    @torch.no_grad()
    def id_share(self, author: NDArray, content: NDArray) -> NDArray[np.float32]:
        """[n] share of z from the ID: |P_id|² / (|P_id|² + |Σ_s (1 − g_s) ⊙ P_s|²).

        The gate alone does not show it, because the ID's projection may grow or shrink beside it.
        """
        shares = []
        for rows in self._inputs(author, content):
            by_id, by_content, _ = self.network.rooms.gated(*rows)
            of_id, of_content = by_id.square().sum(1), by_content.square().sum(1)
            shares.append((of_id / (of_id + of_content).clamp_min(1e-12)).cpu().numpy())
        return np.concatenate(shares)

    @torch.no_grad()
    def user_vectors(
        self, user: NDArray, history_vectors: NDArray, history_length: NDArray, features: NDArray
    ) -> NDArray[np.float32]:
        """Vectors [n, dim] of users, of any length; a long history that agrees makes a longer one.

        Args:
            user: index [n]; history_vectors: room vectors [n, L, dim], newest first, L at most `self.history_length`;
            history_length: [n]; features: user features [n, 2], the columns USER_FEATURES of `dataset.features`.
        """
        longest = self.history_length
        padded = np.zeros((len(user), longest, self.config.dim), dtype=np.float32)
        padded[:, : history_vectors.shape[1]] = history_vectors[:, :longest]
        mask = np.arange(longest) < np.minimum(history_length, longest)[:, None]
        weights = self.network.users.weights(torch.from_numpy(mask).to(self.device))
        history = torch.einsum("nl,nld->nd", weights, torch.from_numpy(padded).to(self.device))
        index = torch.from_numpy(np.asarray(user, dtype=np.int64)).to(self.device)
        return self.network.users(index, history, self._user_features(features)).cpu().numpy()

    def example_user_vectors(self, examples: Examples, item_vectors: NDArray) -> NDArray[np.float32]:
        """User vectors [n, dim] of examples.

        Their history rows point into `item_vectors` [items, dim].
        """
        parts = [
            self.user_vectors(part.user, item_vectors[part.history_item], part.history_length, part.features[:, USER_FEATURES])
            for part in (examples.take(np.arange(i, min(i + 8_192, len(examples)))) for i in range(0, len(examples), 8_192))
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.config.dim), dtype=np.float32)

    def scores(self, examples: Examples, item_vectors: NDArray) -> NDArray[np.float32]:
        """[n] dot products u · z of examples.

        Their item and history rows point into `item_vectors` [items, dim].
        """
        users = self.example_user_vectors(examples, item_vectors)
        return np.einsum("nd,nd->n", users, item_vectors[examples.item])

    @torch.no_grad()
    def logits(self, examples: Examples, item_vectors: NDArray, at_place: bool = False) -> NDArray[np.float32]:
        """[n] logits of a click: the scaled dot product and the author's bias.

        `at_place` adds the bias of the place in the list.
        """
        author = torch.from_numpy(np.asarray(examples.author, dtype=np.int64)).to(self.device)
        bias = self.network.bias + self.network.author_bias(author).squeeze(1)
        if at_place:
            place = torch.from_numpy(position_index(examples.position, self.config.positions)).to(self.device)
            bias = bias + self.network.position_bias(place).squeeze(1)
        return bias.cpu().numpy() + self.logit_scale * self.scores(examples, item_vectors)

    @property
    def logit_scale(self) -> float:
        """The log-odds of a click that a dot product u · z of 1 is worth."""
        return float(self.network.log_scale.detach().exp())

    def save(self, path: Path) -> None:
        """Write one safetensors file with the config in its metadata."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        tensors["feature_mean"] = torch.from_numpy(self.feature_mean)
        tensors["feature_std"] = torch.from_numpy(self.feature_std)
        metadata = {
            "format": _FORMAT,
            "sizes": self.sizes._asdict(),
            "config": asdict(self.config),
            "gate_mode": self.gate_mode,
            "history_length": self.history_length,
        }
        save_file(tensors, path, {METADATA: json.dumps(metadata, sort_keys=True)})

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> "Alignment":
        """Read the file that `save` of this version or of an earlier one wrote.

        Raises:
            BundleError: the file is missing, damaged, or of another format.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
                if (found := metadata.get("format")) not in (_FORMAT, _ONE_TRUST, _WITHOUT_TRUST):
                    raise BundleError(
                        f"{path} is no alignment of this version ({_FORMAT}, not {str(found)[:40]}); run the retrain again"
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            widths, unused = (tuple(metadata["sizes"].get(name, ())) for name in ("sources", "unused"))
            sizes = Sizes(**{**metadata["sizes"], "sources": widths, "unused": unused})
            if metadata["format"] == _WITHOUT_TRUST:  # which trusted all authors
                tensors["rooms.author_trust"] = torch.ones(sizes.authors)
                metadata["config"].pop("check_share", None)
            if metadata["format"] != _FORMAT:  # the LLM was the only source of text, and all sources shared one trust
                metadata["config"]["sources"] = ("llm",)
                tensors["rooms.author_trust"] = tensors["rooms.author_trust"].unsqueeze(1).repeat(1, len(widths))
            config = AlignmentConfig(**{**metadata["config"], "sources": tuple(metadata["config"]["sources"])})
            mean, std = tensors.pop("feature_mean").numpy(), tensors.pop("feature_std").numpy()
            history_length = int(metadata["history_length"])
            network = TwoTower(sizes, config, history_length, metadata["gate_mode"])
            network.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BundleError(f"{path} is not a readable alignment ({error}); run the retrain again") from error
        device = torch.device(device)
        network.to(device).eval()
        return cls(network, sizes, config, metadata["gate_mode"], history_length, mean, std, device)

    def _inputs(self, author: NDArray, content: NDArray) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The room tower's inputs in chunks: author, scaled content, trust."""
        for start in range(0, max(1, len(author)), _CHUNK):
            rows = pad_or_cut(content[start : start + _CHUNK], self.sizes.content_dim)
            index = torch.from_numpy(np.asarray(author[start : start + _CHUNK], dtype=np.int64)).to(self.device)
            yield index, *self.network.rooms.read(index, torch.from_numpy(rows).to(self.device))

    def _user_features(self, features: NDArray) -> Tensor:
        return torch.from_numpy(standardise(features, self.feature_mean, self.feature_std)).to(self.device)


def item_vectors(alignment: Alignment, corpus: Corpus, content: NDArray[np.float32]) -> NDArray[np.float32]:
    """Room vectors of all item rows, float32 [items, dim]; row 0 (padding) is zero."""
    vectors = alignment.room_vectors(corpus.item_authors(), content[corpus.item_segments()])
    vectors[0] = 0
    return vectors
