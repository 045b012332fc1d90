"""Folders of vision-language models: their own tower and projector give the LLM its tokens; other kinds are refused."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from peft import LoraConfig, get_peft_model
from transformers.modeling_outputs import BaseModelOutputWithPooling

from livealign.config import EncoderConfig
from livealign.errors import BackboneError
from livealign.llm import fused_layer, fused_layers
from livealign.llm.adapter_folder import merged
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.image_encoder import ImageEncoder, load_image_encoder
from livealign.llm.layers import LayerStack, Stack, copy_with_own_layers, quiet_adapters
from livealign.llm.packing import PackedBatch, pack_whole
from livealign.llm.pooling import Pooling
from livealign.llm.prefix import FIRST_ID, PROJECTOR_FILE, OwnTokens, Pictures, Projector, with_prefix
from livealign.profiles import load_profile
from livealign.retrain.backbone import ready_backbone
from livealign.tuning.adapter import tune_adapter
from livealign.tuning.pairs import PairPictures
from tests.planted.room_texts import random_adapter
from tests.planted.text_pairs import planted_pairs
from tests.planted.vision_language import IMAGE_TOKEN, READ, REFUSED, SIDE, TOKENS, counted_loads, saved

CONFIG = EncoderConfig(exit_layer=2, first_adapted_layer=1)
TEXTS = ["minute 10 | host: welcome back", "", "gg", "minute 10 | host: welcome back", "chat: 666 / noodles", ""]
ROW = np.array([0, 1, 1, 2, -1, -1])
PIXELS = np.random.default_rng(6).integers(0, 256, size=(3, 224, 224, 3), dtype=np.uint8)


OF_ONE_PIECE = {"do_image_splitting": False, "size": {"longest_edge": SIDE}}
WHOLE: dict[str, dict[str, Any]] = {  # by model: how its image processor is told to give a picture in one piece
    "SmolVLM": OF_ONE_PIECE,
    "Idefics3": OF_ONE_PIECE,
    "Gemma3": {"do_pan_and_scan": False, "size": {"height": SIDE, "width": SIDE}},
    "Qwen2_5_VL": {},
}
KINDS = {"Gemma3": "token_type_ids", "Qwen2_5_VL": "mm_token_type_ids"}


class Loaded:
    """One model as the LLM, and as the encoder of its pictures, in float32."""

    def __init__(self, name: str, root: Path) -> None:
        self.name, self.folder = name, saved(name, root / "model")
        self.llm: Backbone = load_backbone(str(self.folder), root, device="cpu", dtype=torch.float32, seeing=True)
        self.adapter = random_adapter(self.llm, root / "adapter")
        self.images: ImageEncoder = load_image_encoder(str(self.folder), root, TOKENS, self.llm)
        self.mean: ImageEncoder = load_image_encoder(str(self.folder), root, 0, self.llm)
        self.four: ImageEncoder = load_image_encoder(str(self.folder), root, 4, self.llm)
        OwnTokens(self.images.width, TOKENS, self.images.identity.sha256).save(self.adapter)
        self.encoder = Encoder.load(self.llm, self.adapter, CONFIG)

    def whole(self, text_layers: Any = None) -> Any:
        """transformers' own model, with other text layers."""
        model: Any = hf.AutoModel.from_pretrained(self.folder, dtype=torch.float32).eval()
        if text_layers is not None:
            setattr(model, "text_model" if hasattr(model, "text_model") else "language_model", text_layers)
        return model

    def kinds(self, ids: list[int]) -> dict[str, torch.Tensor]:
        """What the model is given to tell a picture's tokens from words, where it reads them otherwise."""
        if self.name not in KINDS or IMAGE_TOKEN not in ids:
            return {}
        return {KINDS[self.name]: torch.tensor([[int(one == IMAGE_TOKEN) for one in ids]])}

    def own_pass(self, text: str, picture: int) -> np.ndarray:
        """transformers' own states of the exit layer for a picture and a text behind it, alone, and their mean."""
        layers = merged(copy_with_own_layers(self.llm.model, 1, 2), self.adapter)
        seen: dict[str, Any] = {}
        if picture >= 0:
            processor = hf.AutoImageProcessor.from_pretrained(self.folder)
            found = processor([PIXELS[picture]], return_tensors="pt", **WHOLE[self.name])
            seen = {name: found[name] for name in ("pixel_values", "image_grid_thw") if name in found}
        ids = [IMAGE_TOKEN] * TOKENS * (picture >= 0) + self.llm.tokenizer(text)["input_ids"]
        kept = []
        layers.layers[1].register_forward_hook(lambda _, __, output: kept.append(output))
        with torch.inference_mode():
            self.whole(layers)(input_ids=torch.tensor([ids]), **seen, **self.kinds(ids))
        return kept[0][0].mean(dim=0).numpy()


