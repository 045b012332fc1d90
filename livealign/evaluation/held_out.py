"""Held-out days with the scores of every variant, and their pooling to one.

The models that scored a day were trained on earlier days only.

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
from livealign.files import refuse_newer

FORMAT = 1
_ROWS = ("user", "author", "shown_at", "request")


@dataclass(frozen=True)
class ScoredDay:
    """n impressions of a held-out day, or of several, with each variant's scores."""

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
        arrays = {f"{part}:{name}": values for part, columns in parts.items() for name, values in columns.items()}
        np.savez(path, format=np.array(FORMAT), **arrays)

    @classmethod
    def load(cls, path: Path) -> "ScoredDay":
        """The scored day that `save` wrote.

        Raises:
            LiveAlignError: the file is missing, damaged, or of a newer version.
        """
        parts: dict[str, dict[str, NDArray]] = {part: {} for part in ("row", "label", "slice", "score", "ceiling")}
        try:
            with np.load(path, allow_pickle=False) as file:
                if "format" in file.files:
                    refuse_newer(path, int(file["format"]), FORMAT, "run the asset comparison again: make retrain")
                for key in file.files:
                    if key == "format":
                        continue
                    part, _, name = key.partition(":")
                    parts[part][name] = file[key]
            rows = parts["row"]
            frame = EvaluationFrame(
                rows["user"], rows["author"], rows["shown_at"], parts["label"], rows.get("request"), parts["slice"]
            )
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise LiveAlignError(f"{path} cannot be read ({error!r}); run the asset comparison again: make retrain") from error
        return cls(frame, parts["score"], parts["ceiling"])


def pooled(days: Sequence[ScoredDay]) -> ScoredDay:
    """The impressions of all days together.

    Variants, slices and ceilings are kept if every day has them. Requests are numbered anew, because the numbers of different
    days have nothing in common.
    """
    if len(days) == 1:
        return days[0]
    frames = [day.frame for day in days]
    requests, above = [], 0
    for frame in frames:
        numbers = np.full(len(frame), -1, np.int64) if frame.request is None else frame.request
        requests.append(np.where(numbers >= 0, numbers + above, -1))
        above = max(above, int(requests[-1].max(initial=-1)) + 1)
    together = EvaluationFrame(
        np.concatenate([frame.user for frame in frames]),
        np.concatenate([frame.author for frame in frames]),
        np.concatenate([frame.shown_at for frame in frames]),
        _joined([frame.labels for frame in frames]),
        np.concatenate(requests),
        _joined([frame.slices for frame in frames]),
    )
    return ScoredDay(together, _joined([day.scores for day in days]), _joined([day.ceilings for day in days]))


def _joined(tables: Sequence[Mapping[str, NDArray]]) -> dict[str, NDArray]:
    return {
        name: np.concatenate([table[name] for table in tables]) for name in tables[0] if all(name in table for table in tables)
    }
