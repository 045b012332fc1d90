"""The fit of an encoder's settings to a backbone: layers, numbers and length of a text.

Layers may be set as shares of the depth, so that a setting fits a backbone whose number of layers nobody looked up.
"""

from dataclasses import replace
from typing import Any

from livealign.config import INT8, EncoderConfig
from livealign.errors import BackboneError
from livealign.llm.backbone import Backbone


def layers_of(backbone: Backbone, config: EncoderConfig) -> tuple[int, int]:
    """(first adapted layer, number of layers that are run) of this backbone.

    A setting may be a share of the depth; it is rounded to a whole layer. At least one layer is run, and a first layer given
    as a share leaves at least one layer for the adapter.

    Raises:
        BackboneError: unless 0 <= first_adapted_layer < exit_layer <= layers of the backbone.
    """
    depth, first, last = backbone.n_layers, config.first_adapted_layer, config.exit_layer
    run = max(1, int(last * depth + 0.5)) if isinstance(last, float) else last
    frozen = first if isinstance(first, int) else min(int(first * depth + 0.5), run - 1)
    in_order = 0 <= frozen < run <= depth and (isinstance(first, int) or 0 <= first < 1)
    if not in_order or (isinstance(first, float) and isinstance(last, float) and first >= last):
        raise BackboneError(
            f"encoder.first_adapted_layer = {first} and encoder.exit_layer = {last} do not fit '{backbone.name}', which has "
            f"{depth} layers; set 0 <= first_adapted_layer < exit_layer <= {depth}, or shares of the depth such as 0.2"
        )
    return frozen, run


def with_layers(backbone: Backbone, config: EncoderConfig) -> EncoderConfig:
    """The config with whole layers of this backbone in place of shares.

    Raises:
        BackboneError: as `layers_of`.
    """
    first, last = layers_of(backbone, config)
    return replace(config, first_adapted_layer=first, exit_layer=last)


def check_length(backbone: Backbone, budget: int, of_picture: int = 0) -> None:
    """Refuse texts longer than the backbone has positions for, the tokens of a picture included.

    Raises:
        BackboneError: both together are more than that.
    """
    config: Any = backbone.model.config
    known = (getattr(config, "max_position_embeddings", None), backbone.tokenizer.model_max_length)
    most = min(number for number in (*known, 1 << 30) if number)
    if budget + of_picture > most:
        fits = most - of_picture
        raise BackboneError(
            f"segments.token_budget = {budget}, but '{backbone.name}' reads at most {fits} tokens of a text; set it to {fits}"
        )


def check_number_type(config: EncoderConfig, of_picture: int) -> None:
    """Refuse int8 for an LLM that reads pictures: the steps of int8 are those of texts.

    Args:
        of_picture: tokens of a picture; 0 for an LLM that reads texts alone.

    Raises:
        BackboneError: both are set.
    """
    if of_picture and config.number_type == INT8:
        raise BackboneError("encoder.number_type = int8 reads no pictures; set it to auto, or frames.prefix_tokens to 0")
