"""Small random vision-language models as folders.

Each has a tokenizer, and an image processor if its pictures are read.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
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
_UNTYPED = {name: value for name, value in TEXT.items() if name != "model_type"}
_OWN = {"vision_config": TOWER, "image_token_id": IMAGE_TOKEN, "scale_factor": 2}
_LONGEST = {"max_image_size": {"longest_edge": SIDE}, "size": {"longest_edge": 4 * SIDE}}
_GEMMA_TEXT = {
    **_UNTYPED,
    "head_dim": 16,
    "query_pre_attn_scalar": 24,
    "sliding_window": 12,  # less than a picture has tokens
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
_QWEN_TEXT = {**_UNTYPED, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}}
_QWEN_TOWER = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 4,
    "out_hidden_size": 64,
    "patch_size": 14,
    "window_size": 56,
    "fullatt_block_indexes": [1],  # windows of 2 × 2 tokens
}

Make = Callable[[], Any]
READ: dict[str, tuple[Make, Make]] = {  # by name: the model, its image processor
    "SmolVLM": (
        lambda: hf.SmolVLMForConditionalGeneration(hf.SmolVLMConfig(text_config=TEXT, **_OWN)),
        lambda: SmolVLMImageProcessorPil(**_LONGEST),
    ),
    "Idefics3": (
        lambda: hf.Idefics3ForConditionalGeneration(hf.Idefics3Config(text_config=TEXT, **_OWN)),
        lambda: Idefics3ImageProcessorPil(**_LONGEST),
    ),
    "Gemma3": (
        lambda: hf.Gemma3ForConditionalGeneration(
            hf.Gemma3Config(
                text_config=_GEMMA_TEXT,
                vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **TOWER},
                mm_tokens_per_image=TOKENS,
                image_token_index=IMAGE_TOKEN,
            )
        ),
        lambda: Gemma3ImageProcessorPil(do_pan_and_scan=True),
    ),
    "Qwen2_5_VL": (
        lambda: hf.Qwen2_5_VLForConditionalGeneration(
            hf.Qwen2_5_VLConfig(text_config=_QWEN_TEXT, vision_config=_QWEN_TOWER, image_token_id=IMAGE_TOKEN)
        ),
        lambda: Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}),  # 4 × 4 tokens
    ),
}
REFUSED: dict[str, Make] = {
    "Llava": lambda: hf.LlavaForConditionalGeneration(
        hf.LlavaConfig(text_config=TEXT, vision_config={"model_type": "clip_vision_model", **TOWER})
    ),
    "Qwen3VL": lambda: hf.Qwen3VLForConditionalGeneration(  # its tower adds to the text layers' states too
        hf.Qwen3VLConfig(
            text_config={**_UNTYPED, "rope_parameters": {"rope_type": "default", "mrope_section": [4, 2, 2]}, "head_dim": 16},
            vision_config={
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_heads": 4,
                "out_hidden_size": 64,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": [1],
            },
        )
    ),
}


def saved(name: str, folder: Path) -> Path:
    """A model of this name as a folder."""
    torch.manual_seed(4)
    make, processor = READ[name] if name in READ else (REFUSED[name], None)
    model = make()
    if name == "Gemma3":
        model.model.multi_modal_projector.mm_input_projection_weight.data.normal_(std=0.05)  # 0 before its training
    model.save_pretrained(folder)
    make_tiny_backbone()[1].save_pretrained(str(folder))
    if processor is not None:
        processor().save_pretrained(folder)
    return folder


def counted_loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that transformers loads models from, from now on."""
    loads: list[Path] = []
    load = hf.AutoModel.from_pretrained
    monkeypatch.setattr(
        hf.AutoModel, "from_pretrained", lambda folder, *rest, **more: loads.append(folder) or load(folder, *rest, **more)
    )
    return loads
