"""The statistics of segments by pandas, in memory, as the baseline of `at_scale.py`.

There are two ways, which differ in how a session is laid out over its windows: the usual one (a `date_range` for each session,
exploded), and a vectorised one (rows repeated by a vector of counts).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

WINDOW = pd.Timedelta(seconds=30)
CAP = pd.Timedelta(hours=6)
STATISTICS = (
    *("n_viewers", "n_entered", "n_left", "retention", "n_comments", "n_commenters", "n_likes", "n_gifts"),
    *("n_shares", "n_follows"),
)


def by_date_ranges(plays: pd.DataFrame) -> pd.DataFrame:
    """The sessions, a row for each window from `first` to `last`: the usual way.

    A window is Unix seconds // 30.
    """
    windows = [
        pd.date_range(first, last, freq=WINDOW)
        for first, last in zip(_begin_of(plays["first"]), _begin_of(plays["last"]), strict=True)
    ]
    present = plays.assign(window=windows).explode("window")
    return present.assign(window=_window(present["window"].astype("datetime64[ms]")))


def by_repeats(plays: pd.DataFrame) -> pd.DataFrame:
    """The same without a Python object for each session."""
    present = plays.loc[plays.index.repeat(plays["last"] - plays["first"] + 1)]
    return present.assign(window=present["first"] + present.groupby(level=0).cumcount())


def segment_statistics(landing: Path, lay_out: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """STATISTICS of every segment, indexed by room_id and window (Unix seconds // 30)."""
    rooms = _read(landing, "rooms", ["room_id", "started_at", "ended_at"])
    plays = _read(landing, "plays", ["play_id", "user_id", "room_id", "entered_at", "left_at"])
    viewers = _viewers(plays, rooms, lay_out)
    comments = _read(landing, "comments", ["room_id", "user_id", "sent_at", "is_bot"]).query("not is_bot")
    chat = _by_window(comments, "sent_at")
    parts = [viewers, chat.size().rename("n_comments"), chat["user_id"].nunique().rename("n_commenters")]
    parts += [
        _by_window(_read(landing, table, ["room_id", "at", "count"]), "at")["count"].sum().rename(f"n_{table}")
        for table in ("likes", "gifts")
    ]
    parts += [
        _by_window(_read(landing, table, ["room_id", "at"]), "at").size().rename(f"n_{table}")
        for table in ("shares", "follows")
    ]
    segments = pd.concat(parts, axis=1)
    counts = segments.columns.drop("retention")
    segments[counts] = segments[counts].fillna(0).astype("int64")
    within = segments.reset_index().merge(rooms, on="room_id")
    ended = within["ended_at"].fillna(pd.Timestamp("2100-01-01"))
    here = (within["window"] >= _window(within["started_at"])) & (within["window"] <= _last_window(ended, within["started_at"]))
    return within[here].set_index(["room_id", "window"])[list(STATISTICS)]


def _viewers(plays: pd.DataFrame, rooms: pd.DataFrame, lay_out: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """n_viewers, n_entered, n_left and retention of each segment, from sessions laid out over their windows."""
    plays = plays.merge(rooms, on="room_id")
    plays["until"] = plays[["left_at", "ended_at"]].min(axis=1).fillna(pd.Timestamp("2100-01-01"))
    plays["until"] = np.maximum(plays["entered_at"], np.minimum(plays["until"], plays["entered_at"] + CAP))
    plays = plays[(plays["until"] >= plays["started_at"]) & (plays["entered_at"] < plays["ended_at"].fillna(plays["until"]))]
    plays["since"] = np.maximum(plays["entered_at"], plays["started_at"])
    plays["first"], plays["last"] = _window(plays["since"]), _last_window(plays["until"], plays["since"])

    present = lay_out(plays[["room_id", "user_id", "since", "until", "first", "last"]])
    begins = _begin_of(present["window"])
    present["at_start"] = (present["since"] <= begins) & (begins < present["until"])
    present["at_end"] = (present["since"] <= begins + WINDOW) & (begins + WINDOW < present["until"])
    by_viewer = present.groupby(["room_id", "window", "user_id"])[["at_start", "at_end"]].any()
    by_viewer["retained"] = by_viewer["at_start"] & by_viewer["at_end"]
    by_window = by_viewer.groupby(["room_id", "window"]).agg(
        n_viewers=("at_start", "size"), n_at_start=("at_start", "sum"), n_retained=("retained", "sum")
    )
    return pd.DataFrame(
        {
            "n_viewers": by_window["n_viewers"],
            "n_entered": plays.groupby(["room_id", "first"]).size().rename_axis(["room_id", "window"]),
            "n_left": plays.groupby(["room_id", "last"]).size().rename_axis(["room_id", "window"]),
            "retention": by_window["n_retained"] / by_window["n_at_start"].replace(0, np.nan),
        }
    )


def _by_window(rows: pd.DataFrame, time: str) -> "pd.api.typing.DataFrameGroupBy":
    return rows.assign(window=_window(rows[time])).groupby(["room_id", "window"])


def _begin_of(windows: pd.Series) -> pd.Series:
    return pd.to_datetime(windows * 30, unit="s").astype("datetime64[ms]")


def _window(times: pd.Series) -> pd.Series:
    return times.dt.floor("30s").astype("datetime64[s]").astype("int64") // 30


def _last_window(until: pd.Series, since: pd.Series) -> pd.Series:
    """The window of the last instant before `until`, but not before that of `since`."""
    return _window(np.maximum(until - pd.Timedelta(milliseconds=1), since))


def _read(landing: Path, table: str, columns: list[str]) -> pd.DataFrame:
    return pd.concat(
        [pd.read_parquet(path, columns=columns) for path in sorted((landing / table).glob("dt=*/*.parquet"))], ignore_index=True
    )
