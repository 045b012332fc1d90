"""A local web server for the reports, because a page of Dagster's UI cannot link to a file.

`make ui` starts it beside the webserver; `python -m orchestration.runs.report_pages` starts it alone. It serves the
workspace's `reports/` on 127.0.0.1, read-only, with an index of the days, and ends with the process that started it.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dagster import MetadataValue, UrlMetadataValue

from livealign.home import Home
from livealign.retrain.graph_variables import REPORTS_PORT, port_of
from livealign.retrain.report_index import write_index
from orchestration.resources import Workspace

_LOOK_SECONDS = 1.0


class Reports(SimpleHTTPRequestHandler):
    """GET and HEAD of the files below one folder; a link that leads out of it is not followed."""

    server_version, sys_version = "reports", ""

    def translate_path(self, path: str) -> str:
        """The file that the URL names, or a path that does not exist if it lies outside."""
        root = Path(self.directory).resolve()
        found = Path(super().translate_path(path)).resolve()
        return str(found) if found.is_relative_to(root) else str(root / "outside" / "of-the-reports")

    def end_headers(self) -> None:
        """Add headers that forbid caching: a report may be written again."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *arguments: object) -> None:
        """Log nothing: who reads which report is private."""


def reports_port() -> int:
    """The port of the report pages: LIVEALIGN_REPORTS_PORT, or 3004."""
    return port_of(REPORTS_PORT)


def report_link(home: Home, file: Path) -> UrlMetadataValue:
    """The URL of a file below `home.reports`, for the metadata of an asset."""
    return MetadataValue.url(f"http://127.0.0.1:{reports_port()}/{file.relative_to(home.reports).as_posix()}")


def report_server(reports: Path, port: int) -> ThreadingHTTPServer:
    """A server of this folder on 127.0.0.1, not running yet.

    Raises:
        OSError: the port is in use.
    """
    reports.mkdir(parents=True, exist_ok=True)
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Reports, directory=str(reports)))


def main() -> None:
    """Serve the reports until the process that started this one has ended."""
    reports, port, parent = Workspace.from_environment().home.reports, reports_port(), os.getppid()
    try:
        server = report_server(reports, port)
        write_index(reports)  # days of an earlier version have none
    except OSError as error:
        sys.exit(f"reports are not served on 127.0.0.1:{port} ({error.strerror}); set {REPORTS_PORT} to a free port")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"reports: http://127.0.0.1:{port}/", flush=True)
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches the whole group
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
