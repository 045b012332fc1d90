"""What each stage needs by size, computed from measured rates: the table of docs/scaling.md.

    python -m benchmarks.speed.sizes

It measures nothing: RATES are the results of other commands, which it names, at one size each. All needs are taken to grow in
proportion.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.profiles import load_profile

WINDOWS_OF_A_ROOM = 2_880  # a day of 30-second windows
HOUR, GIB = 3_600, 2**30
SECONDS_OF_A_WINDOW = 30


@dataclass(frozen=True)
class Rate:
    """A measured rate: `value` of the unit in a processor second, or bytes."""

    value: float
    unit: str
    command: str


RATES = {
    "reading": Rate(42.7, "texts, raw and tuned vectors", "python -m benchmarks.speed.engines --texts 4096 --workers 1 2"),
    # 127 million plays and shows of 21 days: landing 431 s, and dbt 162 s for a day of them.
    "warehouse": Rate(33_100, "impressions landed, built and tested", "make bench-warehouse SCALE=1.0"),
    "towers": Rate(37_000, "examples of one epoch", "python -m benchmarks.speed.heads --days 2"),
    "ranker": Rate(47_000, "examples of one epoch", "python -m benchmarks.speed.heads --days 2"),
    "corpus": Rate(268, "bytes an impression", "pytest tests/dataset/test_corpus.py -k 280"),
    "vectors": Rate(4 * (576 + 576 + 128), "bytes a window in float32: raw, tuned, counted words", "livealign settings"),
    "files": Rate(2 * (576 + 576) + 4 * 128, "bytes a window on disk: raw and tuned in float16, words", "livealign settings"),
    "refresh": Rate(75, "rooms", "make bench ONLY=tick"),
}


@dataclass(frozen=True)
class Size:
    """A platform: windows of all rooms a day, and impressions a day."""

    name: str
    windows: int
    impressions: int

    @property
    def rooms(self) -> float:
        """Rooms that are live at a time, the mean of the day."""
        return self.windows / WINDOWS_OF_A_ROOM


SIZES = (
    Size("simulator", 1_500, 40_000),
    Size("KuaiLive-M3", 4_440_000, 6_960_000),
    Size("10⁴ rooms", 10_000 * WINDOWS_OF_A_ROOM, 100_000_000),
    Size("10⁵ rooms", 100_000 * WINDOWS_OF_A_ROOM, 1_000_000_000),
)


def needs(size: Size) -> dict[str, float]:
    """What a day of this size needs, by the table's row."""
    profile = load_profile("laptop")
    rate = {name: rate.value for name, rate in RATES.items()}
    days = profile.dataset.train_days
    examples = days * size.impressions
    return {
        "rooms live at a time": size.rooms,
        "windows a day": size.windows,
        "impressions a day": size.impressions,
        "reading a day's windows, core hours": size.windows / rate["reading"] / HOUR,
        f"reading {days + 1} days after a full tune, core hours": (days + 1) * size.windows / rate["reading"] / HOUR,
        "landing and warehouse, core hours": size.impressions / rate["warehouse"] / HOUR,
        "towers trained from scratch, core hours": profile.alignment.epochs * examples / rate["towers"] / HOUR,
        "towers on a warm start, core hours": profile.alignment.warm_epochs * examples / rate["towers"] / HOUR,
        "ranker, core hours": profile.ranker.epochs * examples / rate["ranker"] / HOUR,
        "corpus in memory, GiB": (days + 1) * size.impressions * rate["corpus"] / GIB,
        "vectors of all windows in memory, GiB": (days + 1) * size.windows * rate["vectors"] / GIB,
        "vectors of all windows on disk, GiB": (days + 1) * size.windows * rate["files"] / GIB,
        "live refresh, cores": size.rooms / (rate["refresh"] * SECONDS_OF_A_WINDOW),
    }


def table(sizes: Sequence[Size] = SIZES) -> str:
    """The Markdown table, a column for each size."""
    columns = [needs(size) for size in sizes]
    lines = [f"| a day of | {' | '.join(size.name for size in sizes)} |", f"|---|{'---:|' * len(sizes)}"]
    lines += [f"| {row} | {' | '.join(shown(column[row]) for column in columns)} |" for row in columns[0]]
    return "\n".join(lines)


def rates() -> str:
    """The Markdown table of the rates with their commands."""
    lines = ["| rate, in a processor second or in bytes | | command |", "|---|---:|---|"]
    lines += [f"| {name}: {rate.unit} | {rate.value:,g} | `{rate.command}` |" for name, rate in RATES.items()]
    return "\n".join(lines)


def shown(value: float) -> str:
    """A number with two significant digits, or whole."""
    if value >= 1_000_000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.2g}'):,g}"


def main() -> None:
    """Print and record the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json)
    for size in SIZES:
        for row, value in needs(size).items():
            out.add(f"{size.name}: {row}", value, row.rpartition(", ")[2])
    print(f"{table()}\n\n{rates()}")
    out.write()


if __name__ == "__main__":
    main()
