"""A service that cannot start ends with one line and a code, and no process of it outlives another."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from bentos import serve
from bentos.build import bentoml_command, bentoml_settings
from bentos.live_recommender.start_check import check_start
from bentos.serve import refuse_address, url_of
from bentos.smoke import ask, free_port
from livealign.errors import BundleError, EventLogError, LiveAlignError
from livealign.events.log import EventLog, refuse_held_log
from livealign.release.bundle import RANKER
from orchestration.ui import reach_loopback_directly
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease

ROOT = Path(__file__).parents[2]
SERVICE = "bentos.live_recommender.service:LiveRecommender"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return plant_live_releases(tmp_path_factory.mktemp("live"))[0]


def damage(bundle: Path) -> None:
    file = bundle / RANKER
    file.write_bytes(file.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("localhost", "no IP address"),
        ("300.1.1.1", "no IP address"),
        ("192.0.2.1", "cannot be listened on"),
        ("", "no IP address"),
    ],
)
def test_a_host_that_is_no_address_of_this_machine_is_one_line(host: str, says: str) -> None:
    with pytest.raises(LiveAlignError, match=says) as raised:
        refuse_address(host, free_port())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_is_none_is_one_line(port: int) -> None:
    with pytest.raises(LiveAlignError, match="from 1 to 65535"):
        refuse_address("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_refused_and_one_that_is_let_go_of_is_waited_for(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            pytest.skip("this machine has no such address")
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(LiveAlignError, match=f"port {port} of {host} is in use; stop what listens there"):
            refuse_address(host, port, wait=0.2)
    refuse_address(host, port)


def test_an_address_of_version_6_has_brackets_in_its_url() -> None:
    assert url_of("::1", 3000) == "http://[::1]:3000"
    assert url_of("::", 3000) == "http://[::1]:3000"
    assert url_of("0.0.0.0", 3000) == "http://127.0.0.1:3000"  # noqa: S104
    assert url_of("10.0.0.7", 80) == "http://10.0.0.7:80"


class Ready(BaseHTTPRequestHandler):
    """Answers 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


