"""Ray nodes on machines of their own, as far as the network goes: one that loses its link costs nothing but time."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from tests.support.network import Network, can_make_namespaces, network

RAY = Path(sys.executable).with_name("ray")
HEAD, WORKERS = "10.77.0.1", ("10.77.0.2", "10.77.0.3")
PORT = 6379
START_SECONDS, STOP_SECONDS = 90, 20
# Ray's workers are nice (15) and would wait for whatever else this machine does.
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(),
}


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(700),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; make setup-ray installs it"),
    pytest.mark.skipif(not can_make_namespaces(), reason="network namespaces need root and iproute2"),
]


@contextmanager
def node(of: Network, address: str, *options: str) -> Iterator[None]:
    """Run one node of Ray in its namespace."""
    command = of.command(address, RAY, "start", *options, f"--node-ip-address={address}", "--disable-usage-stats", "--block")
    process = psutil.Popen(command, env={**os.environ, **VARIABLES}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        family = [*process.children(recursive=True), process] if process.is_running() else []
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=STOP_SECONDS)


DRIVER = """
import json, os, subprocess, sys, time
from pathlib import Path
import psutil
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.ray_embedding import RayEmbedding
from livealign.operation_config import MachinesConfig
from tests.planted.room_texts import CONFIG, random_adapter, room_texts

folder, address, spaces = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
backbone = load_backbone("tiny", folder, device="cpu")
encoder = Encoder.load(backbone, random_adapter(backbone, folder / "adapter"), CONFIG)
texts, rooms = room_texts(rooms=400, windows=20)
engine = RayEmbedding(MachinesConfig(engine="ray", address=address, workers=2), folder, folder / "adapter")
cut, arrived = [], [time.monotonic()]

def space_of(pid):
    return os.stat(f"/proc/{pid}/ns/net").st_ino

def lose_the_link(done, total):
    arrived.append(time.monotonic())
    if done and not cut:
        actors = [one.pid for one in psutil.process_iter() if "BlockEncoder" in " ".join(one.cmdline())]
        used = {space_of(pid) for pid in actors}
        here = [space for space in spaces if os.stat(f"/run/netns/{space}").st_ino in used]
        cut.append(here[0])
        subprocess.run(["ip", "-n", here[0], "link", "set", "uplink", "down"], check=True)

found = encoder.encode_raw_and_tuned(texts, lose_the_link, rooms=rooms, engine=engine)
calm = encoder.encode_raw_and_tuned(texts, rooms=rooms)
silence = max(after - before for before, after in zip(arrived, arrived[1:]))
same = [one.tobytes() == other.tobytes() for one, other in zip(found, calm)]
print(json.dumps({"same": same, "cut": cut, "silence": round(silence), "blocks": len(arrived) - 2}))
"""


def alive_nodes(of: Network) -> int:
    """The nodes of the cluster that its head counts."""
    code = f"import ray; ray.init('{HEAD}:{PORT}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    asked = subprocess.run(
        of.command(HEAD, sys.executable, "-c", code),
        env={**os.environ, **VARIABLES},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    return int(asked.stdout.split()[-1]) if asked.returncode == 0 else 0


def await_nodes(of: Network, number: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (alive := alive_nodes(of)) < number and time.monotonic() < deadline:
        time.sleep(1)
    assert alive == number


def test_a_worker_that_loses_its_link_in_the_middle_changes_no_bit(tmp_path: Path) -> None:
    with ExitStack() as stack:
        # Sockets lie there: a path of theirs may have 107 characters.
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="la", dir="/tmp"))
        of = stack.enter_context(network(HEAD, *WORKERS))
        bounded = "--object-store-memory=200000000"
        stack.enter_context(
            node(
                *(of, HEAD, "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false", bounded),
                f"--temp-dir={state}",
            )
        )
        await_nodes(of, 1)
        for number, worker in enumerate(WORKERS, start=2):  # in turn: nodes that start at once mix up their sockets in `state`
            stack.enter_context(node(of, worker, f"--address={HEAD}:{PORT}", "--num-cpus=1", bounded))
            await_nodes(of, number)
        spaces = [of.namespace(worker) for worker in WORKERS]
        command = of.command(HEAD, sys.executable, "-c", DRIVER, tmp_path, f"{HEAD}:{PORT}", *spaces)
        driver = subprocess.run(
            command, env={**os.environ, **VARIABLES}, capture_output=True, text=True, check=False, timeout=400
        )
        assert driver.returncode == 0, driver.stderr[-2_000:]
        found = json.loads(driver.stdout.splitlines()[-1])
    assert found["same"] == [True, True]
    assert len(found["cut"]) == 1
    assert found["blocks"] == 7
