"""Format of numbers with their interval, in reports and tables.

A number that is too uncertain is replaced by `TOO_FEW`; its interval stays.
"""

from collections.abc import Callable

import numpy as np

from livealign.metrics import Interval

TOO_FEW = "too few to tell"


def with_interval(interval: Interval | None, least_users: int = 0, form: Callable[[float], str] = "{:+.4f}".format) -> str:
    """The interval as text, then its number or `TOO_FEW`.

    Empty if the interval is missing or not finite.
    `TOO_FEW` stands for a number of fewer than `least_users` users, and for one that `wider_than_effect` holds for.
    """
    if interval is None or not np.isfinite([interval.difference, interval.low, interval.high]).all():
        return ""
    few = interval.n_users < least_users or wider_than_effect(interval)
    return f"[{form(interval.low)}, {form(interval.high)}] {TOO_FEW if few else form(interval.difference)}"


def wider_than_effect(interval: Interval) -> bool:
    """Whether the interval includes zero and its half width is more than the difference."""
    half_width = (interval.high - interval.low) / 2
    return interval.low <= 0 <= interval.high and half_width > abs(interval.difference)
