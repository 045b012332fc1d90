"""The drift report of a day: one Evidently report whose thresholds quiet days stay below.

With 20,000 rows every p value is tiny, so columns are judged by the size of the difference: Wasserstein distance in standard
deviations for numbers, Jensen-Shannon distance for categories, energy distance for embeddings, share for new words. A day has
only some dozens of rooms, so days differ even if nothing has changed. A threshold is therefore the largest of three: a floor
(`DriftConfig`), the score that chance gives when whole rooms change sides (`orchestration.drift.chance`), and the largest
score among the reference's own days.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from livealign.files import replace_bytes
from livealign.operation_config import DriftConfig
from orchestration.drift.chance import MINIMUM_ROOMS, RoomPermutations, RoomTest, chance_threshold
from orchestration.drift.columns import CATEGORICAL, CONTENT, NEW_WORDS, NUMERIC, SCORE, SURPRISE, DriftError, typed
from orchestration.drift.embeddings import energy_test
from orchestration.drift.surprise import surprise_test
from orchestration.drift.words import words_test

METHOD_NAMES = {
    "numeric": "Wasserstein distance (normed)",
    "categorical": "Jensen-Shannon distance",
    NEW_WORDS: "mean share of new words",
    SURPRISE: "mean log loss beyond the expected (nats)",
}
ENERGY = "energy distance (normed)"  # of embeddings


@dataclass(frozen=True)
class DriftSide:
    """The data of one side of the comparison, the reference or the day.

    Raises:
        DriftError: an embedding has another number of rows than `vector_rooms`.
    """

    frame: pd.DataFrame  # from `columns.day_frame`
    words: pd.DataFrame = field(default_factory=pd.DataFrame)  # from `words.room_words`; empty: no text
    surprise: pd.DataFrame = field(default_factory=pd.DataFrame)  # from `surprise.room_surprise`; empty: not scored
    vectors: Mapping[str, NDArray] = field(default_factory=dict)  # name → [n, d], a row for each segment, by one encoder
    vector_rooms: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # [n] room of each row

    def __post_init__(self) -> None:
        # Without the room of each row, a handful of new rooms would look like drift.
        for name, matrix in self.vectors.items():
            if len(matrix) != len(self.vector_rooms):
                raise DriftError(
                    f"embedding {name} has {len(matrix)} rows and {len(self.vector_rooms)} rooms; give a room a row"
                )


class ColumnDrift(NamedTuple):
    """The verdict on one column, one embedding, the words or the surprise."""

    method: str
    score: float
    threshold: float
    drifted: bool
    examples: tuple[str, ...] = ()  # new words, in order of the number of rooms that say them


@dataclass(frozen=True)
class DriftResult:
    """The verdict on a day; `columns` begins with those most above their threshold."""

    drifted: bool
    content_drifted: bool  # text, words, categories, codes or embeddings: requests an LLM re-tune
    columns: dict[str, ColumnDrift]
    calibrated: bool  # False: too few rooms for thresholds, so nothing is called drift
    html: Path
    json: Path

    def sentence(self) -> str:
        """The verdict as a sentence for people."""
        drifted = [_phrase(name, column) for name, column in self.columns.items() if column.drifted]
        if not self.calibrated:
            return f"Too few rooms to judge drift; {len(drifted)} of {len(self.columns)} columns are above their floors."
        if not drifted:
            return f"No drift in {len(self.columns)} columns."
        return f"{len(drifted)} of {len(self.columns)} columns drifted: {', '.join(drifted)}."


def drift_report(
    reference: DriftSide,
    current: DriftSide,
    config: DriftConfig,
    out_dir: Path,
    name: str = "drift",
    trend: tuple[Path, str] | None = None,
) -> DriftResult:
    """Compare the day with the reference and write `<name>.html` and `<name>.json` to `out_dir`.

    Frames of more than `config.sample_rows` rows are sampled here.

    Args:
        trend: folder of an Evidently workspace and the project in it that the day's snapshot is added to.

    Raises:
        DriftError: a frame is empty or they share no column.
    """
    from orchestration.drift import evidently as drift_evidently

    before, now = _sample(typed(reference.frame), config), _sample(typed(current.frame), config)
    kinds, one_sided = _kinds(before, now)
    shared, one_sided_words = _tested_by_room(reference, current)
    tests = len(kinds) + len(shared)
    thresholds = _thresholds(before, now, kinds, tests, config)
    by_room = {what: _room_test(what, reference, current, tests, config) for what in shared}

    days = sorted(set(before["dt"])), sorted(set(now["dt"]))
    metadata = {"reference": f"{days[0][0]} to {days[0][-1]}", "day": days[1][-1]}
    html, document, scores, snapshot = drift_evidently.render(
        before,
        now,
        {column: (kind, thresholds[column]) for column, kind in kinds.items()},
        {what: (METHOD_NAMES.get(what, ENERGY), test) for what, test in by_room.items()},
        metadata,
        datetime.fromisoformat(days[1][-1]),
    )
    verdicts = {column: ColumnDrift(how, 1.0, 0.0, True) for column, how in (one_sided | one_sided_words).items()}
    verdicts |= {
        column: ColumnDrift(METHOD_NAMES[kind], scores[column], thresholds[column], scores[column] > thresholds[column])
        for column, kind in kinds.items()
    }
    verdicts |= {
        what: ColumnDrift(
            METHOD_NAMES.get(what, ENERGY), test.score, test.threshold, test.score > test.threshold, test.examples
        )
        for what, test in by_room.items()
    }
    calibrated = min(before["room_id"].nunique(), now["room_id"].nunique()) >= MINIMUM_ROOMS
    drifted = {column for column, verdict in verdicts.items() if verdict.drifted} if calibrated else set()
    result = DriftResult(
        drifted=bool(drifted),
        content_drifted=bool(drifted & {*CONTENT, *current.vectors}),
        columns=dict(sorted(verdicts.items(), key=_excess)),
        calibrated=calibrated,
        html=out_dir / f"{name}.html",
        json=out_dir / f"{name}.json",
    )
    replace_bytes(result.html, html.encode())
    found = {"format": 1, **document, "verdict": _verdict(result, metadata)}
    replace_bytes(result.json, json.dumps(found, indent=1).encode())
    if trend is not None:
        drift_evidently.keep_snapshot(*trend, snapshot, days[1][-1], [NEW_WORDS, SURPRISE, *current.vectors])
    return result


def _tested_by_room(reference: DriftSide, current: DriftSide) -> tuple[list[str], dict[str, str]]:
    """The room-wise tests that both sides have data for; and NEW_WORDS, if only one side has words, with how it changed."""
    shared = [name for name in reference.vectors if name in current.vectors]
    if min(len(reference.surprise), len(current.surprise)) >= MINIMUM_ROOMS:
        shared.insert(0, SURPRISE)
    before, now = (not side.words.empty for side in (reference, current))
    if before and now:
        return [NEW_WORDS, *shared], {}
    return shared, {NEW_WORDS: "disappeared" if before else "appeared"} if before or now else {}


def _room_test(name: str, reference: DriftSide, current: DriftSide, tests: int, config: DriftConfig) -> RoomTest:
    if name == NEW_WORDS:
        return words_test(reference.words, current.words, config, tests)
    if name == SURPRISE:
        return surprise_test(reference.surprise, current.surprise, config, tests)
    return energy_test(
        reference.vectors[name], current.vectors[name], reference.vector_rooms, current.vector_rooms, config, tests
    )


def _thresholds(
    reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, str], tests: int, config: DriftConfig
) -> dict[str, float]:
    """The threshold of each column: the largest of its floor, the chance threshold and the reference days' own scores."""
    every = RoomPermutations.of(reference["room_id"].to_numpy(), current["room_id"].to_numpy(), config)
    thresholds = {}
    for name, kind in kinds.items():
        floor = config.numeric_threshold if kind == "numeric" else config.categorical_threshold
        known = [side[[*("dt", "room_id"), name]].dropna() for side in (reference, current)]
        # Rooms without a value are left out: only one day of the reference has scores, and the other days' rooms would
        # make chance look too wide.
        chance = every
        if sum(map(len, known)) < len(reference) + len(current):
            chance = RoomPermutations.of(known[0]["room_id"].to_numpy(), known[1]["room_id"].to_numpy(), config)
        null = chance.column_scores(known[0][name], known[1][name], kind)
        thresholds[name] = max(floor, chance_threshold(null, tests, config), _quiet_days(known[0], name, kind, config))
    return thresholds


