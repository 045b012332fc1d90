"""The broadcasts that a viewer could have been shown at any time beside the entered one.

Of every channel that is known by then the latest broadcast, if it is live or started within `RECENT_MS`; nothing later
than the time itself is looked at. How many of them are shown beside a play, and which, `livealign.platforms.negatives` decides.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from livealign.platforms.chat.broadcasts import Broadcast
from livealign.platforms.negatives import Candidates, sample_negatives

RECENT_MS = 12 * 3_600_000

Ints = npt.NDArray[np.int64]


class Guide:
    """All broadcasts of one site by the time at which they are on.

    Args:
        broadcasts: of the site.
        per_play: rooms beside the entered one in the list of one play, at most.
    """

    def __init__(self, broadcasts: Iterable[Broadcast], per_play: int) -> None:
        self._per_play = per_play
        channels: dict[int, list[Broadcast]] = defaultdict(list)
        for broadcast in sorted(broadcasts, key=lambda broadcast: (broadcast.started_at, broadcast.file)):
            channels[broadcast.author_id].append(broadcast)
        rows = []
        for author_id, own in channels.items():
            for broadcast, following in zip(own, [*own[1:], None], strict=True):
                until = max(broadcast.last_known, broadcast.started_at + RECENT_MS + 1)  # the first time when it is not on
                until = min(until, following.started_at) if following else until
                if until > broadcast.started_at:
                    rows.append((broadcast.started_at, until, broadcast.room_id, author_id))
        starts, untils, self._rooms, self._authors = np.array(sorted(rows), np.int64).reshape(-1, 4).T
        self._candidates = Candidates.build(starts, untils, self._authors)

    def beside(self, author_id: int, play_ids: Ints, at: Ints) -> tuple[Ints, Ints, Ints]:
        """The rooms shown beside an entered one.

        Args:
            author_id: whose room was entered; the author's rooms are left out.
            play_ids: [n] the plays.
            at: [n, ms] when their lists were shown.

        Returns:
            [m] index of the play, [m] room id, [m] author id.
        """
        samples = sample_negatives(play_ids, at, np.full(len(at), author_id), self._candidates, self._per_play)
        of, rows = [], []
        for _, plays, candidates in samples:
            of.append(plays)
            rows.append(candidates)
        shown = np.concatenate([np.zeros(0, np.int64), *rows])
        return np.concatenate([np.zeros(0, np.int64), *of]), self._rooms[shown], self._authors[shown]
