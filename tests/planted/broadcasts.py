"""The mart `segments` of authors with a subject each, live once on each of some days."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import midnight, partition
from tests.planted.text_pairs import SUBJECTS, sentence

FIRST_DAY = date(2025, 3, 1)
WINDOWS = 12


def planted_broadcasts(days: int = 2, authors: int = 12, quiet: bool = False, seed: int = 4) -> pa.Table:
    """The mart of so many days: author a speaks of subject a in every window, unless `quiet`.

    Authors 2k and 2k + 1 have category c(k mod 3).
    """
    rng = np.random.default_rng(seed)
    rows = []
    for day in range(days):
        first = midnight(FIRST_DAY + timedelta(days=day)) // 30_000 + 2_000
        for author in range(authors):
            room, subject = day * 1_000 + author, list(SUBJECTS)[author % len(SUBJECTS)]
            for age in range(WINDOWS):
                words = "" if quiet else sentence(subject, rng)
                known = {"title": f"all about {subject}", "category": f"c{author // 2 % 3}"}
                place = {"segment_id": room * 100 + age, "room_id": room, "author_id": author, "window": first + age}
                rows.append({**place, "segment_index": age, **known, "speech_text": words, "chat_text": ""})
    return pa.Table.from_pylist(rows)


def write_broadcasts(marts: Path, days: int = 2, authors: int = 12) -> None:
    """Publish them as a warehouse does, a file a day."""
    table = planted_broadcasts(days, authors)
    numbers = table["room_id"].to_numpy() // 1_000
    for day in range(days):
        file = partition(marts, "segments", FIRST_DAY + timedelta(days=day))
        file.parent.mkdir(parents=True)
        pq.write_table(table.filter(pa.array(numbers == day)), file)
