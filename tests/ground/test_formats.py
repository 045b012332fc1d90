"""What names no version is of the first; what a later version wrote is refused in a line with both versions and a remedy."""

import ast
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from livealign.dataset.marts import publish_marts, read_mart
from livealign.errors import BackboneError, BundleError, EventLogError, LandingError, LiveAlignError, MartError, TrainingError
from livealign.evaluation.held_out import ScoredDay
from livealign.events.log import EventLog
from livealign.events.log_files import log_files
from livealign.files import read_json, replace_json
from livealign.formats import FOLDER_FORMAT, check_folder, mark_folder
from livealign.landing.partitions import landed_days
from livealign.landing.run import LandingRun
from livealign.landing.validate import validate_landing
from livealign.llm.model_folder import RECORD, identity_of
from livealign.release.decisions import decision_file, read_decision
from livealign.release.registry import promote, read_champion, read_history, rollback
from livealign.store import Store
from livealign.tuning.adapter import RECORD as TUNING
from livealign.tuning.adapter import read_report
from tests.planted.room_texts import saved_model
from tests.release.test_registry import release

ROOT = Path(__file__).parents[2]
DAY = date(2025, 6, 6)
RELEASE = "2025-06-06-0a513956f859"
# Written by `replace_json` in a format of others, or with a version in the value.
WITHOUT_A_VERSION = {
    "livealign/tuning/adapted_model.py",  # PEFT's
    "livealign/llm/fetch.py:CONFIG",  # transformers'
    "livealign/retrain/champion.py",  # a cache that is used by the very code that wrote it
    "livealign/simulation/archive.py",  # has its own
}


def land(folder: Path) -> None:
    with LandingRun(folder, [DAY]):
        pass


READERS: dict[str, tuple[Callable[[Path], object], type[LiveAlignError]]] = {
    "landed days": (landed_days, LandingError),
    "landing": (land, LandingError),
    "validation": (validate_landing, LandingError),
    "marts": (lambda folder: read_mart(folder, "rooms", [DAY]), MartError),
    "publishing": (lambda folder: publish_marts(folder.parent / "tables", folder), MartError),
    "champion": (read_champion, BundleError),
    "history": (read_history, BundleError),
    "rollback": (rollback, BundleError),
    "event log": (EventLog, EventLogError),
    "event log's files": (log_files, EventLogError),
}


NEWEST = {"event log": 3, "event log's files": 3}  # others: 1


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_of_a_later_version_is_refused_and_not_touched(reader: str, tmp_path: Path) -> None:
    folder, newest = tmp_path / "folder", NEWEST.get(reader, 1)
    replace_json(folder / FOLDER_FORMAT, {}, version=newest + 1)
    (folder / "champion").write_text(f"{RELEASE}\n")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    read, error = READERS[reader]
    with pytest.raises(error) as raised:
        read(folder)
    refused(str(raised.value), folder / FOLDER_FORMAT, str(newest + 1), newest)
    left = {path: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
    assert left == before


@pytest.mark.parametrize("version", [1, 2])
def test_an_event_log_of_an_earlier_version_is_read_and_becomes_one_of_this(version: int, tmp_path: Path) -> None:
    """A reader of the earlier version then refuses it in a line: it cannot read the records of shown lists."""
    with EventLog(tmp_path) as log:
        log.append([b"1"])
    replace_json(tmp_path / FOLDER_FORMAT, {}, version=version)
    assert len(log_files(tmp_path)) == 1
    assert json.loads((tmp_path / FOLDER_FORMAT).read_text()) == {"format": version}  # reading changes nothing
    with EventLog(tmp_path) as log:
        assert [record for _, record in log.read()] == [b"1"]
    assert json.loads((tmp_path / FOLDER_FORMAT).read_text()) == {"format": 3}
    with pytest.raises(EventLogError) as raised:
        check_folder(tmp_path, "choose another folder", EventLogError)
    refused(str(raised.value), tmp_path / FOLDER_FORMAT, "3")


def test_a_promotion_leaves_releases_of_a_later_version(tmp_path: Path) -> None:
    one = release(tmp_path, 8)
    replace_json(tmp_path / FOLDER_FORMAT, {}, version=2)
    with pytest.raises(BundleError) as raised:
        promote(tmp_path, one)
    refused(str(raised.value), tmp_path / FOLDER_FORMAT)
    assert not (tmp_path / "champion").exists()


def test_a_folder_that_cannot_be_looked_into_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"cannot be read \(File name too long\); choose another") as raised:
        check_folder(tmp_path / ("9" * 300), "choose another", BundleError)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ['"x"', "[]", "null", "3", "{", ""])