BEGIN = [7, 8]  # tokens before a picture
WORDS = [[20, 21, 22, 23], [20, 21, 22], [], [30, 31] * 15, [20, 21, 40, 41, 42], [50, 51]]
OF_WORDS = [0, 1, 1, 0, 2, -1]  # the picture of each


class Between:
    """Token ids of ragged texts with pictures between their first tokens and the others, and the whole model's states."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded, self._whole = loaded, loaded.whole()

    def values(self, tokens: int) -> torch.Tensor:
        encoder = self.loaded.images if tokens == TOKENS else self.loaded.four
        return torch.from_numpy(encoder.encode(PIXELS)).reshape(3 * tokens, -1)

    def batch(self, tokens: int, rows: Sequence[int] = range(len(WORDS))) -> tuple[np.ndarray, PackedBatch]:
        numbers = [range(FIRST_ID + OF_WORDS[row] * tokens, FIRST_ID + (OF_WORDS[row] + 1) * tokens) for row in rows]
        pictures = [list(numbers) if OF_WORDS[row] >= 0 else [] for row, numbers in zip(rows, numbers, strict=True)]
        texts = [[*BEGIN, *picture, *WORDS[row]] for row, picture in zip(rows, pictures, strict=True)]
        return pack_whole(texts, True, torch.device("cpu"))

    def whole_states(self, row: int, tokens: int, values: torch.Tensor | None = None, whole: Any = None) -> Sequence[Any]:
        """The states by depth of one text alone, given the tokens of its picture."""
        picture, side = OF_WORDS[row], math.isqrt(tokens)
        ids = [*BEGIN, *[IMAGE_TOKEN] * tokens * (picture >= 0), *WORDS[row]]
        seen: dict[str, Any] = {}
        if picture >= 0:
            values = self.values(tokens) if values is None else values
            given = values.unflatten(0, (-1, tokens))[picture][None]
            if self.loaded.name == "Qwen2_5_VL":
                given, seen = tuple(given), {"image_grid_thw": torch.tensor([[1, 2 * side, 2 * side]])}
            seen["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=given)}
        found = (whole or self._whole)(
            input_ids=torch.tensor([ids]), **seen, **self.loaded.kinds(ids), output_hidden_states=True
        )
        return [states[0] for states in found.hidden_states]


def states_of_texts(batch: PackedBatch, states: torch.Tensor) -> list[torch.Tensor]:
    """The states [length, hidden] of each text, in the batch's order."""
    paths = zip(batch.groups, batch.to_paths(states), strict=True)
    return [row[:length] for group, rows in paths for row, length in zip(rows, group.lengths.tolist(), strict=True)]


@pytest.fixture(scope="module", params=["SmolVLM", *KINDS])  # Idefics3 is built as SmolVLM is
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def between(loaded: Loaded) -> Between:
    return Between(loaded)


of_own_kinds = pytest.mark.parametrize("loaded", KINDS, indirect=True, scope="module")


@pytest.mark.parametrize("loaded", READ, indirect=True, scope="module")
def test_a_picture_and_a_text_are_read_as_the_model_reads_them_alone_and_in_a_batch(loaded: Loaded) -> None:
    pictures = Pictures(loaded.images.encode(PIXELS), ROW)
    together = loaded.encoder.encode(TEXTS, pictures=pictures)
    for row, text in enumerate(TEXTS):
        alone = loaded.encoder.encode([text], pictures=pictures.take(np.array([row])))[0]
        np.testing.assert_allclose(alone, together[row], rtol=1e-3, atol=1e-5)  # rounded to half precision
        if text or ROW[row] >= 0:
            expected = loaded.own_pass(text, int(ROW[row]))
            np.testing.assert_allclose(alone, expected, rtol=1e-3, atol=1e-3 * expected.std())
    assert np.abs(together[0] - together[3]).max() > 1e-3  # one text, two pictures
    assert loaded.encoder.fused


