"""The truth of a simulated archive for any corpus, written by hand."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.dataset.corpus import Corpus
from livealign.evaluation.day_truth import WINDOW_MILLISECONDS
from livealign.simulation.members import WORDINGS
from livealign.simulation.truth import truth_file

SETTINGS = {"highlight": 1.0, "low_quality": -1.0, "position": -0.5}


def _write(file: Path, table: pa.Table) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)


def plant_truth(
    folder: Path,
    corpus: Corpus,
    settings: dict[str, float] | None = None,
    without: tuple[str, ...] = (),
    open_world: bool = False,
) -> Path:
    """Write a truth for the corpus: topics, a segment of low quality, three users' tastes.

    Topics 0 to 2 alternate, and the second segment is of low quality. In an open world every other segment has new members, and
    the wordings alternate.
    """
    windows, shown = len(corpus.segment_ids) - 1, len(corpus.test)
    of_windows = {
        "room_id": corpus.segment_room_id[1:],
        "window": corpus.segment_started_at[1:] // WINDOW_MILLISECONDS,
        "topic": np.arange(windows) % 3,
        "highlight": np.zeros(windows, bool),
        "low_quality": np.arange(windows) == 1,
    }
    if open_world:
        of_windows |= {"new_members": np.arange(windows) % 2 == 0, "wording": np.array(WORDINGS)[np.arange(windows) % 4]}
        members = {
            "member": ["Ruy Lopez", "jab"],
            "topic": [0, 1],
            "homonym": [False, False],
            "words": [["ruy", "lopez"], ["jab"]],
        }
        _write(folder / "truth" / "members.parquet", pa.table(members))
    days = (*corpus.train_days, corpus.day)
    for day in days:  # every window on each day: the reader looks up those it needs
        table = pa.table({name: values for name, values in of_windows.items() if name not in without})
        _write(truth_file(folder, "segments", day), table)
    order = np.arange(shown)[::-1]
    impressions = {
        "impression_id": corpus.test.impression_id[order],
        "p_click": order / 1000,
        "p_click_static": order / 2000,
        "user": order % 3,
        "fixed_logit": -order.astype(float),
    }
    _write(truth_file(folder, "impressions", corpus.day), pa.table(impressions))
    _write(truth_file(folder, "tastes", corpus.day), pa.table({"taste": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]}))
    _write(folder / "truth" / "topics.parquet", pa.table({"topic": [2, 0, 1], "name": ["cooking", "chess", "boxing"]}))
    (folder / "simulator.json").write_text(json.dumps({"format": 1, "config": SETTINGS if settings is None else settings}))
    return folder
