"""Folders of vision-language models: their own tower and projector give the LLM its tokens; other kinds are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from livealign.config import EncoderConfig
from livealign.errors import BackboneError
from livealign.llm.adapter_folder import merged
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.image_encoder import ImageEncoder, load_image_encoder
from livealign.llm.layers import copy_with_own_layers
from livealign.llm.prefix import PROJECTOR_FILE, OwnTokens, Pictures, Projector
from livealign.profiles import load_profile
from livealign.retrain.backbone import ready_backbone
from livealign.tuning.adapter import tune_adapter
from livealign.tuning.pairs import PairPictures
from tests.planted.room_texts import random_adapter
from tests.planted.text_pairs import planted_pairs
from tests.planted.vision_language import IMAGE_TOKEN, READ, REFUSED, SIDE, TOKENS, saved

CONFIG = EncoderConfig(exit_layer=2, first_adapted_layer=1)
TEXTS = ["minute 10 | host: welcome back", "", "gg", "minute 10 | host: welcome back", "chat: 666 / noodles", ""]
ROW = np.array([0, 1, 1, 2, -1, -1])
PIXELS = np.random.default_rng(6).integers(0, 256, size=(3, 224, 224, 3), dtype=np.uint8)


class Loaded:
    """One model as the LLM, and as the encoder of its pictures, in float32."""

    def __init__(self, name: str, root: Path) -> None:
        self.folder = saved(name, root / "model")
        self.llm: Backbone = load_backbone(str(self.folder), root, device="cpu", dtype=torch.float32)
        self.adapter = random_adapter(self.llm, root / "adapter")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("livealign.llm.image_encoder.choose_dtype", lambda _: torch.float32)
            self.images: ImageEncoder = load_image_encoder(str(self.folder), root, TOKENS)
            self.mean: ImageEncoder = load_image_encoder(str(self.folder), root)
            self.four: ImageEncoder = load_image_encoder(str(self.folder), root, 4)
        OwnTokens(self.images.width, TOKENS, self.images.identity.sha256).save(self.adapter)
        self.encoder = Encoder.load(self.llm, self.adapter, CONFIG)

    def own_pass(self, text: str, picture: int) -> np.ndarray:
        """transformers' own states of the exit layer for a picture and a text behind it, alone, and their mean."""
        whole: Any = hf.AutoModel.from_pretrained(self.folder, dtype=torch.float32).eval()
        whole.text_model = merged(copy_with_own_layers(self.llm.model, 1, 2), self.adapter)
        inputs: dict[str, Any] = {}
        if picture >= 0:
            processor = hf.AutoImageProcessor.from_pretrained(self.folder)
            one = {"do_image_splitting": False, "size": {"longest_edge": SIDE}, "return_tensors": "pt"}
            inputs = {"pixel_values": processor([[PIXELS[picture]]], **one)["pixel_values"]}
        ids = [IMAGE_TOKEN] * TOKENS * (picture >= 0) + self.llm.tokenizer(text)["input_ids"]
        kept = []
        whole.text_model.layers[1].register_forward_hook(lambda _, __, output: kept.append(output))
        with torch.inference_mode():
            whole(input_ids=torch.tensor([ids]), **inputs)
        return kept[0][0].mean(dim=0).numpy()


@pytest.fixture(scope="module", params=READ)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(request.param, tmp_path_factory.mktemp(request.param))


def test_a_picture_and_a_text_are_read_as_the_model_reads_them_alone_and_in_a_batch(loaded: Loaded) -> None:
    pictures = Pictures(loaded.images.encode(PIXELS), ROW)
    together = loaded.encoder.encode(TEXTS, pictures=pictures)
    for row, text in enumerate(TEXTS):
        alone = loaded.encoder.encode([text], pictures=pictures.take(np.array([row])))[0]
        np.testing.assert_allclose(alone, together[row], rtol=1e-4, atol=1e-5)
        if text or ROW[row] >= 0:
            np.testing.assert_allclose(alone, loaded.own_pass(text, int(ROW[row])), rtol=1e-3, atol=1e-4)
    assert np.abs(together[0] - together[3]).max() > 1e-3  # one text, two pictures
    assert loaded.encoder.fused


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


def test_a_retrain_reads_the_tokens_of_its_own_model_alone(loaded: Loaded, tmp_path: Path) -> None:
    tiny = load_profile("tiny")
    seeing = replace(tiny, frames=replace(tiny.frames, backbone=str(loaded.folder), prefix_tokens=TOKENS))
    ready_backbone(replace(seeing, backbone=str(loaded.folder)), tmp_path, print)
    with pytest.raises(BackboneError, match=r"tokens for its own LLM, and the backbone is tiny; set backbone"):
        ready_backbone(seeing, tmp_path, print)


def test_a_folder_without_its_image_processor_reads_texts_alone(tmp_path: Path) -> None:
    folder = saved("SmolVLM", tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    assert load_backbone(str(folder), tmp_path).n_layers == 3
    with pytest.raises(BackboneError, match=r"has no image processor .* copy its preprocessor_config\.json"):
        load_image_encoder(str(folder), tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_another_vision_language_model_is_refused_in_a_line_that_says_what_to_set(name: str, tmp_path: Path) -> None:
    folder = saved(name, tmp_path / name)
    with pytest.raises(BackboneError, match=rf"holds a {name}Model, .* frames\.backbone with frames\.prefix_tokens"):
        load_backbone(str(folder), tmp_path)
    with pytest.raises(BackboneError, match=f"holds a {name}Model, a vision-language model .* use SigLIP"):
        load_image_encoder(str(folder), tmp_path)
