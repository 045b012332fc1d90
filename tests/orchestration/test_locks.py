"""Locks between runs: a second run waits for the same thing, and a dead process lets go."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from livealign.home import Home
from orchestration.runs.locks import stage_lock

DAY = date(2025, 6, 9)
HOLD = """
import sys, time
from datetime import date
from pathlib import Path
from livealign.home import Home
from orchestration.runs.locks import stage_lock
def say(text):
    print(text, flush=True)
with stage_lock(Home(Path(sys.argv[1]), "simulator"), sys.argv[2], date.fromisoformat(sys.argv[3]), say):
    say("mine")
    if sys.argv[4] == "block":
        sys.stdin.readline()
if sys.argv[4] == "process":
    sys.stdin.readline()
"""


class Run:
    """Another process that takes the lock of a stage and holds it until it gets a line of input, or is killed."""

    def __init__(self, folder: Path, stage: str, day: str = str(DAY), until: str = "block") -> None:
        command = [sys.executable, "-c", HOLD, str(folder), stage, day, until]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, killed: bool = False) -> None:
        assert self.process.stdin is not None
        if killed:
            self.process.kill()
        else:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        self.process.wait(30)


@pytest.mark.parametrize(("stage", "other"), [("warehouse", "marts"), ("landing", "landing"), ("promotion", "promotion")])
@pytest.mark.parametrize("killed", [False, True])
def test_a_run_waits_for_what_another_one_touches_and_says_so(tmp_path: Path, stage: str, other: str, killed: bool) -> None:
    first = Run(tmp_path, stage, day="2025-06-08")
    assert first.said() == "mine"
    second = Run(tmp_path, other)
    assert second.said().startswith("waiting: another run is at the ")
    assert second.process.poll() is None
    first.end(killed)
    assert second.said() == "mine"
    second.end()


def test_what_is_not_shared_is_not_waited_for(tmp_path: Path) -> None:
    runs = [
        Run(tmp_path, "warehouse"),
        Run(tmp_path, "landing"),
        Run(tmp_path, "ranker", "2025-06-08"),
        Run(tmp_path, "ranker"),
    ]
    assert [run.said() for run in runs] == ["mine"] * 4
    for run in runs:
        run.end()


def test_the_models_of_a_day_belong_to_one_run_until_its_process_ends(tmp_path: Path) -> None:
    first = Run(tmp_path, "llm_adapter", until="process")
    assert first.said() == "mine"
    second = Run(tmp_path, "ranker")
    assert second.said() == f"waiting: {DAY} is being retrained by another run"
    first.end()
    assert second.said() == "mine"
    second.end()


def test_one_process_takes_the_same_day_again_without_waiting(tmp_path: Path) -> None:
    said: list[str] = []
    for stage in ("llm_adapter", "aligned_vectors", "promotion"):
        with stage_lock(Home(tmp_path, "simulator"), stage, DAY, said.append):
            pass
    assert not said
