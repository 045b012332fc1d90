"""Held-out days with the scores of every variant, each by models that had not seen the day, and several of them as one.

pooled([ScoredDay(…), ScoredDay(…)])    # one ScoredDay with all their impressions, oldest day first
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.errors import LiveAlignError
from livealign.evaluation.frame import EvaluationFrame

_ROWS = ("user", "author", "shown_at", "request")


@dataclass(frozen=True)
class ScoredDay:
    """n impressions of a held-out day, or of several, and what each variant says of them."""

    frame: EvaluationFrame
    scores: Mapping[str, NDArray[np.float32]]  # variant → probabilities [n, tasks]
    ceilings: Mapping[str, NDArray] = field(default_factory=dict)  # `day_ceilings`, [n] each; empty without a truth

    def save(self, path: Path) -> None:
        """Write an npz without pickle."""
        frame = self.frame
        parts = {
            "row": {name: getattr(frame, name) for name in _ROWS if getattr(frame, name) is not None},
            "label": frame.labels,
            "slice": frame.slices,
            "score": self.scores,
            "ceiling": self.ceilings,
        }
        np.savez(path, **{f"{part}:{name}": values for part, columns in parts.items() for name, values in columns.items()})

    @classmethod
    def load(cls, path: Path) -> "ScoredDay":
        """What `save` wrote.

        Raises:
            LiveAlignError: the file is missing or damaged.
        """
        parts: dict[str, dict[str, NDArray]] = {part: {} for part in ("row", "label", "slice", "score", "ceiling")}
        try:
            with np.load(path, allow_pickle=False) as file:
                for key in file.files:
                    part, _, name = key.partition(":")
                    parts[part][name] = file[key]
            rows = parts["row"]
            frame = EvaluationFrame(
                rows["user"], rows["author"], rows["shown_at"], parts["label"], rows.get("request"), parts["slice"]
            )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise LiveAlignError(f"{path} cannot be read ({error!r}); run the asset comparison again: make retrain") from error
        return cls(frame, parts["score"], parts["ceiling"])


def pooled(days: Sequence[ScoredDay]) -> ScoredDay:
    """The impressions of all days together, with the variants, slices and ceilings that every day has.

    Lists keep apart: the request numbers of two days have nothing to do with each other.
    """
    if len(days) == 1:
        return days[0]
    frames = [one.frame for one in days]
    requests, above = [], 0
    for frame in frames:
        numbers = np.full(len(frame), -1, np.int64) if frame.request is None else frame.request
        requests.append(np.where(numbers >= 0, numbers + above, -1))
        above = max(above, int(requests[-1].max(initial=-1)) + 1)
    frame = EvaluationFrame(
        np.concatenate([one.user for one in frames]),
        np.concatenate([one.author for one in frames]),
        np.concatenate([one.shown_at for one in frames]),
        _joined([one.labels for one in frames]),
        np.concatenate(requests),
        _joined([one.slices for one in frames]),
    )
    return ScoredDay(frame, _joined([one.scores for one in days]), _joined([one.ceilings for one in days]))


def _joined(tables: Sequence[Mapping[str, NDArray]]) -> dict[str, NDArray]:
    return {name: np.concatenate([one[name] for one in tables]) for name in tables[0] if all(name in one for one in tables)}
