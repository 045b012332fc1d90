"""The report pages: the files of the folder, nothing else, read-only."""

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bentos.smoke import free_port
from livealign.home import Home
from livealign.retrain.graph_variables import REPORTS_PORT
from orchestration.runs.report_pages import report_link, report_server


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[tuple[str, int]]:
    reports = tmp_path / "reports"
    (reports / "2025-06-09").mkdir(parents=True)
    (reports / "2025-06-09" / "drift.html").write_text("<title>drift</title>")
    (tmp_path / "secret.txt").write_text("key")
    (reports / "latest").symlink_to("2025-06-09")
    (reports / "out").symlink_to(tmp_path)
    server = report_server(reports, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[0], server.server_port
    server.shutdown()
    server.server_close()


def ask(pages: tuple[str, int], method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*pages, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


@pytest.mark.parametrize("path", ["/2025-06-09/drift.html", "/latest/drift.html"])
def test_a_report_is_a_page(pages: tuple[str, int], path: str) -> None:
    assert pages[0] == "127.0.0.1"
    assert ask(pages, "GET", path) == (200, b"<title>drift</title>")
    assert ask(pages, "HEAD", path) == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/out/secret.txt", "/2025-06-09/../../secret.txt", "/no"],
)
def test_what_lies_elsewhere_is_not_there(pages: tuple[str, int], path: str) -> None:
    status, content = ask(pages, "GET", path)
    assert status == 404
    assert b"key" not in content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_written(pages: tuple[str, int], method: str) -> None:
    assert ask(pages, method, "/2025-06-09/drift.html")[0] == 501


def test_a_link_names_the_page_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, "simulator")
    file = home.reports / "2025-06-09" / "report.html"
    monkeypatch.delenv(REPORTS_PORT, raising=False)
    assert report_link(home, file).value == "http://127.0.0.1:3004/2025-06-09/report.html"
    monkeypatch.setenv(REPORTS_PORT, "4004")
    assert report_link(home, file).value == "http://127.0.0.1:4004/2025-06-09/report.html"


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "LIVEALIGN_HOME": str(tmp_path), REPORTS_PORT: str(port)}
    start = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'orchestration.runs.report_pages'])"
        + "; time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", start], env=environment)
    try:
        assert _answers(port, True), "it never answered"
    finally:
        parent.kill()
        parent.wait()
    assert _answers(port, False), "it outlived its parent"


def _answers(port: int, wanted: bool) -> bool:
    """Whether it came to that within half a minute."""
    for _ in range(150):
        try:
            answers = ask(("127.0.0.1", port), "GET", "/")[0] == 200
        except OSError:
            answers = False
        if answers == wanted:
            return True
        time.sleep(0.2)
    return False
