"""Speed of one drift report on a day with many impressions.

python -m benchmarks.speed.drift --rows 3000000
"""

import argparse
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import psutil

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.days import partition
from livealign.operation_config import DriftConfig
from orchestration.drift.columns import day_frame
from orchestration.drift.report import DriftSide, drift_report
from orchestration.drift.surprise import room_surprise
from orchestration.drift.words import room_words

SEGMENTS = """
select (day * 10000000 + i)::bigint as segment_id, (day * 100000 + i % 20000)::bigint as room_id,
    'game ' || (hash(i % 20000) % 40)::varchar as category, case hash(i, 1) % 10 when 0 then 'de' else 'en' end as language,
    (select string_agg(translate((hash(i, w) % 30000 + 10000)::varchar, '0123456789', 'abcdefghij'), ' ')
        from range(20) s(w)) as speech_text,
    repeat('hi ', (hash(i, 3) % 5)::int) as chat_text,
    (hash(i, 3) % 5)::int as n_comments, (hash(i, 4) % 50)::int as n_viewers
from range(400000) t(i), (select {day} as day)
"""
INTERACTIONS = """
select (day * 10000000 + i)::bigint as impression_id, (hash(i, 5) % 200000)::bigint as user_id,
    (hash(i, 6) % 400000 % 5000)::bigint as author_id, (day * 100000 + hash(i, 6) % 400000 % 20000)::bigint as room_id,
    (day * 10000000 + hash(i, 6) % 400000)::bigint as segment_id, (hash(i, 7) % 30)::double as segment_age_seconds,
    (date '{date}' + to_seconds((hash(i, 8) % 86400)::int))::timestamp_ms as shown_at,
    case hash(i, 9) % 3 when 0 then 'follow' else 'feed' end as surface, (hash(i, 10) % 120)::double as minute_in_room,
    (hash(i, 11) % 5 = 0)::tinyint as click, (hash(i, 11) % 15 = 0)::tinyint as long_view,
    (hash(i, 12) % 300)::double as watch_seconds
from range({rows}) t(i), (select {day} as day)
"""


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000, help="impressions of each of the two days")
    add_json_option(parser)
    arguments = parser.parse_args()
    rows, out = arguments.rows, JsonRows(arguments.json, seed=0)
    config, days = DriftConfig(), [date(2025, 6, 8), date(2025, 6, 9)]
    with tempfile.TemporaryDirectory() as scratch:
        marts = Path(scratch)
        for number, day in enumerate(days, 1):
            for mart, query in (("segments", SEGMENTS), ("interactions", INTERACTIONS)):
                file = partition(marts, mart, day)
                file.parent.mkdir(parents=True)
                duckdb.sql(query.format(day=number, date=day, rows=rows)).write_parquet(str(file))
        rng = np.random.default_rng(out.seed)
        vectors = [rng.normal(size=(20_000, 64)).astype(np.float32) for _ in days]
        rooms = [np.arange(20_000) % 5_000 + shift for shift in (0, 10_000)]
        scores = [pd.Series(rng.uniform(0.01, 0.4, rows), index=np.arange(rows) + number * 10_000_000) for number in (1, 2)]
        started = time.perf_counter()
        frames = [day_frame(marts, [day], config, scores=series) for day, series in zip(days, scores, strict=True)]
        sampling = time.perf_counter() - started
        words = [room_words(marts, [day], config) for day in days]
        read = time.perf_counter() - started
        reference, current = (
            DriftSide(
                frames[side],
                words[side],
                room_surprise(marts, days[side], scores[side]),
                dict.fromkeys(("raw_llm", "tuned_llm", "aligned"), vectors[side]),
                rooms[side],
            )
            for side in (0, 1)
        )
        result = drift_report(reference, current, config, marts)
        seconds = time.perf_counter() - started
    assert days[1] - days[0] == timedelta(days=1)
    peak, rooms_read = psutil.Process().memory_info().rss / 2**30, sum(frame["room_id"].nunique() for frame in words)
    print(
        f"{rows:,} impressions a day: {seconds:.1f} s ({sampling:.1f} s of it reading and sampling, "
        f"{read - sampling:.1f} s the words of {rooms_read:,} rooms), {peak:.2f} GiB at the end"
    )
    print(result.sentence())
    for name, value, unit in (
        ("drift report", seconds, "s"),
        ("drift report: reading and sampling", sampling, "s"),
        ("drift report: words", read - sampling, "s"),
        ("drift report: rooms whose words were read", rooms_read, "rooms"),
        ("drift report: memory at the end", peak, "GiB"),
    ):
        out.add(f"{name}, {rows:,} impressions a day", value, unit)
    out.write()


if __name__ == "__main__":
    main()
