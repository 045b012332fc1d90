"""A demo that ends takes its server with it, however it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bentos.smoke import free_port

ROOT = Path(__file__).parents[2]
# The demo with another server in place of BentoML's: one that starts at once and answers /readyz with a file of its folder.
# A shell that runs the tests in the background has them ignore SIGINT.
DEMO = """
import signal, sys
import bentos.__main__, bentos.serve
signal.signal(signal.SIGINT, signal.default_int_handler)
bentos.serve._command = lambda home, host, port: [sys.executable, "-m", "http.server", str(port), "--bind", host]
bentos.__main__._feed = lambda *_: print("fed", flush=True)
bentos.__main__.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_ended_frees_its_port(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "readyz").write_text("ready")
    port = free_port()
    environment = {**os.environ, "LIVEALIGN_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    demo = subprocess.Popen(
        [sys.executable, "-c", DEMO, "demo", "--port", str(port)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert demo.stdout is not None
    assert any(line == "fed\n" for line in demo.stdout)
    (server,) = psutil.Process(demo.pid).children()
    demo.send_signal(number)
    demo.wait(30)
    assert psutil.wait_procs([server], timeout=30)[0] == [server]
    socket.create_server(("127.0.0.1", port), reuse_port=False).close()
