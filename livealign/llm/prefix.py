"""Pictures as prefix tokens: what the LLM reads before a text.

A projector turns a picture's features (`livealign.llm.image_encoder`) into a few tokens, as vision-language models do. They
stand behind the tokens with which the tokenizer begins every text, take positions like any token, and are seen by all tokens
behind them. A text without a word is read from its picture alone.

    projector = Projector.load(adapter_folder, device)      # None for an adapter that was tuned without pictures
    tokens = tokenize(backbone, texts, budget, pictures, projector.tokens)
    batch = with_prefix(batch, projector(features))         # [m · tokens, hidden], a picture's tokens one after another
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from livealign.errors import BackboneError
from livealign.files import refuse_newer
from livealign.llm.backbone import Backbone
from livealign.llm.layers import probe_ids
from livealign.llm.packing import PackedBatch, Prefix
from livealign.llm.token_budget import fit_tokens, special_tokens

PROJECTOR_FILE = "projector.safetensors"  # in an adapter's folder
FORMAT = 2  # of one with a projector of its own; others are still written as 1
FIRST_ID = 1 << 40  # ids from here on are tokens of pictures: no vocabulary is so large
_INNER = 128  # width of the projector's hidden layer
_ABOUT = "livealign"  # the one key of the file's metadata: the order of several is not the same in each run


class Pictures(NamedTuple):
    """The pictures of n texts."""

    features: NDArray[np.float32]  # [m, width]
    row: NDArray[np.int64]  # [n] place of each text's picture in `features`, −1 for a text without one

    @classmethod
    def of(cls, parts: Sequence[bytes | None], width: int) -> "Pictures":
        """The pictures of texts, given as bytes of float32; None for a text without one."""
        place: dict[bytes, int] = {}
        row = [-1 if part is None else place.setdefault(part, len(place)) for part in parts]
        features = np.frombuffer(bytearray().join(place), np.float32).reshape(len(place), width)
        return cls(features, np.array(row, np.int64))

    def take(self, rows: NDArray[np.integer]) -> "Pictures":
        """The pictures of the chosen texts."""
        return self._replace(row=self.row[rows])

    def renumbered(self) -> "Pictures":
        """The same pictures, each once, in the order in which the texts name them."""
        return Pictures.of(self.parts(), self.features.shape[1])

    def parts(self) -> list[bytes | None]:
        """The features of each text's picture as bytes, None for a text without one."""
        named = np.unique(self.row[self.row >= 0]).tolist()
        of_picture = {row: np.ascontiguousarray(self.features[row], np.float32).tobytes() for row in named}
        return [of_picture.get(row) for row in self.row.tolist()]


