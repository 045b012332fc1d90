"""The store on a real S3 server: a release by way of it, shards of two machines, and a server that goes away."""

import io
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.compaction import compact
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder
from livealign.llm.encoder_spec import EncoderSpec
from livealign.release.registry import read_champion
from livealign.release.shared_champion import follow_champion, put_champion
from livealign.store import Store
from tests.llm.test_compaction import SHARDS, VERSION, holds_all, version_in, written
from tests.planted.room_texts import CONFIG, random_adapter, room_texts, saved_model
from tests.release.test_shared_champion import release
from tests.support.odd_store import OddStore
from tests.support.s3_server import BUCKET, KEY, SECRET, S3Server, weed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(weed() is None, reason="SeaweedFS is not installed; make setup-ray installs it"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3")).start()
    yield server
    server.stop()


@pytest.fixture
def store(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A part of the bucket of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    opened = Store.open(f"s3://{BUCKET}/{tmp_path.name}?region=us-east-1")
    assert opened is not None
    return opened


def test_a_serving_machine_follows_the_champion_from_the_bucket(store: Store, tmp_path: Path) -> None:
    here, there = Home(tmp_path / "retrains", "simulator"), Home(tmp_path / "serves", "simulator")
    for home in (here, there):
        home.activate()
    saved_model(here.models / "planted")
    for content in (b"first", b"second"):
        wanted = release(here, content)
        assert put_champion(store, here) == wanted
        assert follow_champion(store, there) == wanted == read_champion(there.releases)
    assert len(store.names("releases")) == 2
    assert len(store.names("backbones")) == 1


def test_vectors_of_one_machine_are_the_cache_of_another_and_so_is_the_encoder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, rooms = room_texts(rooms=130, windows=20)
    folder = tmp_path / "mine"
    backbone = load_backbone(str(saved_model(folder / "model")), folder, device="cpu")
    adapter = random_adapter(backbone, folder / "adapter")
    encoder = Encoder.load(backbone, adapter, CONFIG)
    first = encoder.encode_raw_and_tuned(texts, cache=EmbeddingCache(tmp_path / "cache", store), rooms=rooms)
    spec = EncoderSpec.of(encoder, adapter, folder, store)
    folder.rename(tmp_path / "gone")
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "other"))
    seen: list[tuple[int, int]] = []
    other = spec.load().encode_raw_and_tuned(
        texts, lambda *done: seen.append(done), EmbeddingCache(tmp_path / "other_cache", store), rooms
    )
    assert seen == [(len(set(texts)),) * 2]
    assert all(np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_small_shards_of_two_machines_become_one_object(store: Store, tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, store, shards) for name, shards in (("one", range(6)), ("other", range(6, SHARDS))))
    for version in (one, other, one, other):
        compact(version, least_shards=2)
    assert len(store.names(f"embedding_cache/{VERSION}")) == len(one.files()) == len(other.files()) == 1
    assert holds_all(one)
    assert holds_all(version_in(tmp_path / "third", store))


def test_an_object_that_is_gone_is_no_error_and_is_not_waited_for(store: Store, tmp_path: Path) -> None:
    store.put("there", b"1")
    patient = replace(store, waits=(1e9,))
    for _ in range(2):
        patient.delete("there")
    assert patient.fetch_file("there", tmp_path / "file") is False
    assert not list(tmp_path.iterdir())


class Interrupted(io.BytesIO):
    """A file whose reading is interrupted after the first block."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise KeyboardInterrupt
        return super().read(size)


@pytest.mark.parametrize("size", [1 << 20, 40 << 20], ids=["in one part", "in several"])
def test_an_upload_that_is_interrupted_leaves_no_object(store: Store, size: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        store._write("adapters/ab12.tar", Interrupted(bytes(size)))
    assert not store.has("adapters/ab12.tar")
    assert store.names("adapters") == []


def test_a_server_that_is_away_for_20_seconds_is_waited_for(server: S3Server, store: Store, tmp_path: Path) -> None:
    store.put("before", b"1")
    server.stop()
    back = threading.Timer(20, server.start)
    back.start()
    try:
        started = time.monotonic()
        store.put("during", b"2")
        assert time.monotonic() - started > 15
    finally:
        back.join()
    assert (store.get("before"), store.get("during")) == (b"1", b"2")


@pytest.mark.parametrize("odd", [{"delay": 0.5}, {"twice": True}, {"lost": 2}], ids=["slow", "twice", "lost answers"])
def test_a_release_goes_by_way_of_a_store_that_answers_slowly_or_twice_or_loses_answers(
    odd: dict[str, Any], server: S3Server, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = Home(tmp_path / "retrains", "simulator"), Home(tmp_path / "serves", "simulator")
    for home in (here, there):
        home.activate()
    saved_model(here.models / "planted")
    with OddStore(server.endpoint, **odd) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        opened = Store.open(store.where)
        assert opened is not None
        wanted = release(here, b"first")
        assert put_champion(opened, here) == wanted
        assert follow_champion(opened, there) == wanted == read_champion(there.releases)
        assert proxy.wrote > 2
    assert len(store.names("releases")) == len(store.names("backbones")) == 1


def test_a_wrong_key_is_one_line_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mistyped")
    opened = Store.open(f"{store.where}")
    assert opened is not None
    opened = replace(opened, waits=(1e9,))  # a wrong key is not waited for
    with pytest.raises(
        LiveAlignError, match=r"^the store s3://\S+ cannot be reached \(.*SIGNATURE_DOES_NOT_MATCH.*\); run again$"
    ) as caught:
        opened.put("x", b"1")
    assert "mistyped" not in str(caught.value)
