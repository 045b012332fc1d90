"""The commands on a full disk: one line with the path and the remedy, and everything stays as it was."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livealign.cli import main as cli
from livealign.events.log import EventLog
from livealign.full_disk import REMEDY
from livealign.home import Home
from livealign.release.registry import promote, read_champion
from tests.cli.test_releases import make
from tests.support.small_disk import fill, small_disk

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home on a disk of its own, with a champion, another release, and an event log."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("LIVEALIGN_PLATFORM", raising=False)
    with small_disk(tmp_path / "disk", "64m") as disk:
        monkeypatch.setenv("LIVEALIGN_HOME", str(disk))
        made = Home(disk, "simulator")
        made.activate()
        promote(made.releases, make(made, 8, 0.61))
        make(made, 9, 0.64)
        start = b'{"kind":"room_started","event_id":"1","at":1758542400000,"room_id":1,"author_id":2,"title":"hi"}'
        with EventLog(made.root / "archive" / "served") as log:
            log.append([start])
        Home(disk, "served").activate()
        yield made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["livealign", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return int(code or 0), capsys.readouterr().err

    return command


def files_in(home: Home) -> dict[str, bytes]:
    found = [path for path in home.root.rglob("*") if path.is_file() and path.name != "filler" and not path.is_symlink()]
    return {str(path): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "--users", "20", "--authors", "10", "--days", "1"),
        ("land", "--platform", "served"),
        ("promote", "CHALLENGER"),
        ("releases", "serve", "CHALLENGER", "--share", "0.1"),
        ("store", "put", "--set", "machines.store=HOME/store"),
        ("settings", "--defaults", "--out", "HOME/new.toml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_command_on_a_full_disk_ends_in_one_line_and_changes_nothing(
    arguments: tuple[str, ...], home: Home, run: Run
) -> None:
    champion = read_champion(home.releases)
    challenger = next(path.name for path in home.releases.glob("2025-*-*") if path.is_dir() and path.name != champion)
    command = [one.replace("CHALLENGER", challenger).replace("HOME", str(home.root)) for one in arguments]
    before, filler = files_in(home), fill(home.root)
    code, said = run(*command)
    line = said.strip().splitlines()[-1]
    assert code == 1, said
    assert "Traceback" not in said
    assert "No space left on device" in line
    assert str(home.root) in line
    assert line.endswith(REMEDY)
    assert {name: content for name, content in files_in(home).items() if content} == {
        name: content for name, content in before.items() if content
    }
    assert read_champion(home.releases) == champion
    filler.unlink()
    assert run(*command)[0] == 0


def test_a_full_disk_can_be_pruned(home: Home, run: Run) -> None:
    filler = fill(home.root)
    assert run("prune")[0] == 0
    filler.unlink()
