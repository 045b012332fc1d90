"""The LLM tuned with pictures: a planted colour that predicts a word, modality dropout, resuming."""

from dataclasses import replace

import numpy as np
import pytest

from livealign.errors import TrainingError
from livealign.ids import segment_ids
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.prefix import PROJECTOR_FILE, Projector
from livealign.tuning.adapter import copy_adapter, tune_adapter
from livealign.tuning.losses import false_negatives
from livealign.tuning.pairs import NO_USER, TextPairs
from livealign.tuning.pictures import with_pictures
from tests.planted.coloured_texts import IMAGES, TOKENS, WIDTH, coloured_pairs, pictures_of
from tests.planted.text_pairs import CONFIG, ENCODER, SEGMENTS, SUBJECTS, planted_pairs, sentence


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    return load_backbone("tiny", tmp_path_factory.mktemp("models"), device="cpu")


def found_subjects(encoder: Encoder) -> float:
    """Share of new pictures whose nearest mean of texts is that of their subject; a twelfth by chance."""
    names, rng = list(SUBJECTS), np.random.default_rng(8)
    of_texts = encoder.encode([sentence(name, rng) for name in names for _ in range(20)]).reshape(len(names), 20, -1).mean(1)
    asked = [name for name in names for _ in range(10)]
    of_pictures = encoder.encode([""] * len(asked), pictures=pictures_of(asked))
    # What all pictures, or all texts, have in common says nothing of a subject.
    texts, pictures = (vectors - vectors.mean(axis=0) for vectors in (of_texts, of_pictures))
    texts, pictures = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (texts, pictures))
    return float(((pictures @ texts.T).argmax(axis=1) == np.arange(len(names)).repeat(10)).mean())


@pytest.mark.parametrize("dropout", [0.0, 0.05])  # the fused layers, and peft's own
def test_a_projector_learns_that_a_colour_predicts_a_word(backbone, tmp_path, dropout):
    config = replace(CONFIG, dropout=dropout)
    report = tune_adapter(backbone, coloured_pairs(), SEGMENTS, ENCODER, config, tmp_path / "tuned")
    tune_adapter(backbone, coloured_pairs(), SEGMENTS, ENCODER, replace(config, steps=1, learning_rate=1e-9), tmp_path / "raw")
    before, after = (found_subjects(Encoder.load(backbone, tmp_path / name, ENCODER)) for name in ("raw", "tuned"))
    assert before < 0.4
    assert after > 0.8
    assert min(report.validation_losses) < 0.9 * report.validation_losses[0]
    lora = sum(value.numel() for value in Projector.load(tmp_path / "tuned", backbone.device).parameters())
    assert report.trainable_parameters > lora


def test_a_batch_in_chunks_has_the_gradients_of_the_whole(backbone, tmp_path):
    config = replace(CONFIG, steps=3, validation_share=0.0)
    whole = tune_adapter(backbone, coloured_pairs(100), SEGMENTS, ENCODER, config, tmp_path / "whole")
    chunks = tune_adapter(
        backbone, coloured_pairs(100), SEGMENTS, ENCODER, replace(config, chunk_tokens=64), tmp_path / "chunks"
    )
    np.testing.assert_allclose(chunks.losses, whole.losses, rtol=1e-4)


class KilledError(Exception):
    """What a killed process looks like from within."""


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(backbone, tmp_path):
    config = replace(CONFIG, steps=6, save_every=2, validate_every=2)

    def killed(done: int, _: int) -> None:
        if done == 5:
            raise KilledError

    undisturbed = tune_adapter(backbone, coloured_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "a")
    with pytest.raises(KilledError):
        tune_adapter(backbone, coloured_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "b", progress=killed)
    resumed = tune_adapter(backbone, coloured_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "b")
    assert resumed.resumed_at == 4
    assert resumed.adapter_sha256 == undisturbed.adapter_sha256
    with pytest.raises(KilledError):
        tune_adapter(backbone, coloured_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "c", progress=killed)
    others = replace(coloured_pairs(60), pictures=coloured_pairs(60, seed=4).pictures)
    assert tune_adapter(backbone, others, SEGMENTS, ENCODER, config, tmp_path / "c").resumed_at == 0


def test_batches_without_a_picture_are_saved_and_resumed_too(backbone, tmp_path):
    pairs = coloured_pairs(200)
    few = np.where(np.arange(200) < 3, np.arange(200), -1)  # three pictures among two hundred pairs
    texts = [f"text {row}" if row >= 3 else "" for row in range(200)]
    pairs = replace(pairs, left=texts, pictures=replace(pairs.pictures, left=few))
    config = replace(CONFIG, steps=3, save_every=1, batch_size=4, validation_share=0.0)

    def killed(done: int, _: int) -> None:
        if done == 2:
            raise KilledError

    with pytest.raises(KilledError):
        tune_adapter(backbone, pairs, SEGMENTS, ENCODER, config, tmp_path / "a", progress=killed)
    assert tune_adapter(backbone, pairs, SEGMENTS, ENCODER, config, tmp_path / "a").resumed_at == 2


