"""Tuning on ranks of a real cluster of Ray on this machine, also after the loss of one."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from livealign.errors import LiveAlignError
from livealign.llm.backbone import load_backbone
from livealign.operation_config import MachinesConfig
from livealign.tuning.adapter import TuneReport, tune_adapter
from livealign.tuning.ray_tuning import tune_on_ranks
from tests.planted.text_pairs import CONFIG, ENCODER, SEGMENTS, planted_pairs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; make setup-ray installs it"),
]
STEPS = replace(CONFIG, steps=30, validate_every=10, save_every=2)
ON_RAY = MachinesConfig(engine="ray", ranks=2)


def on_ranks(folder: Path, progress: Callable[[int, int], None] | None = None, **settings: float) -> TuneReport:
    backbone = load_backbone("tiny", folder, device="cpu")
    work = backbone, planted_pairs(300), SEGMENTS, ENCODER, replace(STEPS, **settings), folder / "adapter"
    return tune_on_ranks(ON_RAY, folder, *work, progress=progress)


def ranks() -> list[psutil.Process]:
    """The processes of the ranks, in the order in which they were started."""
    family = psutil.Process().children(recursive=True)
    return sorted((one for one in family if "RayTrainWorker" in "".join(one.cmdline())), key=lambda one: one.create_time())


def test_two_ranks_tune_as_one_and_a_killed_rank_changes_nothing(tmp_path: Path) -> None:
    for name in ("calm", "killed", "alone"):
        (tmp_path / name).mkdir()
    seen: list[int] = []
    calm = on_ranks(tmp_path / "calm", lambda done, steps: seen.append(done))
    assert seen == sorted(seen)
    assert seen
    alone = tune_adapter(
        *(load_backbone("tiny", tmp_path, device="cpu"), planted_pairs(300), SEGMENTS, ENCODER, STEPS, tmp_path / "alone" / "a")
    )
    assert calm.losses == pytest.approx(alone.losses, rel=1e-4)
    killed: list[int] = []

    def kill_one(done: int, steps: int) -> None:
        if not killed and done < steps:
            killed.append(ranks()[-1].pid)
            os.kill(killed[0], signal.SIGKILL)

    found = on_ranks(tmp_path / "killed", kill_one)
    assert killed
    assert found.resumed_at > 0
    assert (found.losses, found.adapter_sha256) == (calm.losses, calm.adapter_sha256)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["adapter"]
    assert not ranks()


def test_an_error_of_a_rank_is_the_line_that_it_would_be_here(tmp_path: Path) -> None:
    with pytest.raises(LiveAlignError, match=r"^finetune\.dropout is drawn anew .* set it to 0$"):
        on_ranks(tmp_path, dropout=0.1)
