"""A process ends with its parent, even if the parent is killed or ignores signals."""

import subprocess
import sys
import time

import psutil
import pytest

START = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
command = [sys.executable, "-m", "bentos.end_with_parent", str(os.getpid()), *sleep]
print(subprocess.Popen(command, start_new_session=True).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_command_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        while "time.sleep" not in " ".join(child.cmdline()) or "bentos.end_with_parent" in child.cmdline():
            time.sleep(0.05)  # it has not become the command yet
        assert child.is_running()
    finally:
        parent.kill()
        parent.wait()
    assert psutil.wait_procs([child], timeout=30)[0] == [child]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_parent_that_was_gone_already_is_not_waited_for() -> None:
    done = subprocess.run([sys.executable, "-m", "bentos.end_with_parent", "1", "/bin/true"], check=False)
    assert done.returncode == 1
