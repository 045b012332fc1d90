"""The encoder of a release's texts: sources side by side, and the space that two encoders share."""

from pathlib import Path

import numpy as np
import pytest

from livealign.config import EncoderConfig, LexicalConfig
from livealign.errors import BackboneError, BundleError
from livealign.llm.backbone import load_backbone
from livealign.llm.content_encoder import ContentEncoder
from livealign.llm.encoder import Encoder
from livealign.llm.lexical import Lexicon, fit_lexicon
from livealign.release.bundle import Bundle
from livealign.release.models import sources_of
from tests.planted.room_texts import random_adapter

TEXTS = [f"host: a {word} in the {place}" for word in ("goal", "soup", "pike") for place in ("match", "kitchen", "river")]


@pytest.fixture(scope="module")
def llm() -> Encoder:
    config = EncoderConfig(exit_layer=2, first_adapted_layer=1)
    return Encoder.load(load_backbone("tiny", Path("none")), None, config)


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return fit_lexicon(TEXTS, np.arange(len(TEXTS)), LexicalConfig(width=4))


def test_the_sources_stand_side_by_side_in_their_order(llm: Encoder, lexicon: Lexicon) -> None:
    both = ContentEncoder(("llm", "lexical"), llm, lexicon)
    assert both.widths == (llm.hidden_size, 4)
    vectors = both.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), both.width)
    assert np.array_equal(vectors[:, -4:], lexicon.encode(TEXTS))
    assert np.array_equal(vectors[:, :-4], ContentEncoder(("llm",), llm, None).encode(TEXTS))
    words = ContentEncoder(("lexical",), None, lexicon)
    assert np.array_equal(words.encode(TEXTS), lexicon.encode(TEXTS))
    assert words.backbone is None
    assert both.backbone is llm.backbone


def test_new_words_keep_the_space_and_another_fit_or_choice_of_sources_does_not(llm: Encoder, lexicon: Lexicon) -> None:
    both = ContentEncoder(("llm", "lexical"), llm, lexicon)
    grown = lexicon.with_new_words(["host: a penalty"] * 3, np.arange(3), LexicalConfig(width=4))
    assert len(grown.words) > len(lexicon.words)
    assert ContentEncoder(("llm", "lexical"), llm, grown).space == both.space
    other = fit_lexicon(TEXTS[:5], np.arange(5), LexicalConfig(width=4))
    assert ContentEncoder(("llm", "lexical"), llm, other).space != both.space
    assert ContentEncoder(("llm",), llm, lexicon).space != both.space


def test_another_adapter_is_another_space(llm: Encoder, tmp_path: Path) -> None:
    config = EncoderConfig(exit_layer=2, first_adapted_layer=1)
    tuned = Encoder.load(llm.backbone, random_adapter(llm.backbone, tmp_path / "adapter"), config)
    assert ContentEncoder(("llm",), tuned, None).space != ContentEncoder(("llm",), llm, None).space


def test_a_source_without_its_part_is_refused_and_an_earlier_release_reads_the_llm(llm: Encoder, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="reads the source 'lexical' and has no encoder"):
        ContentEncoder(("llm", "lexical"), llm, None)
    assert sources_of(Bundle(tmp_path, {"config": {"alignment": {"dim": 64}}})) == ("llm",)
    assert sources_of(Bundle(tmp_path, {"config": {"alignment": {"sources": ["lexical"]}}})) == ("lexical",)
    with pytest.raises(BundleError, match="does not say what its towers read"):
        sources_of(Bundle(tmp_path, {}))
