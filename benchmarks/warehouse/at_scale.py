"""The cost of landing and warehouse at the size of KuaiLive-M3, compared with pandas.

    python -m benchmarks.warehouse.at_scale --scale 0.05

Writes a made-up archive in KuaiLive-M3's format (`m3_archive.py`), lands it with the real adapter, builds all marts of all days
but the last with dbt, tests included, as the pipeline does, and then the last day. Up to scale 0.05 it also computes the
statistics of segments by pandas in two ways (`pandas_segments.py`), in memory, which must equal the mart's, and by the models'
own queries without dbt, texts and files (`segment_queries.py`). Each step runs in a process of its own; its seconds stand
beside processor seconds, which other work on the machine does not lengthen.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb
import numpy as np
import pandas as pd
from rich.table import Table

from benchmarks.json_rows import ROOT, JsonRows, add_json_option
from benchmarks.warehouse.m3_archive import SEED, write_m3
from benchmarks.warehouse.pandas_segments import STATISTICS, by_date_ranges, by_repeats, segment_statistics
from benchmarks.warehouse.segment_queries import statistics_by_queries
from livealign.console import PlainConsole
from livealign.dataset.marts import publish_marts
from livealign.platforms.registry import archive_days, land
from livealign.retrain.stage_cost import StageCost, stage_cost
from orchestration.dbt.command import BUILD_A_DAY

PROJECT = ROOT / "dbt_project"
PANDAS_AT_MOST = 0.05
PANDAS = {"pandas": by_date_ranges, "pandas, vectorised by hand": by_repeats}
T = TypeVar("T")


class Cost(NamedTuple):
    """The cost of one step."""

    stage: StageCost
    processor_seconds: float


def main() -> None:
    """Measure one scale; print and record the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=0.05, help="share of the published rows (default: %(default)s)")
    parser.add_argument("--memory", default="6GB", help="of dbt's DuckDB (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="work there, keep everything, use an archive that is there")
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, SEED)
    os.environ["LIVEALIGN_WAREHOUSE_MEMORY"] = arguments.memory
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder.resolve(), arguments.scale)
        bench.everything()
        if arguments.scale <= PANDAS_AT_MOST:
            bench.compare_with_pandas()
        bench.report(out)
    out.write()


