"""Small random vision-language models as folders.

Each has a tokenizer, and an image processor if its pictures are read.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from livealign.llm.tiny_backbone import make_tiny_backbone

IMAGE_TOKEN = 5
SIDE, TOKENS = 64, 16  # pixels of a side that the tower reads; tokens of a picture, 4 × 4
TEXT: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 700,
    "hidden_size": 64,  # as the tiny backbone's
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": 8,
}
_QWEN_TEXT = {**TEXT, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}}
_QWEN_TOWER = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 64}
_OWN = {"vision_config": TOWER, "image_token_id": IMAGE_TOKEN, "scale_factor": 2}

READ: dict[str, tuple[Callable[[], Any], type]] = {  # by name: the model, its image processor
    "SmolVLM": (
        lambda: hf.SmolVLMForConditionalGeneration(hf.SmolVLMConfig(text_config=TEXT, **_OWN)),
        SmolVLMImageProcessorPil,
    ),
    "Idefics3": (
        lambda: hf.Idefics3ForConditionalGeneration(hf.Idefics3Config(text_config=TEXT, **_OWN)),
        Idefics3ImageProcessorPil,
    ),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "Qwen2_5_VL": lambda: hf.Qwen2_5_VLForConditionalGeneration(
        hf.Qwen2_5_VLConfig(
            text_config={name: value for name, value in _QWEN_TEXT.items() if name != "model_type"},
            vision_config={**_QWEN_TOWER, "fullatt_block_indexes": [1]},
        )
    ),
    "Gemma3": lambda: hf.Gemma3ForConditionalGeneration(
        hf.Gemma3Config(
            text_config={**{name: value for name, value in TEXT.items() if name != "model_type"}, "head_dim": 16},
            vision_config={"model_type": "siglip_vision_model", **TOWER},
            mm_tokens_per_image=4,
        )
    ),
}


def saved(name: str, folder: Path) -> Path:
    """A model of this name as a folder."""
    torch.manual_seed(4)
    make, processor = READ[name] if name in READ else (REFUSED[name], None)
    make().save_pretrained(folder)
    make_tiny_backbone()[1].save_pretrained(str(folder))
    if processor is not None:
        processor(max_image_size={"longest_edge": SIDE}, size={"longest_edge": 4 * SIDE}).save_pretrained(folder)
    return folder
