"""What a number with too wide an interval is shown as, in reports and tables: its interval, and that it cannot be told."""

from collections.abc import Callable

import numpy as np

from livealign.metrics import Interval

TOO_FEW = "too few to tell"


def with_interval(interval: Interval | None, least_users: int = 0, form: Callable[[float], str] = "{:+.4f}".format) -> str:
    """The interval, then its number or `TOO_FEW`; empty where there is nothing to show.

    A difference cannot be told where its interval holds zero and is, on either side, wider than the difference itself; a
    difference or a value cannot where it is of fewer than `least_users` users.
    """
    if interval is None or not np.isfinite([interval.difference, interval.low, interval.high]).all():
        return ""
    few = interval.n_users < least_users or wider_than_effect(interval)
    return f"[{form(interval.low)}, {form(interval.high)}] {TOO_FEW if few else form(interval.difference)}"


def wider_than_effect(interval: Interval) -> bool:
    """Whether the interval holds zero and its half width is more than the difference."""
    half_width = (interval.high - interval.low) / 2
    return interval.low <= 0 <= interval.high and half_width > abs(interval.difference)