def _quiet_days(column: pd.DataFrame, name: str, kind: str, config: DriftConfig) -> float:
    """The largest score of a reference day against the other reference days: whole days may differ, such as weekends."""
    from orchestration.drift import evidently as drift_evidently

    days = column["dt"].unique()
    if len(days) < config.quiet_days:
        return 0.0
    is_day = [column["dt"] == day for day in days]
    return max(drift_evidently.column_score(column.loc[~here, name], column.loc[here, name], kind) for here in is_day)


def _kinds(reference: pd.DataFrame, current: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    """Kind of each column that both sides have values of, and those that only one side has: "appeared", "disappeared".

    A column with values in too few rooms for a permutation test is left out, unless all columns have as few.
    """
    if reference.empty or current.empty:
        raise DriftError(
            "drift cannot be measured: " + ("the reference" if reference.empty else "the day") + " has no impressions"
        )
    least = min(MINIMUM_ROOMS, reference["room_id"].nunique(), current["room_id"].nunique())
    kinds, one_sided = {}, {}
    for name, kind in (dict.fromkeys(NUMERIC, "numeric") | dict.fromkeys(CATEGORICAL, "categorical")).items():
        if name not in reference or name not in current:
            continue  # not made for this report, e.g. scores of a day that was not scored
        before, now = (side.loc[side[name].notna(), "room_id"].nunique() for side in (reference, current))
        if min(before, now) >= least:
            kinds[name] = kind
        elif min(before, now) == 0 < max(before, now) and name != SCORE:
            one_sided[name] = "disappeared" if before else "appeared"
    if not kinds and not one_sided:
        raise DriftError("drift cannot be measured: reference and day share no column; make both by columns.day_frame")
    return kinds, one_sided


def _sample(frame: pd.DataFrame, config: DriftConfig) -> pd.DataFrame:
    return frame if len(frame) <= config.sample_rows else frame.sample(config.sample_rows, random_state=config.seed)


def _excess(item: tuple[str, ColumnDrift]) -> float:
    """Sort key: furthest above its threshold first; a column that came or went before all others."""
    return -item[1].score / item[1].threshold if item[1].threshold else -np.inf


def _phrase(name: str, column: ColumnDrift) -> str:
    examples = f": {' '.join(column.examples[:5])}" if column.examples else ""
    return f"{name} ({column.score:.3f}, threshold {column.threshold:.3f}{examples})"


def _verdict(result: DriftResult, metadata: Mapping[str, str]) -> dict[str, Any]:
    return {
        **metadata,
        "drifted": result.drifted,
        "content_drifted": result.content_drifted,
        "calibrated": result.calibrated,
        "sentence": result.sentence(),
        "columns": {name: column._asdict() for name, column in result.columns.items()},
    }
