"""An adapter's folder: its files, its hash, and the model with the adapter merged into it."""

import hashlib
import json
from pathlib import Path

import torch
from peft import PeftModel

from livealign.errors import BackboneError
from livealign.llm.layers import quiet_adapters
from livealign.llm.pooling import WEIGHTS_FILE
from livealign.llm.prefix import PROJECTOR_FILE

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")  # peft's
OWN_FILES = (WEIGHTS_FILE, PROJECTOR_FILE)  # that may lie beside them: of the pooling, and of pictures


def adapter_sha256(adapter: Path) -> str:
    """SHA-256 of an adapter: weights, their scale, token weights and projector if any.

    Raises:
        BackboneError: the folder holds no adapter.
    """
    weights, settings = (adapter / name for name in ADAPTER_FILES)
    if not (weights.is_file() and settings.is_file()):
        raise BackboneError(f"{adapter} holds no adapter ({', '.join(ADAPTER_FILES)}); tune one first")
    written = json.loads(settings.read_text())
    digest = hashlib.sha256(weights.read_bytes())
    digest.update(json.dumps([written["r"], written["lora_alpha"]]).encode())
    for name in OWN_FILES:
        if (adapter / name).is_file():
            digest.update((adapter / name).read_bytes())
    return digest.hexdigest()


def merged(model: torch.nn.Module, adapter: Path) -> torch.nn.Module:
    """The model with the adapter merged into its weights.

    Raises:
        BackboneError: the folder holds no adapter, or one that does not fit.
    """
    adapter_sha256(adapter)
    try:
        with quiet_adapters():
            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError) as error:
        raise BackboneError(f"the adapter in {adapter} does not fit this backbone and layers: {error}") from error
    return model.eval().requires_grad_(False)