@of_own_kinds
@pytest.mark.parametrize("tokens", [4, TOKENS])
@pytest.mark.parametrize("stack_type", [FusedStack, LayerStack])
def test_each_layer_reads_pictures_between_words_as_the_whole_model_does(
    between: Between, tokens: int, stack_type: type[Stack]
) -> None:
    stack = stack_type(between.loaded.llm.model)
    rows, batch = between.batch(tokens)
    with torch.inference_mode():
        batch = with_prefix(batch, between.values(tokens))
        hidden, expected = stack.embed(batch), [between.whole_states(row, tokens) for row in rows.tolist()]
        for depth in (0, 1, 2):
            once = stack.run(stack.embed(batch), batch, 0, depth)
            hidden = stack.run(hidden, batch, max(0, depth - 1), depth)
            torch.testing.assert_close(hidden, once, rtol=1e-4, atol=1e-5)
            for states, own in zip(states_of_texts(batch, once), expected, strict=True):
                torch.testing.assert_close(states, own[depth], rtol=1e-3, atol=1e-3 * float(own[depth].std()))
    alone, first = between.batch(tokens, [0])[1], states_of_texts(batch, once)[rows.tolist().index(0)]
    with torch.inference_mode():
        alone = with_prefix(alone, between.values(tokens))
        torch.testing.assert_close(stack.run(stack.embed(alone), alone, 0, 2)[: len(first)], first, rtol=1e-4, atol=1e-4)


@of_own_kinds
def test_an_adapter_has_the_gradients_of_peft_through_the_tokens_of_pictures(between: Between) -> None:
    body = copy_with_own_layers(between.loaded.llm.model, 1, 3)
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj", "up_proj"], layers_to_transform=[1, 2], layers_pattern="layers")
    with quiet_adapters():
        model = get_peft_model(body, lora).eval()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    values = between.values(TOKENS).requires_grad_()
    whole, vectors = between.loaded.whole(body), []
    for row in range(len(WORDS)):
        hook = body.layers[2].register_forward_hook(lambda _, __, output: vectors.append(output[0].mean(dim=0)))
        between.whole_states(row, TOKENS, values, whole)
        hook.remove()
    expected = torch.autograd.grad(torch.stack(vectors).square().sum(), [*parameters, values])
    fused = stack_of(model.get_base_model(), differentiable=True)
    assert isinstance(fused, FusedStack)
    for stack in (fused, LayerStack(model.get_base_model())):
        batch = with_prefix(between.batch(TOKENS)[1], values)
        loss = stack.read(stack.run(stack.embed(batch), batch, 0, 1), batch, 1, 3, Pooling("mean")).square().sum()
        for found, of_peft in zip(torch.autograd.grad(loss, [*parameters, values]), expected, strict=True):
            assert float((found - of_peft).norm()) < 1e-3 * float(of_peft.norm())


