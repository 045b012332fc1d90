"""Asset online_report: the releases that were served on a day, by what followed their lists.

It reads what has landed of the service's event log: the lists with their releases and propensities, and the outcomes of their
impressions. A platform that lands no lists has an empty report.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from livealign.config import LiveConfig
from livealign.evaluation.list_metrics import ArmReport, Difference, arm_reports, differences, of_experiment
from livealign.evaluation.off_policy import OffPolicyValue, release_values
from livealign.evaluation.shown_lists import shown_impressions
from livealign.files import replace_json
from livealign.home import Home

FILE = "online.json"
FORMAT = 1


@dataclass(frozen=True)
class OnlineReport:
    """The day's lists by experiment and release."""

    impressions: int
    arms: dict[str, list[ArmReport]]  # by experiment, the champion first; "" for releases served alone
    differences: dict[str, list[Difference]]  # by experiment
    values: dict[str, OffPolicyValue]  # by release: its click rate if it had served all users
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, None for what is not defined."""
        return {
            "impressions": self.impressions,
            "level": self.level,
            "arms": {name: [_arm(arm) for arm in arms] for name, arms in self.arms.items()},
            "differences": {name: [one._asdict() for one in found] for name, found in self.differences.items()},
            "values": {name: value_dict(value) for name, value in self.values.items()},
        }


def report_online_day(home: Home, day: date, config: LiveConfig, folder: Path) -> OnlineReport:
    """Compute the day's report and write `online.json` to the folder."""
    shown = shown_impressions(home.landing, home.marts, day)
    tallies = shown.tallies()
    effect, level = config.experiment_effect, config.experiment_level
    experiments = sorted({tally.arm.experiment for tally in tallies if tally.arm.experiment is not None})
    by_experiment = {name: of_experiment(tallies, name) for name in experiments}
    alone = of_experiment(tallies, None)
    report = OnlineReport(
        len(shown),
        {name: arm_reports(arms, effect, level) for name, arms in [*by_experiment.items(), *([("", alone)] if alone else [])]},
        {name: differences(arms, effect, level) for name, arms in by_experiment.items()},
        release_values(shown.release, shown.click, shown.share, shown.user),
        level,
    )
    replace_json(folder / FILE, report.to_dict(), FORMAT)
    return report


def value_dict(value: OffPolicyValue) -> dict[str, Any]:
    """An off-policy value as plain numbers, None for NaN."""
    return {name: None if number != number else number for name, number in value._asdict().items()}


def tables(report: OnlineReport) -> dict[str, str]:
    """The report as Markdown tables by name, for the metadata of the asset."""
    arms = ["| experiment | release | share | users | lists | CTR | long views per list | gifts per list |", "|" + "---|" * 8]
    for name, found in report.arms.items():
        for arm in found:
            metrics = " | ".join(_with_ends(*metric) for metric in arm.metrics.values())
            role = f"{arm.release_id}{' (challenger)' if arm.challenger else ''}"
            users = f"{arm.users:,} | {arm.counts['lists']:,}"
            arms.append(f"| {name or '–'} | {role} | {arm.share:.2%} | {users} | {metrics} |")
    compared = ["| experiment | challenger | metric | difference | p | decided |", "|" + "---|" * 6]
    for name, rows in report.differences.items():
        for one in rows:
            difference = _with_ends(one.difference, one.low, one.high)
            cells = (name, one.challenger, one.metric, difference, f"{one.p_value:.4f}", "yes" if one.decided else "no")
            compared.append(f"| {' | '.join(cells)} |")
    values = ["| release | CTR if it served all | effective sample | impressions |", "|" + "---|" * 4]
    for release, value in report.values.items():
        ends = _with_ends(*(None if number != number else number for number in value[:3]))
        values.append(f"| {release} | {ends} | {value.effective:,.0f} | {value.rows:,} |")
    return {"arms": "\n".join(arms), "differences": "\n".join(compared), "off_policy": "\n".join(values)}


def _arm(arm: ArmReport) -> dict[str, Any]:
    metrics = {name: metric._asdict() for name, metric in arm.metrics.items()}
    return {**{name: value for name, value in arm._asdict().items() if name != "since"}, "metrics": metrics}


def _with_ends(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if low is None or high is None else f"{low:.4f} to {high:.4f}, {value:.4f}"
