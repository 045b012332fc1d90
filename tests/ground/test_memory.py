"""Memory that may still be taken, by the limits of planted control groups."""

from pathlib import Path

import psutil
import pytest

from livealign import memory

GIB = 1 << 30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with 8 GiB free, and no control groups yet."""
    free = psutil.virtual_memory()._replace(available=8 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "MEMBERSHIP", tmp_path / "membership")


def plant(folder: Path, names: tuple[str, str, str], limit: object, used: int, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(names, (limit, used, None), strict=True):
        if content is not None:
            (folder / name).write_text(f"{content}\n")
    (folder / "memory.stat").write_text(f"rss 1\n{names[2]} {cached}\n")


def test_without_control_groups_the_machines_memory_counts(tmp_path: Path) -> None:
    assert memory.usable_memory() == 8 * GIB
    (tmp_path / "membership").write_text("0::/\n7:cpu:/a\n")
    assert memory.usable_memory() == 8 * GIB


@pytest.mark.parametrize(
    ("membership", "mount", "names"),
    [
        ("0::/unit/service\n", "", memory._VERSION_2),
        ("5:cpu,memory:/unit/service\n0::/\n", "memory", memory._VERSION_1),
    ],
    ids=["version 2", "version 1"],
)
def test_the_tightest_of_a_process_s_groups_counts_without_the_file_cache(
    membership: str, mount: str, names: tuple[str, str, str], tmp_path: Path
) -> None:
    (tmp_path / "membership").write_text(membership)
    root = tmp_path / "cgroup" / mount
    plant(root / "unit" / "service", names, 6 * GIB, 2 * GIB, cached=1 * GIB)
    assert memory.usable_memory() == 5 * GIB
    plant(root / "unit", names, 4 * GIB, 3 * GIB)
    assert memory.usable_memory() == 1 * GIB
    plant(root / "unit", names, "max" if mount == "" else 2**63 - 4096, 3 * GIB)
    assert memory.usable_memory() == 5 * GIB
    plant(root / "unit" / "service", names, 1 * GIB, 2 * GIB)
    assert memory.usable_memory() == 0
