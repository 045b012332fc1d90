"""The backbone of a retrain is tried before anything else is done."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import BertConfig, BertModel

from livealign.errors import BackboneError
from livealign.llm.tiny_backbone import make_tiny_backbone
from livealign.profiles import load_profile
from livealign.retrain.backbone import ready_backbone


def small_bert(folder: Path) -> Path:
    make_tiny_backbone()[1].save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=606, **sizes)).save_pretrained(folder)
    return folder


def test_a_model_on_its_own_layers_is_named_in_one_line_and_a_fused_one_in_none(tmp_path: Path) -> None:
    said: list[str] = []
    profile = load_profile("tiny")
    ready_backbone(profile, tmp_path, said.append)
    assert said == []
    ready_backbone(replace(profile, backbone=str(small_bert(tmp_path / "mine"))), tmp_path, said.append)
    assert said == ["mine is a BertModel: it is read by transformers' own layers, which is slower"]


def test_settings_that_do_not_fit_the_backbone_are_refused(tmp_path: Path) -> None:
    laptop = replace(load_profile("laptop"), backbone=str(small_bert(tmp_path / "mine")))
    with pytest.raises(BackboneError, match=r"encoder.exit_layer = 6 do not fit 'mine', which has 3 layers"):
        ready_backbone(laptop, tmp_path, print)
    gpu = replace(load_profile("gpu"), backbone=laptop.backbone)
    ready_backbone(gpu, tmp_path, print)


def test_an_llm_that_reads_pictures_is_refused_before_it_is_tuned(tmp_path: Path) -> None:
    tiny = load_profile("tiny")
    seeing = replace(tiny, frames=replace(tiny.frames, prefix_tokens=4))
    ready_backbone(seeing, tmp_path, print)
    with pytest.raises(BackboneError, match="at most 508 tokens of a text; set it to 508"):
        ready_backbone(replace(seeing, segments=replace(tiny.segments, token_budget=512)), tmp_path, print)
    with pytest.raises(BackboneError, match=r"int8 reads no pictures; set it to auto, or frames\.prefix_tokens to 0"):
        ready_backbone(replace(seeing, encoder=replace(tiny.encoder, number_type="int8")), tmp_path, print)
