"""A BentoML server that a benchmark starts, and the load generator beside it."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.json_rows import ROOT
from benchmarks.load.generator import KEY_VARIABLE
from bentos.build import bentoml_command, bentoml_settings
from bentos.smoke import ask, free_port, stop, wait_until_ready

Result = dict[str, Any]


class Server:
    """One BentoML server of this benchmark."""

    def __init__(self, host: str, port: int, key: str, process: "subprocess.Popen[bytes]") -> None:
        self.host, self.port, self.key, self.process = host, port, key, process
        self.authors: list[int] = []  # of each room

    def load(self, path: str, bodies: list[bytes], **options: float) -> Result:
        """Run the load generator in a process of its own."""
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
            file.write(b"\n".join(bodies))
            file.flush()
            command = [
                sys.executable,
                "-m",
                "benchmarks.load.generator",
                "--host",
                self.host,
                "--port",
                str(self.port),
                "--path",
                path,
                "--bodies",
                file.name,
            ]
            command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
            environment = os.environ | {KEY_VARIABLE: self.key}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1_200, check=True)
        result: Result = json.loads(done.stdout)
        return result

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request with the key: its status and decoded answer."""
        return ask(self.port, method, path, body, self.key, host=self.host)

    def get(self, path: str) -> Any:
        """One decoded answer to a GET."""
        status, answer = self.ask("GET", path)
        assert status == 200, f"{path}: {status} {answer}"
        return answer

    def memory(self) -> float:
        """GiB of the server and its children."""
        pids = [self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children(recursive=True))]
        return round(sum(psutil.Process(pid).memory_info().rss for pid in pids) / 2**30, 3)


@contextmanager
def bench_server(
    service: str, environment: dict[str, str], host: str = "127.0.0.1", within: Sequence[str] = ()
) -> Iterator[Server]:
    """A BentoML server of this benchmark, for the time of the block.

    It ends with this process too: SIGTERM ends the block, and after a kill the system ends the server.

    Args:
        within: a command that runs the server's, for example in a network namespace that has the address `host`.
    """
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    port, key = free_port(), secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="livealign-bench-") as folder:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("LIVEALIGN_")}
        given = {"LIVEALIGN_EVENT_LOG": f"{folder}/event_log", "LIVEALIGN_API_KEYS": key, "OMP_WAIT_POLICY": "PASSIVE"}
        variables = {**ours, **bentoml_settings(Path(folder) / "bentoml"), **given, **environment}
        command = [sys.executable, "-m", "bentos.end_with_parent", str(os.getpid()), *within]
        command += bentoml_command("serve", service, "--host", host, "--port", str(port))
        log = Path(folder) / "server.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=ROOT, env=variables, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            wait_until_ready(process, port, 300.0, log, host)
            yield Server(host, port, key, process)
        finally:
            stop(process)
            signal.signal(signal.SIGTERM, before)
