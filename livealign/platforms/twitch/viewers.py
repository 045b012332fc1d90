"""Who watched what on Twitch, as far as chat tells: watch sessions, and the lists they were chosen from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from livealign import ids
from livealign.days import DAY_MS, day_of
from livealign.landing.run import LandingRun
from livealign.platforms.twitch.messages import Message
from livealign.platforms.twitch.vods import Vod

MIN_PLAY_MS = 30_000
RECENT_MS = 12 * 3_600_000
SHOWN_BEFORE_MS = 1_000  # an impression before the play it led to

Ints = npt.NDArray[np.int64]
Seen = set[tuple[str, date, int]]  # (table, day, person) that the run has already


class Guide:
    """What was on at any moment: the broadcasts of all channels, by start."""

    def __init__(self, vods: Iterable[Vod]) -> None:
        channels: dict[str, list[Vod]] = defaultdict(list)
        for vod in sorted(vods, key=lambda vod: (vod.started_at, vod.folder)):
            channels[vod.channel].append(vod)
        self._channels = {
            channel: (
                np.array([vod.started_at for vod in broadcasts], np.int64),
                np.array([vod.ended_at for vod in broadcasts], np.int64),
                np.array([vod.room_id for vod in broadcasts], np.int64),
                broadcasts[0].author_id,
            )
            for channel, broadcasts in sorted(channels.items())
        }

    def beside(self, channel: str, at: Ints) -> Iterable[tuple[int, Ints, Ints]]:
        """For each other channel: its author id, which of the moments `at` [n, ms] it could be shown at, and the room then.

        A channel is known from its first broadcast on. Shown is its latest broadcast, if live or started within
        `RECENT_MS`; nothing later than the moment is looked at.
        """
        for other, (starts, ends, rooms, author_id) in self._channels.items():
            if other == channel:
                continue
            latest = np.searchsorted(starts, at, side="right") - 1
            shown = (latest >= 0) & ((ends[latest] > at) | (starts[latest] >= at - RECENT_MS))
            which = np.flatnonzero(shown)
            if len(which):
                yield author_id, which, rooms[latest[which]]


def land_viewers(
    vod: Vod,
    run: LandingRun,
    messages: Sequence[Message],
    users: Ints,
    guide: Guide,
    seen: Seen,
) -> None:
    """Plays, impressions and users of one broadcast.

    Args:
        vod: the broadcast.
        run: where to land.
        messages: n messages of viewers (neither bots nor the channel), in order of the file.
        users: [n] their user ids.
        guide: all broadcasts of the archive.
        seen: what the run has already; the users of this broadcast are added.
    """
    if not messages:
        return
    day = day_of(vod.started_at)
    sent_at = vod.moments(messages)
    lines = np.array([message.line for message in messages], np.int64)
    by_user = np.lexsort((lines, sent_at, users))
    first = by_user[np.flatnonzero(np.diff(users[by_user], prepend=-1))]
    last = np.append(by_user[np.flatnonzero(np.diff(users[by_user]))], by_user[-1])
    viewers, entered_at, lines_in = users[first], sent_at[first], lines[first]
    play_ids = ids.hashed_ids("twitch_play", [f"{vod.room_id}:{viewer}" for viewer in viewers])
    shown_at = np.maximum(entered_at - SHOWN_BEFORE_MS, vod.started_at)
    chosen = _impression_ids(play_ids, np.full(len(viewers), vod.room_id))
    plays = {
        "play_id": play_ids,
        "user_id": viewers,
        "author_id": np.full(len(viewers), vod.author_id),
        "room_id": np.full(len(viewers), vod.room_id),
        "impression_id": chosen,
        "entered_at": entered_at,
        "left_at": np.maximum(sent_at[last], entered_at + MIN_PLAY_MS),
        "source": ["chat"] * len(viewers),
    }
    run.add("plays", pa.table(plays), vod.chat, lines=lines_in, file_day=day)
    everyone = np.arange(len(viewers))
    lists = [(vod.author_id, everyone, np.full(len(viewers), vod.room_id)), *guide.beside(vod.channel, shown_at)]
    for author_id, which, rooms in lists:
        impressions = {
            "impression_id": _impression_ids(play_ids[which], rooms),
            "user_id": viewers[which],
            "author_id": np.full(len(which), author_id),
            "room_id": rooms,
            "shown_at": shown_at[which],
            "surface": ["inferred"] * len(which),
            "request_id": [f"{play_id:016x}" for play_id in play_ids[which]],
        }
        run.add("impressions", pa.table(impressions), vod.chat, lines=lines_in[which], file_day=day)
    _land_users(run, vod.chat, users[by_user], sent_at[by_user], lines[by_user], seen)


def _land_users(run: LandingRun, file: str, users: Ints, sent_at: Ints, lines: Ints, seen: Seen) -> None:
    """Each viewer once for each day; the rows come sorted by user and time."""
    new = []
    for i in np.flatnonzero(np.diff(users, prepend=-1) | np.diff(sent_at // DAY_MS, prepend=-1)):
        key = ("users", day_of(int(sent_at[i])), int(users[i]))
        if key not in seen:
            seen.add(key)
            new.append(i)
    run.add("users", pa.table({"user_id": users[new], "observed_at": sent_at[new]}), file, lines=lines[new])


def _impression_ids(play_ids: Ints, rooms: Ints) -> Ints:
    return ids.hashed_ids("twitch_impression", [f"{play}:{room}" for play, room in zip(play_ids, rooms, strict=True)])
