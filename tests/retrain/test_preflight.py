"""What a retrain will miss is found before it starts, a line each."""

import fcntl
import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.retrain import preflight
from livealign.retrain.findings import Finding, refuse_findings
from livealign.retrain.preflight import check_retrain, last_run_bytes


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home", "simulator")
    made.activate()
    return made


def run_of(home: Home, day: str, size: int, peak: int = 0) -> None:
    """A finished retrain that left `size` bytes of artifacts and needed `peak` bytes of memory."""
    folder = home.artifacts / day
    for name, content in (
        ("release/bundle.json", {"release_id": f"{day}-abc"}),
        ("stages/ranker.json", {"peak_rss_bytes": peak}),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "vectors.npy").write_bytes(b"\0" * size)


def test_a_new_home_that_does_not_exist_yet_has_what_a_retrain_needs_and_nothing_is_made(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home", "simulator")
    assert check_retrain(home, home.archive, "tiny") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/sys").is_dir(), reason="root may write anywhere here")
def test_a_home_that_cannot_be_written_is_named_with_the_folder_in_the_way() -> None:
    home = Home(Path("/proc/livealign"), "simulator")  # not even root makes a folder there
    (first, *_) = check_retrain(home, home.archive, "tiny")
    assert first.stops
    assert "LIVEALIGN_HOME=/proc/livealign: /proc cannot be written" in str(first)


def test_a_running_retrain_is_seen_and_a_lock_that_no_process_holds_is_not(home: Home) -> None:
    with home.retrain_lock.open("w") as lock:
        assert check_retrain(home, home.archive, "tiny") == []
        fcntl.flock(lock, fcntl.LOCK_EX)
        (found,) = check_retrain(home, home.archive, "tiny")
    assert found.stops
    assert "another retrain runs" in found.what


def test_an_archive_that_is_missing_or_of_another_platform_is_refused_with_what_is_expected(home: Home, tmp_path: Path) -> None:
    twitch = Home(home.root, "twitch")
    (missing,) = check_retrain(twitch, tmp_path / "nowhere", "tiny")
    assert "is no folder; give an archive of platform twitch" in str(missing)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("nothing")
    (other,) = check_retrain(twitch, tmp_path / "other", "tiny")
    assert "is no archive of platform twitch" in str(other)
    assert "vod.json" in other.remedy


def test_the_disk_must_hold_what_the_last_run_took_and_a_fifth_more(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(home, "2025-06-01", 50_000_000)
    run_of(home, "2025-06-02", 10_000_000)  # the last one counts
    last = last_run_bytes(home)
    assert last is not None
    assert str(last[0]) == "2025-06-02"
    assert 10_000_000 <= last[1] < 10_001_000
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(1, 1, 12_100_000))
    assert check_retrain(home, home.archive, "tiny") == []
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(1, 1, 11_900_000))
    (found,) = check_retrain(home, home.archive, "tiny")
    assert found.stops
    assert "the retrain of 2025-06-02 took 10 MiB" in found.what
    assert "prune" in found.remedy


