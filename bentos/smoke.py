"""The smoke test of a built Bento: start it as a process, ask it, and check its answers."""

import http.client
import json
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from bentos.build import BentoError, bentoml_command, bentoml_settings
from bentos.live_recommender.api_keys import WRITE_VARIABLE
from livealign.release.bundle import Bundle, open_bundle

UNKNOWN_USER = 2**62  # no platform's user
K = 5
SEGMENT = {"title": "Ranked climb", "speech": "one more try at the last boss", "chat": ["dodge left!"], "minute": 42}


@dataclass(frozen=True)
class SmokeResult:
    """The measurements of a smoke test."""

    release_id: str
    ready_seconds: float  # from the start of the process to its first /readyz
    recommend_milliseconds: float  # median over the requests
    rooms: int  # in the answer to a known user


def smoke_test(bento: Path, timeout: float = 120.0, models: Path | None = None) -> SmokeResult:
    """Serve the Bento on a free port of 127.0.0.1, check its answers, and stop it.

    It is asked for recommendations and receives events. With `models`, the folder of the backbones, or with a backbone packed
    in the Bento, the release's LLM has to embed a text too.

    Raises:
        BundleError: the bundle in the Bento is damaged.
        BentoError: it was not ready in `timeout` seconds, or an answer was wrong; the message says which, with the end
            of the server's log.
    """
    bundle = open_bundle(bento / "src" / "bundle")
    with bento_server(bento, timeout, {} if models is None else {"LIVEALIGN_MODELS": str(models.absolute())}) as server:
        try:
            return _check_answers(server, bundle, encodes=models is not None or (bento / "src" / "models").is_dir())
        except (AssertionError, OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            text = f"the Bento {bento} does not answer as it should: {error!r}"
            raise BentoError(text, *server.log_tail().splitlines()) from error


@dataclass(frozen=True)
class Server:
    """A served Bento that answers."""

    port: int
    log: Path
    ready_seconds: float
    pid: int
    key: str  # may write

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and decoded answer (None if it is not JSON)."""
        return ask(self.port, method, path, body, self.key)

    def log_tail(self) -> str:
        """The end of the server's log."""
        return self.log.read_text(errors="replace")[-3000:]


def ask(
    port: int, method: str, path: str, body: Any = None, key: str = "", timeout: float = 20.0, host: str = "127.0.0.1"
) -> tuple[int, Any]:
    """One request to a server: its status and decoded answer.

    The answer is None if it is not JSON.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json", "Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    is_json = response.headers.get_content_type() == "application/json"
    return response.status, json.loads(content) if is_json else None


@contextmanager
def bento_server(bento: Path | str, timeout: float = 120.0, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve the Bento for the time of the block, as a user would.

    The server gets none of our environment variables but those given. Its event log is in a temporary folder unless
    `LIVEALIGN_EVENT_LOG` is given.

    Args:
        bento: its path, or anything else that `bentoml serve` takes.
    """
    port, key = free_port(), secrets.token_urlsafe(24)
    serve = bentoml_command("serve", str(bento), "--host", "127.0.0.1", "--port", str(port))
    command = [sys.executable, "-m", "bentos.end_with_parent", str(os.getpid()), *serve]
    with tempfile.TemporaryDirectory(prefix="livealign-smoke-") as folder:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("LIVEALIGN_")}
        given = {"LIVEALIGN_EVENT_LOG": f"{folder}/event_log", WRITE_VARIABLE: key, **(environment or {})}
        variables = {**ours, **bentoml_settings(Path(folder) / "bentoml"), **given}
        log = Path(folder) / "server.log"
        started = time.monotonic()
        with log.open("wb") as out:
            # A session of its own: the whole group can be stopped, and our Ctrl-C does not reach it twice.
            process = subprocess.Popen(
                command, cwd=folder, env=variables, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            wait_until_ready(process, port, timeout, log)
            yield Server(port, log, time.monotonic() - started, process.pid, key)
        finally:
            stop(process)


def _check_answers(server: Server, bundle: Bundle, encodes: bool) -> SmokeResult:
    moment = json.loads(bundle.file("snapshot/state.json").read_text())["moment"]
    at = datetime.fromtimestamp(moment / 1000, UTC).isoformat()
    rooms = set(pq.ParquetFile(bundle.file("snapshot/rooms.parquet")).read(["room_id"])["room_id"].to_pylist())
    users = pq.ParquetFile(bundle.file("snapshot/histories.parquet")).read(["user_id"])["user_id"].to_pylist()
    status, about = server.request("GET", "/version")
    _expect(status == 200 and about["release_id"] == bundle.release_id, f"GET /version: {status} {about}")
    status, _ = server.request("GET", "/healthz")
    _expect(status == 200, f"GET /healthz: {status}")

    seconds, shown = [], 0
    for user_id in [*users[:2], UNKNOWN_USER]:
        started = time.monotonic()
        status, answer = server.request("POST", "/recommend", {"user_id": user_id, "k": K, "at": at})
        seconds.append(time.monotonic() - started)
        _expect(status == 200, f"POST /recommend for user {user_id}: {status} {answer}")
        _check_list(answer, rooms, bundle.release_id)
        shown = max(shown, len(answer["rooms"]))
        is_unknown = "unknown_user" in answer["fallbacks"]
        _expect(is_unknown or user_id != UNKNOWN_USER, f"an unknown user was not recognised as one: {answer['fallbacks']}")
    for wrong in ({"user_id": 1, "k": 0}, {"user_id": "nobody"}, {"user_id": 1, "wants": "rooms"}, {}):
        status, answer = server.request("POST", "/recommend", wrong)
        _expect(400 <= status < 500 and answer["error"], f"POST /recommend {wrong}: {status} {answer}")
    _check_writing(server)
    if encodes:
        status, answer = server.request("POST", "/embed", {"segments": [SEGMENT, SEGMENT]})
        _expect(status == 200 and len(answer) == 2, f"POST /embed: {status} {answer}")
        _expect(all(math.isfinite(value) for value in answer[0]["vector"]), f"no vector: {answer[0]}")
    return SmokeResult(bundle.release_id, server.ready_seconds, 1000 * sorted(seconds)[len(seconds) // 2], shown)


def _check_writing(server: Server) -> None:
    """Expect a new event accepted, the same event as a duplicate, and a wrong one rejected with a reason."""
    event = {"kind": "room_started", "event_id": "smoke-1", "at": int(time.time() * 1000), "room_id": 1, "author_id": 1}
    for accepted, duplicate in ((1, 0), (0, 1)):
        status, answer = server.request("POST", "/events", {"events": [event]})
        _expect(status == 200, f"POST /events: {status} {answer}")
        _expect((answer["accepted"], answer["duplicate"]) == (accepted, duplicate), f"POST /events: {answer}")
    status, answer = server.request("POST", "/events", {"events": [{**event, "room_id": "one"}]})
    _expect(status == 422 and answer["rejections"][0]["reason"] == "invalid", f"POST /events: {status} {answer}")


def _check_list(answer: dict[str, Any], rooms: set[int], release_id: str) -> None:
    """Expect live rooms, each once, best first, with probabilities; K of them, or all if there are fewer."""
    listed = [room["room_id"] for room in answer["rooms"]]
    scores = [room["score"] for room in answer["rooms"]]
    probabilities = [value for room in answer["rooms"] for value in room["scores"].values()]
    _expect(len(listed) == min(K, len(rooms)), f"{len(listed)} rooms instead of {min(K, len(rooms))}")
    _expect(set(listed) <= rooms and len(set(listed)) == len(listed), f"rooms that are not live, or twice: {listed}")
    _expect(scores == sorted(scores, reverse=True), f"the list is not best first: {scores}")
    _expect(all(math.isfinite(value) and 0 <= value <= 1 for value in probabilities), f"no probabilities: {probabilities}")
    _expect(all(room["reason"] for room in answer["rooms"]), "a room without a reason")
    _expect(answer["model_version"] == release_id, f"served by {answer['model_version']}, not {release_id}")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


def free_port() -> int:
    """A port of 127.0.0.1 that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_ready(host: str, port: int, timeout: float = 2.0) -> bool:
    """Whether the server says that it is ready; it is never asked through a proxy."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):  # it does not listen yet
        return False
    finally:
        connection.close()


def wait_until_ready(process: subprocess.Popen[bytes], port: int, timeout: float, log: Path, host: str = "127.0.0.1") -> None:
    """Return when the server is ready.

    Raises:
        BentoError: it ended, or was not ready in `timeout` seconds; the message holds the end of its log.
    """
    deadline, state = time.monotonic() + timeout, f"was not ready in {timeout} s"
    workers: set[int] = set()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            state = f"ended with exit code {process.returncode}"
            break
        # BentoML restarts a failing worker again and again and stays "not ready" for ever: one failure is enough.
        alive = _workers(process)
        if workers - alive:
            state = "could not start its service"
            break
        workers |= alive
        if is_ready(host, port):
            return
        time.sleep(0.1)
    raise BentoError(f"the Bento's server {state}; the end of its log:", *log.read_text(errors="replace")[-3000:].splitlines())


def _workers(process: subprocess.Popen[bytes]) -> set[int]:
    """Process ids of BentoML's workers below the supervisor."""
    workers: set[int] = set()
    for child in _children(process.pid, recursive=False):
        try:
            if "_bentoml_impl.worker.service" in child.cmdline():
                workers.add(child.pid)
        except psutil.Error:  # it ended while we looked
            continue
    return workers


def _children(pid: int, recursive: bool) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=recursive)
    except psutil.NoSuchProcess:
        return []


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and every process it started, gently first."""
    family = _children(process.pid, recursive=True)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
    for child in family:  # the supervisor puts its workers into sessions of their own
        if child.is_running():
            child.kill()
    psutil.wait_procs(family, timeout=5)
