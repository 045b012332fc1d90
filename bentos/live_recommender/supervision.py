"""The joint start and end of BentoML's supervisor and its worker.

BentoML starts a worker that failed again and again, on a port that accepts connections and never answers. Here a start that
cannot succeed ends the whole service with one line and exit code 1, and a worker ends when its supervisor is gone, however
that ended. The supervisor names itself in an environment variable, so that a worker of another program does nothing here.
"""

import errno
import logging
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import NoReturn

from bentos.live_recommender.json_logs import error_fields, log

SUPERVISOR = "LIVEALIGN_SUPERVISOR"  # process id, set for the workers
LOOK_SECONDS = 0.25  # between two looks whether the supervisor is there
GRACE_SECONDS = 5.0  # for requests in hand and the checkpoint, once it is gone


def supervise() -> None:
    """Make this process the supervisor of the workers that it starts."""
    os.environ[SUPERVISOR] = str(os.getpid())
    signal.signal(signal.SIGUSR1, _worker_could_not_start)
    sys.excepthook = _one_line


def is_supervised() -> bool:
    """Whether this process is a worker, and its supervisor is there."""
    return os.environ.get(SUPERVISOR) == str(os.getppid())


def end_with_supervisor() -> None:
    """End this worker, gently at first, when its supervisor is gone; elsewhere do nothing."""
    if SUPERVISOR in os.environ:
        threading.Thread(target=_watch, args=(int(os.environ[SUPERVISOR]),), name="supervisor", daemon=True).start()


def end_service(error: BaseException) -> NoReturn:
    """Log why the service cannot start, and end it; without a supervisor, raise the error."""
    log("not started", logging.ERROR, **error_fields(error))
    if not is_supervised():
        raise error
    sys.stdout.flush()
    os.kill(os.getppid(), signal.SIGUSR1)
    os._exit(1)  # nothing is open yet that has to be closed


def _watch(supervisor: int) -> None:
    while os.getppid() == supervisor:
        time.sleep(LOOK_SECONDS)
    log("supervisor is gone", logging.WARNING, supervisor=supervisor)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def _worker_could_not_start(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit('error: the service could not start; the line with "not started" above says why')


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error of the supervisor; without its stack if a person can act on it."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        print("error: the port is in use; stop what listens there, or choose another by --port", file=sys.stderr)
    elif isinstance(error, OSError) and error.errno in (errno.EADDRNOTAVAIL, errno.EACCES):
        print(
            f"error: the address cannot be listened on ({error.strerror}); choose another by --host or --port", file=sys.stderr
        )
    else:
        sys.__excepthook__(kind, error, trace)