def test_memory_that_the_last_run_would_not_find_is_a_warning(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(home, "2025-06-02", 10, peak=5 << 30)
    monkeypatch.setattr(preflight, "usable_memory", lambda: 3 << 30)
    (found,) = check_retrain(home, home.archive, "tiny")
    assert not found.stops
    assert "3.0 GiB of memory is free, and stage ranker of the last retrain took 5.0 GiB" in found.what
    said: list[str] = []
    refuse_findings([found], said.append)
    assert said == [str(found)]


def test_every_finding_that_stops_has_a_line_in_one_error() -> None:
    with pytest.raises(LiveAlignError, match=r"^one; do this$"):
        refuse_findings([Finding("one", "do this")], print)
    with pytest.raises(LiveAlignError) as raised:
        refuse_findings([Finding("one", "do this"), Finding("two", "do that")], print)
    assert str(raised.value).splitlines() == ["2 things keep the retrain from starting:", "  one; do this", "  two; do that"]


def test_an_incomplete_backbone_is_found_and_one_that_can_be_fetched_is_not_missed(home: Home, tmp_path: Path) -> None:
    assert check_retrain(home, home.archive, "smollm2-135m") == []
    folder = tmp_path / "model"
    folder.mkdir()
    (none,) = check_retrain(home, home.archive, str(folder))
    assert "there is no model in" in none.what
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    (pointer,) = check_retrain(home, home.archive, str(folder))
    assert "git lfs pull" in str(pointer)
    assert pointer.stops


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/x", "/etc/hostname"])
def test_a_home_that_is_no_folder_is_named_once(home: str) -> None:
    made = Home(Path(home), "simulator")
    (found,) = check_retrain(made, made.archive, "tiny")
    assert "is no folder; name a folder by LIVEALIGN_HOME" in str(found)


@pytest.mark.parametrize("pointer", [b"rubbish", b"", b"\xff\xfe", None])
def test_a_champion_pointer_that_holds_no_release_stops_a_retrain_before_it_starts(home: Home, pointer: bytes | None) -> None:
    if pointer is None:
        (home.releases / "champion").mkdir()
    else:
        (home.releases / "champion").write_bytes(pointer)
    (found,) = check_retrain(home, home.archive, "tiny")
    assert found.stops
    assert "livealign promote <id>" in found.remedy


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"release_id": [1]}', "{", "\udcff"])
def test_a_damaged_record_of_the_last_run_is_a_warning_that_names_the_file(home: Home, content: str) -> None:
    run_of(home, "2025-06-02", 10)
    for name in ("release/bundle.json", "stages/ranker.json"):
        (home.artifacts / "2025-06-02" / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    found = check_retrain(home, home.archive, "tiny")
    assert [finding.stops for finding in found] == [False, False]
    assert "bundle.json" in str(found[0])
    assert "ranker.json" in str(found[1])


def test_a_device_that_is_not_there_stops_a_retrain(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_DEVICE", "tpu")
    (found,) = check_retrain(home, home.archive, "tiny")
    assert "LIVEALIGN_DEVICE" in found.what


def test_a_store_that_cannot_be_used_stops_a_retrain_before_it_starts(home: Home, tmp_path: Path) -> None:
    assert check_retrain(home, home.archive, "tiny", store=str(tmp_path / "store")) == []
    (tmp_path / "store").write_text("")
    for store in (str(tmp_path / "store"), str(tmp_path / "store" / "below"), "nowhere", "s3://user:secret@bucket"):
        (found,) = check_retrain(home, home.archive, "tiny", store=store)
        assert found.stops
        assert found.what.startswith("machines.store = ")
        assert "secret" not in str(found)


def test_an_impossible_variable_stops_a_retrain_before_it_starts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_WAREHOUSE_MEMORY", "0GB")
    (found,) = check_retrain(home, home.archive, "tiny")
    assert found.stops
    assert "LIVEALIGN_WAREHOUSE_MEMORY='0GB': dbt needs 100MB or more" in found.what


def test_a_named_archive_that_is_missing_is_refused_and_only_the_usual_one_is_simulated(home: Home, tmp_path: Path) -> None:
    assert check_retrain(home, home.archive, "tiny") == []
    (found,) = check_retrain(home, tmp_path / "archiv", "tiny")
    assert found.stops
    assert f"{tmp_path / 'archiv'} is no folder; give an archive of platform simulator by ARCHIVE=folder" in str(found)
    assert f"or make one there: `livealign simulate --out {tmp_path / 'archiv'}`" in found.remedy


@pytest.mark.parametrize("link", [False, True])
def test_a_place_where_the_usual_archive_cannot_be_made_is_named_with_the_setting(home: Home, link: bool) -> None:
    if link:
        home.archive.parent.symlink_to("gone")
    else:
        home.archive.parent.write_text("")
    (found,) = check_retrain(home, home.archive, "tiny")
    assert found.stops
    assert f"the platform cannot be simulated into {home.archive}: {home.archive.parent} is no folder" in found.what
    assert "LIVEALIGN_HOME" in found.remedy


@pytest.mark.timeout(20)
def test_files_that_the_system_does_not_read_are_findings_and_no_stack(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(home, "2025-06-02", 10)
    for name in ("release/bundle.json", "stages/ranker.json"):
        (home.artifacts / "2025-06-02" / name).unlink()
        os.mkfifo(home.artifacts / "2025-06-02" / name)
    os.mkfifo(home.retrain_lock)
    found = check_retrain(home, home.archive, "tiny")
    assert [(one.stops, "a pipe, a socket or a device" in one.what) for one in found] == [
        (True, True),
        (False, True),
        (False, True),
    ]

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/the/folder")

    home.retrain_lock.unlink()
    monkeypatch.setattr(preflight, "last_run_bytes", refused)
    monkeypatch.setattr(preflight, "last_run_peak", refused)
    monkeypatch.setattr(preflight, "read_champion", refused)
    for one in check_retrain(home, home.archive, "tiny"):
        assert str(one).startswith("/the/folder cannot be read (Permission denied); name another file or folder")


@pytest.mark.timeout(20)
def test_weights_that_are_a_pipe_are_found_and_not_waited_for(home: Home, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    os.mkfifo(tmp_path / "model" / "model.safetensors")
    (found,) = check_retrain(home, home.archive, str(tmp_path / "model"))
    assert "it is a pipe, a socket or a device" in found.what


def test_a_finding_is_one_line_whatever_a_name_holds(tmp_path: Path) -> None:
    (found,) = check_retrain(Home(tmp_path / "home", "parquet"), tmp_path / "a\nb", "tiny")
    assert "a\\nb is no folder" in str(found)
    assert "\n" not in str(found)


def test_an_unknown_platform_is_a_finding(tmp_path: Path) -> None:
    (found,) = check_retrain(Home(tmp_path / "home", "simulater"), tmp_path, "tiny")
    assert "there is no platform 'simulater'; choose one of" in str(found)


def test_what_an_archive_needs_from_variables_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "100k.csv").write_text("user,stream,streamer,start,stop\n1,2,a,0,1\n")
    (found,) = check_retrain(Home(tmp_path / "home", "liverec"), tmp_path, "tiny")
    assert "LiveRec's files count steps of ten minutes from a start that they do not give" in found.what
    monkeypatch.setenv("LIVEALIGN_LIVEREC_START", "yesterday")
    (found,) = check_retrain(Home(tmp_path / "home", "liverec"), tmp_path, "tiny")
    assert "LIVEALIGN_LIVEREC_START: 'yesterday' is no ISO date" in found.what
    for name in ("live_interaction.csv", "live_room_meta.parquet", "live_comment.csv"):
        (tmp_path / name).write_text("")
    monkeypatch.setenv("LIVEALIGN_KUAILIVE_M3_CLOCK", "tokyo")
    (found,) = check_retrain(Home(tmp_path / "home", "kuailive_m3"), tmp_path, "tiny")
    assert found.what == "LIVEALIGN_KUAILIVE_M3_CLOCK='tokyo' is no clock"