class Bench:
    """The steps, their costs, and the sizes of their results; all files are in `folder`."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder, self.scale = folder, scale
        self.archive, self.landing, self.warehouse = folder / "archive", folder / "landing", folder / "warehouse"
        self.costs: dict[str, Cost] = {}
        self.notes: dict[str, float | int] = {}
        self.days: list[date] = []

    def everything(self) -> None:
        """Write the archive, land it, build all days but the last, then the last."""
        if not self.archive.exists():
            self._step("write the archive", lambda: _in_a_process(write_m3, self.archive, self.scale))
        self.days = self._step("land", lambda: _in_a_process(_land, self.archive, self.landing))
        *before, last = self.days
        self._step(f"dbt build, {len(before)} days", lambda: self._dbt(self.warehouse, before, *BUILD_A_DAY))
        publish_marts(self.warehouse / "tables", self.folder / "marts")
        self._step("dbt build, one more day", lambda: self._dbt(self.warehouse, [last], *BUILD_A_DAY))
        publish_marts(self.warehouse / "tables", self.folder / "marts")
        for name in ("archive", "landing", "warehouse"):  # published marts are second names of files of the warehouse
            self.notes[f"bytes/{name}"] = _bytes(self.folder / name)
        for table in sorted((self.warehouse / "tables").iterdir()):
            self.notes[f"bytes/warehouse/{table.name}"] = _bytes(table)
        for mart in ("segments", "interactions"):
            self.notes[f"rows/{mart}"] = duckdb.read_parquet(f"{self.folder}/marts/{mart}/dt=*/*.parquet").shape[0]
        land_and_build = sum(cost.stage.seconds for name, cost in self.costs.items() if name != "write the archive")
        full, more = (self.costs[f"dbt build, {what}"] for what in (f"{len(before)} days", "one more day"))
        disk = self.notes["bytes/landing"] + self.notes["bytes/warehouse"]
        self.notes |= {
            "landing and dbt, minutes": land_and_build / 60,
            "one more day / all days before": more.stage.seconds / full.stage.seconds,
            "one more day / all days before, of the processor": more.processor_seconds / full.processor_seconds,
            "disk of landing, warehouse and marts / archive": disk / self.notes["bytes/archive"],
        }

    def compare_with_pandas(self) -> None:
        """Compare dbt's model `segments` with its statistics by pandas and by the models' queries."""
        folder = self.folder / "segments"
        self._step("segments by dbt", lambda: self._dbt(folder, self.days, "run", "--select", "+segments"))
        by_pandas = {
            name: self._step(f"segments by {name}", lambda way=way: _in_a_process(_statistics_by_pandas, self.landing, way))
            for name, way in PANDAS.items()
        }
        warehouse, alone = folder / "warehouse.duckdb", "statistics by the models' queries"
        by_queries = self._step(alone, lambda: _in_a_process(statistics_by_queries, warehouse, self.days))
        of_mart = _statistics_of_mart(folder / "tables" / "segments")
        for name, statistics in {**by_pandas, "the models' queries": by_queries}.items():
            if not np.allclose(of_mart, statistics, rtol=1e-9):
                raise SystemExit(f"dbt and {name} differ: {of_mart} against {statistics} (segments, sums of {STATISTICS})")
        for way in PANDAS:
            theirs = self.costs[f"segments by {way}"]
            for name, step in (("dbt", "segments by dbt"), ("the models' queries", alone)):
                ours = self.costs[step]
                self.notes |= {
                    f"{way} / {name}, seconds": theirs.stage.seconds / ours.stage.seconds,
                    f"{way} / {name}, of the processor": theirs.processor_seconds / ours.processor_seconds,
                    f"{way} / {name}, memory": theirs.stage.peak_rss_bytes / ours.stage.peak_rss_bytes,
                }

    def report(self, out: JsonRows) -> None:
        """Print and record the table."""
        table = Table("step", "seconds", "of the processor", "peak memory", title=f"scale {self.scale}")
        for name, (stage, processor) in self.costs.items():
            table.add_row(name, f"{stage.seconds:,.1f}", f"{processor:,.1f}", f"{stage.peak_rss_bytes / 2**30:.2f} GiB")
            out.add(f"{name}, scale {self.scale}", stage.seconds, "s")
            out.add(f"{name}, scale {self.scale}: of the processor", processor, "s")
            out.add(f"{name}, scale {self.scale}: peak memory", stage.peak_rss_bytes / 2**30, "GiB")
        console = PlainConsole()
        console.print(table)
        for name, value in self.notes.items():
            console.print(f"{name}: {value:,.3f}" if isinstance(value, float) else f"{name}: {value:,}")
            out.add(f"{name}, scale {self.scale}", value, unit_of(name))

    def _step(self, name: str, work: Callable[[], T]) -> T:
        PlainConsole().print(f"▶ {name}")
        file_name = "".join(c if c.isalnum() else "_" for c in name)
        before = _processor_seconds()
        with stage_cost(file_name, self.folder / "costs") as stage:
            done = work()
        self.costs[name] = Cost(stage, _processor_seconds() - before)
        return done

    def _dbt(self, folder: Path, days: list[date], *command: str) -> None:
        folder.mkdir(exist_ok=True)
        project = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
        outputs = ["--target-path", str(folder / "target"), "--log-path", str(folder)]
        environment = {"LIVEALIGN_LANDING": str(self.landing), "LIVEALIGN_WAREHOUSE_FILE": str(folder / "warehouse.duckdb")}
        environment |= {"LIVEALIGN_START_DAY": str(days[0]), "LIVEALIGN_END_DAY": str(days[-1])}
        dbt = str(Path(sys.executable).parent / "dbt")
        subprocess.run([dbt, *command, "--quiet", *project, *outputs], env=os.environ | environment, check=True)


def unit_of(note: str) -> str:
    """The unit of a note, from its name."""
    if "minutes" in note:
        return "minutes"
    return {"bytes": "bytes", "rows": "rows"}.get(note.partition("/")[0], "ratio")


def _processor_seconds() -> float:
    """Processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _in_a_process(work: Callable[..., T], *arguments: object) -> T:
    """Run the work in a new process, so that its memory can be measured alone."""
    pool = multiprocessing.get_context("spawn").Pool(1)
    try:
        return pool.apply(work, arguments)
    finally:
        pool.close()
        pool.join()


def _land(archive: Path, landing: Path) -> list[date]:
    days = archive_days("kuailive_m3", archive)
    land("kuailive_m3", archive, landing, days)
    return days


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _statistics_by_pandas(landing: Path, lay_out: Callable[[pd.DataFrame], pd.DataFrame]) -> list[float]:
    statistics = segment_statistics(landing, lay_out)
    return [float(len(statistics)), *statistics.sum().tolist()]


def _statistics_of_mart(segments: Path) -> list[float]:
    """The number of segments and the sums of STATISTICS."""
    sums = ", ".join(f"sum({name})::double" for name in STATISTICS)
    (found,) = duckdb.read_parquet(f"{segments}/dt=*/*.parquet").aggregate(f"count(*)::double, {sums}").fetchall()
    return list(found)


if __name__ == "__main__":
    main()
