"""The engine on a real cluster of Ray on this machine: the same bits, also after a loss, and no process left."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from livealign.errors import LiveAlignError
from livealign.llm import encoder_spec
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.encoder_spec import EncoderSpec
from livealign.llm.ray_embedding import RayEmbedding, _encoded
from livealign.operation_config import MachinesConfig
from tests.planted.room_texts import CONFIG, random_adapter, room_texts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(480),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; make setup-ray installs it"),
]
TEXTS, ROOMS = room_texts(rooms=400, windows=20)  # seven blocks
ON_RAY = MachinesConfig(engine="ray")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Path]:
    folder = tmp_path_factory.mktemp("planted")
    backbone = load_backbone("tiny", folder, device="cpu")
    return Encoder.load(backbone, random_adapter(backbone, folder / "adapter"), CONFIG), folder


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    ours = [process for process in psutil.Process().children(recursive=True) if is_of_ray(process)]
    _, alive = psutil.wait_procs(ours, timeout=30)
    assert [command_of(process) for process in alive] == []


def command_of(process: psutil.Process) -> str:
    """The command line of a process; empty once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # zombies too
        return ""


def is_of_ray(process: psutil.Process) -> bool:
    """Whether it is a worker of Ray, or a program of its package."""
    command = command_of(process)
    return command.startswith("ray::") or "site-packages/ray/" in command


def encode(planted: tuple[Encoder, Path], machines: MachinesConfig, progress=None) -> tuple[np.ndarray, np.ndarray]:
    encoder, folder = planted
    engine = RayEmbedding(machines, folder, folder / "adapter") if machines.engine == "ray" else None
    return encoder.encode_raw_and_tuned(TEXTS, progress, rooms=ROOMS, engine=engine)


def same_bits(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return [vectors.tobytes() for vectors in one] == [vectors.tobytes() for vectors in other]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_bits_of_this_process(planted: tuple[Encoder, Path], workers: int) -> None:
    seen: list[tuple[int, int]] = []
    handler = signal.getsignal(signal.SIGTERM)
    found = encode(planted, replace(ON_RAY, workers=workers), lambda *done: seen.append(done))
    assert same_bits(found, encode(planted, MachinesConfig()))
    assert len(seen) == 1 + 7  # the start, then block by block
    assert seen[-1] == (len(set(TEXTS)), len(set(TEXTS)))
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize(("device", "gpus"), [("cpu", None), ("cuda", 1)])
def test_a_block_on_a_gpu_is_a_batch_of_one_row(
    planted: tuple[Encoder, Path], device: str, gpus: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray.data

    seen: dict[str, object] = {}

    def record(dataset: object, block_encoder: object, **named: object) -> SimpleNamespace:
        seen.update(named)
        return SimpleNamespace(iter_rows=lambda: iter(()))

    # Ray's own check of the arguments runs: it refuses a GPU without a size of the batches.
    monkeypatch.setattr(ray.data, "from_arrow", lambda tables: object.__new__(ray.data.Dataset))
    monkeypatch.setattr(ray.data.Dataset, "map_batches_internal", record)
    monkeypatch.delattr(ray.data.Dataset, "__del__", raising=False)  # it expects a dataset that was executed
    encoder, folder = planted
    spec = EncoderSpec.of(encoder, folder / "adapter", folder)
    spec = replace(spec, backbone=replace(spec.backbone, device=device))
    assert list(_encoded([], spec, [True], 1)) == []
    assert (seen["batch_size"], seen["num_gpus"]) == (1, gpus)


def test_a_worker_killed_in_the_middle_costs_nothing_but_time(planted: tuple[Encoder, Path]) -> None:
    killed: list[int] = []

    def kill_one_worker(done: int, total: int) -> None:
        if done and not killed:
            workers = [one for one in psutil.Process().children(recursive=True) if "BlockEncoder" in command_of(one)]
            killed.append(workers[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    assert same_bits(encode(planted, ON_RAY, kill_one_worker), encode(planted, MachinesConfig()))
    assert killed


def test_a_cluster_that_is_killed_in_the_middle_is_one_line(planted: tuple[Encoder, Path]) -> None:
    def kill_the_cluster(done: int, total: int) -> None:
        if done:
            for process in psutil.Process().children(recursive=True):
                if process.name() in ("raylet", "gcs_server"):
                    process.kill()

    started = time.monotonic()
    with pytest.raises(LiveAlignError, match=r"^Ray failed: .*; run again, what was done is kept$"):
        encode(planted, ON_RAY, kill_the_cluster)
    assert time.monotonic() - started < 250


def test_workers_of_other_code_are_refused_in_one_line(planted: tuple[Encoder, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_spec, "code_of_vectors", lambda: "0" * 12)  # of the driver: its workers import anew
    with pytest.raises(LiveAlignError, match=r"^this worker has LiveAlign .*; install the same version"):
        encode(planted, ON_RAY)


def test_the_cluster_of_another_token_is_not_joined(planted: tuple[Encoder, Path]) -> None:
    from livealign.ray_cluster import TOKEN, ray_cluster

    with ray_cluster(ON_RAY, cores=1) as ray:
        address = ray.get_runtime_context().gcs_address
        code = (
            "from livealign.operation_config import MachinesConfig\nfrom livealign.ray_cluster import ray_cluster\n"
            f"with ray_cluster(MachinesConfig(address={address!r}), 1): print('joined')\n"
        )
        answers = [joined(code, token) for token in (os.environ[TOKEN], "0" * 64)]
    assert "joined" in answers[0]
    assert "no Ray cluster could be joined" in answers[1]
    assert "joined\n" not in answers[1]


def joined(code: str, token: str) -> str:
    """What a process with this token prints when it joins the cluster."""
    import subprocess
    import sys

    environment = {**os.environ, "RAY_AUTH_TOKEN": token}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    return ended.stdout + ended.stderr


def test_no_actor_outlives_a_driver_that_is_killed(planted: tuple[Encoder, Path]) -> None:
    import multiprocessing

    driver = multiprocessing.get_context("spawn").Process(target=_encode_elsewhere, args=(planted[1],))
    driver.start()
    assert driver.pid is not None
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 200
    while not any("BlockEncoder" in command_of(one) for one in family) and time.monotonic() < deadline:
        time.sleep(0.5)
        family = psutil.Process(driver.pid).children(recursive=True)
    of_ray = [one for one in family if is_of_ray(one)]
    driver.kill()
    driver.join()
    assert len(of_ray) > 3
    deadline = time.monotonic() + 180  # Ray's own agents look for their raylet only now and then
    while (alive := [command for one in of_ray if (command := command_of(one))]) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert alive == []


def _encode_elsewhere(folder: Path) -> None:
    backbone = load_backbone("tiny", folder, device="cpu")
    encoder = Encoder.load(backbone, folder / "adapter", CONFIG)
    threading.Timer(220, os._exit, (1,)).start()
    encode((encoder, folder), ON_RAY, lambda done, total: time.sleep(5 if done else 0))
