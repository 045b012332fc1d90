"""A trained ranker: save, load and apply.

It predicts the probabilities of click, long view, like, comment and gift for a user and a room right now.

    ranker = train_ranker(corpus, items, config, codebook_version)   # ranking.training; items: ItemTable of the corpus' rows
    probabilities = ranker.predict(corpus.test, items)                # float32 [n, tasks]

The `ItemTable` decides the inputs (codes, a pasted-in vector, or neither); the network is otherwise the same. With codes the
ranker also has every user's tastes (`livealign.ranking.tastes`) and reads their score of the room.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from livealign.config import RankerConfig
from livealign.dataset.examples import Examples
from livealign.dataset.features import FEATURES, ROOM_FEATURES
from livealign.dataset.scaling import METADATA
from livealign.errors import BundleError, TrainingError
from livealign.ranking.inputs import ImpressionTable, history_matches
from livealign.ranking.network import ItemTable, RankerNetwork, RankerSizes
from livealign.ranking.tastes import Affinity, Tastes

_FORMAT = "livealign-ranker-4"
_WITHOUT_OUTCOMES = "livealign-ranker-3"  # does not know how a room has done today
_OUTCOMES = slice(FEATURES.index("room_impressions"), FEATURES.index("room_click_rate") + 1)  # last of a room's features
_CHUNK = 8_192  # impressions at a time


@dataclass(frozen=True)
class Ranker:
    """A trained ranker with all that scoring needs.

    `codebook_version` names the codebook that its codes come from.
    """

    network: RankerNetwork
    sizes: RankerSizes
    config: RankerConfig
    codebook_version: str  # "" for a ranker without codes
    scales: dict[str, NDArray[np.float32]]  # feature_mean, feature_std, match_mean, match_std, scale, shift (of logits)
    losses: tuple[float, ...]  # mean over each epoch of training
    device: torch.device
    tastes: Tastes | None = None  # of a ranker with codes

    @torch.no_grad()
    def logits(
        self, examples: Examples, items: ItemTable, taste_scores: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Logits [n, tasks] at the mean position of a list; the examples' positions are not used.

        Args:
            taste_scores: [n] scores by the tastes of earlier days (in training); None for the latest tastes.
        """
        parts = []
        weights = None if self.tastes is None else self.tastes.affinity.weights(_codes(items), items.vectors)
        for start in range(0, len(examples), _CHUNK):
            part = examples.take(slice(start, start + _CHUNK))
            matches = history_matches(part, items)
            if taste_scores is not None:
                matches = np.column_stack([matches, taste_scores[start : start + len(part)]])
            elif self.tastes is not None and weights is not None:
                matches = np.column_stack([matches, self.tastes.scores(part.user, weights[part.item])])
            table = ImpressionTable.of(part, items, self.sizes, self.scales, self.device, None, matches)
            parts.append(self.network(table.batch(torch.arange(len(part), device=self.device))).cpu().numpy())
        logits = np.concatenate(parts) if parts else np.zeros((0, self.sizes.tasks), dtype=np.float32)
        return logits * self.scales["scale"] + self.scales["shift"]

    def predict(self, examples: Examples, items: ItemTable) -> NDArray[np.float32]:
        """Probabilities [n, tasks] in the order of `config.tasks`."""
        return (1.0 / (1.0 + np.exp(-self.logits(examples, items)))).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write one safetensors file; its metadata holds the config and the codebook version."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        tensors |= {f"moments.{name}": torch.from_numpy(values) for name, values in self.scales.items()}
        if self.tastes is not None:
            tensors |= {
                "tastes.log_rates": torch.from_numpy(self.tastes.log_rates),
                "tastes.centroids": torch.from_numpy(self.tastes.affinity.centroids),
                "tastes.width": torch.tensor(self.tastes.affinity.width, dtype=torch.float64),
            }
        metadata = {
            "format": _FORMAT,
            "codebook_version": self.codebook_version,
            "sizes": self.sizes._asdict(),
            "config": asdict(self.config),
            "losses": self.losses,
        }
        save_file(tensors, path, {METADATA: json.dumps(metadata, sort_keys=True)})

    @classmethod
    def load(cls, path: Path, codebook_version: str, device: torch.device | str = "cpu") -> "Ranker":
        """Read the ranker that `save` wrote, for codes of the codebook `codebook_version`.

        That of the version before is read too. The codebook's version of a ranker without codes is "".

        Raises:
            BundleError: the file is missing, damaged, or was trained with another codebook.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
                if (found := metadata.get("format")) not in (_FORMAT, _WITHOUT_OUTCOMES):
                    raise BundleError(
                        f"{path} is no ranker of this version ({_FORMAT}, not {str(found)[:40]}); run the retrain again"
                    )
                if metadata["codebook_version"] != codebook_version:
                    raise BundleError(
                        f"{path} was trained with codebook '{metadata['codebook_version']}', not '{codebook_version}': "
                        "its code embeddings would mean something else; take both files from the same release"
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if found == _WITHOUT_OUTCOMES:
                _add_outcomes(tensors, metadata["sizes"])
            sizes = RankerSizes(**metadata["sizes"])
            config = RankerConfig(**_tuples(metadata["config"]))
            losses = tuple(metadata["losses"])
            scales = {name[8:]: tensors.pop(name).numpy() for name in list(tensors) if name.startswith("moments.")}
            tastes = None
            if sizes.levels:
                log_rates, centroids, width = (tensors.pop(f"tastes.{name}") for name in ("log_rates", "centroids", "width"))
                tastes = Tastes(Affinity(centroids.numpy(), float(width)), log_rates.numpy())
            network = RankerNetwork(sizes, config)
            network.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BundleError(f"{path} is not a readable ranker ({error}); run the retrain again") from error
        device = torch.device(device)
        network.to(device).eval()
        return cls(network, sizes, config, codebook_version, scales, losses, device, tastes)


def _codes(items: ItemTable) -> NDArray[np.integer]:
    if items.codes is None:
        raise TrainingError("this ranker was trained with semantic codes, and the items have none; encode them first")
    return items.codes


def _tuples(values: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _add_outcomes(tensors: dict[str, Tensor], sizes: dict[str, int]) -> None:
    """Give a ranker that was trained without a room's outcomes their inputs, with weights of zero: it scores as it did."""
    added = _OUTCOMES.stop - _OUTCOMES.start
    first_layer = "trunk.0.weight" if "trunk.0.weight" in tensors else "heads.weight"
    # The features end the inputs of `wide`, those of the room end the inputs of the first layer.
    for name, features in (("wide.weight", sizes["features"]), (first_layer, ROOM_FEATURES - added)):
        weight = tensors[name]
        at = weight.shape[1] - features + _OUTCOMES.start
        tensors[name] = torch.cat([weight[:, :at], weight.new_zeros(len(weight), added), weight[:, at:]], dim=1)
    for name, neutral in (("moments.feature_mean", 0.0), ("moments.feature_std", 1.0)):
        values = tensors[name]
        between = values.new_full((added,), neutral)
        tensors[name] = torch.cat([values[: _OUTCOMES.start], between, values[_OUTCOMES.start :]])
    sizes["features"] += added
