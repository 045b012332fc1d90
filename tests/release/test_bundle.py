"""Opening a bundle finds any change to its files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from livealign.errors import BundleError
from livealign.release.bundle import BUNDLE_FORMAT, MANIFEST, open_bundle, read_manifest, write_bundle
from tests.support.disk_calls import Renamed, Synced, disk_calls

FIELDS = {
    "data_window": {"start": "2025-01-01", "end": "2025-01-08"},
    "platform": "simulator",
    "profile": "tiny",
    "backbone": {"id": "tiny", "sha256": "00"},
    "seeds": {"alignment": 17},
    "metrics": {"aligned_codes": {"gauc": 0.71, "gift_auc": float("nan")}},
    "codebook_version": "abc",
}


def parts(folder: Path) -> dict[str, Path | bytes]:
    adapter = folder / "adapter"
    adapter.mkdir(parents=True, exist_ok=True)
    (adapter / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (adapter / "adapter_config.json").write_text("{}")
    (folder / "ranker").write_bytes(b"ranker")
    return {"adapter": adapter, "ranker.safetensors": folder / "ranker", "code_names.json": b"{}"}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "releases", parts(tmp_path / "made"), FIELDS)


def test_a_written_bundle_opens_with_everything_that_was_put_in(written: Path, tmp_path: Path) -> None:
    bundle = open_bundle(written)
    assert bundle.release_id == written.name
    assert written.name.startswith("2025-01-08-")
    assert bundle.file("ranker.safetensors").read_bytes() == b"ranker"
    assert [path.name for path in bundle.files("adapter")] == ["adapter_config.json", "adapter_model.safetensors"]
    assert bundle.manifest["platform"] == "simulator"
    assert bundle.manifest["bundle_format"] == BUNDLE_FORMAT
    assert bundle.manifest["metrics"]["aligned_codes"] == {"gauc": 0.71, "gift_auc": None}
    with pytest.raises(BundleError, match=r"no 'other\.bin'"):
        bundle.file("other.bin")


def test_the_same_content_has_the_same_id_and_other_content_another(written: Path, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    assert write_bundle(releases, parts(tmp_path / "again"), FIELDS) == written
    assert write_bundle(releases, parts(tmp_path / "again") | {"extra": b"1"}, FIELDS) != written
    assert write_bundle(releases, parts(tmp_path / "again"), FIELDS | {"platform": "twitch"}) != written
    assert len([path for path in releases.iterdir() if path.is_dir()]) == 3


def test_every_flipped_byte_and_missing_file_is_found(written: Path, tmp_path: Path) -> None:
    names = [path.relative_to(written) for path in written.rglob("*") if path.is_file()]
    assert len(names) == 5
    for name in names:
        for damage in ("flip", "truncate", "extend", "remove"):
            copy = tmp_path / "copy"
            shutil.copytree(written, copy)
            file = copy / name
            content = bytearray(file.read_bytes())
            middle = content.index(b"simulator") if name.name == MANIFEST else len(content) // 2
            if damage == "flip":
                content[middle] ^= 1
                file.write_bytes(content)
            elif damage == "truncate":
                file.write_bytes(content[:-2])
            elif damage == "extend":
                file.write_bytes(bytes(content) + b"x")
            else:
                file.unlink()
            with pytest.raises(BundleError, match=str(name)):
                open_bundle(copy)
            shutil.rmtree(copy)


def test_a_file_that_the_manifest_does_not_name_is_refused(written: Path) -> None:
    (written / "adapter" / "extra.bin").write_bytes(b"?")
    with pytest.raises(BundleError, match=r"extra\.bin is not in the bundle's manifest; remove it"):
        open_bundle(written)


def test_links_are_refused_even_when_they_lead_to_the_right_bytes(written: Path, tmp_path: Path) -> None:
    original = tmp_path / "elsewhere"
    shutil.move(written / "ranker.safetensors", original)
    (written / "ranker.safetensors").symlink_to(original)
    with pytest.raises(BundleError, match="link"):
        open_bundle(written)


def test_a_linked_folder_is_refused(written: Path, tmp_path: Path) -> None:
    shutil.move(written / "adapter", tmp_path / "elsewhere")
    (written / "adapter").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="link"):
        open_bundle(written)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "", ".", "a//b", "a\\b", "c:b", MANIFEST, "./a"])
def test_names_that_leave_the_bundle_are_refused_in_writing_and_in_reading(name: str, written: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be a file of a bundle"):
        write_bundle(tmp_path / "other", {name: b"x"}, FIELDS)
    manifest = json.loads((written / MANIFEST).read_text())
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    (written / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError):
        open_bundle(written)


def test_an_unknown_format_is_refused_with_both_numbers(written: Path) -> None:
    manifest = json.loads((written / MANIFEST).read_text()) | {"bundle_format": 99}
    (written / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="format 99, and this code reads 1"):
        open_bundle(written)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"bundle_format": 1}'])
def test_a_manifest_that_is_none_is_refused(content: bytes, written: Path) -> None:
    (written / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read_manifest(written)


def test_a_directory_that_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no release bundle"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="no release bundle"):
        open_bundle(tmp_path / "absent")


def test_a_bundle_without_its_fields_or_parts_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="'platform'"):
        write_bundle(tmp_path, {"a": b"1"}, {key: value for key, value in FIELDS.items() if key != "platform"})
    with pytest.raises(BundleError, match="data_window needs an 'end'"):
        write_bundle(tmp_path, {"a": b"1"}, FIELDS | {"data_window": {"end": "yesterday"}})
    with pytest.raises(BundleError, match=r"missing\.bin cannot be put into the bundle"):
        write_bundle(tmp_path, {"a": tmp_path / "missing.bin"}, FIELDS)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("2025")]


def test_a_damaged_bundle_is_replaced_when_it_is_written_again(written: Path, tmp_path: Path) -> None:
    (written / "ranker.safetensors").write_bytes(b"ruined")
    assert write_bundle(tmp_path / "releases", parts(tmp_path / "again"), FIELDS) == written
    assert open_bundle(written).file("ranker.safetensors").read_bytes() == b"ranker"
    assert not list(written.parent.glob(".writing-*"))


def test_a_writer_killed_half_way_leaves_what_was_there_and_the_next_one_cleans_up(written: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "never-ends"
    os.mkfifo(pipe)  # the writer blocks on reading it, with some files written
    program = textwrap.dedent(
        """
        import json, sys
        from pathlib import Path
        from livealign.release.bundle import write_bundle
        write_bundle(Path(sys.argv[1]), {"a.bin": b"x" * 100000, "b.bin": Path(sys.argv[2])}, json.loads(sys.argv[3]))
        """
    )
    arguments = [str(written.parent), str(pipe), json.dumps(FIELDS)]
    writer = subprocess.Popen([sys.executable, "-c", program, *arguments])
    descriptor = os.open(pipe, os.O_WRONLY)  # returns once the writer has opened the other end
    try:
        os.write(descriptor, b"y" * 1000)
        assert len(list(written.parent.glob(".writing-*"))) == 1
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
    finally:
        os.close(descriptor)
    assert [path.name for path in written.parent.iterdir() if path.name.startswith("2025")] == [written.name]
    open_bundle(written)
    write_bundle(written.parent, {"a.bin": b"x"}, FIELDS)
    assert not list(written.parent.glob(".writing-*"))


def test_every_file_and_folder_of_a_bundle_is_on_disk_before_it_has_its_name(tmp_path: Path) -> None:
    with disk_calls() as calls:
        path = write_bundle(tmp_path / "releases", parts(tmp_path / "made"), FIELDS)
    (renamed,) = [call for call in calls if isinstance(call, Renamed)]
    assert renamed.new == path
    place = calls.index(renamed)
    synced = {call.path.relative_to(renamed.old): call.bytes for call in calls[:place] if isinstance(call, Synced)}
    inside = [path, *path.rglob("*")]
    assert synced == {one.relative_to(path): one.stat().st_size if one.is_file() else 0 for one in inside}
    assert calls[place + 1 :] == [Synced(path.parent, 0)]