class Projector(nn.Module):
    """A network from a picture's features to tokens, with one hidden layer.

    Each token is as long as a word's embedding.
    """

    mean: Tensor
    spread: Tensor
    length: Tensor

    def __init__(self, width: int, tokens: int, hidden: int, images: str) -> None:
        """
        Args:
            width: numbers of a picture's features.
            tokens: of a picture.
            hidden: numbers of a token.
            images: SHA-256 of the image encoder's weights.
        """
        super().__init__()
        self.width, self.tokens, self.images = width, tokens, images
        self.down, self.up = nn.Linear(width, _INNER), nn.Linear(_INNER, tokens * hidden)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("length", torch.ones(()))

    @classmethod
    def fresh(cls, backbone: Backbone, features: NDArray[np.float32], tokens: int, images: str, seed: int) -> "Projector":
        """An untrained projector, scaled to `features` [m, width] and the backbone's embeddings."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            projector = cls(features.shape[1], tokens, backbone.hidden_size, images)
        seen = torch.from_numpy(features)
        with torch.no_grad():
            projector.mean.copy_(seen.mean(dim=0))
            projector.spread.copy_(seen.std(dim=0, correction=0).clamp_min(1e-3))
            model: Any = backbone.model
            embedded = model.get_input_embeddings()(probe_ids(model)).float()
            projector.length.copy_(embedded.square().mean().sqrt())
        return projector.to(backbone.device)

    def forward(self, features: Tensor) -> Tensor:
        """float32 [m, width] → [m · tokens, hidden], a picture's tokens one after another."""
        standard = (features.float() - self.mean) / self.spread
        tokens = self.up(F.gelu(self.down(standard))).view(len(features) * self.tokens, -1)
        return self.length * tokens * (tokens.square().mean(dim=1, keepdim=True) + 1e-6).rsqrt()

    def about(self) -> dict[str, int | str]:
        """What its file says of it beside its weights."""
        return {"format": 1, "tokens": self.tokens, "images": self.images}

    def save(self, folder: Path) -> None:
        """Write the projector into an adapter's folder."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(tensors, folder / PROJECTOR_FILE, metadata={_ABOUT: json.dumps(self.about())})

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "Projector | None":
        """The projector of an adapter's folder; None if it was tuned without pictures.

        Raises:
            BackboneError: the file is damaged. LiveAlignError: it is of a newer version.
        """
        file = folder / PROJECTOR_FILE
        if not file.is_file():
            return None
        try:
            with safe_open(file, "pt") as opened:
                about = json.loads(opened.metadata()[_ABOUT])
            refuse_newer(file, int(about["format"]), FORMAT, "tune the adapter again")
            if "width" in about:
                return OwnTokens(int(about["width"]), int(about["tokens"]), about["images"])
            tensors = load_file(file)
            hidden = len(tensors["up.bias"]) // about["tokens"]
            projector = cls(tensors["down.weight"].shape[1], about["tokens"], hidden, about["images"])
            projector.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
            raise BackboneError(f"{file} cannot be read ({error}); tune the adapter again") from error
        return projector.to(device).eval().requires_grad_(False)


class OwnTokens(Projector):
    """The tokens that a vision-language model's own projector made, as they are.

    The image encoder includes that projector (`livealign.llm.vision_language`), so nothing is trained here.
    """

    def __init__(self, width: int, tokens: int, images: str) -> None:
        """
        Args:
            width: numbers of all tokens of a picture.
            tokens: of a picture.
            images: SHA-256 of the model.
        """
        nn.Module.__init__(self)
        self.width, self.tokens, self.images = width, tokens, images

    def forward(self, features: Tensor) -> Tensor:
        """float32 [m, width] → [m · tokens, hidden], a picture's tokens one after another."""
        return features.reshape(len(features) * self.tokens, -1)

    def about(self) -> dict[str, int | str]:
        """What its file says of it, which holds no weights."""
        return {**super().about(), "format": FORMAT, "width": self.width}


def tokenize(
    backbone: Backbone, texts: Sequence[str], budget: int, row: NDArray[np.int64] | None = None, of_picture: int = 0
) -> list[list[int]]:
    """Token ids of each text within `budget` tokens; a picture's tokens come on top.

    An empty text without a picture becomes one padding token, or an end token where there is no padding, so that every row has
    a vector.

    Args:
        row: of each text's picture [n], −1 for a text without one; None where no text has any.
        of_picture: tokens of a picture.
    """
    tokens = fit_tokens(backbone.tokenizer, texts, budget)
    if row is not None and (row >= 0).any():
        begin = len(special_tokens(backbone.tokenizer)[0])
        for place in np.flatnonzero(row >= 0).tolist():
            first = FIRST_ID + int(row[place]) * of_picture
            ids = tokens[place]
            tokens[place] = [*ids[:begin], *range(first, first + of_picture), *ids[begin:]]
    return [ids or [_filler(backbone.tokenizer)] for ids in tokens]


def projected(batch: PackedBatch, projector: Projector, features: Tensor) -> PackedBatch:
    """The batch with the tokens of those pictures that it names, and of no others.

    Args:
        features: of all pictures [m, width] that `tokenize` numbered.
    """
    ours = batch.ids >= FIRST_ID
    numbers = batch.ids[ours] - FIRST_ID
    rows, place = torch.unique(numbers // projector.tokens, return_inverse=True)
    if not len(rows):
        return batch
    numbers = place * projector.tokens + numbers % projector.tokens
    renumbered = replace(batch, ids=batch.ids.masked_scatter(ours, FIRST_ID + numbers))
    return with_prefix(renumbered, projector(features[rows.to(features.device)].to(batch.ids.device)))


def with_prefix(batch: PackedBatch, values: Tensor) -> PackedBatch:
    """The batch with what stands in the place of its pictures' tokens.

    Args:
        values: [pictures · tokens, hidden] of the pictures that `tokenize` numbered.
    """
    ours = batch.ids >= FIRST_ID
    nodes = ours.nonzero()[:, 0]
    if not len(nodes):
        return batch
    prefix = Prefix(nodes, F.embedding(batch.ids[nodes] - FIRST_ID, values))
    return replace(batch, ids=batch.ids.masked_fill(ours, 0), prefix=prefix)


def _filler(tokenizer: PreTrainedTokenizerBase) -> int:
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(number for number in known if number is not None)
