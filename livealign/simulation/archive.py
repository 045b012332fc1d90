"""Make the archive of a simulated platform.

    <out>/simulator.json                           what it was made with, and rows by table and day
    <out>/dt=YYYY-MM-DD/<table>.parquet            the tables of the landing contract
    <out>/truth/impressions/dt=…/part-0.parquet    impression_id, p_click, p_click_static, user,
                                                   fixed_logit (log odds of a click without taste, highlight, quality)
    <out>/truth/tastes/dt=…/part-0.parquet         taste: log odds by topic, row `user`
    <out>/truth/segments/dt=…/part-0.parquet       room_id, window, topic, genre, highlight, low_quality;
                                                   of an open world also new_members, wording
    <out>/truth/frames/dt=…/part-0.parquet         room_id, frames: none, scene or card (where rooms have pictures)
    <out>/truth/topics.parquet                     topic, name, genre
    <out>/truth/members.parquet                    member, topic, homonym, words that reveal the topic (of an open world)

The same config gives the same bytes. The archive is written under another name and renamed when it is whole.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import partition
from livealign.errors import ArchiveError
from livealign.files import plain_file, replace_json, replaced_directory
from livealign.simulation.behaviour import behave
from livealign.simulation.config import MANIFEST, SimulationConfig
from livealign.simulation.lexicon import member_table
from livealign.simulation.members import choose_members, never_introduced
from livealign.simulation.moments import Day, live_rooms, make_rooms
from livealign.simulation.tables import landing_tables, topic_table, truth_tables
from livealign.simulation.world import authors_on, make_authors, make_users, users_on

FORMAT = 1
Progress = Callable[[int, int], None]  # days done, days in all


@dataclass(frozen=True)
class SimulationSummary:
    """The numbers of simulated rows: by table over all days, and by day and table."""

    out: Path
    rows: dict[str, int]
    rows_by_day: dict[str, dict[str, int]]
    used_up: date | None = None  # the first day on which a topic had no member left that had never been said


def simulate(config: SimulationConfig, out: Path, progress: Progress | None = None) -> SimulationSummary:
    """Simulate `config.days` days and write their archive to `out`.

    An archive that this function wrote is replaced.

    Raises:
        ArchiveError: `out` is something else than an empty folder or an archive as it was simulated.
    """
    out = out.resolve()  # what lies at `missing/../logs` is seen only without the detour
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or was_simulated(out))):
        raise ArchiveError(
            f"{out} holds something that was not simulated, and would be overwritten; choose another folder, or move it away"
        )
    rows_by_day: dict[str, dict[str, int]] = {}
    all_authors = make_authors(config)
    users = make_users(config, all_authors)
    introduced, used_up = never_introduced(), None
    with replaced_directory(out) as folder:
        _write(topic_table(), folder / "truth" / "topics.parquet")
        if config.new_words:
            _write(member_table(), folder / "truth" / "members.parquet")
        for number, date_ in enumerate(config.dates):
            authors, users = authors_on(config, all_authors, number), users_on(config, users, number)
            rooms, members = make_rooms(config, authors, number), None
            if config.new_words:
                members = choose_members(config, number, rooms.talked_of, introduced)
                introduced = members.introduced
                used_up = used_up or (date_ if members.used_up else None)
            day = Day(config, number, authors, users, rooms, members)
            behaviour = behave(day, live_rooms(day))
            for name, table in truth_tables(day, behaviour).items():
                _write(table, partition(folder / "truth", name, date_))
            tables = landing_tables(day, behaviour)
            for name, table in tables.items():
                _write(table, folder / f"dt={date_}" / f"{name}.parquet")
            rows_by_day[date_.isoformat()] = {name: len(table) for name, table in tables.items()}
            if progress:
                progress(number + 1, config.days)
        replace_json(folder / MANIFEST, {"format": FORMAT, "config": config.to_dict(), "rows": rows_by_day})
    rows = {name: sum(day_rows[name] for day_rows in rows_by_day.values()) for name in tables}
    return SimulationSummary(out, rows, rows_by_day, used_up)


def was_simulated(folder: Path) -> bool:
    """Whether all files of a folder are those that `simulate` wrote.

    There is its own manifest, and no other file than those it counts.

    A user's logs may have a manifest as well, `{"format": 1}` or one that was copied from a simulated archive.
    """
    try:
        manifest = json.loads(plain_file(folder / MANIFEST).read_bytes())
        rows, config = manifest["rows"], manifest["config"]
        counted = {f"dt={day}/{name}.parquet": count for day, tables in rows.items() for name, count in tables.items()}
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]
        found = {file: pq.read_metadata(folder / file).num_rows for file in files if file in counted}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return False
    strangers = [file for file in files if file not in counted and file != MANIFEST and not _is_truth(file)]
    return "seed" in config and not strangers and all(found[file] == counted[file] for file in found)


def _is_truth(file: str) -> bool:
    return file.startswith("truth/") and file.endswith(".parquet")


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", row_group_size=262_144)
