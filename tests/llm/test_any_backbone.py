"""Small random models of many architectures: each is read as transformers reads it, on the fused layers or its own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from livealign.errors import BackboneError
from livealign.llm import fused_layers
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.layers import LayerStack, copy_with_own_layers, quiet_adapters
from livealign.llm.packing import pack_whole
from livealign.llm.pooling import Pooling
from livealign.llm.prefix import FIRST_ID, with_prefix
from livealign.tuning.adapted_model import modules_to_adapt

SIZES: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,  # large, so that every part matters
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}
KINDS = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
PARTIAL = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
ROTATED = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
    "full_attention": {"rope_type": "default", "rope_theta": 1e6},
}
Make = Callable[[], Any]
FUSED: dict[str, Make] = {
    "Llama": lambda: hf.LlamaModel(hf.LlamaConfig(**GROUPED)),
    "Mistral with a window": lambda: hf.MistralModel(hf.MistralConfig(**GROUPED, sliding_window=12)),
    "Qwen2": lambda: hf.Qwen2Model(hf.Qwen2Config(**GROUPED)),
    "Qwen2 with windows": lambda: hf.Qwen2Model(
        hf.Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=12, max_window_layers=2)
    ),
    "Qwen3": lambda: hf.Qwen3Model(hf.Qwen3Config(**GROUPED, head_dim=16)),
    "Gemma": lambda: hf.GemmaModel(hf.GemmaConfig(**GROUPED, head_dim=16)),
    "Gemma 3": lambda: hf.Gemma3TextModel(
        hf.Gemma3TextConfig(
            **GROUPED, head_dim=16, sliding_window=12, query_pre_attn_scalar=24, layer_types=KINDS, rope_parameters=ROTATED
        )
    ),
    "Phi-3": lambda: hf.Phi3Model(hf.Phi3Config(**GROUPED, sliding_window=20)),
    "Phi-3, heads rotated in part": lambda: hf.Phi3Model(hf.Phi3Config(**GROUPED, rope_parameters=PARTIAL)),
    "SmolLM3": lambda: hf.SmolLM3Model(hf.SmolLM3Config(**GROUPED, no_rope_layer_interval=2)),
    "Seed-OSS": lambda: hf.SeedOssModel(hf.SeedOssConfig(**GROUPED)),
}
OWN: dict[str, Make] = {
    "Gemma 2": lambda: hf.Gemma2Model(hf.Gemma2Config(**GROUPED, head_dim=16, sliding_window=12)),
    "OLMo": lambda: hf.OlmoModel(hf.OlmoConfig(**GROUPED)),
    "OLMo 2": lambda: hf.Olmo2Model(hf.Olmo2Config(**GROUPED)),
    "StableLM": lambda: hf.StableLmModel(hf.StableLmConfig(**{**GROUPED, "hidden_size": 64})),
    "Ernie MoE": lambda: hf.Ernie4_5_MoeModel(
        hf.Ernie4_5_MoeConfig(**GROUPED, moe_num_experts=4, moe_k=2, moe_intermediate_size=32)
    ),
    "Granite": lambda: hf.GraniteModel(hf.GraniteConfig(**GROUPED, residual_multiplier=0.5, embedding_multiplier=3.0)),
    "Cohere": lambda: hf.CohereModel(hf.CohereConfig(**GROUPED)),
    "GPT-2": lambda: hf.GPT2Model(hf.GPT2Config(vocab_size=400, n_embd=48, n_layer=3, n_head=4, initializer_range=0.2)),
    "Pythia": lambda: hf.GPTNeoXModel(hf.GPTNeoXConfig(**SIZES)),
}
BOTH_WAYS: dict[str, Make] = {
    "BERT": lambda: hf.BertModel(hf.BertConfig(**SIZES)),
    "XLM-R": lambda: hf.XLMRobertaModel(hf.XLMRobertaConfig(**{**SIZES, "pad_token_id": 1, "bos_token_id": 0})),
    "ModernBERT": lambda: hf.ModernBertModel(hf.ModernBertConfig(**SIZES, cls_token_id=1, sep_token_id=2, local_attention=16)),
    "MPNet": lambda: hf.MPNetModel(hf.MPNetConfig(**SIZES)),
    "DistilBERT": lambda: hf.DistilBertModel(
        hf.DistilBertConfig(vocab_size=400, dim=48, hidden_dim=96, n_layers=3, n_heads=4, initializer_range=0.2)
    ),
    "Nomic": lambda: hf.NomicBertModel(hf.NomicBertConfig(**SIZES)),
    "DeBERTa": lambda: hf.DebertaV2Model(hf.DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"])),
    "EuroBERT, of Llama's parts": lambda: hf.EuroBertModel(hf.EuroBertConfig(**GROUPED, mask_token_id=3)),
    "a Llama that is not causal": lambda: hf.LlamaModel(hf.LlamaConfig(**GROUPED, is_causal=False)),
    "EmbeddingGemma": lambda: hf.Gemma3TextModel(
        hf.Gemma3TextConfig(
            **GROUPED,
            head_dim=16,
            sliding_window=12,
            use_bidirectional_attention=True,
            layer_types=KINDS,
            rope_parameters=ROTATED,
        )
    ),
}
EVERY = FUSED | OWN | BOTH_WAYS
LONG = list(range(20, 60))
TEXTS = [LONG, [*LONG[:7], 9, 8, 7], LONG[:3], [100, 101, 5, 5, 102], [*LONG[:20], 200, 201]]


def made(make: Make, dtype: torch.dtype = torch.float32) -> Any:
    """The model with norms that are not all 1."""
    torch.manual_seed(3)
    model = make().eval().to(dtype)
    for name, weight in model.named_parameters():
        if "norm" in name.lower() and weight.dim() == 1:
            weight.data += (0.3 * torch.randn(len(weight))).to(dtype)
    return model.requires_grad_(False)


def own_states(model: Any, text: list[int]) -> tuple[Tensor, ...]:
    """Hidden states [length, width] by depth of transformers' forward pass; the last one is normed by the model."""
    with torch.inference_mode():
        found = model(input_ids=torch.tensor([text]), output_hidden_states=True).hidden_states
    return tuple(states[0] for states in found)


