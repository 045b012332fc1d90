"""Memory that this process may still take: the machine's, or its control groups'."""

from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")  # the limit of none is huge


def usable_memory() -> int:
    """Bytes of memory that this process may still take before it is ended or swaps.

    The free memory of the machine, or the distance to the limit of a control group (a container, a systemd unit), whichever is
    less. File pages that the kernel would give up first do not count as used.
    """
    return min([psutil.virtual_memory().available, *_left_in_groups()])


def _left_in_groups() -> Iterator[int]:
    for folder, (limit_file, used_file, reclaimable) in _groups():
        try:
            limit = (folder / limit_file).read_text().strip()
            used = int((folder / used_file).read_text())
            stat = (folder / "memory.stat").read_text()
        except (OSError, ValueError):  # the root group, which has no limit; a group of another namespace
            continue
        if limit != "max":
            given_up = [int(line.split()[1]) for line in stat.splitlines() if line.startswith(f"{reclaimable} ")]
            yield max(0, int(limit) - used + sum(given_up))


def _groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """This process's groups and those above them, with the names of their files."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mounts, names = [CGROUPS, CGROUPS / "unified"], _VERSION_2
        elif "memory" in controllers.split(","):
            mounts, names = [CGROUPS / "memory"], _VERSION_1
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for mount in mounts:
            for depth in range(len(parts) + 1):
                yield mount.joinpath(*parts[:depth]), names
