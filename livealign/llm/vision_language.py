"""Vision-language models whose parts run apart: SmolVLM, Idefics3, Gemma 3, Qwen2.5-VL.

Such a folder is both the LLM and its image encoder. Its image processor, tower and projector turn a picture into tokens, s × s
fields of the picture; its text layers read them before the text (`livealign.llm.picture_reading` says how).

Fewer tokens are means of neighbouring fields, which the model never read in its training. The tokens with which its chat marks
a picture are left out, and a picture is not cut into tiles.
"""

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoImageProcessor

from livealign.errors import BackboneError
from livealign.frames.decode import SIDE, Pixels
from livealign.llm.picture_reading import AS_WORDS, BOTH_WAYS, IN_GRID, set_reading


class OwnTower(nn.Module):
    """The tower and the projector of such a model, with its image processor."""

    text_layers = "text_model"  # name of the model's part that reads
    reading = AS_WORDS

    def __init__(self, model: Any, folder: Path, tokens: int) -> None:
        """
        Args:
            model: without its text layers.
            tokens: of a picture, a square number; 0 for one vector, their mean.

        Raises:
            BackboneError: the folder has no image processor, or the model does not make so many tokens.
        """
        super().__init__()
        try:
            self.model = model
            self._processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self.inputs(np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8))
        except Exception as error:  # transformers raises errors of many kinds; each means that pictures cannot be read
            reason = " ".join(str(error).split())[:200]
            raise BackboneError(
                f"{folder} has no image processor of its model ({reason}); copy its preprocessor_config.json"
            ) from error
        self._side, self._pooled = self.side(), isqrt(tokens) or 1
        if self._pooled**2 != (tokens or 1) or self._pooled > self._side:
            most = self._side**2
            raise BackboneError(
                f"frames.prefix_tokens = {tokens}: {folder} makes {self._side} × {self._side} tokens of a picture; set it to "
                f"{most}, or to a smaller square number for their means"
            )
        self.width = self._pooled**2 * model.config.text_config.hidden_size
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, 224, 224, 3] → float32 [n, width]: a picture's tokens one after another."""
        inputs = {name: value.to(pixels.device) for name, value in self.inputs(pixels.cpu().numpy()).items()}
        tokens = torch.stack(tuple(self.model.get_image_features(**inputs).pooler_output)).float()
        grid = tokens.transpose(1, 2).unflatten(2, (self._side, self._side))
        return F.adaptive_avg_pool2d(grid, self._pooled).flatten(2).transpose(1, 2).flatten(1)

    def side(self) -> int:
        """Tokens of a side of a picture, unless they are pooled."""
        tower = self.model.config.vision_config
        return int(tower.image_size // tower.patch_size // self.model.config.scale_factor)

    def inputs(self, pixels: Pixels) -> dict[str, Tensor]:
        """What the model reads of pictures [n, 224, 224, 3], each in one piece."""
        side = {"longest_edge": self.model.config.vision_config.image_size}
        return self._processed([[picture] for picture in pixels], do_image_splitting=False, size=side, max_image_size=side)

    def _processed(self, pictures: list[Any], **settings: Any) -> dict[str, Tensor]:
        found = self._processor(pictures, return_tensors="pt", **settings)
        return {name: found[name] for name in ("pixel_values", "image_grid_thw") if name in found}


class _Gemma3Tower(OwnTower):
    """SigLIP, the mean of neighbouring patches, a norm and a product."""

    text_layers, reading = "language_model", BOTH_WAYS

    def side(self) -> int:
        projector = self.model.multi_modal_projector
        return int(projector.patches_per_image // projector.kernel_size)

    def inputs(self, pixels: Pixels) -> dict[str, Tensor]:
        side = self.model.config.vision_config.image_size
        return self._processed(list(pixels), do_pan_and_scan=False, size={"height": side, "width": side})


class _QwenTower(OwnTower):
    """A tower of windows that reads a picture of any size, and the merger of 2 × 2 neighbouring patches into a token."""

    text_layers, reading = "language_model", IN_GRID

    def side(self) -> int:
        blank = np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8)
        return int(self.inputs(blank)["image_grid_thw"][0, 1]) // int(self.model.config.vision_config.spatial_merge_size)

    def inputs(self, pixels: Pixels) -> dict[str, Tensor]:
        tower = self.model.config.vision_config
        sizes = {"patch_size": tower.patch_size, "temporal_patch_size": tower.temporal_patch_size}
        return self._processed(list(pixels), merge_size=tower.spatial_merge_size, **sizes)


TOWERS: Mapping[str, type[OwnTower]] = {
    "smolvlm": OwnTower,
    "idefics3": OwnTower,
    "gemma3": _Gemma3Tower,
    "qwen2_5_vl": _QwenTower,
}


def text_part(model: Any) -> tuple[Any, nn.Module | None]:
    """(text layers, all the rest) of such a model; any other model as it is, and None."""
    kind = TOWERS.get(model.config.model_type)
    if kind is None:
        return model, None
    text = getattr(model, kind.text_layers)
    set_reading(text, kind.reading)
    delattr(model, kind.text_layers)
    return text, model
