"""Another backbone in the LLM's place: its frozen vectors, weighed by the training texts."""

from pathlib import Path

import numpy as np

from benchmarks.quality.frozen_backbones import frozen_encoder, frozen_name, with_frozen
from livealign.dataset.corpus import load_corpus
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.pooling import telling_weights, write_token_weights
from livealign.llm.prefix import tokenize
from livealign.profiles import load_profile
from tests.planted.marts import plant_marts
from tests.planted.release import planted_text
from tests.planted.room_texts import random_adapter

TEXTS = ["the host plays chess", "the host bakes bread", "the host sings"]


def test_the_vectors_are_those_of_a_retrain_before_tuning(tmp_path: Path) -> None:
    home, profile = Home(tmp_path, "simulator"), load_profile("tiny")
    backbone = load_backbone("tiny", home.models, device="cpu")
    adapter = random_adapter(backbone, tmp_path / "adapter")
    tokens = tokenize(backbone, TEXTS, profile.segments.token_budget)
    write_token_weights(telling_weights(tokens, backbone.vocabulary, profile.encoder.half_share), adapter)
    wanted, _ = Encoder.load(backbone, adapter, profile.encoder, profile.segments).encode_raw_and_tuned(TEXTS)
    found = frozen_encoder("tiny", home, profile, TEXTS).encode(TEXTS)
    np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_each_telling_has_the_content_of_its_own_texts(tmp_path: Path) -> None:
    home, profile = Home(tmp_path, "simulator"), load_profile("tiny")
    planted = plant_marts(tmp_path / "marts", days=2, rooms_per_day=4, requests_per_day=30)
    corpus = load_corpus(planted.marts, planted.days[-1], profile.dataset)
    topic = dict(zip(planted.segment_ids.tolist(), planted.segment_topic.tolist(), strict=True))
    texts = [planted_text(topic[segment]) for segment in corpus.segment_ids[1:].tolist()]
    again = [text if train else "told anew" for text, train in zip(texts, corpus.segment_is_train[1:].tolist(), strict=True)]
    told, anew = (
        day.content[frozen_name("tiny")] for day in with_frozen([corpus] * 2, [texts, again], ["tiny"], home, profile)
    )
    np.testing.assert_array_equal(told[corpus.segment_is_train], anew[corpus.segment_is_train])
    held_out = np.flatnonzero(~corpus.segment_is_train)[1:]  # row 0 is no segment
    assert len(np.unique(told[held_out], axis=0)) > 1
    np.testing.assert_allclose(anew[held_out], np.broadcast_to(anew[held_out[0]], anew[held_out].shape), atol=1e-3)
