"""The statistics of segments by the models' own queries, in memory, for `at_scale.py`.

This is the fair comparison for `pandas_segments.py`: no start of dbt, no texts, no titles, no Parquet. The views are those of a
warehouse that dbt has built, the rooms are the mart's.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb

from benchmarks.warehouse.pandas_segments import STATISTICS

MEMORY = "6GB"
THREADS = 2

_STATISTICS = """
create temp table statistics as
with
    viewers as (from intermediate.int_window_viewers),
    texts as (select room_id, "window", n_comments, n_commenters from intermediate.int_window_texts),
    actions as (from intermediate.int_window_actions)
select
    room_id,
    "window",
    coalesce(n_viewers, 0) as n_viewers,
    coalesce(n_entered, 0) as n_entered,
    coalesce(n_left, 0) as n_left,
    n_retained / nullif(n_at_start, 0) as retention,
    coalesce(n_comments, 0) as n_comments,
    coalesce(n_commenters, 0) as n_commenters,
    coalesce(n_likes, 0) as n_likes,
    coalesce(n_gifts, 0) as n_gifts,
    coalesce(n_shares, 0) as n_shares,
    coalesce(n_follows, 0) as n_follows
from viewers
full join texts using (room_id, "window")
full join actions using (room_id, "window")
inner join marts.rooms using (room_id)
where
    "window" >= epoch_ms(started_at) // 30000
    and "window" <= greatest(epoch_ms(coalesce(ended_at, timestamp '9999-01-01')) - 1, epoch_ms(started_at)) // 30000
"""


def statistics_by_queries(warehouse: Path, days: Sequence[date]) -> list[float]:
    """The number of segments of the days, and the sums of STATISTICS.

    Args:
        warehouse: dbt's DuckDB file, with the views of all models that `segments` needs.
        days: all of them, in order; they are computed at once.
    """
    settings: dict[str, str | int | bool] = {"threads": THREADS, "memory_limit": MEMORY, "preserve_insertion_order": False}
    settings["disabled_optimizers"] = "build_side_probe_side"  # dbt_project/profiles.yml says why
    with duckdb.connect(str(warehouse), read_only=True, config=settings) as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute("set variable first_day = ?::date", [days[0]])
        connection.execute("set variable last_day = ?::date", [days[-1]])
        connection.execute(_STATISTICS)
        sums = ", ".join(f"sum({name})::double" for name in STATISTICS)
        (found,) = connection.table("statistics").aggregate(f"count(*)::double, {sums}").fetchall()
    return list(found)
