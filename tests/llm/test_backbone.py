import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

from livealign.config import EncoderConfig
from livealign.errors import BackboneError
from livealign.home import Home
from livealign.llm import backbone as backbones
from livealign.llm.backbone import choose_dtype, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.layers import LayerStack, copy_with_own_layers
from livealign.llm.packing import pack_whole

IDS = torch.arange(3, 23).view(2, 10)
LENGTHS = torch.tensor([10, 6])


def real_models() -> Path:
    models = Home.from_environment("simulator").models
    if not (models / "smollm2-135m" / "backbone.json").is_file():
        pytest.skip(f"the backbone smollm2-135m is not in {models}; run `make setup` or set LIVEALIGN_HOME")
    return models


def small_folder(tmp_path: Path, model: torch.nn.Module) -> Path:
    tiny = load_backbone("tiny", tmp_path)
    assert isinstance(tiny.tokenizer, PreTrainedTokenizerFast)
    tiny.tokenizer.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def small_qwen() -> torch.nn.Module:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    return Qwen2Model(Qwen2Config(vocab_size=800, **sizes))


def small_bert() -> torch.nn.Module:
    return BertModel(
        BertConfig(vocab_size=800, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
    )


@pytest.mark.slow
def test_the_tiny_backbone_is_the_same_in_every_process(tmp_path):
    program = "from livealign.llm.tiny_backbone import make_tiny_backbone; print(make_tiny_backbone()[2])"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == load_backbone("tiny", tmp_path).sha256


def test_a_tokenizer_trained_on_the_spot_keeps_every_character(tmp_path):
    tokenizer = load_backbone("tiny", tmp_path).tokenizer
    for text in ("minute 10 | host: hello", "Привет, 世界 👋🏽 שלום", "tab\tnewline\n"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_making_the_tiny_backbone_leaves_the_random_state_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_backbone("tiny", tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_no_weight_of_a_loaded_backbone_trains(tmp_path):
    assert not any(parameter.requires_grad for parameter in load_backbone("tiny", tmp_path).model.parameters())


@pytest.mark.parametrize("make", [small_qwen, small_bert], ids=["qwen decoder", "bert encoder"])
def test_a_local_folder_of_any_kind_loads_and_runs_layer_by_layer_as_its_own_forward_does(tmp_path, make):
    loaded = load_backbone(str(small_folder(tmp_path, make())), tmp_path, device="cpu", dtype=torch.float32)
    assert (loaded.n_layers, loaded.hidden_size) == (3, 32)
    mask = (torch.arange(10)[None] < LENGTHS[:, None]).long()
    tokens = [ids[:length] for ids, length in zip(IDS.tolist(), LENGTHS.tolist(), strict=True)]
    for stack in (LayerStack(loaded.model), stack_of(loaded.model)):
        rows, batch = pack_whole(tokens, stack.causal, loaded.device)
        with torch.inference_mode():
            reference = loaded.model(input_ids=IDS, attention_mask=mask, output_hidden_states=True).hidden_states
            for last in (1, 2):
                found = batch.to_paths(stack.run(stack.run(stack.embed(batch), batch, 0, 1), batch, 1, last))[0]
                for place, row in enumerate(rows):
                    length = LENGTHS[row]
                    torch.testing.assert_close(found[place, :length], reference[last][row, :length], rtol=1e-4, atol=1e-5)


def test_a_llama_like_model_gets_the_fused_layers_and_any_other_its_own(tmp_path):
    assert isinstance(stack_of(small_qwen()), FusedStack)
    assert isinstance(stack_of(small_bert()), LayerStack)
    strange = small_qwen()
    strange.layers[0].mlp.act_fn = torch.nn.Tanh()
    assert isinstance(stack_of(strange), LayerStack)


def test_fusing_adds_no_memory_and_changes_no_weight():
    model = small_qwen()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    stack_of(model)
    attention = model.layers[1].self_attn
    storage = attention.q_proj.weight.untyped_storage()
    assert storage.data_ptr() == attention.v_proj.weight.untyped_storage().data_ptr()
    first = stack_of(model)
    assert attention.q_proj.weight.untyped_storage().data_ptr() == storage.data_ptr()
    assert isinstance(first, FusedStack)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_copy_owns_its_adapted_layers_and_shares_everything_else(tmp_path):
    model = load_backbone("tiny", tmp_path).model
    copied = copy_with_own_layers(model, 1, 2)
    original, own = dict(model.named_parameters()), dict(copied.named_parameters())
    for name, parameter in own.items():
        assert (parameter.data_ptr() != original[name].data_ptr()) == name.startswith("layers.1.")


def test_weights_that_changed_after_the_fetch_are_refused(tmp_path):
    folder = small_folder(tmp_path, small_qwen())
    (folder / "backbone.json").write_text(json.dumps({"id": "x", "sha256": "0" * 64}))
    with pytest.raises(BackboneError, match="delete the folder and fetch again"):
        load_backbone(str(folder), tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smollm2-135m", "livealign backbone fetch smollm2-135m"),
        ("/no/such/folder", "config.json"),
        ("org/name", "org/name@main"),
    ],
)
def test_a_missing_model_is_an_error_with_a_remedy(tmp_path, name, message):
    with pytest.raises(BackboneError, match=message):
        load_backbone(name, tmp_path)


def test_asking_for_cuda_where_there_is_none_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackboneError, match="LIVEALIGN_DEVICE=cpu"):
        backbones.choose_device("cuda")


@pytest.mark.parametrize(("flags", "expected"), [("avx512_bf16 amx", torch.bfloat16), ("avx2 fma", torch.float32)])
def test_bfloat16_is_chosen_only_where_the_cpu_multiplies_it(monkeypatch, flags, expected):
    monkeypatch.setattr(backbones, "_cpu_flags", lambda: set(flags.split()))
    assert choose_dtype(torch.device("cpu")) is expected


@pytest.mark.slow
def test_the_real_backbone_loads_fast_and_knows_the_capital_of_france():
    models = real_models()
    load_backbone("smollm2-135m", models)  # the first load imports the model's code
    started = time.perf_counter()
    loaded = load_backbone("smollm2-135m", models)
    assert time.perf_counter() - started < 2.0
    assert (loaded.n_layers, loaded.hidden_size) == (30, 576)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = torch.tensor([loaded.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)])
    with torch.inference_mode():
        for _ in range(8):
            logits = loaded.model(input_ids=ids).last_hidden_state[0, -1] @ loaded.model.embed_tokens.weight.T
            ids = torch.cat([ids, logits.argmax().view(1, 1)], dim=1)
    assert "Paris" in loaded.tokenizer.decode(ids[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "version"),
    [(torch.float32, "d96b3bd828b13ed5c81bf873"), (torch.bfloat16, "addc132ec4d26778cb9c4056")],
    ids=["float32", "bfloat16"],
)
def test_cached_vectors_of_the_real_backbone_stay_valid(dtype, version):
    backbone = load_backbone("smollm2-135m", real_models(), dtype=dtype)
    assert Encoder.load(backbone, None, EncoderConfig()).version(tuned=False) == version
