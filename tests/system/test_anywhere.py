"""A wheel retrains where the code may not be written, as a user without a home, with nothing of the source tree beside it."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livealign.home import Home
from livealign.release.registry import read_champion
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "livealign", "orchestration", "bentos", "dbt_project")
STRANGER = 10_007  # a user id without an entry in the system's list of users


def pip(*arguments: str, cwd: Path) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the installed wheel, which its user may not write."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "src").mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "src" / name, ignore=shutil.ignore_patterns("__pycache__", "target"))
        else:
            shutil.copy(ROOT / name, folder / "src" / name)
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder / "wheels"), ".", cwd=folder / "src")
    (wheel,) = (folder / "wheels").glob("livealign-*.whl")
    pip("install", "--target", str(folder / "site"), str(wheel), cwd=folder)
    shutil.rmtree(folder / "src")
    for path in [folder / "site", *(folder / "site").rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    yield folder / "site"
    for path in [folder / "site", *(folder / "site").rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def files_of(folder: Path) -> set[str]:
    """The files below a folder but those that Python compiles."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def bound_by_permissions(*needed: Path) -> tuple[list[str], dict[str, Any]]:
    """The beginning of a command, and arguments of its process, so that permissions bind it.

    Root becomes a user whom the system does not list, where that user can read Python, else root without the right to
    override permissions.
    """
    if os.geteuid() != 0:
        return [], {}
    stranger: dict[str, Any] = {"user": STRANGER, "group": STRANGER, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", "import torch, dagster"], env={}, check=True, capture_output=True, **stranger)
    except (OSError, subprocess.CalledProcessError):
        setpriv = shutil.which("setpriv")
        return ([setpriv, "--bounding-set=-dac_override,-dac_read_search"], {}) if setpriv else ([], {})
    for folder in needed:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, STRANGER, STRANGER)
        folder.parent.chmod(0o755)
        folder.parent.parent.chmod(0o755)
    return [], stranger


def test_a_wheel_lands_retrains_and_builds_its_bento_without_writing_a_file_beside_the_code(
    installed: Path, tmp_path: Path
) -> None:
    before, work, home = files_of(installed), tmp_path / "work", tmp_path / "home"
    assert {"dbt_project/dbt_project.yml", "dbt_project/macros/days.sql", "livealign/simulation/lexicon.txt"} <= before
    work.mkdir()
    home.mkdir()
    simulate(SimulationConfig.tiny(), tmp_path / "archive")
    before_command, who = bound_by_permissions(work, home, tmp_path / "archive")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "LIVEALIGN_HOME": str(home), "TMPDIR": str(work)}
    environment |= {"DAGSTER_DISABLE_TELEMETRY": "1", "BENTOML_DO_NOT_TRACK": "true", "OMP_WAIT_POLICY": "PASSIVE"}

    def run(*arguments: str) -> str:
        command = [*before_command, sys.executable, "-W", "ignore", *arguments]
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, timeout=1_000, check=False, **who
        )
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
        return str(done.stdout)

    if who or before_command:
        attempt = f"open({str(installed / 'livealign' / 'new')!r}, 'w')"
        refused = subprocess.run([*before_command, sys.executable, "-c", attempt], capture_output=True, check=False, **who)
        assert b"Permission denied" in refused.stderr
    assert run("-c", "import livealign, orchestration; print(livealign.__file__)").strip().startswith(str(installed))
    run("-m", "orchestration.retrain", "--archive", str(tmp_path / "archive"), "--profile", "tiny")
    workspace = Home(home, "simulator")
    champion = read_champion(workspace.releases)
    assert champion is not None
    assert workspace.bento(champion).is_dir()
    assert champion in run("-m", "livealign.cli", "releases")
    assert files_of(installed) == before
    left = {name for name in files_of(work) if not name.startswith("torchinductor")}  # torch's cache of compiled code
    assert left == set(), "nothing is left in the working folder, or in that of temporary files"
