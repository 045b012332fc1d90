"""Has the day drifted from what the champion was trained on? One Evidently report, with thresholds that quiet days keep below.

With 20,000 rows every p value is tiny, so columns are judged by the size of the difference: Wasserstein distance in standard
deviations for numbers, Jensen-Shannon distance for categories, energy distance for embeddings. And a day holds only some
dozens of rooms, so days differ even when nothing has changed. A threshold is therefore the largest of a floor (`DriftConfig`),
what chance shows when whole rooms change sides (`orchestration.drift_chance`), and what the reference's days show among
themselves.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from livealign.config import DriftConfig
from livealign.files import replace_bytes
from orchestration.drift_chance import MINIMUM_ROOMS, RoomPermutations
from orchestration.drift_frames import CATEGORICAL, CONTENT, NUMERIC, DriftError, day_frame, typed
from orchestration.drift_words import NEW_WORDS, new_words

__all__ = ["ColumnDrift", "DriftError", "DriftResult", "day_frame", "drift_report", "energy_test"]

METHOD_NAMES = {
    "numeric": "Wasserstein distance (normed)",
    "categorical": "Jensen-Shannon distance",
    "embedding": "energy distance (normed)",
    "words": "mean share of new words",
}


class ColumnDrift(NamedTuple):
    """One column's, or one embedding's, verdict."""

    method: str
    score: float
    threshold: float
    drifted: bool


class RoomTest(NamedTuple):
    """A score of two sides, 0 (alike) to 1, held against whole rooms changing sides."""

    score: float
    threshold: float  # 1, which no score exceeds, where a side has fewer than three rooms
    p_value: float
    remark: str = ""  # for people


@dataclass(frozen=True)
class DriftResult:
    """The verdict on a day; `columns` holds those most above their threshold first."""

    drifted: bool
    content_drifted: bool  # text, categories, codes or embeddings: asks for an LLM re-tune
    columns: dict[str, ColumnDrift]
    calibrated: bool  # False: too few rooms to know what chance shows, so nothing is called drift
    html: Path
    json: Path

    def sentence(self) -> str:
        """The verdict for people."""
        found = [f"{name} ({c.score:.3f}, threshold {c.threshold:.3f})" for name, c in self.columns.items() if c.drifted]
        if not self.calibrated:
            return f"Too few rooms to judge drift; {len(found)} of {len(self.columns)} columns are above their floors."
        if not found:
            return f"No drift in {len(self.columns)} columns."
        return f"{len(found)} of {len(self.columns)} columns drifted: {', '.join(found)}."


def drift_report(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    embeddings: Mapping[str, tuple[NDArray, NDArray]],
    config: DriftConfig,
    out_dir: Path,
    rooms: tuple[NDArray, NDArray] | None = None,
    name: str = "drift",
    trend: tuple[Path, str] | None = None,
    words: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> DriftResult:
    """Compare the day with the reference and write `<name>.html` and `<name>.json` to `out_dir`.

    Args:
        reference, current: from `day_frame`; sampled to `config.sample_rows` here if they hold more.
        embeddings: name → (reference [n, d], current [m, d]), one row a segment, from the same encoder.
        rooms: (reference [n], current [m]) room of each embedding row; needed where there are embeddings.
        trend: folder of an Evidently workspace and the project in it that the day's snapshot is added to.
        words: (reference, current) from `drift_words.room_words`.

    Raises:
        DriftError: a frame is empty or they share no column.
    """
    from orchestration import drift_evidently

    if embeddings and rooms is None:
        raise DriftError("embeddings need the room of each row: without it a handful of new rooms would look like drift")
    reference, current = _sample(typed(reference), config), _sample(typed(current), config)
    kinds, one_sided = _kinds(reference, current)
    tests = len(kinds) + len(embeddings) + (words is not None)
    thresholds = _thresholds(reference, current, kinds, tests, config)
    by_room = {one: energy_test(*pair, *rooms, config, tests) for one, pair in embeddings.items() if rooms is not None}
    methods = dict.fromkeys(by_room, METHOD_NAMES["embedding"])
    if words is not None:
        by_room[NEW_WORDS], methods[NEW_WORDS] = words_test(*words, config, tests), METHOD_NAMES["words"]

    days = sorted(set(reference["dt"])), sorted(set(current["dt"]))
    metadata = {"reference": f"{days[0][0]} to {days[0][-1]}", "day": days[1][-1]}
    html, document, scores, snapshot = drift_evidently.render(
        reference,
        current,
        {one: (kind, thresholds[one]) for one, kind in kinds.items()},
        {one: (methods[one], *test) for one, test in by_room.items()},
        metadata,
        datetime.fromisoformat(days[1][-1]),
    )
    verdicts = {one: ColumnDrift(what, 1.0, 0.0, True) for one, what in one_sided.items()}
    verdicts |= {
        one: ColumnDrift(METHOD_NAMES[kind], scores[one], thresholds[one], scores[one] > thresholds[one])
        for one, kind in kinds.items()
    }
    verdicts |= {
        one: ColumnDrift(methods[one], test.score, test.threshold, test.score > test.threshold) for one, test in by_room.items()
    }
    calibrated = min(reference["room_id"].nunique(), current["room_id"].nunique()) >= MINIMUM_ROOMS
    found = {one for one, verdict in verdicts.items() if verdict.drifted} if calibrated else set()
    result = DriftResult(
        drifted=bool(found),
        content_drifted=bool(found & {*CONTENT, *by_room}),
        columns=dict(sorted(verdicts.items(), key=_excess)),
        calibrated=calibrated,
        html=out_dir / f"{name}.html",
        json=out_dir / f"{name}.json",
    )
    replace_bytes(result.html, html.encode())
    replace_bytes(result.json, json.dumps(document | {"verdict": _verdict(result, metadata)}, indent=1).encode())
    if trend is not None:
        drift_evidently.keep_snapshot(*trend, snapshot, days[1][-1], list(by_room), list(kinds))
    return result


def energy_test(
    reference: NDArray,
    current: NDArray,
    reference_rooms: NDArray,
    current_rooms: NDArray,
    config: DriftConfig,
    tests: int = 1,
) -> RoomTest:
    """Energy distance of the embeddings [n, d] and [m, d] of two sides, against whole rooms ([n], [m]) changing sides.

    `tests`: how many columns and embeddings share the report's false alarms. With fewer than three rooms on a side the
    threshold is 1, which no score exceeds.
    """
    rng = np.random.default_rng(config.seed)
    left, right = (rng.permutation(len(side))[: config.embedding_rows] for side in (reference, current))
    chance = RoomPermutations.of(reference_rooms[left], current_rooms[right], config)
    score, null = chance.energy(np.concatenate([reference[left], current[right]]))
    return _room_test(score, null, config.energy_threshold, tests, config)


def words_test(reference: pd.DataFrame, current: pd.DataFrame, config: DriftConfig, tests: int = 1) -> RoomTest:
    """The share of new words on a day, both sides from `drift_words.room_words`, against whole rooms changing sides."""
    found = new_words(reference, current, config)
    test = _room_test(found.score, found.null, config.new_words_threshold, tests, config)
    return test._replace(remark=f"most common: {', '.join(found.examples)}" if found.examples else "")


def _room_test(score: float, null: NDArray, floor: float, tests: int, config: DriftConfig) -> RoomTest:
    if len(null) == 0:
        return RoomTest(score, 1.0, 1.0)
    p_value = (1 + int((null >= score).sum())) / (1 + len(null))
    return RoomTest(score, max(floor, _quantile(null, tests, config)), p_value)


def _thresholds(
    reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, str], tests: int, config: DriftConfig
) -> dict[str, float]:
    """Threshold of each column: the largest of its floor, chance (rooms permuted) and the reference days' own differences."""
    chance = RoomPermutations.of(reference["room_id"].to_numpy(), current["room_id"].to_numpy(), config)
    thresholds = {}
    for name, kind in kinds.items():
        floor = config.numeric_threshold if kind == "numeric" else config.categorical_threshold
        null = chance.column_scores(reference[name], current[name], kind)
        thresholds[name] = max(floor, _quantile(null, tests, config), _quiet_days(reference, name, kind, config))
    return thresholds


