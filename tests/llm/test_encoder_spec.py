"""Encoders in other processes: the same bits as here, or a refusal that says what differs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from livealign.errors import BackboneError
from livealign.llm.backbone import load_backbone
from livealign.llm.blocks import blocks_of
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Batch, Encoder
from livealign.llm.encoder_spec import EncoderSpec
from livealign.llm.prefix import Pictures
from livealign.llm.ray_embedding import BlockEncoder, block_table, block_vectors
from livealign.store import Store
from tests.planted.room_texts import CONFIG, random_adapter, room_texts, saved_model

TEXTS, ROOMS = room_texts(rooms=120, windows=20)


class Elsewhere:
    """An engine of one worker that is given nothing but a spec and tables of texts, last block first."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def encode(
        self,
        encoder: Encoder,
        texts: list[str],
        blocks: list[np.ndarray],
        kinds: list[bool],
        pictures: Pictures | None = None,
    ) -> Iterator[Batch]:
        worker = BlockEncoder(self.spec, kinds)
        for number, rows in reversed(list(enumerate(blocks))):
            answer = worker(block_table(number, rows, texts, pictures)).to_pylist()
            assert [row["block"] for row in answer] == [number]
            assert answer[0]["processor_seconds"] > 0
            yield rows, block_vectors(answer[0], len(kinds), len(rows))


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, EncoderSpec]:
    folder = tmp_path_factory.mktemp("planted")
    backbone = load_backbone("tiny", folder, device="cpu", dtype=request.param)
    adapter = random_adapter(backbone, folder / "adapter")
    encoder = Encoder.load(backbone, adapter, CONFIG)
    return encoder, EncoderSpec.of(encoder, adapter, folder)


def test_vectors_have_the_same_bits_on_one_core_on_three_and_elsewhere(planted: tuple[Encoder, EncoderSpec]) -> None:
    encoder, spec = planted
    assert len(blocks_of(ROOMS)) == 2
    threads, found = torch.get_num_threads(), []
    try:
        for cores in (1, 3):
            torch.set_num_threads(cores)
            found.append(encoder.encode_raw_and_tuned(TEXTS, rooms=ROOMS))
    finally:
        torch.set_num_threads(threads)
    found.append(encoder.encode_raw_and_tuned(TEXTS, rooms=ROOMS, engine=Elsewhere(spec)))
    torch.set_num_threads(threads)
    for raw, tuned in found[1:]:
        assert raw.tobytes() == found[0][0].tobytes()
        assert tuned.tobytes() == found[0][1].tobytes()


def test_vectors_from_elsewhere_are_cached_and_counted_as_our_own(planted: tuple[Encoder, EncoderSpec], tmp_path: Path) -> None:
    encoder, spec = planted
    cache, seen = EmbeddingCache(tmp_path), []
    first = encoder.encode_raw_and_tuned(TEXTS, lambda *done: seen.append(done), cache, ROOMS, Elsewhere(spec))
    distinct = len(set(TEXTS))
    assert seen[0] == (0, distinct)
    assert seen[-1] == (distinct, distinct)
    seen.clear()
    second = encoder.encode_raw_and_tuned(TEXTS, lambda *done: seen.append(done), cache, ROOMS, Elsewhere(spec))
    assert seen == [(distinct, distinct)]
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ({"code": "0" * 12}, r"with code .*install the same version"),
        ({"sha256": "0" * 64}, r"this worker's tiny is .*share LIVEALIGN_HOME, or set machines\.store"),
        ({"dtype": "torch.float16"}, r"share LIVEALIGN_HOME, or set machines\.store"),
        ({"adapter": None}, r"share LIVEALIGN_HOME, or set machines\.store"),
        ({"token_budget": 32}, r"share LIVEALIGN_HOME, or set machines\.store"),
    ],
    ids=["code", "backbone", "number type", "adapter", "length of texts"],
)
def test_a_worker_that_would_give_other_vectors_refuses(
    planted: tuple[Encoder, EncoderSpec], difference: dict[str, Any], message: str
) -> None:
    _, spec = planted
    if difference.keys() <= {"code", "sha256", "dtype"}:
        difference = {"backbone": replace(spec.backbone, **difference)}
    worker = BlockEncoder(replace(spec, **difference), [True])
    with pytest.raises(BackboneError, match=message):
        worker(block_table(0, np.arange(1), ["hello"], None))


def test_a_worker_that_shares_nothing_but_the_store_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other, store = tmp_path / "mine", tmp_path / "other", Store.open(str(tmp_path / "store"))
    backbone = load_backbone(str(saved_model(mine / "model")), mine, device="cpu", dtype=torch.float32)
    adapter = random_adapter(backbone, mine / "adapter")
    encoder, texts = Encoder.load(backbone, adapter, CONFIG), TEXTS[:50]
    spec = EncoderSpec.of(encoder, adapter, mine, store)
    wanted = encoder.encode_block(texts, [False, True])
    mine.rename(tmp_path / "gone")
    monkeypatch.setenv("LIVEALIGN_HOME", str(other))
    found = BlockEncoder(spec, [False, True])(block_table(3, np.arange(50), texts, None)).to_pylist()
    assert [(row["block"], row["vectors"]) for row in found] == [(3, np.stack(wanted).tobytes())]
    assert sorted(path.name for path in (other / "fetched").iterdir()) == ["adapters", "backbones"]


def test_machines_share_the_shards_of_the_cache_by_the_store(planted: tuple[Encoder, EncoderSpec], tmp_path: Path) -> None:
    encoder, _ = planted
    store = Store.open(str(tmp_path / "store"))
    first = encoder.encode_raw_and_tuned(TEXTS[:30], cache=EmbeddingCache(tmp_path / "one", store))
    seen: list[tuple[int, int]] = []
    second = encoder.encode_raw_and_tuned(
        TEXTS[:30], lambda *done: seen.append(done), EmbeddingCache(tmp_path / "other", store)
    )
    assert seen == [(30, 30)]  # none was encoded again
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
