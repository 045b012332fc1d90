"""Run a command that receives SIGTERM when its parent process dies.

    python -m bentos.end_with_parent PID command…

A retrain that is killed while it tries a Bento must not leave a server behind. Linux sends the signal (prctl(2),
PR_SET_PDEATHSIG), and the setting outlives the exec; on other systems the command is only started.
"""

import ctypes
import os
import signal
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> NoReturn:
    """Replace this process by the command."""
    if sys.platform == "linux":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a signal that the parent ignores is ignored by what it starts
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before it could be watched
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  an argument list, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
