"""The challengers in service beside the champion: whose list is ranked by which release."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from livealign.config import LiveConfig
from livealign.evaluation.list_metrics import ArmReport, Difference, arm_reports, differences, of_experiment
from livealign.evaluation.tallies import Arm
from livealign.live.answers import NOT_COMPARED, ShadowSummary
from livealign.live.lane import Lane
from livealign.release.challengers import Challengers, point_of


@dataclass(frozen=True)
class Experiment:
    """The challengers of one `Challengers` that are loaded so far; replaced as a whole."""

    about: Challengers | None = None  # None: the champion serves alone
    lanes: Mapping[str, Lane] = field(default_factory=dict)  # release → its lane
    refused: frozenset[str] = frozenset()  # releases that cannot be loaded

    @property
    def begun(self) -> bool:
        """Whether lists are counted: no challenger is being loaded, and one that is shown is."""
        if self.about is None:
            return False
        known = {*self.lanes, *self.refused}
        return all(one.release in known for one in self.about.challengers) and any(
            one.release in self.lanes for one in self.about.shown
        )

    def serves(self, user_id: int) -> tuple[Lane | None, Arm | None]:
        """The lane of a user's lists, None for the champion's, and the arm that counts them.

        The users of a challenger that is not loaded get the champion's lists, which are counted for no arm.
        """
        about = self.about
        if about is None or not about.shown:
            return None, None
        point = point_of(about.salt, user_id)
        for one in about.shown:
            if one.serves(point):
                lane = self.lanes.get(one.release)
                counted = lane is not None and self.begun
                return lane, Arm(one.release, about.experiment, True, one.share) if counted else None
        return None, Arm(about.champion, about.experiment, False, about.champion_share) if self.begun else None

    def shadows(self, user_id: int) -> list[tuple[str, Lane]]:
        """The releases that rank for the user and are not shown."""
        if self.about is None:
            return []
        hidden = [one for one in self.about.challengers if one.shadow and one.release in self.lanes]
        point = point_of(self.about.salt, user_id) if hidden else 0.0
        return [(one.release, self.lanes[one.release]) for one in hidden if one.serves(point)]


class ChallengerReport(NamedTuple):
    """A challenger in service."""

    release_id: str
    share: float
    shadow: bool
    loaded: bool  # False: it is being loaded, or cannot be, and its users get the champion's lists
    windows_waiting: int  # not encoded by it yet
    compared: ShadowSummary | None  # of a shadow


class ExperimentReport(NamedTuple):
    """What is served, and what came of it so far."""

    champion: str
    experiment: str | None  # None: no user sees a challenger
    since: int | None  # epoch milliseconds
    begun: bool  # lists are counted for it
    level: float  # of all comparisons together
    challengers: list[ChallengerReport]
    arms: list[ArmReport]  # of the experiment, the champion first
    differences: list[Difference]
    alone: list[ArmReport]  # releases while they were served alone


def report_of(main: Lane, running: Experiment, shadows: Mapping[str, ShadowSummary], config: LiveConfig) -> ExperimentReport:
    """The report of a core; the caller holds the lock of the main lane's state."""
    about = running.about
    experiment = about.experiment if about is not None and about.shown else None
    tallies = list(main.state.list_outcomes)
    ours = [] if experiment is None else of_experiment(tallies, experiment)
    effect, level = config.experiment_effect, config.experiment_level
    challengers = []
    for one in () if about is None else about.challengers:
        lane = running.lanes.get(one.release)
        waiting = 0 if lane is None else int(lane.state.view().waiting.sum())
        compared = shadows.get(one.release, NOT_COMPARED) if one.shadow else None
        challengers.append(ChallengerReport(one.release, one.share, one.shadow, lane is not None, waiting, compared))
    return ExperimentReport(
        main.serving.release_id,
        experiment,
        None if experiment is None or about is None else about.since,
        running.begun,
        level,
        challengers,
        arm_reports(ours, effect, level),
        differences(ours, effect, level),
        arm_reports(of_experiment(tallies, None), effect, level),
    )
