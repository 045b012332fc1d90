"""Serve the champion's Bento: find it and start its server."""

import errno
import ipaddress
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from bentos.build import bentoml_command, bentoml_environment
from bentos.live_recommender.api_keys import READ_VARIABLE, WRITE_VARIABLE, ApiKeys
from bentos.live_recommender.settings import ROLE_VARIABLE
from bentos.live_recommender.start_check import WAIT_SECONDS
from bentos.live_recommender.trusted_proxies import TrustedProxies
from bentos.smoke import is_ready
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.live.answers import Role
from livealign.release.registry import champion_path
from livealign.settings import CONFIG_VARIABLE, load_settings, settings_path

READY_SECONDS = 180.0
STOP_SECONDS = 20.0


def champion_bento(home: Home) -> Path:
    """The Bento of the release that the champion pointer names.

    Raises:
        LiveAlignError: there is no champion yet, or its Bento is missing.
    """
    path = home.bento(champion_path(home.releases).name)
    if not path.is_dir():
        raise LiveAlignError(f"{path} is missing: the champion has no Bento; run `make retrain` again")
    return path


def serving_environment(home: Home) -> dict[str, str]:
    """The server's environment: the releases to follow, the event log and the models.

    Variables that are set already win.
    """
    folders = {
        "LIVEALIGN_RELEASES": str(home.releases),
        "LIVEALIGN_EVENT_LOG": str(Home(home.root, "served").archive),
        "LIVEALIGN_MODELS": str(home.models),
    }
    if path := settings_path(os.environ, Path.cwd()):
        folders[CONFIG_VARIABLE] = str(path)  # the server has another working folder
    return {**folders, "OMP_WAIT_POLICY": "PASSIVE", **bentoml_environment(home.bento_store)}


def serve(home: Home, host: str, port: int, role: Role | None = None) -> NoReturn:
    """Replace this process by the champion's BentoML server.

    Args:
        role: of the process, where several share a log in Redis; None for that of the environment.

    Raises:
        LiveAlignError: it could not start.
    """
    _check(host, port)
    command, environment = _command(home, host, port), serving_environment(home)
    if role is not None:
        environment[ROLE_VARIABLE] = role
    if not ApiKeys.from_environment().writers:
        print(
            f"{WRITE_VARIABLE} is not set: lists and rooms can be read, events are refused. To send events, start it with\n"
            f"  {WRITE_VARIABLE}={secrets.token_urlsafe(24)} make serve\n"
            f"{READ_VARIABLE} guards reading in the same way.",
            file=sys.stderr,
            flush=True,
        )
    os.execve(command[0], command, environment)  # noqa: S606  an argument list, no shell


def _check(host: str, port: int) -> None:
    """Raise LiveAlignError for a mistake here, not in a server that never gets ready."""
    load_settings()
    TrustedProxies.from_environment()  # the Bento's own code, which may be older, reads it as it is imported
    refuse_address(host, port)


@contextmanager
def champion_server(home: Home, host: str, port: int, key: str) -> Iterator[str]:
    """The champion served by a process of its own for the time of the block; yields its URL.

    Args:
        key: the API key that may write.

    Raises:
        LiveAlignError: the server did not get ready.
    """
    _check(host, port)
    environment = {**serving_environment(home), WRITE_VARIABLE: key}
    # Also a demo that is killed leaves no server behind.
    watched = [sys.executable, "-m", "bentos.end_with_parent", str(os.getpid()), *_command(home, host, port)]
    process = subprocess.Popen(watched, env=environment)
    url = url_of(host, port)
    try:
        _wait(process, url)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def refuse_address(host: str, port: int, wait: float = WAIT_SECONDS) -> None:
    """Refuse an address that the server could not listen on.

    Args:
        wait: seconds for a port that is in use: a server that was just killed lets go of it.

    Raises:
        LiveAlignError: the host is no address of this machine, or the port is in use.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise LiveAlignError(f"--host {host[:80]!r} is no IP address; write one such as 127.0.0.1, 0.0.0.0 or ::1") from None
    if not 1 <= port <= 65_535:
        raise LiveAlignError(f"--port {port}: a port is a number from 1 to 65535")
    until = time.monotonic() + wait
    while True:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise LiveAlignError(
                    f"{host} cannot be listened on at port {port} ({error.strerror}); name another by --host or --port"
                ) from error
            if time.monotonic() > until:
                raise LiveAlignError(
                    f"port {port} of {host} is in use; stop what listens there, or name another by --port (PORT= of make)"
                ) from error
        time.sleep(0.1)


def url_of(host: str, port: int) -> str:
    """The URL of a server on the address; a server on all addresses is asked on loopback."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not listened on
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _command(home: Home, host: str, port: int) -> list[str]:
    return bentoml_command("serve", str(champion_bento(home)), "--host", host, "--port", str(port))


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    until, parts = time.monotonic() + READY_SECONDS, urlsplit(url)
    while time.monotonic() < until:
        if process.poll() is not None:
            raise LiveAlignError(f"the server ended with {process.returncode} before it was ready; its last lines say why")
        if is_ready(parts.hostname or "", parts.port or 80, timeout=5):
            return
        time.sleep(0.5)
    raise LiveAlignError(f"{url} was not ready after {READY_SECONDS:.0f} s; its last lines say what it waits for")
