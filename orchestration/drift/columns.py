"""The columns whose drift is measured, one row for each impression, read from the marts."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from livealign.days import partition as day_partition
from livealign.errors import LiveAlignError
from livealign.files import duckdb_path
from livealign.operation_config import DriftConfig

SCORE = "score"  # of the champion; a side may lack it because it was not scored, which is not drift
NUMERIC = (
    "text_characters",  # of speech and chat in the segment shown; null if no window had ended
    "is_empty",  # 1 if the segment has no text
    "latin_share",  # of its letters: separates scripts where the platform gives no language; null without letters
    "n_comments",  # in that segment
    "n_viewers",  # in that segment
    "has_content",  # 1 if a window had ended when the room was shown
    "minute_in_room",
    "segment_age_seconds",
    "click",
    "long_view",
    "watch_seconds",
    SCORE,  # the champion's click probability, if scored
)
CATEGORICAL = (
    "category",
    "language",  # of the room, as the platform names it
    "surface",
    "user_activity",  # band of the user's impressions on that day
    "author_popularity",  # band of the author's share of that day's impressions
    "code_1",  # level-one code of the segment, if codes are given
)
# Measured by room, not by impression: `orchestration.drift.words`, `orchestration.drift.surprise`.
NEW_WORDS, SURPRISE = "new_words", "surprise"
CONTENT = (  # drift of these requests an LLM re-tune
    *("text_characters", "is_empty", "latin_share", "has_content", "category", "language", "code_1"),
    NEW_WORDS,
)
NO_VALUE = "(none)"


class DriftError(LiveAlignError):
    """The marts or frames for measuring drift are missing, empty or of another form."""


QUERY = r"""
with shown as (
    select *, strftime(shown_at, '%Y-%m-%d') as day
    from read_parquet($interactions, hive_partitioning = false, union_by_name = true)
),
users as (select day, user_id, count(*) as user_impressions from shown group by all),
authors as (
    select day, author_id, count(*) / sum(count(*)) over (partition by day) as author_share from shown group by day, author_id
),
sampled as (
    select * from shown
    qualify row_number() over (partition by day order by hash(impression_id, $seed), impression_id) <= $rows_a_day
),
segments as (
    select segment_id, category, language, n_comments, n_viewers, coalesce(speech_text, '') || coalesce(chat_text, '') as text
    from read_parquet($segments, hive_partitioning = false, union_by_name = true)
)
select
    sampled.day as dt, sampled.room_id, sampled.impression_id, sampled.segment_id,
    length(segments.text) as text_characters, (segments.text = '')::double as is_empty,
    length(regexp_replace(segments.text, '[^\p{Latin}]', '', 'g'))
        / nullif(length(regexp_replace(segments.text, '[^\p{L}]', '', 'g')), 0) as latin_share,
    segments.n_comments, segments.n_viewers,
    (sampled.segment_id is not null)::double as has_content,
    sampled.minute_in_room, sampled.segment_age_seconds, sampled.click, sampled.long_view, sampled.watch_seconds,
    segments.category, segments.language, sampled.surface,
    case when user_impressions < $heavy[1] then 'light' when user_impressions < $heavy[2] then 'regular' else 'heavy' end
        as user_activity,
    case when author_share < $head[1] then 'tail' when author_share < $head[2] then 'torso' else 'head' end as author_popularity
from sampled
join users on users.day = sampled.day and users.user_id = sampled.user_id
join authors on authors.day = sampled.day and authors.author_id = sampled.author_id
left join segments on segments.segment_id = sampled.segment_id
order by dt, impression_id
"""


def day_frame(
    marts: Path,
    days: Sequence[date],
    config: DriftConfig,
    codes: pd.Series | None = None,
    scores: pd.Series | None = None,
) -> pd.DataFrame:
    """The watched columns of these days' impressions, one row for each.

    At most `config.sample_rows` rows in all, spread evenly over the days. The frame of the champion's days is the reference,
    which a release keeps. Only quantities of the day itself are used, never running totals: those grow from day to day and
    would always drift.

    Args:
        marts: folder of `<mart>/dt=YYYY-MM-DD/part-0.parquet`.
        codes: segment_id → level-one code. Reference and day need the same codebook, or the codes differ in meaning.
        scores: impression_id → click probability, by one model for reference and day. Leave out a day that it was trained on:
            a model is less surprised by what it has seen.

    Returns:
        Columns dt (str), room_id (int64), NUMERIC as float64, CATEGORICAL as str; `score` and `code_1` only if given.

    Raises:
        DriftError: a day's marts are missing or unreadable.
    """
    if not days:
        raise DriftError("drift needs at least one day")
    try:
        with duckdb.connect() as connection:
            frame = connection.execute(
                QUERY,
                {
                    "interactions": [duckdb_path(partition(marts, "interactions", day)) for day in days],
                    # A segment shown just after midnight ended the day before.
                    "segments": sorted({duckdb_path(file) for day in days for file in _segment_files(marts, day)}),
                    "seed": config.seed,
                    "rows_a_day": max(config.sample_rows // len(days), 1),
                    "heavy": list(config.heavy_user_impressions),
                    "head": list(config.head_author_share),
                },
            ).df()
    except duckdb.Error as error:
        raise DriftError(f"{marts}: the marts of {days[0]} to {days[-1]} cannot be read ({error}); build them again") from error
    if codes is not None:
        frame["code_1"] = frame["segment_id"].map(codes)
    if scores is not None:
        frame[SCORE] = frame["impression_id"].map(scores)
    return typed(frame)


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame's dt, room_id and watched columns, as float64 and str.

    Reference and day then have the same types, wherever they were read from.
    """
    columns: dict[str, pd.Series] = {"dt": frame["dt"].astype(str), "room_id": frame["room_id"].astype(np.int64)}
    for name in NUMERIC:
        if name in frame:
            values = pd.to_numeric(frame[name], errors="coerce").astype(np.float64)
            columns[name] = values.replace([np.inf, -np.inf], np.nan)
    for name in CATEGORICAL:
        if name in frame:
            columns[name] = frame[name].map(_category).astype(object)
    return pd.DataFrame(columns)


def _category(value: object) -> str:
    if value is None or value != value or value == "":  # NaN is not equal to itself
        return NO_VALUE
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def partition(marts: Path, mart: str, day: date) -> Path:
    """The file of one mart's day.

    Raises:
        DriftError: the file is missing.
    """
    file = day_partition(marts, mart, day)
    if not file.is_file():
        raise DriftError(f"{file} is missing; materialize the mart {mart} of {day}")
    return file


def _segment_files(marts: Path, day: date) -> list[Path]:
    before = day_partition(marts, "segments", day - timedelta(days=1))
    return [partition(marts, "segments", day), *([before] if before.is_file() else [])]
