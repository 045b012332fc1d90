"""Landing and warehouse at the size of KuaiLive-M3, beside pandas, and what one more day costs.

    python benchmarks/bench_warehouse.py --scale 0.05

Writes a made-up archive in KuaiLive-M3's format (`m3_archive.py`), lands it with the real adapter, builds all marts with dbt
and exports them as the pipeline does, each step in a process of its own. Then the same warehouse in two runs, the days
before and one more; and the segment statistics by pandas (at most at scale 0.05: it holds everything in memory), checked
against the mart.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pandas as pd
from m3_archive import write_m3
from rich.console import Console
from rich.table import Table

from livealign.files import replace_json
from livealign.marts import publish_marts
from livealign.platforms import archive_days, land
from livealign.stopwatch import StageCost, stage_cost

PROJECT = Path(__file__).parent.parent / "dbt_project"
PANDAS_AT_MOST = 0.05
WINDOW_MS = 30_000
T = TypeVar("T")


def main() -> None:
    """Measure one scale; print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=0.05, help="share of the published rows (default: %(default)s)")
    parser.add_argument("--memory", default="4GB", help="of dbt's DuckDB (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="work there and keep everything; default: a temporary folder")
    arguments = parser.parse_args()
    os.environ["LIVEALIGN_WAREHOUSE_MEMORY"] = arguments.memory
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder)
        bench.full(arguments.scale)
        bench.one_more_day()
        if arguments.scale <= PANDAS_AT_MOST:
            bench.beside_pandas()
        bench.report(arguments.scale)


class Bench:
    """The steps, what each cost, and the sizes of what they made; everything lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.archive, self.landing, self.folder = folder / "archive", folder / "landing", folder
        self.costs: dict[str, StageCost] = {}
        self.notes: dict[str, float | int] = {}
        self.days: list[date] = []

    def full(self, scale: float) -> None:
        """Write, land, build and export everything."""
        with self._step("write the archive"):
            rows = write_m3(self.archive, scale)
        with self._step("land"):
            self.days = _in_a_process(_land, self.archive, self.landing)
        with self._step("dbt build"):
            self._build("full", self.days)
            publish_marts(self._warehouse("full").parent / "tables", self.folder / "marts")
        self.notes |= {f"rows/{name}": count for name, count in rows.items()}
        for name in ("archive", "landing", "full"):  # published marts are second names of files in full/tables
            self.notes[f"bytes/{name}"] = sum(path.stat().st_size for path in (self.folder / name).rglob("*") if path.is_file())

    def one_more_day(self) -> None:
        """The last complete day on top of those before it, against all at once."""
        *before, last = self.days[:-1]  # the very last is cut short by the time zone
        self._build("daily", before)
        with self._step("one more day"):
            self._build("daily", [last])
        self.notes["one more day / full build"] = self.costs["one more day"].seconds / self.costs["dbt build"].seconds

    def beside_pandas(self) -> None:
        """Viewers, likes and comments of each room and window: the models of `segments` by dbt, and by pandas."""
        with self._step("segments: dbt"):
            self._build("segments", self.days, "run", "--select", "+segments")
        with self._step("segments: pandas"):
            by_pandas = _in_a_process(_segments_by_pandas, self.landing)
        with duckdb.connect(str(self._warehouse("segments")), read_only=True) as connection:
            segments = connection.table("marts.segments")
            (ours,) = segments.aggregate("sum(n_viewers), sum(n_likes), sum(n_comments), count(*)").fetchall()
        if ours != by_pandas:
            raise SystemExit(f"dbt and pandas differ: {ours} against {by_pandas} (viewers, likes, comments, segments)")
        ratio = self.costs["segments: pandas"].seconds / self.costs["segments: dbt"].seconds
        self.notes["pandas seconds / dbt seconds"] = ratio
        self.notes["pandas memory / dbt memory"] = (
            self.costs["segments: pandas"].peak_rss_bytes / self.costs["segments: dbt"].peak_rss_bytes
        )

    def report(self, scale: float) -> None:
        """Print the table; write `result.json` into the folder."""
        table = Table("step", "seconds", "peak memory", title=f"scale {scale}")
        for name, cost in self.costs.items():
            table.add_row(name, f"{cost.seconds:,.1f}", f"{cost.peak_rss_bytes / 2**30:.2f} GiB")
        console = Console()
        console.print(table)
        for name, value in self.notes.items():
            console.print(f"{name}: {value:,.3f}" if isinstance(value, float) else f"{name}: {value:,}")
        made = sum(self.notes[f"bytes/{name}"] for name in ("landing", "full"))
        console.print(f"disk of landing, warehouse and marts ÷ archive: {made / self.notes['bytes/archive']:.2f}")
        costs = {name: {"seconds": cost.seconds, "peak_rss_bytes": cost.peak_rss_bytes} for name, cost in self.costs.items()}
        replace_json(self.folder / "result.json", {"scale": scale, "steps": costs, **self.notes})

    def _step(self, name: str) -> "_Step":
        return _Step(self, name)

    def _warehouse(self, name: str) -> Path:
        return self.folder / name / "warehouse.duckdb"

    def _build(self, name: str, days: list[date], command: str = "build", *more: str) -> None:
        warehouse = self._warehouse(name)
        warehouse.parent.mkdir(exist_ok=True)
        if command == "build":
            more = ("--exclude-resource-type", "unit_test", "--exclude", "tag:proves_sql", *more)
        span = json.dumps({"start_day": str(days[0]), "end_day": str(days[-1])})
        where = [
            "--project-dir",
            str(PROJECT),
            "--profiles-dir",
            str(PROJECT),
            "--target-path",
            str(warehouse.parent / "target"),
        ]
        environment = {"LIVEALIGN_LANDING": str(self.landing), "LIVEALIGN_WAREHOUSE_FILE": str(warehouse)}
        dbt = [str(Path(sys.executable).parent / "dbt"), command, "--quiet", *where, "--log-path", str(warehouse.parent)]
        subprocess.run([*dbt, "--vars", span, *more], env=os.environ | environment, check=True)


class _Step:
    """Measures a block under a name."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.measured = stage_cost("".join(c if c.isalnum() else "_" for c in name), bench.folder / "costs")

    def __enter__(self) -> None:
        Console().print(f"▶ {self.name}")
        self.bench.costs[self.name] = self.measured.__enter__()

    def __exit__(self, *error: object) -> None:
        self.measured.__exit__(None, None, None)