@of_own_kinds
def test_layers_that_read_pictures_otherwise_than_the_model_are_not_used(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(stack_of(between.loaded.llm.model), FusedStack)
    monkeypatch.setattr(fused_layer, "in_pictures", lambda batch: [None] * len(batch.groups))
    monkeypatch.setattr(fused_layers, "grid_of_nodes", lambda batch: batch.positions.expand(3, 1, -1))
    assert isinstance(stack_of(between.loaded.llm.model), LayerStack)


def test_without_pictures_the_vectors_are_exactly_those_of_the_text_alone(loaded: Loaded, tmp_path: Path) -> None:
    blind = Encoder.load(loaded.llm, random_adapter(loaded.llm, tmp_path), CONFIG)
    expected = blind.encode_raw_and_tuned(TEXTS)
    none = Pictures(loaded.images.encode(PIXELS), np.full(len(TEXTS), -1))
    for pictures in (None, none):
        found = loaded.encoder.encode_raw_and_tuned(TEXTS, pictures=pictures)
        assert [one.tobytes() for one in found] == [one.tobytes() for one in expected]


def test_fewer_tokens_are_means_of_neighbouring_fields_and_none_is_one_mean(loaded: Loaded) -> None:
    whole = loaded.images.encode(PIXELS).reshape(3, 2, 2, 2, 2, -1)  # 2 × 2 fields of 2 × 2 tokens
    # Both sides are rounded to half precision.
    np.testing.assert_allclose(loaded.four.encode(PIXELS).reshape(3, 2, 2, -1), whole.mean(axis=(2, 4)), atol=5e-4)
    np.testing.assert_allclose(loaded.mean.encode(PIXELS), whole.mean(axis=(1, 2, 3, 4)), atol=5e-4)
    assert (loaded.images.tokens, loaded.four.tokens, loaded.mean.tokens) == (TOKENS, 4, 0)
    assert len({one.version for one in (loaded.images, loaded.four, loaded.mean)}) == 3
    assert loaded.images.identity == loaded.llm.identity


def test_the_tokens_of_the_model_need_no_training_and_are_read_back_as_they_are(loaded: Loaded, tmp_path: Path) -> None:
    pairs, features = planted_pairs(60), loaded.four.encode(PIXELS)
    row = np.random.default_rng(2).integers(-1, 3, size=len(pairs))
    seen = PairPictures(features, row, np.full(len(pairs), -1), 4, loaded.four.identity.sha256)
    finetune = replace(load_profile("tiny").finetune, steps=2)
    tune_adapter(loaded.llm, replace(pairs, pictures=seen), load_profile("tiny").segments, CONFIG, finetune, tmp_path / "a")
    found = Projector.load(tmp_path / "a", loaded.llm.device)
    assert isinstance(found, OwnTokens)
    assert not list(found.parameters())
    assert (found.width, found.tokens, found.images) == (loaded.four.width, 4, loaded.llm.sha256)
    given = torch.from_numpy(features)
    assert torch.equal(found(given), given.reshape(12, -1))
    found.save(tmp_path)
    assert (tmp_path / PROJECTOR_FILE).read_bytes() == (tmp_path / "a" / PROJECTOR_FILE).read_bytes()


def test_a_number_of_tokens_that_the_model_does_not_make_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    for tokens in (3, 25):
        with pytest.raises(BackboneError, match=rf"prefix_tokens = {tokens}: .* makes 4 × 4 tokens .* set it to 16, or"):
            load_image_encoder(str(loaded.folder), tmp_path, tokens)


def test_a_retrain_reads_the_tokens_of_its_own_model_alone(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = load_profile("tiny")
    seeing = replace(tiny, frames=replace(tiny.frames, backbone=str(loaded.folder), prefix_tokens=TOKENS))
    loads, said = counted_loads(monkeypatch), list[str]()
    ready_backbone(replace(seeing, backbone=str(loaded.folder)), tmp_path, said.append)
    assert loads == [loaded.folder]  # once, for words and for pictures
    assert not said  # it runs on the fused layers
    with pytest.raises(BackboneError, match=r"tokens for its own LLM, and the backbone is tiny; set backbone"):
        ready_backbone(seeing, tmp_path, print)


def test_a_folder_without_its_image_processor_reads_texts_alone(tmp_path: Path) -> None:
    folder = saved("SmolVLM", tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    assert load_backbone(str(folder), tmp_path).n_layers == 3
    with pytest.raises(BackboneError, match=r"has no image processor .* copy its preprocessor_config\.json"):
        load_image_encoder(str(folder), tmp_path)


def test_the_image_processor_of_another_model_is_a_line(tmp_path: Path) -> None:
    folder, other = saved("Qwen2_5_VL", tmp_path / "model"), saved("Gemma3", tmp_path / "other")
    shutil.copyfile(other / "preprocessor_config.json", folder / "preprocessor_config.json")
    with pytest.raises(BackboneError, match=r"has no image processor of its model .* copy its preprocessor_config\.json"):
        load_image_encoder(str(folder), tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_another_vision_language_model_is_refused_in_a_line_that_says_what_to_set(name: str, tmp_path: Path) -> None:
    folder = saved(name, tmp_path / name)
    with pytest.raises(BackboneError, match=rf"holds a {name}Model, .* frames\.backbone with frames\.prefix_tokens"):
        load_backbone(str(folder), tmp_path)
    with pytest.raises(BackboneError, match=f"holds a {name}Model, a vision-language model .* use SigLIP"):
        load_image_encoder(str(folder), tmp_path)