def test_a_mark_that_holds_no_format_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / FOLDER_FORMAT).write_text(content)
    with pytest.raises(BundleError, match=r"format.json (holds no format|is damaged .*); delete it, then choose another"):
        check_folder(tmp_path, "choose another", BundleError)


def test_a_folder_is_marked_once_and_one_without_a_mark_is_of_the_first_version(tmp_path: Path) -> None:
    check_folder(tmp_path / "absent", "none")
    check_folder(tmp_path, "none")
    mark_folder(tmp_path)
    assert json.loads((tmp_path / FOLDER_FORMAT).read_text()) == {"format": 1}
    written = (tmp_path / FOLDER_FORMAT).stat().st_mtime_ns
    mark_folder(tmp_path)
    assert (tmp_path / FOLDER_FORMAT).stat().st_mtime_ns == written
    check_folder(tmp_path, "none")


def test_what_is_written_to_these_folders_says_its_version(tmp_path: Path) -> None:
    land(tmp_path / "landing")
    EventLog(tmp_path / "log").close()
    promote(tmp_path / "releases", release(tmp_path / "releases", 8))
    for folder, version in (("landing", 1), ("log", 3), ("releases", 1)):
        assert json.loads((tmp_path / folder / FOLDER_FORMAT).read_text()) == {"format": version}


def test_a_document_is_read_without_its_version_and_one_without_a_version_is_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    replace_json(file, {"a": 1}, version=1)
    assert list(json.loads(file.read_text())) == ["format", "a"]
    assert read_json(file) == {"a": 1}
    replace_json(file, {"a": 1})
    assert read_json(file) == {"a": 1}


@pytest.mark.parametrize("version", [2, 0, "1", None, [1]])
def test_a_document_of_no_known_version_is_refused(version: object, tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    file.write_text(json.dumps({"format": version}))
    with pytest.raises(LiveAlignError) as raised:
        read_json(file, "write it again")
    refused(str(raised.value), file, str(version))


def test_documents_with_readers_of_their_own_are_refused_too(tmp_path: Path) -> None:
    saved_model(tmp_path)
    for file, read, error in (
        (decision_file(tmp_path, RELEASE), lambda: read_decision(tmp_path, RELEASE), LiveAlignError),
        (tmp_path / TUNING, lambda: read_report(tmp_path), TrainingError),
        (tmp_path / RECORD, lambda: identity_of(tmp_path), BackboneError),
    ):
        replace_json(file, {}, version=2)
        with pytest.raises(error) as raised:
            read()
        refused(str(raised.value), file)


def test_a_scored_day_of_a_later_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "2025-06-06.npz"
    np.savez(file, format=np.array(2))
    with pytest.raises(LiveAlignError) as raised:
        ScoredDay.load(file)
    refused(str(raised.value), file)


def test_an_archive_of_the_store_of_a_later_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, folder = Store.open(str(tmp_path / "store")), tmp_path / "folder"
    assert store is not None
    folder.mkdir()
    (folder / "file").write_text("content")
    monkeypatch.setattr("livealign.store.FORMAT", 2)
    store.put_folder("adapters", "ab12", folder)
    store.fetch_folder("adapters", "ab12", tmp_path / "second")
    monkeypatch.setattr("livealign.store.FORMAT", 1)
    with pytest.raises(LiveAlignError) as raised:
        store.fetch_folder("adapters", "ab12", tmp_path / "first")
    refused(str(raised.value), tmp_path / "store" / "adapters" / "ab12.tar")
    assert not (tmp_path / "first").exists()


def test_every_document_that_is_written_has_a_version() -> None:
    bare = []
    for path in sorted(file for package in ("livealign", "orchestration", "bentos") for file in (ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "replace_json":
                versioned = len(call.args) == 3 or any(one.arg == "version" for one in call.keywords)
                known = {name, f"{name}:{ast.unparse(call.args[0]).rpartition(' ')[2]}"}
                bare += [] if versioned or known & WITHOUT_A_VERSION else [f"{name}:{call.lineno}"]
    assert bare == []


def refused(message: str, file: Path, found: str = "2", newest: int = 1) -> None:
    """One line that names the file, both versions, and what to do."""
    assert message.startswith(str(file))
    assert "\n" not in message
    assert f"has format '{found}'" in message
    assert f"reads formats up to {newest}; use the version of LiveAlign that wrote it, or " in message


def test_json_that_is_a_folder_or_too_deep_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LiveAlignError, match="is a folder where a file belongs; move it away and run again"):
        read_json(tmp_path, "write it again")
    file = tmp_path / "deep.json"
    file.write_text("[" * 100_000)
    with pytest.raises(LiveAlignError, match=r"deep\.json is damaged .*write it again"):
        read_json(file, "write it again")
