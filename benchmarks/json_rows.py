"""The numbers of a benchmark as a JSON document, by the option `--json FILE` of each script.

    {"livealign_benchmark": 1, "measured_at": "2026-11-29T10:00:00+00:00", "rows": [
      {"name": "lists, p99", "value": 31.2, "interval": [30.1, 33.0], "interval_of": "lowest and highest of the repeats",
       "unit": "ms", "seed": 17, "commit": "2e3d…", "dirty": false, "machine": {…}, "command": ["python", "-m", …]}, …]}

A row is complete by itself: rows of several files make one table. `interval` is null if none was measured, `value` if there is
no number (a memory that a CPU does not count), `seed` if nothing is random; of a mean over several seeds it is the first. This
module needs only the standard library, `livealign.files` and `livealign.errors`: `speed/gpu.py` runs where only torch and
transformers are installed.
"""

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from livealign.errors import LiveAlignError
from livealign.files import replace_json

MARKER, FORMAT = "livealign_benchmark", 1
REPEATS, BOOTSTRAP = "lowest and highest of the repeats", "95 %, bootstrap"
ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
CODE = ("*.py", "*.sql", "*.toml", "*.yaml", "*.yml", "*.txt")  # files whose uncommitted change makes a row "dirty"
Value = float | int | str | None


class JsonRows:
    """The rows of one run and their file; without a file they stay in memory."""

    def __init__(self, file: Path | None, seed: int | None = None) -> None:
        """Args: `seed`, the default of the rows' seeds."""
        self.file, self.seed, self.rows = file, seed, list[dict[str, Any]]()
        self._of_all = {**commit(), "machine": machine(), "command": ["python", *sys.orig_argv[1:]]}

    def add(
        self,
        name: str,
        value: Value,
        unit: str,
        interval: tuple[float, float] | None = None,
        interval_of: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Record one number.

        Args:
            interval: lowest and highest; `interval_of` names its kind (`REPEATS`, `BOOTSTRAP`).
        """
        row = {"name": name, "value": plain(value), "interval": None if interval is None else [plain(end) for end in interval]}
        row |= {"interval_of": interval_of, "unit": unit, "seed": self.seed if seed is None else seed}
        self.rows.append(row | self._of_all)

    def add_all(self, name: str, found: Mapping[str, Any], units: Mapping[str, str]) -> None:
        """Record every number in a tree of dictionaries and lists under its dotted path.

        Args:
            units: by a key of the path; the deepest key that has one decides.
        """
        self._add_tree(name, found, units, "")

    def write(self) -> None:
        """Write the file, if there is one.

        Raises:
            LiveAlignError: no benchmark wrote the file that is there now.
        """
        if self.file is None:
            return
        if problem := why_not(self.file):
            raise LiveAlignError(problem)
        measured_at = datetime.now(UTC).isoformat(timespec="seconds")
        replace_json(self.file, {MARKER: FORMAT, "measured_at": measured_at, "rows": self.rows})

    def _add_tree(self, path: str, found: Any, units: Mapping[str, str], unit: str) -> None:
        if isinstance(found, Mapping):
            for key, inner in found.items():
                self._add_tree(f"{path}.{key}", inner, units, units.get(key, unit))
        elif isinstance(found, list | tuple):
            for number, inner in enumerate(found):
                self._add_tree(f"{path}[{number}]", inner, units, unit)
        else:
            self.add(path, found, unit)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json FILE` to a script's options.

    A file that it may not replace is rejected before anything is measured.
    """
    parser.add_argument("--json", type=_writable, metavar="FILE", help="write the numbers there too, as JSON rows")


def _writable(text: str) -> Path:
    path = Path(text)
    if problem := why_not(path):
        raise argparse.ArgumentTypeError(problem)
    return path


def why_not(path: Path) -> str | None:
    """The reason why rows cannot be written to the path, None if they can."""
    if not path.exists():
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        writable = folder.is_dir() and os.access(folder, os.W_OK)
        return None if writable else f"{path} cannot be written: {folder} is no folder that takes new files; name another file"
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict) and MARKER in found:
        return None
    return f"{path} was not written by a benchmark (it has no '{MARKER}') and stays as it is; name another file"


def plain(value: Any) -> Value:
    """The value for JSON: numpy's numbers as Python's, NaN and infinity as null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def commit() -> dict[str, Any]:
    """The commit of this checkout, and whether code or settings differ from it.

    Without git they are "unknown" and None.
    """
    head = _git("rev-parse", "--show-toplevel", "HEAD").splitlines()
    if len(head) != 2 or Path(head[0]).resolve() != ROOT:  # no git, no commit yet, or a checkout of something else around us
        return {"commit": "unknown", "dirty": None}
    return {"commit": head[1], "dirty": bool(_git("status", "--porcelain", "--", *CODE))}


def _git(*arguments: str) -> str:
    """The output of git in this checkout; empty if it fails or is not installed."""
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run([git, "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


@cache
def machine() -> dict[str, Any]:
    """Facts about the machine: processor, cores, memory, number format, accelerator, versions."""
    about = _cpuinfo()
    bfloat16 = sorted(flag for flag in about.get("flags", about.get("Features", "")).split() if "bf16" in flag)
    card = _accelerator()
    return {
        "processor": about.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "number_format": "bfloat16" if bfloat16 or card else "float32",  # as `livealign.llm.backbone.choose_dtype` has it
        "bfloat16_units": bfloat16,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "accelerator": card,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": _version("torch"),
    }


def _cpuinfo() -> dict[str, str]:
    """Facts of the first processor of /proc/cpuinfo by their names; empty on a system without it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().partition("\n\n")[0].splitlines() if info.is_file() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _accelerator() -> str | None:
    """Name of the CUDA device that torch uses here; None on a CPU, and in a script that does not use torch."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
