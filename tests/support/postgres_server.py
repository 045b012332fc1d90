"""A PostgreSQL server of a test's own on 127.0.0.1, which can be killed and started again."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bentos.smoke import free_port

PATIENCE_SECONDS = 60.0


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; None where they are not installed.

    Debian keeps them off the path.
    """
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return Path(found).parent if found else next((folder for folder in folders if (folder / "initdb").exists()), None)


class PostgresServer:
    """The server of one folder."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder, self.tools, self.port = folder, tools, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        # It refuses to run as root.
        self._user = None if os.geteuid() else next(name for name in ("postgres", "nobody") if _exists(name))
        if self._user is not None:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, pwd.getpwnam(self._user).pw_gid)
        initdb = [tools / "initdb", "--pgdata", folder / "data", "--username", "dagster", "--auth", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, user=self._user, cwd=folder)

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which Dagster finds it."""
        where = {"HOST": "127.0.0.1", "PORT": str(self.port), "USER": "dagster", "PASSWORD": "x", "DB": "postgres"}
        return {f"DAGSTER_POSTGRES_{name}": value for name, value in where.items()}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}"]
        command = [self.tools / "postgres", "-D", self.folder / "data", *(part for one in settings for part in ("-c", one))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self.folder)
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "PostgreSQL did not start"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and all its processes as a machine that loses its power does; repeatable."""
        if self.process is not None:
            main = psutil.Process(self.process.pid)
            for process in (*main.children(recursive=True), main):  # each has a session of its own
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(host="127.0.0.1", port=self.port, user="dagster", dbname="postgres").close()
        except psycopg2.OperationalError:
            return False
        return True


@contextlib.contextmanager
def postgres_server(tools: Path) -> Iterator[PostgresServer]:
    """A running server with no tables yet."""
    folder = Path(tempfile.mkdtemp(prefix="livealign-postgres-"))  # pytest's folders can be read by one user alone
    server = None
    try:
        server = PostgresServer(folder, tools)
        server.start()
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder)


def _exists(user: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False
