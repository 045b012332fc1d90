"""False alarms of the online test: the champion against itself, looked at every hour.

.venv/bin/python -m benchmarks.quality.always_valid                  # 1,000 experiments of one day
.venv/bin/python -m benchmarks.quality.always_valid --experiments 200 --hours 240 --share 0.05
.venv/bin/python -m benchmarks.quality.always_valid --lift 0.1       # a real difference: how often and how soon it is found

An experiment alarms if any metric is decided at any look. Users differ in how often they come, when, and how gladly they click;
both arms are the same release. Beside the test of the service are two that people use: a z-test at every look, and the same
sequential test with every list counted as if it were a user of its own.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.config import LiveConfig
from livealign.evaluation.list_metrics import METRICS
from livealign.evaluation.sequential import LEAST_USERS, Ratio, compare, ratio_of
from livealign.evaluation.tallies import CLICKS, COUNTED, GIFTS, IMPRESSIONS, LISTS, LONG_VIEWS
from livealign.release.challengers import point_of

Counts = NDArray[np.float64]  # [users, COUNTED]
Decides = Callable[[Counts, Counts, float, float], bool]  # of two arms, the effect looked for, and alpha: whether they differ
ROOMS = 10  # of a list
SEED = 17


@dataclass
class Alarms:
    """The experiments that a test has decided, and at which hour each."""

    hours: list[int] = field(default_factory=list)
    by_metric: dict[str, int] = field(default_factory=lambda: dict.fromkeys(METRICS, 0))


def main() -> None:
    """Print and record the share of experiments that each test decides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1_000)
    parser.add_argument("--hours", type=int, default=24, help="looks at each experiment (default: %(default)s)")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--share", type=float, default=0.5, help="of the challenger (default: %(default)s)")
    parser.add_argument("--lift", type=float, default=0.0, help="by which the challenger's clicks are more likely")
    parser.add_argument("--seed", type=int, default=SEED)
    add_json_option(parser)
    options = parser.parse_args()
    found = alarms(options.experiments, options.hours, options.users, options.share, options.lift, options.seed)
    out, config = JsonRows(options.json, options.seed), LiveConfig()
    kind = f"{options.hours} hours, share {options.share:g}, lift {options.lift:g}"
    print(f"{options.experiments} experiments, {kind}; stated level {config.experiment_level}")
    for name, alarm in found.items():
        share = len(alarm.hours) / options.experiments
        low, high = wilson(len(alarm.hours), options.experiments)
        median = float(np.median(alarm.hours)) if alarm.hours else math.nan
        by_metric = ", ".join(f"{metric} {count / options.experiments:.4f}" for metric, count in alarm.by_metric.items())
        print(f"{name:<44}{share:8.4f}  [{low:.4f}, {high:.4f}]  {by_metric}; median hour {median:g}")
        out.add(f"{kind}: decided by {name}", share, "share of experiments", (low, high), "95 %, Wilson")
        out.add(f"{kind}: median hour of {name}", median, "hours")
    out.write()


def alarms(experiments: int, hours: int, users: int, share: float, lift: float, seed: int) -> dict[str, Alarms]:
    """The experiments that each test has decided at any of the hourly looks."""
    found = {name: Alarms() for name in TESTS}
    effect, alpha = LiveConfig().experiment_effect, LiveConfig().experiment_level / len(METRICS)
    for number in range(experiments):
        rng = np.random.default_rng((seed, number))
        in_arm = np.array([point_of(f"{seed}-{number}", user) < share for user in range(users)])
        counts = np.cumsum(_outcomes(rng, hours, in_arm, lift), axis=0)
        for name, test in TESTS.items():
            decided: dict[str, int] = {}
            for hour in range(hours):
                came = counts[hour][:, LISTS] > 0
                arms = counts[hour][came & ~in_arm], counts[hour][came & in_arm]
                for metric, (top, bottom) in METRICS.items():
                    columns = [arm[:, [top, bottom]] for arm in arms]
                    if metric not in decided and test(*columns, effect, alpha):
                        decided[metric] = hour + 1
            for metric in decided:
                found[name].by_metric[metric] += 1
            if decided:
                found[name].hours.append(min(decided.values()))
    return found


def _outcomes(rng: np.random.Generator, hours: int, in_arm: NDArray[np.bool_], lift: float) -> Counts:
    """[hours, users, COUNTED] what happens in each hour."""
    users = len(in_arm)
    rate = rng.gamma(0.6, 8.0 / 0.6 / 24, users)  # lists an hour: few users come often
    awake = 1 + np.sin(2 * np.pi * (np.arange(hours)[:, None] + rng.uniform(0, 24, users)) / 24)
    lists = rng.poisson(rate * awake)
    click = rng.beta(1.2, 12.0, users) * (1 + lift * in_arm)
    stays, gives = rng.beta(2.0, 3.0, users), rng.beta(0.1, 4.0, users)
    counts = np.zeros((hours, users, len(COUNTED)))
    counts[..., LISTS], counts[..., IMPRESSIONS] = lists, ROOMS * lists
    clicks = rng.binomial(ROOMS * lists, np.minimum(click, 1.0))
    counts[..., CLICKS] = clicks
    counts[..., LONG_VIEWS], counts[..., GIFTS] = rng.binomial(clicks, stays), rng.binomial(clicks, gives)
    return counts


def _sequential(first: Counts, second: Counts, effect: float, alpha: float) -> bool:
    """The test of the service."""
    return compare(ratio_of(*first.T), ratio_of(*second.T), effect, alpha).decided


def _every_look(first: Counts, second: Counts, effect: float, alpha: float) -> bool:
    """A z-test with variances clustered by user, as if this were the only look."""
    a, b = ratio_of(*first.T), ratio_of(*second.T)
    variance = a.variance + b.variance
    enough = min(a.users, b.users) >= LEAST_USERS and variance > 0
    return bool(enough and math.erfc(abs(a.mean - b.mean) / math.sqrt(2 * variance)) <= alpha)


def _each_alone(first: Counts, second: Counts, effect: float, alpha: float) -> bool:
    """The sequential test with the variance of independent events."""

    def alone(counts: Counts) -> Ratio:
        """As if every event were of another user: Σ (y − mean·n)² is Σ y, that of Poisson counts."""
        ratio = ratio_of(*counts.T)
        return ratio._replace(yy=ratio.y, yn=0.0, nn=0.0)

    return compare(alone(first), alone(second), effect, alpha).decided


TESTS: dict[str, Decides] = {
    "the sequential test": _sequential,
    "a z-test at every look": _every_look,
    "the sequential test, not clustered by user": _each_alone,
}


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, centre = count / of, (count + z**2 / 2) / (of + z**2)
    half = z / (1 + z**2 / of) * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


if __name__ == "__main__":
    main()
