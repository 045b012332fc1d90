"""A planted release with an encoder: the tiny backbone and an adapter for it."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from livealign.llm.adapter_folder import ADAPTER_FILES
from livealign.llm.backbone import load_backbone
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.layers import copy_with_own_layers
from livealign.llm.pooling import WEIGHTS_FILE, write_token_weights
from livealign.llm.prefix import PROJECTOR_FILE, OwnTokens, Projector
from livealign.profiles import load_profile
from livealign.release.bundle import ADAPTER, open_bundle, write_bundle
from tests.planted.marts import Planted
from tests.planted.release import PlantedRelease, plant_platform, plant_release
from tests.planted.vision_language import TOKENS

HIDDEN = 64  # of the tiny backbone: the size of the content that the planted alignment reads


def plant_live_platform(marts: Path) -> Planted:
    """A small platform whose content vectors are as long as the tiny backbone's."""
    return plant_platform(marts, users=30, rooms_per_day=16, requests_per_day=80, days=2, dim=HIDDEN)


def with_encoder(
    release: PlantedRelease, out: Path, number: int = 0, llm_sees: bool = False, vision: Path | None = None, **manifest: Any
) -> PlantedRelease:
    """The release with an encoder, written to the releases folder `out`.

    Each `number` gives another release id. `llm_sees`: whether its LLM reads pictures, as plain pixels. `vision`: the folder of
    a vision-language model (`tests.planted.vision_language`) in place of the tiny backbone. `manifest`: fields that replace
    those of the manifest.
    """
    source, profile = open_bundle(release.bundle), load_profile("tiny")
    backbone = load_backbone("tiny" if vision is None else str(vision), Path("none"))
    own = copy_with_own_layers(backbone.model, profile.encoder.first_adapted_layer, profile.encoder.exit_layer)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(number)
        adapted = get_peft_model(own, LoraConfig(r=2, target_modules=["q_proj"]))
        adapted.save_pretrained(folder)
        write_token_weights(torch.rand(len(backbone.tokenizer)), Path(folder))
        names = [*ADAPTER_FILES, WEIGHTS_FILE]
        if llm_sees:
            images = load_image_encoder("pixels", Path("none"))
            features = np.random.default_rng(number).random((8, images.width), np.float32)
            Projector.fresh(backbone, features, 4, images.identity.sha256, number).save(Path(folder))
            names, manifest = [*names, PROJECTOR_FILE], {"image_backbone": images.reference(), **manifest}
        if vision is not None:
            images = load_image_encoder(str(vision), Path("none"), TOKENS)
            OwnTokens(images.width, TOKENS, images.identity.sha256).save(Path(folder))
            config = {**source.manifest["config"], "frames": {"backbone": str(vision), "prefix_tokens": TOKENS}}
            names, manifest = [*names, PROJECTOR_FILE], {"image_backbone": images.reference(), "config": config, **manifest}
        adapter = {f"{ADAPTER}/{name}": Path(folder) / name for name in names}
        parts: dict[str, Path | bytes] = {name: source.path / name for name in source.manifest["files"]}
        known = ("release_id", "bundle_format", "livealign", "files")
        fields = {name: value for name, value in source.manifest.items() if name not in known}
        fields |= {"backbone": backbone.reference(), "seeds": {"number": number}, **manifest}
        return release._replace(bundle=write_bundle(out, {**parts, **adapter}, fields))


def plant_live_releases(folder: Path, count: int = 1) -> list[PlantedRelease]:
    """`count` releases of one platform in `folder/releases`."""
    plain = plant_release(folder / "plain", plant_live_platform(folder / "marts"))
    return [with_encoder(plain, folder / "releases", number) for number in range(count)]
