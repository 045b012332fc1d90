"""A Ray cluster for the time of one stage: started on this machine, or joined.

Ray is imported here and where its actors are described, inside functions: without `machines.engine = "ray"` no process loads
it. Whoever reaches a cluster's ports without a token could run code as its user, so a token is required, and a cluster that
is started here listens on loopback alone. Ray pickles code and arguments between its processes; nothing pickled is stored.

Environment:
    RAY_AUTH_TOKEN    the cluster's token, the same on all machines; made up for a cluster that ends with the stage.
"""

import os
import re
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from livealign.errors import LiveAlignError
from livealign.operation_config import MachinesConfig

TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 — the name of the variable
LOCAL, AUTO = "local", "auto"
LEAST_TOKEN = 32  # characters
LOOPBACK = "127.0.0.1"
STORE_BYTES = 512 << 20  # shared memory of a cluster that is started here: a few blocks with their vectors
_OWN_ERROR = re.compile(r"^livealign\.errors\.\w+: (.+)$", re.MULTILINE)
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",  # our own bar counts texts
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
}


@contextmanager
def ray_cluster(machines: MachinesConfig, cores: int) -> Iterator[Any]:
    """Yield the module `ray`, connected to the cluster of `machines.address`.

    When the block ends the cluster is left, or ended if it was started here.

    Args:
        cores: of a cluster that is started here; others have their own.

    Raises:
        LiveAlignError: Ray is not installed, there is no token, the cluster cannot be reached, or it fails in the block.
    """
    if find_spec("ray") is None:
        raise LiveAlignError('machines.engine = "ray", but Ray is not installed; run `make setup-ray`')
    _prepare_environment(machines.address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    import ray

    try:
        _connect(ray, machines.address, cores)
        _restore(handlers)  # a run is stopped as without Ray, whose handler ends the process
        yield ray
    except ray.exceptions.RayError as error:
        raise LiveAlignError(own_error(error) or f"Ray failed: {_one_line(error)}; run again, what was done is kept") from error
    finally:
        ray.shutdown()
        _restore(handlers)


def own_error(error: BaseException) -> str:
    """The message of the LiveAlignError that a worker raised; empty if it raised another.

    Ray hands over a worker's traceback as text, whose last lines name the error.
    """
    found = _OWN_ERROR.findall(str(error))
    return found[-1] if found else ""


def _prepare_environment(address: str) -> None:
    """Set Ray's variables, which it reads when it is imported.

    Raises:
        LiveAlignError: the cluster is one of several machines and there is no token of sufficient length.
    """
    if address == LOCAL:
        os.environ.setdefault(TOKEN, secrets.token_hex(LEAST_TOKEN))
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else it looks for an outer address and waits for it
    elif len(os.environ.get(TOKEN, "")) < LEAST_TOKEN:
        raise LiveAlignError(
            f"machines.address = {address!r}, but {TOKEN} has fewer than {LEAST_TOKEN} characters; set it to the token with "
            "which the cluster was started (python -c 'import secrets; print(secrets.token_hex())' makes one)"
        )
    os.environ.update(_ENVIRONMENT)


def _connect(ray: Any, address: str, cores: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        if address == LOCAL:
            ray.init(
                address=LOCAL,
                num_cpus=cores,
                object_store_memory=STORE_BYTES,
                include_dashboard=False,
                _node_ip_address=LOOPBACK,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        raise LiveAlignError(
            f"machines.address = {address!r}: no Ray cluster could be joined ({_one_line(error)}); check that it runs, and "
            f"that {TOKEN} is its token"
        ) from error


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    """Give the signals the handlers that Ray replaced; it does so in the main thread alone, and leaves its own there."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)


def _one_line(error: BaseException) -> str:
    """The last line of an error that says something, which names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