@pytest.mark.parametrize("name", EVERY)
def test_each_text_of_a_batch_is_read_as_transformers_reads_it_alone(name: str) -> None:
    model = made(EVERY[name])
    stack = stack_of(model)
    assert isinstance(stack, FusedStack) == (name in FUSED)
    assert stack.causal == (name not in BOTH_WAYS)
    rows, batch = pack_whole(TEXTS, stack.causal, torch.device("cpu"))
    depth = stack.n_layers - 1
    with torch.inference_mode():
        whole = stack.run(stack.embed(batch), batch, 0, depth)
        entered = stack.run(stack.run(stack.embed(batch), batch, 0, 1), batch, 1, depth)
    torch.testing.assert_close(entered, whole, rtol=1e-4, atol=1e-4)
    place = 0
    for group, states in zip(batch.groups, batch.to_paths(whole), strict=True):
        for length, of_text in zip(group.lengths.tolist(), states, strict=True):
            expected = own_states(model, TEXTS[rows[place]])[depth]
            torch.testing.assert_close(of_text[:length], expected, rtol=2e-3, atol=2e-3 * float(expected.std()))
            place += 1


@pytest.mark.parametrize("name", EVERY)
def test_a_text_behind_tokens_of_a_picture_is_read_as_transformers_reads_both_alone(name: str) -> None:
    model = made(EVERY[name])
    stack = stack_of(model)
    words = model.get_input_embeddings()
    values = words.weight.std() * torch.randn(6, words.weight.shape[1], generator=torch.Generator().manual_seed(1))
    pictures = [range(FIRST_ID, FIRST_ID + 3), range(FIRST_ID + 3, FIRST_ID + 6), None]  # of three tokens each
    texts = [(picture, text) for picture in pictures for text in (*TEXTS, [])][:-1]
    tokens = [[*(picture or ()), *text] for picture, text in texts]
    rows, batch = pack_whole(tokens, stack.causal, torch.device("cpu"))
    depth = stack.n_layers - 1
    with torch.inference_mode():
        batch = with_prefix(batch, values)
        whole = stack.run(stack.embed(batch), batch, 0, depth)
        entered = stack.run(stack.run(stack.embed(batch), batch, 0, 1), batch, 1, depth)
    torch.testing.assert_close(entered, whole, rtol=1e-4, atol=1e-4)
    found = [
        of_text[:length]
        for group, states in zip(batch.groups, batch.to_paths(whole), strict=True)
        for length, of_text in zip(group.lengths.tolist(), states, strict=True)
    ]
    for row, states in zip(rows.tolist(), found, strict=True):
        picture, text = texts[row]
        seen = values[[number - FIRST_ID for number in picture or ()]]
        with torch.inference_mode():
            embedded = torch.cat([seen, words(torch.tensor(text, dtype=torch.long))])[None]
            expected = model(inputs_embeds=embedded, output_hidden_states=True).hidden_states[depth][0]
        torch.testing.assert_close(states, expected, rtol=2e-3, atol=2e-3 * float(expected.std()))


