"""A real S3 server (SeaweedFS) on loopback, for tests: started, stopped, and started again."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from pyarrow.fs import S3FileSystem

BUCKET, KEY, SECRET = "livealign", "livealign-key", "livealign-secret"
MOST_SECONDS = 60.0  # until it answers


def weed() -> str | None:
    """The server's program; None if it is not installed."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


class S3Server:
    """The server of one folder, with a bucket and one key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ports = {name: _free_port() for name in ("master", "volume", "filer", "s3")}
        grpc = {name: _free_port() for name in ("master", "volume", "filer", "s3")}
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        program = weed()
        assert program is not None
        self._command = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
        self._command += [f"-{name}.port={port}" for name, port in self.ports.items()]
        self._command += [f"-{name}.port.grpc={port}" for name, port in grpc.items()]
        self._command += [f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its address, for AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    def start(self) -> "S3Server":
        """Start it and wait until the bucket can be used."""
        log = (self.folder / "weed.log").open("ab")
        self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        files = S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=f"127.0.0.1:{self.ports['s3']}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        deadline = time.monotonic() + MOST_SECONDS
        while True:
            try:
                files.create_dir(BUCKET)
                with files.open_output_stream(f"{BUCKET}/.started") as out:
                    out.write(b"x")
                return self
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.5)

    def stop(self) -> None:
        """Kill it, as a machine that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
