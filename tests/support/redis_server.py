"""A redis-server of a test's own on a unix socket, with its data in a folder."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
PORT = 6379
INSTALLED = shutil.which("redis-server") is not None


class RedisServer:
    """The server of one folder; it can be killed and started again on the same data."""

    def __init__(self, folder: Path, address: str | None = None) -> None:
        """`address`: an IP address of this machine to listen on too, at Redis' own port; the URL is then of it."""
        self.folder = folder
        self.socket = folder / "socket"
        self.url = f"unix://{self.socket}" if address is None else f"redis://{address}:{PORT}"
        self._listens = (
            ("--port", "0") if address is None else ("--port", str(PORT), "--bind", address, "--protected-mode", "no")
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *settings: str) -> "RedisServer":
        """Start it, and wait until it answers."""
        import redis

        command = ["redis-server", *self._listens, "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                if redis.Redis.from_url(self.url).ping():
                    return self
            except redis.RedisError:
                assert self.process.poll() is None
                time.sleep(0.01)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        """End it as a machine that loses its power; repeatable."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
