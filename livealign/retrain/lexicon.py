"""The day's lexicon of counted words, and the vectors of its segments.

lexicon = day_lexicon(marts, days, segment_ids, texts, until, config, previous)    # `previous` of the release continued from

On a day whose towers warm-start, the words of the previous lexicon keep their vectors and IDF, and words that are new since
get theirs by folding in (`Lexicon.with_new_words`): the towers' space keeps its meaning, and yesterday's new words are known
today. On a day with a full tune the lexicon is fitted again, as the LLM is.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.config import LexicalConfig
from livealign.dataset.columns import ints, milliseconds, rows_by_key
from livealign.dataset.marts import read_mart
from livealign.days import end_of
from livealign.llm.lexical import Lexicon, fit_lexicon
from livealign.llm.texts import days_with_segments
from livealign.release.bundle import LEXICON, Bundle


def day_lexicon(
    marts: Path,
    days: Sequence[date],
    segment_ids: NDArray[np.int64],
    texts: Sequence[str],
    until: date,
    config: LexicalConfig,
    previous: Lexicon | None,
) -> Lexicon:
    """The lexicon of a retrain, from those of its segments [n] that began by the end of `until`.

    Args:
        days: in which the segments lie.
        until: the last day that may be learned from.
        previous: the lexicon to continue from; None, or of another width: fitted from scratch.
    """
    segments = read_mart(marts, "segments", days_with_segments(marts, days), ("segment_id", "room_id", "started_at"))
    rows = rows_by_key(ints(segments, "segment_id"), segment_ids)
    known = (rows >= 0) & (milliseconds(segments, "started_at")[rows] < end_of(until))
    learned, rooms = [texts[row] for row in np.flatnonzero(known).tolist()], ints(segments, "room_id")[rows[known]]
    if previous is None or previous.width != config.width:
        return fit_lexicon(learned, rooms, config)
    return previous.with_new_words(learned, rooms, config)


def lexicon_of(release: Bundle | None) -> Lexicon | None:
    """The lexicon of a release; None without a release, or if it reads no counted words.

    Raises:
        BundleError: the file is damaged.
    """
    return None if release is None or LEXICON not in release.manifest["files"] else Lexicon.load(release.file(LEXICON))
