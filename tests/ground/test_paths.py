"""Paths as a person writes them: in variables and on the command line."""

import sys
from pathlib import Path

import pytest

from livealign.cli.main import main
from livealign.errors import LiveAlignError
from livealign.home import Home, home_root
from livealign.paths import path_in, path_named


def test_a_path_is_as_it_was_written_and_an_empty_one_or_a_tilde_is_refused() -> None:
    assert path_named("a b/~c", "--out") == Path("a b/~c")
    assert path_in({"X": ""}, "X") is None
    assert path_in({}, "X") is None
    with pytest.raises(LiveAlignError, match=r"^--out is empty; give a path"):
        path_named(" ", "--out")
    for text in ("~", "~x", "~/data"):
        with pytest.raises(LiveAlignError, match="only a shell expands ~; write the path in full"):
            path_in({"X": text}, "X")


def test_an_empty_home_is_the_usual_one_and_a_tilde_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEALIGN_HOME", "")
    monkeypatch.setenv("LIVEALIGN_PLATFORM", "")
    assert home_root() == tmp_path / ".livealign"
    assert Home.from_environment() == Home(tmp_path / ".livealign", "simulator")
    monkeypatch.setenv("LIVEALIGN_HOME", "~x")
    with pytest.raises(LiveAlignError, match="LIVEALIGN_HOME='~x': only a shell expands ~"):
        Home.from_environment()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["land", "--archive", ""], "Invalid value for '--archive': the path is empty; give a path, or leave it out"),
        (["simulate", "--out", "~/x"], "'--out': the path='~/x': only a shell expands ~"),
        (["inspect", ""], "the path is empty"),
        (["inspect", "x", "--days", ""], "--days is empty; write 2025-06-02"),
        (["replay", "--day", ""], "--day is empty; write a day as 2025-06-09"),
        (["settings", "--profile", ""], "--profile '': "),
    ],
)
def test_an_empty_value_of_an_option_is_named(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["livealign", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code
    assert said in capsys.readouterr().err
