"""A backbone with LoRA in its upper layers: made, continued, saved."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from livealign.config import EncoderConfig, FinetuneConfig
from livealign.errors import TrainingError
from livealign.files import replace_json
from livealign.llm.backbone import Backbone
from livealign.llm.fitting import layers_of
from livealign.llm.layers import LayerStack, copy_with_own_layers, quiet_adapters

# What other models call the projections, by what the setting calls them: Phi-3 has several in one, BERT and the others in turn.
JOINED_TARGETS = {"qkv_proj": {"q_proj", "k_proj", "v_proj"}, "gate_up_proj": {"gate_proj", "up_proj"}}
OTHER_TARGETS = (
    ("query", "key", "value"),
    ("Wqkv", "Wo", "Wi"),
    ("query_proj", "key_proj", "value_proj"),
    ("q_lin", "k_lin", "v_lin", "out_lin"),
    ("query_key_value", "dense"),
    ("c_attn", "c_proj", "c_fc"),
    ("q", "k", "v", "o"),
)


def with_adapter(backbone: Backbone, encoder: EncoderConfig, config: FinetuneConfig, warm_start: Path | None) -> PeftModel:
    """The backbone's layers up to the exit, with LoRA in the adapted ones.

    All other weights are frozen.

    Raises:
        TrainingError: no module can be adapted, or the earlier adapter does not fit.
    """
    first, last = layers_of(backbone, encoder)
    own, layers = copy_with_own_layers(backbone.model, first, last), list(range(first, last))
    names = {name.rsplit(".", 1)[-1] for name, _ in own.named_modules()}
    targets = modules_to_adapt(set(config.target_modules), names)
    if not targets:
        modules = " or ".join(config.target_modules)
        raise TrainingError(f"'{backbone.name}' has no module named {modules}; set finetune.target_modules")
    if warm_start is not None:
        try:
            with quiet_adapters():
                model = PeftModel.from_pretrained(own, str(warm_start), is_trainable=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise TrainingError(f"the adapter in {warm_start} does not fit: {error}; tune without warm start") from error
        previous: Any = model.peft_config["default"]
        if previous.r != config.rank or sorted(previous.layers_to_transform or []) != layers:
            raise TrainingError(
                f"the adapter in {warm_start} has rank {previous.r} and layers {previous.layers_to_transform}, not rank "
                f"{config.rank} and layers {layers}; tune without warm start"
            )
        return _train_adapters_only(model)
    with torch.random.fork_rng(devices=[]), quiet_adapters():
        torch.manual_seed(config.seed)
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=targets,
            layers_to_transform=layers,
            layers_pattern=LayerStack(own).path.rsplit(".", 1)[-1],
        )
        return _train_adapters_only(get_peft_model(own, lora))


def modules_to_adapt(asked: set[str], names: set[str]) -> list[str]:
    """The modules to adapt: those asked for, else those in their place.

    Args:
        asked: names of the setting; names: those of the model.
    """
    own = asked & names | {name for name, parts in JOINED_TARGETS.items() if name in names and parts <= asked}
    return sorted(own) or next((found for other in OTHER_TARGETS if (found := [one for one in other if one in names])), [])


def _train_adapters_only(model: PeftModel) -> PeftModel:
    """The model with dropout in its adapters alone: a frozen backbone reads a text as it will when it serves."""
    model.eval()
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            module.train()
    return model


def save_weights(model: PeftModel, folder: Path) -> None:
    """Write an adapter in peft's own format.

    What differs from machine to machine is left out: the model's path and the order of a set. Without a path peft looks nothing
    up, neither on disk nor on a network; finetune.json names the backbone.
    """
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a model card of placeholders
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = None
    settings["target_modules"] = sorted(settings["target_modules"])
    replace_json(folder / "adapter_config.json", settings)


def adapter_parameters(model: PeftModel) -> list[nn.Parameter]:
    """The trainable parameters, all of which must be the adapter's.

    Raises:
        TrainingError: another weight would train, or none.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    others = [name for name in trainable if "lora_" not in name]
    if others or not trainable:
        raise TrainingError(f"only adapter weights may train, but these would: {others[:3] or 'none at all'}")
    return list(trainable.values())
