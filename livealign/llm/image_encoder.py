"""The image encoder: pictures of rooms to vectors.

EfficientNet-Lite0, any image model of transformers, or plain pixels.

    encoder = load_image_encoder("efficientnet-lite0", home.models)
    encoder.encode(pixels)                         # uint8 [n, 224, 224, 3] → float32 [n, width]
    PictureVectors(encoder, names, cache)          # of pictures by name; each is seen once

A folder of a vision-language model (`livealign.llm.vision_language`) gives the tokens that its own LLM reads, or their mean. A
folder that transformers reads as an image model (ViT, DINOv2, the image side of CLIP and SigLIP, …) is pooled as it was
trained: CLIP and SigLIP by their own pooling, others by the mean of their patches. `pixels` has no weights: a picture shrunk
to 8 × 8.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from livealign.errors import BackboneError, reason_of
from livealign.frames.decode import Pixels
from livealign.frames.efficientnet import WIDTH, EfficientNetLite0
from livealign.frames.still import LOOK, look_of
from livealign.llm.backbone import Backbone, choose_device, choose_dtype, use_physical_cores
from livealign.llm.backbone_names import EFFICIENTNET, PIXELS, can_be_fetched, folder_of, name_of
from livealign.llm.compaction import compact
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.half_precision import rounded
from livealign.llm.model_folder import CONFIG, HERE, Identity, identity_of
from livealign.llm.vision_language import TOWERS, text_part

Floats = NDArray[np.float32]

BATCH = 8  # pictures of one pass: more do not fit the caches of a processor
_SIDE = 8  # of a picture as plain pixels
_PREPROCESSOR = "preprocessor_config.json"
_UNUSED = ("pooler.", "text_model.", "logit_scale", "logit_bias", "text_projection", "visual_projection")


@dataclass(frozen=True)
class ImageEncoder:
    """A loaded image model, in evaluation mode, all weights frozen."""

    name: str
    identity: Identity
    width: int  # of a vector
    network: Callable[[Tensor], Tensor]  # uint8 [n, 224, 224, 3] → [n, width]
    device: torch.device
    dtype: torch.dtype
    folder: Path | None = None  # None for one without weights
    tokens: int = 0  # of a vision-language model: how many a vector holds for its own LLM

    @property
    def version(self) -> str:
        """Name of the space of its vectors, and of their folder in the cache."""
        tokens = f"-{self.tokens}" * bool(self.tokens)
        return f"frames-{self.identity.sha256[:16]}-{str(self.dtype).removeprefix('torch.')}{tokens}"

    def reference(self) -> dict[str, str]:
        """The record of it in a release: name and hash, and the folder if a person gave one."""
        reference = {"id": self.name, "sha256": self.identity.sha256}
        if self.folder is not None and not can_be_fetched(self.name):
            reference["path"] = str(self.folder.absolute())
        return reference

    def encode(self, pixels: Pixels) -> Floats:
        """uint8 [n, 224, 224, 3] → float32 [n, width], rounded to half precision as texts are."""
        parts = [np.zeros((0, self.width), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(pixels), BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + BATCH])).to(self.device)
                parts.append(rounded(self.network(batch).float().cpu().numpy()))
        return np.concatenate(parts)


class PictureVectors:
    """Vectors of pictures by name: those of the cache, and those that are seen on demand."""

    def __init__(self, encoder: ImageEncoder, names: Iterable[str], cache: EmbeddingCache | None = None) -> None:
        """Args: `names` of `frames.decode.picture_name`, all that will be asked for."""
        self.encoder = encoder
        self._rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
        self._keys = [bytes.fromhex(name)[:16] for name in self._rows]
        self._vectors = np.zeros((len(self._rows), encoder.width), dtype=np.float32)
        self._missing = np.ones(len(self._rows), dtype=bool)
        self._shard = None if cache is None else cache.shard(encoder.version, encoder.width)
        if self._shard is not None:
            self._shard.fill(self._keys, self._vectors, self._missing)

    def see(self, names: Iterable[str], read: Callable[[str], Pixels]) -> None:
        """Encode those that were not seen yet; `read` gives their pixels."""
        missing = [name for name in dict.fromkeys(names) if self._missing[self._rows[name]]]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            rows = [self._rows[name] for name in batch]
            self._vectors[rows], self._missing[rows] = self.encoder.encode(np.stack([read(name) for name in batch])), False
            if self._shard is not None:
                self._shard.append([self._keys[row] for row in rows], self._vectors[rows])

    def of(self, names: Iterable[str]) -> Floats:
        """Vectors [n, width] of pictures that were seen."""
        return self._vectors[np.array([self._rows[name] for name in names], dtype=np.int64)]

    def flush(self) -> None:
        """Write the new vectors to the cache."""
        if self._shard is not None:
            self._shard.flush()
            compact(self._shard)


def look_encoder() -> ImageEncoder:
    """The looks of pictures (`livealign.frames.still`) as vectors that the cache keeps."""
    sha256 = hashlib.sha256(f"looks {LOOK}".encode()).hexdigest()
    return ImageEncoder("looks", Identity(sha256, sha256), LOOK, _looks, torch.device("cpu"), torch.float32)


def load_image_encoder(name_or_path: str, models_dir: Path, tokens: int = 0, backbone: Backbone | None = None) -> ImageEncoder:
    """Load `pixels`, an image backbone that was fetched by name, or a local folder.

    Args:
        tokens: of a picture (`frames.prefix_tokens`), which a vision-language model makes itself.
        backbone: the loaded LLM. The folder of a vision-language model that it was loaded from is not loaded again.

    Raises:
        BackboneError: the model is missing or incomplete, is no image model, or its files differ from those that were fetched.
    """
    if name_or_path == PIXELS:
        sha256 = hashlib.sha256(f"{PIXELS} {_SIDE}".encode()).hexdigest()
        width = 3 * _SIDE * _SIDE
        return ImageEncoder(PIXELS, Identity(sha256, sha256), width, _shrunk, torch.device("cpu"), torch.float32)
    folder, name = folder_of(name_or_path, models_dir), name_of(name_or_path)
    if backbone is not None and backbone.seeing is not None and backbone.folder == folder:
        return load_identified_images(name, folder, backbone.identity, tokens, backbone)
    return load_identified_images(name, folder, identity_of(folder), tokens)


def load_identified_images(
    name: str, folder: Path, identity: Identity, tokens: int = 0, backbone: Backbone | None = None
) -> ImageEncoder:
    """Load the image model of a folder whose identity is known.

    The other arguments are those of `load_image_encoder`.

    Raises:
        BackboneError: the model is incomplete, or is no image model.
    """
    use_physical_cores()
    device = choose_device()
    dtype = choose_dtype(device)
    if _json(folder / CONFIG).get("model_type") == EFFICIENTNET:
        try:
            network: nn.Module = EfficientNetLite0(load_file(folder / "model.safetensors"))
        except (KeyError, OSError) as error:
            raise BackboneError(f"{folder} lacks weights of {EFFICIENTNET} ({error}); delete it and fetch it again") from error
        return ImageEncoder(name, identity, WIDTH, network.to(device, dtype), device, dtype, folder)
    found: dict[str, Any] = {}
    if backbone is not None and backbone.seeing is not None and backbone.identity == identity:
        model: Any = backbone.seeing
        device, dtype = backbone.device, backbone.dtype
    else:
        model, found = _loaded(folder, dtype)
    if (kind := TOWERS.get(model.config.model_type)) is not None:
        _check_complete(folder, model, found)
        own = kind(model, folder, tokens).to(device)
        return ImageEncoder(name, identity, own.width, own, device, dtype, folder, tokens)
    tower = _Tower(model, found, folder).to(device)
    return ImageEncoder(name, identity, tower.width, tower, device, dtype, folder)


class _Tower(nn.Module):
    """An image model of transformers, with the size and scale of pictures that it was trained on."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, model: Any, found: dict[str, Any], folder: Path) -> None:
        super().__init__()
        _check_tower(folder, model, found)
        # CLIP and SigLIP pool by trained weights; the pooling layer of other models is often not in their files.
        self._pooled = hasattr(model, "vision_model")
        self.model = model.vision_model if self._pooled else model
        config = self.model.config
        side = getattr(config, "image_size", 224)
        self._side = tuple(side) if isinstance(side, list | tuple) else (side, side)
        self.width = int(config.hidden_size)
        prepared = _json(folder / _PREPROCESSOR) if (folder / _PREPROCESSOR).is_file() else {}
        for name in ("image_mean", "image_std"):
            values = torch.tensor(prepared.get(name) or [0.5] * 3, dtype=torch.float32)
            self.register_buffer(name, 255 * values[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, 224, 224, 3] → float32 [n, width]."""
        x = pixels.permute(0, 3, 1, 2).float()
        if x.shape[-2:] != self._side:
            x = torch.nn.functional.interpolate(x, self._side, mode="bicubic", antialias=True).clamp_(0, 255)
        x = (x - self.image_mean) / self.image_std
        out = self.model(pixel_values=x.to(next(self.model.parameters()).dtype))
        return (out.pooler_output if self._pooled else out.last_hidden_state.mean(dim=1)).float()


def _loaded(folder: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """(model, what transformers says of its weights)."""
    transformers_logging.disable_progress_bar()
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what it warns of is refused here, in a sentence
    try:
        config = AutoConfig.from_pretrained(folder, **HERE)
        model, found = AutoModel.from_pretrained(folder, config=config, dtype=dtype, output_loading_info=True, **HERE)
        return text_part(model)[1] or model, found
    except Exception as error:  # transformers raises errors of many kinds; each of them means that this folder cannot be read
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BackboneError(f"{folder} cannot be loaded as an image model: {reason}") from error
    finally:
        transformers_logging.set_verbosity(level)


def _check_tower(folder: Path, model: Any, found: dict[str, Any]) -> None:
    tower, config = getattr(model, "vision_model", model), model.config
    if getattr(tower, "main_input_name", "") != "pixel_values" or not hasattr(tower.config, "hidden_size"):
        kind = type(model).__name__
        if hasattr(config, "text_config") and hasattr(config, "vision_config"):
            raise BackboneError(f"{folder} holds a {kind}, a vision-language model of a kind that is not read; use SigLIP")
        raise BackboneError(f"{folder} holds a {kind}, which reads no pictures as a list of patches; use a ViT or SigLIP")
    _check_complete(folder, tower, found)


def _check_complete(folder: Path, model: nn.Module, found: dict[str, Any]) -> None:
    missing = sorted(name for name in found.get("missing_keys", ()) if not name.startswith(_UNUSED))
    if missing:
        raise BackboneError(f"{folder} lacks {missing[0]} of its weights; copy the whole model")
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        raise BackboneError(f"{folder} holds numbers that are not finite; copy the model again or use another")


def _looks(pixels: Tensor) -> Tensor:
    return torch.from_numpy(np.stack([look_of(picture) for picture in pixels.numpy()]))


def _shrunk(pixels: Tensor) -> Tensor:
    side = pixels.shape[1] // _SIDE
    blocks = pixels.float().reshape(len(pixels), _SIDE, side, _SIDE, side, 3).mean(dim=(2, 4))
    return blocks.reshape(len(pixels), -1) / 255


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{file} cannot be read ({reason_of(error)}); copy the model again") from error
    return content if isinstance(content, dict) else {}
