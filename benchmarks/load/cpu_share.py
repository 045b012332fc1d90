"""Processes held to a share of one core, by a control group of Linux.

Needs root; control groups of version 1 and 2.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_PERIOD = 100_000  # microseconds
_GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def core_share(name: str, pid: int, share: float) -> Iterator[None]:
    """Hold a process and its children to a share of a core for the time of the block.

    Raises:
        OSError: control groups cannot be made here.
    """
    version_1 = (_GROUPS / "cpu").is_dir()
    group = (_GROUPS / "cpu" if version_1 else _GROUPS) / f"livealign-{os.getpid()}-{name}"
    group.mkdir()
    try:
        quota = int(share * _PERIOD)
        if version_1:
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            (group / "cgroup.procs").write_text(str(process.pid))
        yield
    finally:
        root = group.parent / "cgroup.procs"
        for line in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):  # it has ended
                root.write_text(line)
        group.rmdir()
