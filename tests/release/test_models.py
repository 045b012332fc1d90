"""The encoder of a release on a machine of another kind."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from livealign.config import INT8, EncoderConfig, SegmentConfig
from livealign.llm.backbone import Backbone, int8_serves, load_backbone
from livealign.llm.encoder import Encoder
from livealign.release import models
from livealign.release.bundle import ADAPTER, Bundle
from livealign.release.models import load_encoder
from tests.planted.room_texts import CONFIG, random_adapter

INTEGERS = EncoderConfig(exit_layer=2, first_adapted_layer=1, number_type=INT8)
TEXTS = ["tonight we cook ramen", "a new patch", "guitar"]


@pytest.fixture
def backbone() -> Backbone:
    return load_backbone("tiny", Path("models"), "cpu", torch.bfloat16)


@pytest.fixture
def made_in_int8(backbone: Backbone, tmp_path: Path) -> Bundle:
    random_adapter(backbone, tmp_path / ADAPTER)
    config = {"alignment": {"sources": ["llm"]}, "encoder": asdict(INTEGERS), "segments": asdict(SegmentConfig())}
    return Bundle(tmp_path, {"release_id": "one", "backbone": {"id": "tiny", "sha256": backbone.sha256}, "config": config})


def test_a_release_in_int8_is_served_in_floats_where_the_processor_has_no_int8(
    made_in_int8: Bundle, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "int8_serves", lambda: False)
    served: Any = load_encoder(made_in_int8, Path("models"), backbone).llm
    floats = Encoder.load(backbone, made_in_int8.path / ADAPTER, CONFIG)
    assert served.version(tuned=True) == floats.version(tuned=True)
    assert np.array_equal(served.encode(TEXTS), floats.encode(TEXTS))


@pytest.mark.skipif(not int8_serves(), reason="this processor has no products of int8")
def test_a_release_in_int8_is_served_in_int8_where_the_processor_has_it(made_in_int8: Bundle, backbone: Backbone) -> None:
    served: Any = load_encoder(made_in_int8, Path("models"), backbone).llm
    integers = Encoder.load(backbone, made_in_int8.path / ADAPTER, INTEGERS)
    assert served.version(tuned=True) == integers.version(tuned=True)
    assert np.array_equal(served.encode(TEXTS), integers.encode(TEXTS))
