"""Image encoders: pinned, of transformers, or plain pixels; a picture is seen once."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from livealign.errors import BackboneError
from livealign.frames.decode import decode, picture_name
from livealign.frames.efficientnet import WIDTH
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.image_encoder import PictureVectors, load_image_encoder
from tests.planted import pictures
from tests.planted.image_weights import random_weights

LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURE = {"image_size": 32, "patch_size": 8}


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Three different pictures."""
    rng = np.random.default_rng(2)
    return np.stack([decode(pictures.encoded(pictures.corners())), *rng.integers(256, size=(2, 224, 224, 3), dtype=np.uint8)])


def vit(folder: Path, **more: object) -> Path:
    torch.manual_seed(1)
    transformers.ViTModel(transformers.ViTConfig(**LAYERS, **PICTURE, **more)).save_pretrained(folder)
    return folder


def siglip(folder: Path) -> Path:
    torch.manual_seed(1)
    text = {**LAYERS, "vocab_size": 50, "max_position_embeddings": 8}
    config = transformers.SiglipConfig(text_config=text, vision_config={**LAYERS, **PICTURE})
    transformers.SiglipModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("make", [vit, siglip])
def test_a_folder_of_transformers_gives_what_the_model_gives(make, tmp_path: Path, frames: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr("livealign.llm.image_encoder.choose_dtype", lambda _: torch.float32)
    folder = make(tmp_path / "model")
    encoder = load_image_encoder(str(folder), tmp_path)
    vectors = encoder.encode(frames)
    assert vectors.shape == (3, 16)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    pixels = torch.nn.functional.interpolate(pixels, (32, 32), mode="bicubic", antialias=True).clamp(0, 255) / 127.5 - 1
    with torch.inference_mode():
        if make is vit:
            expected = model(pixel_values=pixels).last_hidden_state.mean(dim=1)
        else:
            expected = model.vision_model(pixel_values=pixels).pooler_output
    np.testing.assert_allclose(vectors, expected.numpy(), rtol=1e-3, atol=1e-4)
    assert encoder.reference()["path"] == str(folder)


def test_the_scale_of_the_models_own_pictures_is_used(tmp_path: Path, frames: np.ndarray) -> None:
    folder = vit(tmp_path / "model")
    plain = load_image_encoder(str(folder), tmp_path)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.9, 0.8, 0.7]}')
    scaled = load_image_encoder(str(folder), tmp_path)
    assert np.abs(plain.encode(frames) - scaled.encode(frames)).max() > 0.01
    assert plain.version != scaled.version


def test_folders_that_see_nothing_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = transformers.BertConfig(**LAYERS, vocab_size=50)
    transformers.BertModel(config).save_pretrained(tmp_path / "text")
    with pytest.raises(BackboneError, match="reads no pictures"):
        load_image_encoder(str(tmp_path / "text"), tmp_path)
    folder = vit(tmp_path / "partial")
    weights = load_file(folder / "model.safetensors")
    save_file({name: w for name, w in weights.items() if "layer.1.output.dense" not in name}, folder / "model.safetensors")
    with pytest.raises(BackboneError, match="lacks"):
        load_image_encoder(str(folder), tmp_path)
    with pytest.raises(BackboneError, match="there is no model"):
        load_image_encoder("nowhere", tmp_path)


def test_efficientnet_is_loaded_by_its_name_from_the_folder_of_models(tmp_path: Path, frames: np.ndarray) -> None:
    folder = tmp_path / "efficientnet-lite0"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "efficientnet-lite0"}')
    save_file(random_weights(), folder / "model.safetensors")
    encoder = load_image_encoder("efficientnet-lite0", tmp_path)
    vectors = encoder.encode(frames)
    assert vectors.shape == (3, WIDTH)
    assert np.isfinite(vectors).all()
    assert "path" not in encoder.reference()


def test_plain_pixels_are_the_means_of_eight_by_eight_fields(tmp_path: Path, frames: np.ndarray) -> None:
    vectors = load_image_encoder("pixels", tmp_path).encode(frames).reshape(3, 8, 8, 3)
    assert np.abs(vectors[0, 0, 0] - [1, 0, 0]).max() < 0.05
    assert np.abs(vectors[0, 7, 7] - [1, 1, 1]).max() < 0.05


def test_a_picture_is_read_once_and_later_from_the_cache(tmp_path: Path, frames: np.ndarray) -> None:
    encoder, by_name = load_image_encoder("pixels", tmp_path), {picture_name(pixels): pixels for pixels in frames}
    names, read = [*by_name, next(iter(by_name))], []

    def reading(name: str) -> np.ndarray:
        read.append(name)
        return by_name[name]

    def vectors_of(names: list[str]) -> np.ndarray:
        pictures = PictureVectors(encoder, names, EmbeddingCache(tmp_path / "cache"))
        pictures.see(names, reading)
        pictures.flush()
        return pictures.of(names)

    first = vectors_of(names)
    np.testing.assert_array_equal(first, encoder.encode(np.stack([by_name[name] for name in names])))
    np.testing.assert_array_equal(vectors_of(names[::-1]), first[::-1])
    assert sorted(read) == sorted(by_name)
    assert PictureVectors(encoder, []).of([]).shape == (0, encoder.width)
