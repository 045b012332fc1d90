"""The answer of GET /experiments as pydantic models."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from bentos.live_recommender.json_answers import timestamp
from livealign.evaluation.list_metrics import ArmReport

if TYPE_CHECKING:  # its imports load torch
    from livealign.live.experiment import ExperimentReport


class OnlineMetric(BaseModel):
    """One metric of an arm with its confidence sequence, which holds at every look."""

    value: float | None = Field(description="Null without any list.")
    low: float | None = Field(description="Null while the arm has too few users, and outside of an experiment.")
    high: float | None


class OutcomeCounts(BaseModel):
    """What followed the lists of an arm."""

    lists: int
    impressions: int
    clicks: int
    long_views: int
    gifts: int = Field(description="Clicks that led to a gift.")


class ExperimentArm(BaseModel):
    """The outcomes of one release."""

    release_id: str
    challenger: bool
    share: float = Field(description="Of the users.")
    since: datetime = Field(description="Of its first list.")
    users: int | None = Field(description="Null outside of an experiment, where users are not counted.")
    counts: OutcomeCounts
    metrics: dict[str, OnlineMetric] = Field(description="By name: ctr, long_views_per_list, gifts_per_list.")


class ExperimentDifference(BaseModel):
    """One metric of a challenger minus the champion's.

    The test may be looked at at any time.
    """

    challenger: str
    metric: str
    difference: float | None
    low: float | None = Field(description="Of the confidence sequence; null while there are too few users.")
    high: float | None
    p_value: float = Field(description="Always valid; compare it with the level divided by the number of differences.")
    decided: bool = Field(description="The two differ, at the level of the whole experiment.")


class ShadowLists(BaseModel):
    """The lists that a challenger in the shadow has ranked too."""

    lists: int
    left_out: int = Field(description="Lists that came faster than they could be compared.")
    overlap: float | None = Field(description="Mean share of a list that the challenger would have shown too; null before any.")
    rank_correlation: float | None = Field(
        description="Mean of Kendall's tau, of the rooms that were shown; null while `ranked` is 0."
    )
    ranked: int = Field(description="Lists with at least two rooms, which have a rank correlation.")


class ServedChallenger(BaseModel):
    """A release that is served beside the champion."""

    release_id: str
    share: float
    shadow: bool = Field(description="It ranks, and nobody sees its lists.")
    loaded: bool = Field(description="False while it is loaded, or if it cannot be: its users get the champion's lists.")
    windows_waiting: int = Field(description="Windows that it has not encoded yet.")
    compared: ShadowLists | None = Field(description="Of a challenger in the shadow.")


class Experiments(BaseModel):
    """What is served side by side, and what came of it so far."""

    champion: str
    experiment: str | None = Field(description="Null while no user sees a challenger. Another one with each change of shares.")
    since: datetime | None
    begun: bool = Field(description="Lists are counted: every challenger is loaded, or cannot be.")
    level: float = Field(description="Probability of any false decision, all differences and all looks together.")
    challengers: list[ServedChallenger]
    arms: list[ExperimentArm] = Field(description="Of the experiment, the champion first.")
    differences: list[ExperimentDifference]
    alone: list[ExperimentArm] = Field(description="Releases while each was served alone.")


def experiments_json(report: "ExperimentReport") -> dict[str, Any]:
    """An Experiments as JSON values."""
    return {
        **report._asdict(),
        "since": None if report.since is None else timestamp(report.since),
        "challengers": [
            {**one._asdict(), "compared": None if one.compared is None else one.compared._asdict()}
            for one in report.challengers
        ],
        "arms": [_arm(arm) for arm in report.arms],
        "differences": [one._asdict() for one in report.differences],
        "alone": [{**_arm(arm), "users": None} for arm in report.alone],
    }


def _arm(arm: ArmReport) -> dict[str, Any]:
    metrics = {name: metric._asdict() for name, metric in arm.metrics.items()}
    return {**arm._asdict(), "since": timestamp(arm.since), "metrics": metrics}