def _in_a_process(work: Callable[..., T], *arguments: object) -> T:
    """In a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _land(archive: Path, landing: Path) -> list[date]:
    summary_days = archive_days("kuailive_m3", archive)
    land("kuailive_m3", archive, landing, summary_days)
    return summary_days


def _segments_by_pandas(landing: Path) -> tuple[int, int, int, int]:
    """Sums of viewers, likes and comments over segments, and how many segments there are: the usual way, in memory."""

    def read(table: str, columns: list[str]) -> pd.DataFrame:
        return pd.concat([pd.read_parquet(path, columns=columns) for path in sorted((landing / table).glob("dt=*/*.parquet"))])

    def windows(times: pd.Series) -> pd.Series:
        return times.astype("datetime64[ms]").astype("int64") // WINDOW_MS

    plays = read("plays", ["room_id", "user_id", "entered_at", "left_at"])
    first = windows(plays["entered_at"])
    last = np.maximum(first, (plays["left_at"].astype("datetime64[ms]").astype("int64") - 1) // WINDOW_MS)
    plays["window"] = [range(one, other + 1) for one, other in zip(first, last, strict=True)]
    present = plays[["room_id", "user_id", "window"]].explode("window", ignore_index=True)
    present["window"] = present["window"].astype("int64")
    parts = {"viewers": present.groupby(["room_id", "window"])["user_id"].nunique()}
    for table, time in (("likes", "at"), ("comments", "sent_at")):
        rows = read(table, ["room_id", time])
        parts[table] = rows.assign(window=windows(rows[time])).groupby(["room_id", "window"]).size()
    segments = pd.concat(parts, axis=1).fillna(0)
    return int(segments["viewers"].sum()), int(segments["likes"].sum()), int(segments["comments"].sum()), len(segments)


if __name__ == "__main__":
    main()
