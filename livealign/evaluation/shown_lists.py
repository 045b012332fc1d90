"""The lists that the service showed on a day, joined to the outcomes of their impressions."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.dataset.marts import read_mart
from livealign.days import partition
from livealign.evaluation.tallies import Arm, Tally, tallies_of

_OUTCOMES = ("impression_id", "user_id", "room_id", "request_id", "click", "long_view", "gift")


@dataclass(frozen=True)
class ShownImpressions:
    """The n impressions of the lists that the service has logged."""

    impression_id: NDArray[np.int64]
    user: NDArray[np.int64]
    request: NDArray[np.str_]
    arm: NDArray[np.int64]  # of `arms`
    propensity: NDArray[np.float64]  # that the room is in its list
    click: NDArray[np.float64]  # NaN where it cannot be known yet, like the next two
    long_view: NDArray[np.float64]
    gift: NDArray[np.float64]
    arms: tuple[Arm, ...]

    def __len__(self) -> int:
        return len(self.impression_id)

    @property
    def release(self) -> NDArray[np.str_]:
        """[n] the release that ranked it."""
        return np.array([arm.release for arm in self.arms], dtype=np.str_)[self.arm] if len(self) else np.zeros(0, np.str_)

    @property
    def share(self) -> NDArray[np.float64]:
        """[n] the share of the users whom its release served."""
        return np.array([arm.share for arm in self.arms], dtype=np.float64)[self.arm] if len(self) else np.zeros(0)

    def tallies(self) -> list[Tally]:
        """The outcomes by arm and user; a list whose clicks cannot be known yet is left out."""
        known = np.isfinite(self.click)
        counts: dict[Arm, dict[int, list[int]]] = defaultdict(dict)
        seen: set[str] = set()
        rows = zip(
            self.arm[known].tolist(),
            self.user[known].tolist(),
            self.request[known].tolist(),
            *(np.nan_to_num(values[known]).astype(np.int64).tolist() for values in (self.click, self.long_view, self.gift)),
            strict=True,
        )
        for arm, user, request, *outcomes in rows:
            of_user = counts[self.arms[arm]].setdefault(user, [0] * 5)
            for what, count in enumerate((int(request not in seen), 1, *outcomes)):
                of_user[what] += count
            seen.add(request)
        return tallies_of(counts)


def shown_impressions(landing: Path, marts: Path, day: date) -> ShownImpressions:
    """The impressions of the day's landed lists with their outcomes.

    None where the platform lands no lists.
    """
    path = partition(landing, "lists", day)
    lists = pq.ParquetFile(path).read() if path.is_file() else None
    if lists is None or not len(lists):
        types = {name: pa.string() if name == "request_id" else pa.int64() for name in _OUTCOMES}
        return _joined(pa.schema(list(types.items())).empty_table(), {}, ())
    outcomes = read_mart(marts, "interactions", [day], _OUTCOMES)
    arms: dict[Arm, int] = {}
    place: dict[tuple[str, int, int], tuple[int, float]] = {}  # (request, user, room) → arm and propensity
    for row in lists.to_pylist():
        arm = arms.setdefault(Arm(row["release"], row["experiment"], row["challenger"], row["share"]), len(arms))
        for room_id, propensity in zip(row["rooms"], row["propensities"], strict=True):
            place[row["request_id"], row["user_id"], room_id] = arm, propensity
    return _joined(outcomes, place, tuple(arms))


def _joined(
    outcomes: pa.Table, place: dict[tuple[str, int, int], tuple[int, float]], arms: tuple[Arm, ...]
) -> ShownImpressions:
    keys = zip(*(outcomes[name].to_pylist() for name in ("request_id", "user_id", "room_id")), strict=True)
    found = [(row, *place[key]) for row, key in enumerate(keys) if key in place]
    rows = np.array([row for row, *_ in found], dtype=np.int64)
    table = outcomes.take(pa.array(rows))

    def numbers(name: str) -> NDArray[np.float64]:
        return table[name].cast(pa.float64()).to_numpy().astype(np.float64)

    return ShownImpressions(
        table["impression_id"].to_numpy(),
        table["user_id"].to_numpy(),
        np.array(table["request_id"].to_pylist(), dtype=np.str_),
        np.array([arm for _, arm, _ in found], dtype=np.int64),
        np.array([propensity for *_, propensity in found], dtype=np.float64),
        numbers("click"),
        numbers("long_view"),
        numbers("gift"),
        arms,
    )
