"""Folders of vision-language models: refused as the LLM and as the image encoder, in a line that says what to set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from livealign.errors import BackboneError
from livealign.llm.backbone import load_backbone
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.tiny_backbone import make_tiny_backbone

TEXT: dict[str, Any] = {
    "vocab_size": 700,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
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
    "image_size": 64,
    "patch_size": 16,
}
QWEN_TOWER = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 48}
KINDS: dict[str, Callable[[], Any]] = {
    "SmolVLM": lambda: hf.SmolVLMForConditionalGeneration(
        hf.SmolVLMConfig(text_config={"model_type": "llama", **TEXT}, vision_config=TOWER, image_token_id=5, scale_factor=2)
    ),
    "Qwen2_5_VL": lambda: hf.Qwen2_5_VLForConditionalGeneration(
        hf.Qwen2_5_VLConfig(
            text_config={**TEXT, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2]}},
            vision_config={**QWEN_TOWER, "fullatt_block_indexes": [1]},
        )
    ),
    "Gemma3": lambda: hf.Gemma3ForConditionalGeneration(
        hf.Gemma3Config(
            text_config={**TEXT, "head_dim": 16},
            vision_config={"model_type": "siglip_vision_model", **TOWER},
            mm_tokens_per_image=4,
        )
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_vision_language_model_is_refused_in_a_line_that_says_what_to_set(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    KINDS[name]().save_pretrained(folder)
    make_tiny_backbone()[1].save_pretrained(str(folder))
    with pytest.raises(BackboneError, match=rf"holds a {name}Model, .* frames\.backbone with frames\.prefix_tokens"):
        load_backbone(str(folder), tmp_path)
    with pytest.raises(BackboneError, match=f"holds a {name}Model, a vision-language model, .* use SigLIP"):
        load_image_encoder(str(folder), tmp_path)
