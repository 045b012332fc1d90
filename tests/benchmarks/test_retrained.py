"""Quality benchmarks read a day's adapter with the layers that its retrain chose."""

from dataclasses import replace
from pathlib import Path

from benchmarks.quality.retrained import with_chosen_layers
from livealign.profiles import load_profile
from livealign.retrain.encoder_choice import write_encoder


def test_the_layers_beside_the_adapter_are_read_and_else_those_of_the_profile(tmp_path: Path) -> None:
    profile = load_profile("laptop")
    assert with_chosen_layers(profile, tmp_path) == profile
    chosen = replace(profile.encoder, exit_layer=20, first_adapted_layer=7, pooling="last", choice="auto")
    write_encoder(chosen, "because", tmp_path)
    assert with_chosen_layers(profile, tmp_path).encoder == chosen