def test_a_service_of_this_machine_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(serve, "READY_SECONDS", 10.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            serve._wait(process, f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            process.kill()
            process.wait()
            server.shutdown()
    monkeypatch.setenv("NO_PROXY", "corp.example, localhost")
    reach_loopback_directly()
    assert os.environ["NO_PROXY"] == "corp.example,localhost,127.0.0.1,::1"
    assert os.environ["no_proxy"] == "127.0.0.1,localhost,::1"


def test_a_log_that_another_process_holds_is_refused_and_one_that_is_free_is_left_as_it_is(tmp_path: Path) -> None:
    refuse_held_log(tmp_path / "none", 0.0)
    assert not (tmp_path / "none").exists()
    with EventLog(tmp_path / "log"), pytest.raises(EventLogError, match="another process writes to"):
        refuse_held_log(tmp_path / "log", time.monotonic() + 0.2)
    refuse_held_log(tmp_path / "log", 0.0)
    EventLog(tmp_path / "log").close()  # nothing of the check holds it


def test_a_damaged_release_is_found_before_a_model_is_loaded_unless_the_champion_can_take_its_place(
    release: PlantedRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    bundle = Path(shutil.copytree(release.bundle, tmp_path / release.bundle.name))
    damage(bundle)
    monkeypatch.setenv("LIVEALIGN_BUNDLE", str(bundle))
    monkeypatch.setenv("LIVEALIGN_EVENT_LOG", str(tmp_path / "log"))
    monkeypatch.delenv("LIVEALIGN_RELEASES", raising=False)
    with pytest.raises(BundleError, match=f"{RANKER} is damaged"):
        check_start()
    (release.bundle.parent / "champion").write_text(f"{release.bundle.name}\n")
    monkeypatch.setenv("LIVEALIGN_RELEASES", str(release.bundle.parent))
    check_start()
    for variable, wrong in (
        ("LIVEALIGN_API_KEYS", "short"),
        ("LIVEALIGN_EVENTS_PER_SECOND", "many"),
        ("LIVEALIGN_SET", "live.nothing=1"),
        ("LIVEALIGN_CORS_ORIGINS", "example.org"),
        ("LIVEALIGN_ROOT_PATH", "live"),
        ("LIVEALIGN_TRUSTED_PROXIES", "10.0.0.0/99"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, wrong)
            with pytest.raises(LiveAlignError):
                check_start()


def test_a_folder_of_releases_that_is_missing_ends_the_start(
    release: PlantedRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEALIGN_BUNDLE", str(release.bundle))
    monkeypatch.setenv("LIVEALIGN_EVENT_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("LIVEALIGN_RELEASES", str(tmp_path / "gone"))
    with pytest.raises(
        LiveAlignError, match=r"LIVEALIGN_RELEASES=.*/gone is no folder, so no champion could be followed; name"
    ):
        check_start()
    (tmp_path / "gone").mkdir()
    check_start()  # no champion yet: the release of LIVEALIGN_BUNDLE serves
    monkeypatch.setenv("LIVEALIGN_RELEASES", "~/releases")
    with pytest.raises(LiveAlignError, match="only a shell expands ~"):
        check_start()


@contextmanager
def bentoml_serve(port: int, folder: Path, bundle: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`bentoml serve` of the source tree, as a person starts it; killed with all of its processes at the end."""
    command = bentoml_command("serve", SERVICE, "--host", "127.0.0.1", "--port", str(port))
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LIVEALIGN_")}
    environment = {**ours, **bentoml_settings(folder / "bentoml"), "PYTHONPATH": str(ROOT)}
    environment |= {"LIVEALIGN_BUNDLE": str(bundle), "LIVEALIGN_EVENT_LOG": str(folder / "log"), **variables}
    with (folder / "out").open("a") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in family:
            one.kill()
        process.kill()
        process.wait()


def until_ready(port: int, process: subprocess.Popen[str], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the service ended"
        try:
            if ask(port, "GET", "/readyz", timeout=2)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("not ready")


@pytest.mark.slow
def test_a_port_a_log_or_a_release_that_cannot_be_used_end_the_service_with_one_line_and_a_code(
    release: PlantedRelease, tmp_path: Path
) -> None:
    import shutil

    broken = Path(shutil.copytree(release.bundle, tmp_path / "broken" / release.bundle.name))
    damage(broken)
    no_folder = tmp_path / "file"
    no_folder.write_text("no folder")
    with socket.socket() as taken, EventLog(tmp_path / "held"):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name, port, bundle, variables, says in (
            ("port", int(taken.getsockname()[1]), release.bundle, {}, "the port is in use"),
            ("log", free_port(), release.bundle, {"LIVEALIGN_EVENT_LOG": str(tmp_path / "held")}, "another process writes to"),
            ("release", free_port(), broken, {}, "ranker.safetensors is damaged"),
            # Only the worker can find this, when it opens the log.
            (
                "worker",
                free_port(),
                release.bundle,
                {"LIVEALIGN_EVENT_LOG": str(no_folder / "log")},
                "cannot hold an event log",
            ),
        ):
            folder = tmp_path / name
            folder.mkdir()
            with bentoml_serve(port, folder, bundle, **variables) as process:
                assert process.wait(120) == 1, name
            said = (folder / "out").read_text()
            assert says in said, said
            assert "Traceback" not in said, said
            assert sum(says in line for line in said.splitlines()) == 1, said


@pytest.mark.slow
def test_when_the_supervisor_is_killed_the_worker_ends_and_the_service_starts_again_at_once(
    release: PlantedRelease, tmp_path: Path
) -> None:
    port = free_port()
    with bentoml_serve(port, tmp_path, release.bundle) as first:
        until_ready(port, first)
        family = psutil.Process(first.pid).children(recursive=True)
        assert family
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        with bentoml_serve(port, tmp_path, release.bundle) as second:
            until_ready(port, second)
            assert psutil.wait_procs(family, timeout=10)[1] == []
    assert sys.platform != "linux" or "Traceback" not in (tmp_path / "out").read_text()
