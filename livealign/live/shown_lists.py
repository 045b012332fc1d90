"""A shown list as records of the event log: its propensities, and its impressions."""

from livealign.evaluation.tallies import Arm
from livealign.events.models import ImpressionShown, ListShown
from livealign.live.answers import Recommendations


def records_of(user_id: int, answer: Recommendations) -> list[ListShown | ImpressionShown]:
    """The record of the list, then its impressions, best first.

    A client that reports an impression under the same event id sends a duplicate.
    """
    arm = answer.arm
    shown = ListShown(
        event_id=f"list:{answer.request_id}",
        at=answer.at,
        user_id=user_id,
        request_id=answer.request_id,
        release=answer.model_version,
        experiment=None if arm is None else arm.experiment,
        challenger=arm is not None and arm.challenger,
        share=1.0 if arm is None else arm.share,
        language=answer.context.language or None,
        country=answer.context.country or None,
        rooms=tuple(room.room_id for room in answer.rooms),
        propensities=tuple(room.propensity for room in answer.rooms),
    )
    return [shown, *(_impression(user_id, answer, position) for position in range(len(answer.rooms)))]


def arm_of(shown: ListShown) -> Arm:
    """The arm that a logged list is counted for."""
    return Arm(shown.release, shown.experiment, shown.challenger, shown.share)


def _impression(user_id: int, answer: Recommendations, position: int) -> ImpressionShown:
    room = answer.rooms[position]
    return ImpressionShown(
        event_id=f"{answer.request_id}:{room.room_id}",
        at=answer.at,
        room_id=room.room_id,
        author_id=room.author_id,
        user_id=user_id,
        request_id=answer.request_id,
        position=position,
        surface=answer.surface,
        score=room.scores["click"],
        model_version=answer.model_version,
    )
