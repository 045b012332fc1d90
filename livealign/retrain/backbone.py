"""The backbone of a retrain, fetched if need be and checked before anything else is done."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from livealign.config import AUTO
from livealign.errors import BackboneError
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.backbone_names import can_be_fetched
from livealign.llm.encoder import Encoder
from livealign.llm.fetch import fetch_backbone
from livealign.llm.fitting import check_length, check_number_type
from livealign.llm.image_encoder import ImageEncoder, load_image_encoder
from livealign.llm.pooling import MEAN
from livealign.profiles import Profile


def ready_images(
    name: str, models: Path, say: Callable[[str], None], tokens: int = 0, backbone: Backbone | None = None
) -> ImageEncoder:
    """Fetch the image backbone if it has a name, and load it as the retrain will.

    Args:
        tokens: of a picture (`frames.prefix_tokens`).
        backbone: the loaded LLM, which may be of the same folder.

    Raises:
        BackboneError: it is missing or incomplete, or no image model, or does not make so many tokens.
    """
    if can_be_fetched(name):
        fetch_backbone(name, models, progress=say)
    return load_image_encoder(name, models, tokens, backbone)


def ready_backbone(profile: Profile, models: Path, say: Callable[[str], None]) -> None:
    """Fetch the profile's backbone if it has a name, and load it once as the retrain will.

    A model that runs on transformers' own layers is reported as slower.

    Raises:
        BackboneError: it is missing or incomplete, or the settings do not fit it.
    """
    if can_be_fetched(profile.backbone):
        fetch_backbone(profile.backbone, models, progress=say)
    backbone, images = load_backbone(profile.backbone, models, seeing=profile.reads_pictures), None
    if profile.reads_pictures:
        images = ready_images(profile.frames.backbone, models, say, profile.frames.prefix_tokens, backbone)
    if images is not None and images.tokens and images.identity != backbone.identity:
        raise BackboneError(
            f"frames.backbone = {images.name} makes tokens for its own LLM, and the backbone is {backbone.name}; set backbone "
            "to the same folder, or frames.backbone to a model of images such as SigLIP"
        )
    # Pictures are read by an adapter that does not exist yet, too: what would fail after its tuning fails here.
    check_length(backbone, profile.segments.token_budget, profile.frames.prefix_tokens)
    check_number_type(profile.encoder, profile.frames.prefix_tokens)
    # A telling mean needs weights of an adapter that does not exist yet; everything else is as in the retrain. Layers that a
    # retrain will choose are within the whole depth.
    config = replace(profile.encoder, pooling=MEAN)
    if config.choice == AUTO:
        config = replace(config, exit_layer=1.0, first_adapted_layer=0)
    encoder = Encoder.load(backbone, None, config, profile.segments)
    if not encoder.fused:
        say(f"{backbone.name} is a {type(backbone.model).__name__}: it is read by transformers' own layers, which is slower")
