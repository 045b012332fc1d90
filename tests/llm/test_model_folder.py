"""Folders with a model: what is incomplete is refused in one sentence, and a model is known by its files, not by its path."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from livealign.config import EncoderConfig, SegmentConfig
from livealign.errors import BackboneError
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.lookup import find_backbone
from livealign.llm.model_folder import identity_of
from livealign.llm.tiny_backbone import make_tiny_backbone

WEIGHTS = "model.safetensors"
SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete folder: a small Llama with a head, and its tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    torch.manual_seed(5)
    _, tokenizer, _ = make_tiny_backbone()
    tokenizer.save_pretrained(folder)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), pad_token_id=None, **SIZES)).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def rename(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})

    return damage


def without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def empty_tokenizer(folder: Path) -> None:
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["model"] |= {"vocab": {"a": 3}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(settings))


def larger_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"word{number}" for number in range(9)])
    tokenizer.save(str(folder / "tokenizer.json"))


def config(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        written = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(written | changes))

    return damage


def not_a_number(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    weights["model.layers.2.mlp.up_proj.weight"][3, 4] = torch.nan
    return weights


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            rename(lambda weights: {f"_orig_mod.{name}": weight for name, weight in weights.items()}),
            "lacks 29 .* of its weights; the files have _orig_mod.*save the model itself, not the compiled one",
        ),
        (
            rename(lambda weights: {name: weight for name, weight in weights.items() if ".1." not in name}),
            r"lacks 9 \(layers.1.*copy the whole model",
        ),
        (config(num_hidden_layers=2), "weights of more layers than config.json says.*num_hidden_layers"),
        (config(intermediate_size=48), "has another shape than config.json says|cannot be loaded"),
        (rename(not_a_number), "layers.2.mlp.up_proj.weight in .* not finite"),
        (without_tokenizer, "has no tokenizer .*copy the model's tokenizer files"),
        (empty_tokenizer, "is empty: it reads every text alike"),
        (larger_tokenizer, "knows 615 tokens and the model 606"),
        (lambda folder: (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid"), "git lfs pull"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:9000]), "damaged or cut off"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), "damaged or cut off"),
        (lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"), "pytorch_model.bin is not read"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "t5"}'), "cannot be loaded|encoder with a decoder"),
        (lambda folder: (folder / "config.json").unlink(), "there is no model"),
    ],
)
def test_an_incomplete_folder_is_refused_in_a_sentence(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(BackboneError, match=message) as refused:
        load_backbone(str(folder), folder.parent, device="cpu")
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_sharded_weights_are_one_model_and_a_missing_shard_is_named(whole: Path, folder: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    expected, found = (
        Encoder.load(load_backbone(str(one), one.parent, device="cpu", dtype=torch.float32), None, EncoderConfig(3, 0)).encode(
            ["hello"]
        )
        for one in (whole, folder)
    )
    assert (found == expected).all()
    shards[1].unlink()
    with pytest.raises(BackboneError, match=f"lacks {re.escape(shards[1].name)}, a part of its weights"):
        load_backbone(str(folder), folder.parent)


def test_tied_embeddings_and_a_missing_pooler_are_complete(tmp_path: Path) -> None:
    _, tokenizer, _ = make_tiny_backbone()
    tied, encoder = tmp_path / "tied", tmp_path / "encoder"
    for folder in (tied, encoder):
        tokenizer.save_pretrained(folder)
    LlamaForCausalLM(LlamaConfig(vocab_size=606, tie_word_embeddings=True, **SIZES)).save_pretrained(tied)
    BertModel(BertConfig(vocab_size=606, **SIZES), add_pooling_layer=False).save_pretrained(encoder)
    assert load_backbone(str(tied), tmp_path).causal
    assert not load_backbone(str(encoder), tmp_path).causal


def test_a_tokenizer_without_padding_reads_empty_texts(whole: Path, folder: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            written = json.loads((folder / name).read_text())
            written.pop("pad_token", None)
            (folder / name).write_text(json.dumps(written))
    backbone = load_backbone(str(folder), folder.parent, device="cpu", dtype=torch.float32)
    assert isinstance(backbone.tokenizer, PreTrainedTokenizerFast)
    assert backbone.tokenizer.pad_token_id is None
    vectors = Encoder.load(backbone, None, EncoderConfig(3, 0)).encode(["", "hello there", ""])
    assert torch.isfinite(torch.from_numpy(vectors)).all()


def test_texts_longer_than_the_model_has_positions_for_are_refused(folder: Path) -> None:
    config(max_position_embeddings=40)(folder)
    backbone = load_backbone(str(folder), folder.parent, device="cpu")
    with pytest.raises(BackboneError, match="token_budget = 64, but 'copy' reads at most 40 tokens"):
        Encoder.load(backbone, None, EncoderConfig(3, 0))
    assert Encoder.load(backbone, None, EncoderConfig(3, 0), SegmentConfig(token_budget=40)).token_budget == 40


def test_a_model_is_known_by_its_files_and_not_by_its_path(whole: Path, folder: Path) -> None:
    assert identity_of(folder) == identity_of(whole)
    assert load_backbone(str(folder), folder.parent).name == "copy"
    config(rope_theta=77.0)(folder)
    assert identity_of(folder) != identity_of(whole)
    assert identity_of(folder).weights_sha256 == identity_of(whole).weights_sha256


def test_a_backbone_is_looked_up_by_its_hash_in_each_place_in_turn(whole: Path, tmp_path: Path) -> None:
    packed, models, sha256 = tmp_path / "bento", tmp_path / "models", identity_of(whole).sha256
    other = Path(shutil.copytree(whole, models / "mine"))
    config(rope_theta=77.0)(other)  # the same name and weights, but not the same model
    moved = Path(shutil.copytree(whole, packed / "another name"))
    assert find_backbone("mine", sha256, [packed, models])[0] == moved
    assert find_backbone("mine", sha256, [tmp_path / "none", models], str(whole))[0] == whole
    with pytest.raises(
        BackboneError, match=f"mine {sha256[:12]} is not in {models} .*mine holds .*copy its folder into {models}"
    ):
        find_backbone("mine", sha256, [models], str(tmp_path / "gone"))
    (other / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(BackboneError, match="git lfs pull"):
        find_backbone("mine", sha256, [models])


def test_a_release_of_1_x_names_a_folder_by_its_weights_and_finds_it(whole: Path, tmp_path: Path) -> None:
    identity = identity_of(whole)
    assert find_backbone(str(whole), identity.weights_sha256, [tmp_path], str(whole)) == (whole, identity)
