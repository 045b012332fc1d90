"""Vision-language models whose parts run apart: SmolVLM and Idefics3.

Such a folder is both the LLM and its image encoder. Its image processor, tower and projector turn a picture into tokens, s × s
fields of the picture; its text layers, those of a Llama, read them before the text as they read words.

Fewer tokens are means of neighbouring fields, which the model never read in its training. The tokens with which its chat marks
a picture are left out, and a picture is not cut into tiles.
"""

from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoImageProcessor

from livealign.errors import BackboneError

# Others are refused: Gemma 3 reads a picture's tokens in both directions, Qwen2.5-VL gives them positions of their own.
KINDS = ("smolvlm", "idefics3")


def text_part(model: Any) -> Any:
    """The text layers of such a model; any other model as it is."""
    return model.text_model if model.config.model_type in KINDS else model


class OwnTower(nn.Module):
    """The tower and the projector of such a model, with its image processor."""

    def __init__(self, model: Any, folder: Path, tokens: int) -> None:
        """
        Args:
            model: as transformers loads it; it loses its text layers.
            tokens: of a picture, a square number; 0 for one vector, their mean.

        Raises:
            BackboneError: the folder has no image processor, or the model does not make so many tokens.
        """
        super().__init__()
        try:
            processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # transformers raises errors of many kinds; each means that there is none to be read
            reason = " ".join(str(error).split())[:200]
            raise BackboneError(f"{folder} has no image processor ({reason}); copy its preprocessor_config.json") from error
        tower = model.config.vision_config
        self._side = tower.image_size // tower.patch_size // model.config.scale_factor
        self._pooled = isqrt(tokens) or 1
        if self._pooled**2 != (tokens or 1) or self._pooled > self._side:
            most = self._side**2
            raise BackboneError(
                f"frames.prefix_tokens = {tokens}: {folder} makes {self._side} × {self._side} tokens of a picture; set it to "
                f"{most}, or to a smaller square number for their means"
            )
        del model.text_model
        self.model, self._processor, self._pixels = model, processor, tower.image_size
        self.width = self._pooled**2 * model.config.text_config.hidden_size
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, 224, 224, 3] → float32 [n, width]: a picture's tokens one after another."""
        inputs = self.inputs(pixels.cpu().numpy()).to(pixels.device)
        tokens = torch.stack(self.model.get_image_features(inputs).pooler_output).float()
        grid = tokens.transpose(1, 2).unflatten(2, (self._side, self._side))
        return F.adaptive_avg_pool2d(grid, self._pooled).flatten(2).transpose(1, 2).flatten(1)

    def inputs(self, pixels: np.ndarray) -> Tensor:
        """What the model reads of pictures, each in one piece.

        uint8 [n, 224, 224, 3] → float32 [n, 1, 3, side, side].
        """
        side = {"longest_edge": self._pixels}
        whole = {"do_image_splitting": False, "size": side, "max_image_size": side, "return_tensors": "pt"}
        values: Tensor = self._processor([[picture] for picture in pixels], **whole)["pixel_values"]
        return values
