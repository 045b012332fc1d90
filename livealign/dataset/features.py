"""The dense features of an impression, computed by one function for training and serving."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# Counts of a window, with these names in the mart `segments`, in snapshots and in the live state.
COUNTS = ("n_viewers", "n_comments", "n_commenters", "n_likes", "n_gifts", "n_entered", "n_left")
WINDOW_COUNTS = (*COUNTS, "retention")  # retention: share of viewers at the window's start still there at its end
# Running counts of a user and of an author.
USER_COUNTS = ("impressions", "clicks")
AUTHOR_COUNTS = ("impressions", "clicks", "long_views")
# Inputs of `feature_matrix`; a column that is absent or NaN counts as unknown.
COLUMNS = (
    "minute_in_room",  # minutes since the room started
    "segment_age_seconds",  # seconds since the last ended window of the room ended
    *WINDOW_COUNTS,  # of that window
    "author_impressions",  # running counts up to the previous day
    "author_clicks",
    "author_long_views",
    "room_impressions",  # of today, with known outcome (livealign.dataset.room_outcomes)
    "room_clicks",
    "user_impressions",
    "user_clicks",
)
FEATURES = (
    "minute_in_room",
    "segment_age",
    "viewers",
    "comments",
    "commenters",
    "likes",
    "gifts",
    "entered",
    "left",
    "retention",
    "author_impressions",
    "author_click_rate",
    "author_long_view_rate",
    "room_impressions",
    "room_click_rate",
    "user_impressions",
    "user_click_rate",
)
ROOM_FEATURES = 15  # the first ones, which do not depend on the user
USER_FEATURES = slice(ROOM_FEATURES, len(FEATURES))  # depend on the user alone: inputs of the user tower
_SMOOTHING = 20.0  # impressions at the base rate that an id's own counts are mixed with


def feature_matrix(columns: Mapping[str, NDArray], base_rates: Mapping[str, float], length: int) -> NDArray[np.float32]:
    """Features of `length` impressions, float32 [length, len(FEATURES)].

    Unknown values are NaN; models replace them by the mean. Counts are log1p; rates are smoothed towards `base_rates`
    ("click", "long_view": shares of impressions in training).

    Args:
        columns: any of COLUMNS, each [length]; counts of people and actions, minutes and seconds as named.
    """

    def column(name: str) -> NDArray[np.float64]:
        values = columns.get(name)
        return np.full(length, np.nan) if values is None else np.asarray(values, dtype=np.float64)

    def log_count(name: str) -> NDArray[np.float64]:
        return np.log1p(np.maximum(column(name), 0.0))

    def rate(hits: str, trials: str, base: float) -> NDArray[np.float64]:
        return (column(hits) + _SMOOTHING * base) / (column(trials) + _SMOOTHING)

    matrix = np.column_stack(
        [
            log_count("minute_in_room"),
            log_count("segment_age_seconds"),
            *(log_count(name) for name in COUNTS),
            column("retention"),
            log_count("author_impressions"),
            rate("author_clicks", "author_impressions", base_rates["click"]),
            rate("author_long_views", "author_impressions", base_rates["long_view"]),
            log_count("room_impressions"),
            rate("room_clicks", "room_impressions", base_rates["click"]),
            log_count("user_impressions"),
            rate("user_clicks", "user_impressions", base_rates["click"]),
        ]
    )
    return matrix.astype(np.float32)
