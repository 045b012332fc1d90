"""The days that a retrain is judged on: its own, and earlier ones if that has too few users.

    judged_days(home.marts, day, profile.dataset, profile.evaluation)    # (day,) where the day has enough users

A thin platform's day has too few users to judge a release. Earlier days of the training window are then judged too, newest
first (`livealign.retrain.rolling` scores them). The LLM's adapter must not have been tuned on any of them.

This module imports nothing that trains: the adapter's asset needs it, and no edit of a later stage may make the adapter stale.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from livealign.config import DatasetConfig, EvaluationConfig
from livealign.dataset.columns import floats, ints, milliseconds
from livealign.dataset.marts import built_days, read_mart
from livealign.days import day_range, end_of
from livealign.metrics import user_auc

LEAST_TRAIN_DAYS = 3  # before a judged day: models of fewer know too little of users and authors to represent the method


def judged_days(marts: Path, day: date, dataset: DatasetConfig, config: EvaluationConfig) -> tuple[date, ...]:
    """`day`, and before it as many days as are needed for enough users, oldest first.

    Days without impressions are left out. If all candidates together have too few users, all are returned.
    """
    users, days = _users_with_both_classes(marts, day), [day]
    for earlier in reversed(_candidates(marts, day, dataset, config)):
        if len(days) >= config.most_days or (len(users) >= config.least_users and len(days) >= config.least_days):
            break
        if read_mart(marts, "interactions", [earlier], ["user_id"]).num_rows:
            users |= _users_with_both_classes(marts, earlier)
            days.append(earlier)
    return tuple(reversed(days))


def days_to_tune_on(
    marts: Path, day: date, training_days: Sequence[date], dataset: DatasetConfig, config: EvaluationConfig
) -> list[date]:
    """The training days that the LLM's adapter may be tuned on.

    All of them; where earlier days are judged, those before the first that could be judged. It is not the first that is judged,
    so that later retrains can keep the adapter.
    """
    if len(judged_days(marts, day, dataset, config)) == 1:
        return list(training_days)
    first = _candidates(marts, day, dataset, config)[0]
    return [training_day for training_day in training_days if training_day < first]


def _candidates(marts: Path, day: date, dataset: DatasetConfig, config: EvaluationConfig) -> list[date]:
    """The days of the training window that may be judged, oldest first: its second half."""
    window = day_range(day - timedelta(days=dataset.train_days), day - timedelta(days=1))
    built = sorted(set(window) & set(built_days(marts, "interactions")))
    later = built[max(LEAST_TRAIN_DAYS, len(built) // 2) :]
    return later[max(0, len(later) - (config.most_days - 1)) :]


def _users_with_both_classes(marts: Path, day: date) -> set[int]:
    """Users with a click and a skip on the day that were both known at its end."""
    shown = read_mart(marts, "interactions", [day], ["user_id", "click", "click_known_at"])
    click = np.where(milliseconds(shown, "click_known_at") > end_of(day), np.nan, floats(shown, "click"))
    per_user = user_auc(np.zeros(len(click)), click, ints(shown, "user_id"))
    return set(per_user.users[per_user.evaluable].tolist())
