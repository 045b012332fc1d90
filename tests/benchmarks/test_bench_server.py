"""The server of a load benchmark ends with the benchmark, however that ends."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from benchmarks.json_rows import ROOT

BENCHMARK = """
import time
from benchmarks.load.bench_server import bench_server
with bench_server("benchmarks.load.noop_service:Noop", {}) as server:
    print(server.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_benchmark_that_is_ended_leaves_no_server_behind(number: signal.Signals) -> None:
    benchmark = subprocess.Popen([sys.executable, "-c", BENCHMARK], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert benchmark.stdout is not None
    server = psutil.Process(int(benchmark.stdout.readline()))
    family = [server, *server.children(recursive=True)]
    assert len(family) > 1
    os.kill(benchmark.pid, number)
    benchmark.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, 30)
    for one in alive:
        one.kill()
    assert alive == []
