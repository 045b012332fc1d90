"""Watch sessions inferred from chat, and the lists that they were chosen from."""

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from livealign import ids
from livealign.days import DAY_MS, day_of
from livealign.landing.run import LandingRun
from livealign.platforms.chat.broadcasts import Broadcast
from livealign.platforms.chat.guide import Guide
from livealign.platforms.chat.messages import Message

MIN_PLAY_MS = 30_000
SHOWN_BEFORE_MS = 1_000  # an impression before the play it led to

Ints = npt.NDArray[np.int64]
Seen = set[tuple[str, date, int]]  # (table, day, person) that the run has already


def land_viewers(
    broadcast: Broadcast,
    run: LandingRun,
    messages: Sequence[Message],
    users: Ints,
    guide: Guide,
    seen: Seen,
) -> None:
    """Plays, impressions and users of one broadcast.

    Args:
        broadcast: what they watched.
        run: where to land.
        messages: n messages of viewers (neither bots nor the channel), in order of the files.
        users: [n] their user ids.
        guide: all broadcasts of the site.
        seen: what the run has already; the users of this broadcast are added.
    """
    if not messages:
        return
    sent_at = broadcast.times_ms(messages)
    lines = np.array([message.line for message in messages], np.int64)
    chats = np.array([message.chat for message in messages], np.int64)
    by_user = np.lexsort((lines, chats, sent_at, users))
    first = by_user[np.flatnonzero(np.diff(users[by_user], prepend=-1))]
    last = np.append(by_user[np.flatnonzero(np.diff(users[by_user]))], by_user[-1])
    viewers, entered_at = users[first], sent_at[first]
    play_ids = ids.hashed_ids(f"{broadcast.site}_play", [f"{broadcast.room_id}:{viewer}" for viewer in viewers])
    plays = {
        "play_id": play_ids,
        "user_id": viewers,
        "author_id": np.full(len(viewers), broadcast.author_id),
        "room_id": np.full(len(viewers), broadcast.room_id),
        "impression_id": _impression_ids(broadcast.site, play_ids, np.full(len(viewers), broadcast.room_id)),
        "entered_at": entered_at,
        "left_at": np.maximum(sent_at[last], entered_at + MIN_PLAY_MS),
        "source": ["chat"] * len(viewers),
    }
    shown_at = np.maximum(entered_at - SHOWN_BEFORE_MS, broadcast.started_at)
    which, rooms, authors = guide.beside(broadcast.author_id, play_ids, shown_at)
    which = np.append(np.arange(len(viewers)), which)
    rooms = np.append(np.full(len(viewers), broadcast.room_id), rooms)
    impressions = {
        "impression_id": _impression_ids(broadcast.site, play_ids[which], rooms),
        "user_id": viewers[which],
        "author_id": np.append(np.full(len(viewers), broadcast.author_id), authors),
        "room_id": rooms,
        "shown_at": shown_at[which],
        "surface": ["inferred"] * len(which),
        "request_id": [f"{play_id:016x}" for play_id in play_ids[which]],
    }
    for number, chat in enumerate(broadcast.chats):
        own = np.flatnonzero(chats[first] == number)
        listed = np.flatnonzero(chats[first][which] == number)
        if len(own):
            tables = {
                "plays": (pa.table(plays).take(own), play_ids[own], lines[first][own]),
                "impressions": (pa.table(impressions).take(listed), play_ids[which][listed], lines[first][which][listed]),
            }
            run.add_linked(tables, chat.file, day_of(broadcast.started_at))
    _land_users(broadcast, run, users[by_user], sent_at[by_user], chats[by_user], lines[by_user], seen)


def _land_users(
    broadcast: Broadcast, run: LandingRun, users: Ints, sent_at: Ints, chats: Ints, lines: Ints, seen: Seen
) -> None:
    """Each viewer once for each day; the rows come sorted by user and time."""
    new = []
    for i in np.flatnonzero(np.diff(users, prepend=-1) | np.diff(sent_at // DAY_MS, prepend=-1)):
        key = ("users", day_of(int(sent_at[i])), int(users[i]))
        if key not in seen:
            seen.add(key)
            new.append(i)
    for number, chat in enumerate(broadcast.chats):
        own = [i for i in new if chats[i] == number]
        if own or len(broadcast.chats) == 1:
            rows = pa.table({"user_id": users[own], "observed_at": sent_at[own]})
            run.add("users", rows, chat.file, lines=lines[own])


def _impression_ids(site: str, play_ids: Ints, rooms: Iterable[int]) -> Ints:
    return ids.hashed_ids(f"{site}_impression", [f"{play}:{room}" for play, room in zip(play_ids, rooms, strict=True)])
