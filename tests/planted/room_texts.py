"""Texts of rooms about planted subjects, a random adapter, and a model folder."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model

from livealign.config import EncoderConfig
from livealign.llm.backbone import Backbone
from livealign.llm.layers import copy_with_own_layers
from livealign.llm.tiny_backbone import make_tiny_backbone
from tests.planted.text_pairs import SUBJECTS, sentence

CONFIG = EncoderConfig(exit_layer=2, first_adapted_layer=1)


def room_texts(rooms: int, windows: int, seed: int = 3) -> tuple[list[str], NDArray[np.int64]]:
    """(texts, the room of each): all texts of a room begin alike."""
    rng = np.random.default_rng(seed)
    texts, ids = [], []
    for room in range(rooms):
        subject = str(rng.choice(list(SUBJECTS)))
        texts += [f"room {room} about {subject} / {sentence(subject, rng)}" for _ in range(windows)]
        ids += [room + 1] * windows
    return texts, np.array(ids, np.int64)


def saved_model(folder: Path) -> Path:
    """The tiny backbone as a Hugging Face folder."""
    model, tokenizer, _ = make_tiny_backbone()
    tokenizer.save_pretrained(str(folder))
    model.save_pretrained(str(folder))  # type: ignore[operator]
    return folder


def random_adapter(backbone: Backbone, folder: Path) -> Path:
    """An adapter with random weights in layer 1, as peft saves it."""
    settings = LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], layers_to_transform=[1], layers_pattern="layers"
    )
    model = get_peft_model(copy_with_own_layers(backbone.model, 1, 2), settings)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(str(folder))
    return folder
