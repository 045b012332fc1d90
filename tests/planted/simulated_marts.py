"""Marts for drift straight from a simulated archive: seconds instead of a warehouse."""

from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.random_projection import GaussianRandomProjection

from livealign.days import partition

SEGMENTS = """
with parts as (
    select room_id, epoch_ms(ended_at) // 30000 as part, text as speech_text, null as chat_text, null as viewer from speech
    union all
    select room_id, epoch_ms(sent_at) // 30000, null, text, user_id from comments where not is_bot
),
windows as (
    select room_id, category, language,
        unnest(generate_series(epoch_ms(started_at) // 30000, epoch_ms(coalesce(ended_at, started_at)) // 30000)) as part
    from rooms
)
select (hash(windows.room_id, windows.part) >> 1)::bigint as segment_id, windows.room_id, windows.part,
    any_value(category) as category, any_value(language) as language,
    coalesce(string_agg(speech_text, ' ' order by speech_text), '') as speech_text,
    coalesce(string_agg(chat_text, ' ' order by chat_text), '') as chat_text,
    count(chat_text) as n_comments, count(distinct viewer) as n_viewers
from windows left join parts using (room_id, part)
group by windows.room_id, windows.part
order by segment_id
"""
INTERACTIONS = """
select impressions.impression_id, impressions.user_id, impressions.author_id, impressions.room_id, segments.segment_id,
    impressions.shown_at, impressions.surface,
    epoch_ms(impressions.shown_at) % 30000 / 1000.0 as segment_age_seconds,
    (epoch_ms(impressions.shown_at) - epoch_ms(rooms.started_at)) / 60000.0 as minute_in_room,
    (plays.play_id is not null)::tinyint as click,
    coalesce((epoch_ms(plays.left_at) - epoch_ms(plays.entered_at)) / 1000.0, 0) as watch_seconds,
    coalesce(epoch_ms(plays.left_at) - epoch_ms(plays.entered_at) >= 60000, false)::tinyint as long_view
from impressions
join rooms using (room_id)
left join plays using (impression_id)
left join segments on segments.room_id = impressions.room_id and segments.part = epoch_ms(impressions.shown_at) // 30000 - 1
order by impressions.impression_id
"""


TASTE_SCORES = """
select impressions.impression_id, p_click, truth.user, topic
from read_parquet($truth || '/impressions/dt=' || $day || '/part-0.parquet', hive_partitioning = false) truth
join read_parquet($archive || '/dt=' || $day || '/impressions.parquet', hive_partitioning = false) impressions
    using (impression_id)
join read_parquet($truth || '/segments/dt=' || $day || '/part-0.parquet', hive_partitioning = false) moments
    on moments.room_id = impressions.room_id and moments.window = epoch_ms(impressions.shown_at) // 30000
"""


class SimulatedMarts(NamedTuple):
    """Marts of some days, and a stand-in for the embedding of each segment."""

    folder: Path
    day: NDArray  # [segments] str
    segment_id: NDArray[np.int64]  # [segments]
    room_id: NDArray[np.int64]  # [segments]
    vectors: NDArray[np.float64]  # [segments, 16] hashed words, projected
    codes: pd.Series  # segment_id → cluster of its vector


def simulated_marts(archive: Path, folder: Path, fitted_days: int, seed: int) -> SimulatedMarts:
    """Write `segments` and `interactions` of every archived day.

    Clusters are fitted to the first `fitted_days`.
    """
    by_day = []
    for source in sorted(archive.glob("dt=*")):
        with duckdb.connect() as connection:
            for table in ("rooms", "speech", "comments", "impressions", "plays"):
                connection.execute(f"create view {table} as from read_parquet('{source / table}.parquet')")
            connection.execute(f"create table segments as {SEGMENTS}")
            segments = connection.execute("from segments").df()
            for mart, query in (("segments", "from segments"), ("interactions", INTERACTIONS)):
                file = folder / mart / source.name / "part-0.parquet"
                file.parent.mkdir(parents=True)
                connection.execute(f"copy ({query}) to '{file}' (format parquet)")
        by_day.append(segments.assign(day=source.name.removeprefix("dt=")))
    every = pd.concat(by_day, ignore_index=True)
    words = HashingVectorizer(n_features=512, alternate_sign=False).transform(every["speech_text"] + " " + every["chat_text"])
    vectors = np.asarray(GaussianRandomProjection(16, random_state=seed).fit_transform(words))
    days = every["day"].to_numpy()
    fitted = vectors[np.isin(days, sorted(set(days))[:fitted_days])]
    clusters = KMeans(12, n_init=1, random_state=seed).fit(fitted[::5]).predict(vectors)
    ids = every["segment_id"].to_numpy()
    return SimulatedMarts(folder, days, ids, every["room_id"].to_numpy(), vectors, pd.Series(clusters, index=ids))


def taste_scores(archive: Path, day: date, known: date) -> pd.Series:
    """Click probabilities of the day's impressions by a champion that knows the topics.

    It knows the tastes of the day `known`.
    """
    truth = archive / "truth"
    with duckdb.connect() as connection:
        shown = connection.execute(TASTE_SCORES, {"archive": str(archive), "truth": str(truth), "day": str(day)}).df()
    now, then = (np.stack(pd.read_parquet(partition(truth, "tastes", one), partitioning=None)["taste"]) for one in (day, known))
    p, moment = shown["p_click"].to_numpy(np.float64), (shown["user"], shown["topic"])
    return pd.Series(1 / (1 + (1 - p) / p * np.exp(now[moment] - then[moment])), index=shown["impression_id"])