def _quiet_days(reference: pd.DataFrame, name: str, kind: str, config: DriftConfig) -> float:
    """The largest score of a reference day against the other reference days: whole days may differ, weekends for one."""
    from orchestration import drift_evidently

    column = reference[["dt", name]].dropna()
    days = column["dt"].unique()
    if len(days) < config.quiet_days:
        return 0.0
    is_day = [column["dt"] == day for day in days]
    return max(drift_evidently.column_score(column.loc[~here, name], column.loc[here, name], kind) for here in is_day)


def _quantile(null: NDArray, tests: int, config: DriftConfig) -> float:
    """The score that chance exceeds with probability false_alarms / tests (Bonferroni); 0 where chance is not known."""
    return float(np.quantile(null, 1 - config.false_alarms / max(tests, 1))) if len(null) else 0.0


def _kinds(reference: pd.DataFrame, current: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    """Kind of each column that both sides have values of, and those that only one side has: "appeared", "disappeared"."""
    if reference.empty or current.empty:
        raise DriftError(
            "drift cannot be measured: " + ("the reference" if reference.empty else "the day") + " has no impressions"
        )
    kinds, one_sided = {}, {}
    for name, kind in (dict.fromkeys(NUMERIC, "numeric") | dict.fromkeys(CATEGORICAL, "categorical")).items():
        if name not in reference or name not in current:
            continue  # not made for this report, e.g. scores of a day that was not scored
        before, now = reference[name].notna().any(), current[name].notna().any()
        if before and now:
            kinds[name] = kind
        elif before or now:
            one_sided[name] = "disappeared" if before else "appeared"
    if not kinds and not one_sided:
        raise DriftError("drift cannot be measured: reference and day share no column; make both by day_frame")
    return kinds, one_sided


def _sample(frame: pd.DataFrame, config: DriftConfig) -> pd.DataFrame:
    return frame if len(frame) <= config.sample_rows else frame.sample(config.sample_rows, random_state=config.seed)


def _excess(item: tuple[str, ColumnDrift]) -> float:
    """Sort key: furthest above its threshold first; a column that came or went before all others."""
    return -item[1].score / item[1].threshold if item[1].threshold else -np.inf


def _verdict(result: DriftResult, metadata: Mapping[str, str]) -> dict[str, Any]:
    return {
        **metadata,
        "drifted": result.drifted,
        "content_drifted": result.content_drifted,
        "calibrated": result.calibrated,
        "sentence": result.sentence(),
        "columns": {name: column._asdict() for name, column in result.columns.items()},
    }
