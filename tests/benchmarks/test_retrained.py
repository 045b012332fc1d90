"""Quality benchmarks measure with the profile of the platform and the layers that the retrain chose."""

from dataclasses import replace
from pathlib import Path

from benchmarks.quality.retrained import profile_of, with_chosen_layers
from livealign.profiles import load_profile
from livealign.retrain.encoder_choice import write_encoder
from livealign.settings import load_settings


def test_the_layers_beside_the_adapter_are_read_and_else_those_of_the_profile(tmp_path: Path) -> None:
    profile = load_profile("laptop")
    assert with_chosen_layers(profile, tmp_path) == profile
    chosen = replace(profile.encoder, exit_layer=20, first_adapted_layer=7, pooling="last", choice="auto")
    write_encoder(chosen, "because", tmp_path)
    assert with_chosen_layers(profile, tmp_path).encoder == chosen


def test_a_platform_has_the_history_that_its_retrain_learns_from(tmp_path: Path) -> None:
    for platform in ("simulator", "twitch"):
        assert profile_of("laptop", platform) == load_settings([], {"LIVEALIGN_PLATFORM": platform}, tmp_path).profile
    assert profile_of("laptop", "twitch") != load_profile("laptop")