@pytest.mark.parametrize("name", FUSED)
def test_bfloat16_keeps_the_fused_layers(name: str) -> None:
    assert isinstance(stack_of(made(FUSED[name], torch.bfloat16)), FusedStack)


@pytest.mark.parametrize("name", FUSED)
def test_the_fused_layers_have_the_gradients_of_peft(name: str) -> None:
    body = copy_with_own_layers(made(FUSED[name]), 1, 4)
    names = {one.rsplit(".", 1)[-1] for one, _ in body.named_modules()}
    asked = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    lora = LoraConfig(
        r=2, target_modules=modules_to_adapt(asked, names), layers_to_transform=[1, 2, 3], layers_pattern="layers"
    )
    with quiet_adapters():
        model = get_peft_model(body, lora).eval()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(parameters) == 2 * 3 * len(modules_to_adapt(asked, names))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    plain, fused = LayerStack(model.get_base_model()), stack_of(model.get_base_model())
    assert isinstance(fused, FusedStack)
    _, batch = pack_whole(TEXTS, True, torch.device("cpu"))
    found = []
    for stack in (plain, fused):
        shared = stack.run(stack.embed(batch), batch, 0, 1).detach()
        found.append(torch.autograd.grad(stack.read(shared, batch, 1, 4, Pooling("mean")).square().sum(), parameters))
    for of_peft, of_fused in zip(*found, strict=True):
        assert float((of_fused - of_peft).norm()) < 1e-3 * float(of_peft.norm())


@pytest.mark.parametrize("name", ["BERT", "ModernBERT", "OLMo", "GPT-2"])
def test_the_models_own_layers_are_tuned_too(name: str) -> None:
    body = copy_with_own_layers(made(EVERY[name]), 1, 3)
    plain = LayerStack(body)
    names = {one.rsplit(".", 1)[-1] for one, _ in body.named_modules()}
    targets = modules_to_adapt({"q_proj", "v_proj"}, names)
    lora = LoraConfig(
        r=2,
        target_modules=targets,
        layers_to_transform=[1, 2],
        layers_pattern=plain.path.rsplit(".", 1)[-1],
        init_lora_weights=False,
    )
    with quiet_adapters():
        model = get_peft_model(body, lora).eval()
    stack = LayerStack(model.get_base_model())
    _, batch = pack_whole(TEXTS, stack.causal, torch.device("cpu"))
    shared = stack.run(stack.embed(batch), batch, 0, 1).detach()
    stack.read(shared, batch, 1, 3, Pooling("mean")).square().sum().backward()
    trained = {one: parameter for one, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(parameter.grad is not None and float(parameter.grad.norm()) > 0 for parameter in trained.values())


@pytest.mark.parametrize("change", [{"rotation": ""}, {"window": None}, {"scale": 1.0}], ids=["rotation", "window", "scale"])
def test_a_single_layer_that_is_read_wrongly_is_noticed(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    right = fused_layers.fused_layer

    def wrong(layer: nn.Module, index: int, model: nn.Module, differentiable: bool) -> Any:
        found = right(layer, index, model, differentiable)
        return replace(found, **change) if index == 3 else found

    model = made(FUSED["SmolLM3"] if "rotation" in change else FUSED["Mistral with a window"])
    assert isinstance(stack_of(model), FusedStack)
    monkeypatch.setattr(fused_layers, "fused_layer", wrong)
    assert isinstance(stack_of(model), LayerStack)
    assert isinstance(stack_of(model, last=3), FusedStack), "a layer behind the exit is not run and not compared"


def test_a_model_that_reads_padding_is_refused() -> None:
    class Careless(hf.BertModel):
        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
            return super().forward(input_ids=input_ids)

    model = made(lambda: Careless(hf.BertConfig(**SIZES)))
    with pytest.raises(BackboneError, match="in a batch otherwise than alone"):
        stack_of(model)


def test_many_threads_read_as_one_does() -> None:
    from concurrent.futures import ThreadPoolExecutor

    stack = stack_of(made(BOTH_WAYS["BERT"]))
    _, batch = pack_whole(TEXTS, stack.causal, torch.device("cpu"))

    def read(first: int) -> Tensor:
        with torch.inference_mode():
            return stack.run(stack.run(stack.embed(batch), batch, 0, first), batch, first, 3)

    alone = [read(first) for first in (0, 1, 2)]
    with ThreadPoolExecutor(4) as pool:
        for first, states in enumerate(pool.map(read, [0, 1, 2] * 8)):
            torch.testing.assert_close(states, alone[first % 3])
