"""The online metrics of releases: CTR, long views and gifts per list.

They come with confidence sequences and are compared by a test that may be looked at at any time
(`livealign.evaluation.sequential`). Its level is shared by all comparisons of an experiment.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from livealign.evaluation.sequential import Ratio, compare, interval_of
from livealign.evaluation.tallies import CLICKS, COUNTED, GIFTS, IMPRESSIONS, LISTS, LONG_VIEWS, Arm, Tally

METRICS = {  # name → columns of COUNTED: what is counted, and per what
    "ctr": (CLICKS, IMPRESSIONS),
    "long_views_per_list": (LONG_VIEWS, LISTS),
    "gifts_per_list": (GIFTS, LISTS),
}


class Metric(NamedTuple):
    """One metric of an arm."""

    value: float | None  # None without any list
    low: float | None  # confidence sequence; None while it is not bounded, and outside of an experiment
    high: float | None


class ArmReport(NamedTuple):
    """The outcomes of one arm so far."""

    release_id: str
    challenger: bool
    share: float  # of the users
    since: int  # epoch milliseconds of its first list
    users: int  # 0 outside of an experiment, where users are not counted
    counts: dict[str, int]  # by COUNTED
    metrics: dict[str, Metric]


class Difference(NamedTuple):
    """One metric of a challenger minus the champion's."""

    challenger: str
    metric: str
    difference: float | None
    low: float | None  # confidence sequence; None while it is not bounded
    high: float | None
    p_value: float  # always valid, of this comparison
    decided: bool  # they differ, at the level of the experiment


def arm_reports(tallies: Iterable[Tally], effect: float, level: float) -> list[ArmReport]:
    """Every arm with its metrics."""
    reports = []
    for tally in tallies:
        ratios = {name: ratio(tally, name) for name in METRICS}
        metrics = {
            name: Metric(_finite(one.mean), *map(_finite, interval_of(one, effect, level))) for name, one in ratios.items()
        }
        release, _, challenger, share = tally.arm
        counts = dict(zip(COUNTED, tally.total, strict=True))
        reports.append(ArmReport(release, challenger, share, tally.since, len(tally.users), counts, metrics))
    return reports


def differences(tallies: Sequence[Tally], effect: float, level: float) -> list[Difference]:
    """Each challenger of one experiment compared with its champion, by metric."""
    champions = [tally for tally in tallies if not tally.arm.challenger]
    challengers = [tally for tally in tallies if tally.arm.challenger]
    if len(champions) != 1:
        return []
    alpha = level / max(len(METRICS) * len(challengers), 1)
    found = []
    for tally in challengers:
        for name in METRICS:
            one = compare(ratio(champions[0], name), ratio(tally, name), effect, alpha)
            ends = (_finite(one.difference), _finite(one.low), _finite(one.high))
            found.append(Difference(tally.arm.release, name, *ends, one.p_value, one.decided))
    return found


def ratio(tally: Tally, name: str) -> Ratio:
    """A metric of an arm; without counted users its variance is not known."""
    top, bottom = METRICS[name]
    products = tally.products
    sums = (tally.total[top], tally.total[bottom], products[top][top], products[top][bottom], products[bottom][bottom])
    return Ratio(len(tally.users), *map(float, sums))


def of_experiment(tallies: Iterable[Tally], experiment: str | None) -> list[Tally]:
    """The arms of one experiment, its champion first; None: the releases that served alone."""
    return sorted((one for one in tallies if one.arm.experiment == experiment), key=lambda one: _order(one.arm))


def _order(arm: Arm) -> tuple[bool, str]:
    return arm.challenger, arm.release


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
