"""Test for changed tastes: how much the day's clicks surprise the champion.

The surprise is compared with that of the champion's held-out day. A change of tastes moves no average: there are as many
clicks as before, by other users. A model that knew the tastes shows it. The measure is its log loss beyond the loss that its
own probabilities predict, so that rooms that are harder to predict do not look like change. It is averaged over all
impressions of two days, because a change of a tenth of the users is lost in the spread of single clicks.
"""

from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from livealign.files import duckdb_path
from livealign.operation_config import DriftConfig
from orchestration.drift.chance import RoomPermutations, RoomTest, chance_threshold, p_value
from orchestration.drift.columns import DriftError, partition

# Probabilities are clipped: one mistake made with certainty must not be all of a day's surprise.
QUERY = """
with shown as (
    select interactions.room_id, interactions.click::double as click, greatest(1e-6, least(1 - 1e-6, scores.score)) as p
    from read_parquet($interactions, hive_partitioning = false) interactions  -- their own `score` is that of who served them
    join scores using (impression_id)
    where interactions.click is not null and scores.score is not null
)
select room_id, count(*) as impressions,
    sum(p * ln(p) + (1 - p) * ln(1 - p) - click * ln(p) - (1 - click) * ln(1 - p)) as excess
from shown group by room_id order by room_id
"""


def room_surprise(marts: Path, day: date, scores: pd.Series) -> pd.DataFrame:
    """The excess surprise of the model at the day's clicks, by room.

    Args:
        marts: folder of `interactions/dt=YYYY-MM-DD/part-0.parquet`.
        scores: impression_id → click probability, by a model that was not trained on the day.

    Returns:
        A row for each room: room_id (int64), impressions (int64) that have a score and a known click, and excess (float64), the
        sum over them of log loss minus expected log loss (the entropy of the score), in nats. It is 0 on average if the scores
        are calibrated.

    Raises:
        DriftError: the day's interactions are missing or unreadable.
    """
    file = partition(marts, "interactions", day)
    try:
        with duckdb.connect() as connection:
            connection.register("scores", pd.DataFrame({"impression_id": scores.index, "score": scores.to_numpy(np.float64)}))
            return connection.execute(QUERY, {"interactions": duckdb_path(file)}).df()
    except duckdb.Error as error:
        raise DriftError(f"{file} cannot be read ({error}); materialize the mart interactions of {day} again") from error


def surprise_test(reference: pd.DataFrame, current: pd.DataFrame, config: DriftConfig, tests: int = 1) -> RoomTest:
    """The day's mean excess surprise minus the reference's, in nats, and its threshold.

    Only more surprise is drift: a day that is easier to predict has a score of 0.

    Args:
        reference, current: from `room_surprise`, of the same model, at least three rooms each.
        tests: how many columns and embeddings share the report's false alarms.
    """
    both = pd.concat([reference, current], ignore_index=True)
    chance = RoomPermutations.of(reference["room_id"].to_numpy(), current["room_id"].to_numpy(), config)
    sums = np.stack([np.bincount(chance.room, both[name], len(chance.label)) for name in ("excess", "impressions")], axis=1)

    def difference(label: np.ndarray) -> np.ndarray:
        """The score of each row of labels [k, rooms], 1 for rooms of the reference: [k]."""
        before, now = label @ sums, (1 - label) @ sums
        return np.maximum(now[:, 0] / now[:, 1] - before[:, 0] / before[:, 1], 0)

    score, null = float(difference(chance.label[None])[0]), difference(chance.permuted)
    return RoomTest(score, max(config.surprise_threshold, chance_threshold(null, tests, config)), p_value(score, null))