@pytest.mark.parametrize("with_words", [0, 1, 5])
def test_batches_of_pictures_alone_are_tuned_on(backbone, tmp_path, with_words):
    pairs, rows = coloured_pairs(24), np.arange(24)
    texts = [text if row < with_words else "" for row, text in enumerate(pairs.right)]
    pairs = replace(pairs, right=texts, pictures=replace(pairs.pictures, right=np.where(rows < with_words, -1, rows[::-1])))
    config = replace(CONFIG, steps=2, batch_size=4, validation_share=0.0)
    report = tune_adapter(backbone, pairs, SEGMENTS, ENCODER, config, tmp_path / "a")
    assert len(report.losses) == 2
    assert np.isfinite(report.losses).all()


def test_a_warm_start_continues_from_the_projector_and_a_copy_keeps_it(backbone, tmp_path):
    config = replace(CONFIG, steps=4, warm_steps=1, learning_rate=1e-9)
    tune_adapter(backbone, coloured_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "a")
    tune_adapter(backbone, coloured_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "b", warm_start=tmp_path / "a")
    a, b = (Projector.load(tmp_path / name, backbone.device) for name in "ab")
    np.testing.assert_allclose(a.up.weight.numpy(), b.up.weight.numpy(), atol=1e-6)
    assert a.mean.equal(b.mean)
    copy_adapter(tmp_path / "a", tmp_path / "copy")
    assert (tmp_path / "copy" / PROJECTOR_FILE).read_bytes() == (tmp_path / "a" / PROJECTOR_FILE).read_bytes()
    tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "blind")
    with pytest.raises(TrainingError, match="reads other pictures or none; tune without warm start"):
        tune_adapter(backbone, coloured_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "c", warm_start=tmp_path / "blind")


def room_pairs(count: int = 2_000) -> TextPairs:
    """The first half: two windows of one room; the second half: windows of two rooms that one user watched."""
    texts = [f"text {row}" for row in range(count)]
    left = np.arange(count)
    right = np.where(left < count // 2, left, left + 1)
    user = np.where(left < count // 2, NO_USER, 5)
    return TextPairs(texts, [f"other {text}" for text in texts], left, right, left % 7, left % 7 + 1, user)


def test_of_two_windows_of_a_room_at_most_one_has_its_picture(backbone):
    pairs = room_pairs()
    rooms = np.concatenate([pairs.left_room, pairs.right_room])
    windows = np.concatenate([pairs.left_window, pairs.right_window])
    segments, place = np.unique(segment_ids(rooms, windows), return_index=True)
    has = rooms[place] % 10 != 0  # a tenth of the rooms have no pictures
    segments, features = segments[has], np.random.default_rng(1).normal(size=(int(has.sum()), WIDTH)).astype(np.float32)
    found = with_pictures(pairs, segments, features, TOKENS, IMAGES, seed=17)
    left, right = found.pictures.left, found.pictures.right
    of_room, apart = slice(0, 1_000), slice(1_000, None)
    assert not ((left >= 0) & (right >= 0))[of_room].any()
    assert ((left >= 0) & (right >= 0))[apart].any()
    for picture, texts, before in ((left, found.left, pairs.left), (right, found.right, pairs.right)):
        gone = np.array([not text for text in texts])
        assert (picture[gone] >= 0).all()  # a side always has a text or a picture
        assert [text for text in texts if text] == [text for text, missing in zip(before, gone, strict=True) if not missing]
    both_gone = np.array([not a and not b for a, b in zip(found.left, found.right, strict=True)])
    assert not both_gone[of_room].any()
    alone = np.array([not a or not b for a, b in zip(found.left, found.right, strict=True)])
    assert abs(alone[of_room].mean() - 0.45) < 0.05
    assert abs(((left >= 0) | (right >= 0))[of_room].mean() - 0.675) < 0.05
    row = int(np.flatnonzero(left >= 0)[0])
    own = segments == segment_ids(pairs.left_room[[row]], pairs.left_window[[row]])[0]
    np.testing.assert_array_equal(found.pictures.features[left[row]], features[own][0])
    again = with_pictures(pairs, segments, features, TOKENS, IMAGES, seed=17)
    assert (again.left, again.pictures.left.tolist()) == (found.left, left.tolist())
    part = found.take(np.array([3, 1]))
    assert part.pictures.left.tolist() == left[[3, 1]].tolist()


def test_equal_pictures_without_a_word_are_no_negatives_and_others_are(backbone):
    pairs = room_pairs(3)
    pairs = replace(pairs, left_room=np.array([1, 2, 3]), right_room=np.array([4, 5, 6]), user=np.full(3, NO_USER))
    rooms, windows = np.array([1, 2, 3]), pairs.left_window
    features = np.array([[1.0] * WIDTH, [1.0] * WIDTH, [2.0] * WIDTH], np.float32)
    for seed in range(200):
        found = with_pictures(pairs, segment_ids(rooms, windows), features, TOKENS, IMAGES, seed)
        if list(found.left) == ["", "", ""]:
            mask = false_negatives(found, 0)[:3, :3]
            assert mask.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
            return
    pytest.fail("no seed drew three pictures alone")


def test_pairs_that_have_no_pictures_are_an_error(backbone):
    pairs, features = room_pairs(4), np.ones((1, WIDTH), np.float32)
    with pytest.raises(TrainingError, match=r"has a picture; set frames\.prefix_tokens to 0"):
        with_pictures(pairs, np.array([5]), features, TOKENS, IMAGES, 17)
    broadcasts = replace(pairs, windows=2)
    with pytest.raises(TrainingError, match="whole broadcasts have no pictures"):
        with_pictures(broadcasts, np.array([5]), features, TOKENS, IMAGES, 17)
