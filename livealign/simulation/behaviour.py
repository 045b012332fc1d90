"""The users' behaviour on one day: the lists that they see, their clicks and watches.

A user has one session a day: opens the app, sees lists of live rooms, clicks, watches until the moment is no longer to their
taste, acts. A card is logged as shown when it comes into view. After a watch the user scrolls on, so a list is seen over some
minutes, and each click depends on what the room is about when its card is seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from livealign.simulation.config import WINDOW_MS
from livealign.simulation.moments import HIGHLIGHT_SHARE, MINUTE_MS, Day, LiveRooms
from livealign.simulation.world import Bools, Floats, Ints

CHUNK_USERS = 16_384
MAX_WATCH_WINDOWS = 40
ACTIONS = ("likes", "comments", "gifts", "shares", "follows")
# Log odds of each action in a watch: base, per logit of taste for the topic, for a beloved author, for a highlight.
ACTION_LOGITS = {
    "likes": (-2.0, 0.6, 0.5, 0.8),
    "comments": (-2.7, 0.6, 0.6, 0.5),
    "gifts": (-4.2, 0.6, 1.4, 0.8),
    "shares": (-4.8, 0.5, 0.3, 0.8),
    "follows": (-4.2, 0.7, 0.0, 0.3),
}


@dataclass
class Behaviour:
    """Impressions [n], plays [m] and actions [k] of one day, as columns of row numbers.

    Times in ms since 1970. `p_click` is the true probability of each impression's click; `p_click_static` the best guess from
    user, author and position without the moment. `fixed` is the part of a click's log odds that does not depend on the moment.
    """

    user: Ints
    room: Ints
    shown_at: Ints
    position: Ints
    request: Ints
    followed: Bools
    p_click: Floats
    p_click_static: Floats
    fixed: Floats
    play_impression: Ints
    entered_at: Ints
    left_at: Ints
    actions: dict[str, tuple[Ints, Ints]]  # kind → (play, time)


def behave(day: Day, live: LiveRooms) -> Behaviour:
    """Simulate what users do on the day, in order of time."""
    pieces, requests = [_EMPTY], 0
    for chunk, first in enumerate(range(0, day.config.users, CHUNK_USERS)):
        chunk_users = np.arange(first, min(first + CHUNK_USERS, day.config.users))
        for piece in _sessions(day, live, chunk_users, requests, day.generator("sessions", chunk)):
            requests = max(requests, int(piece["request"].max(initial=-1)) + 1)
            pieces.append(piece)
    shown: dict[str, Any] = {name: np.concatenate([piece[name] for piece in pieces]) for name in _EMPTY}
    order = np.lexsort((shown["user"], shown["shown_at"]))
    shown = {name: values[order] for name, values in shown.items()}
    clicked = np.flatnonzero(shown["left_at"] > 0)
    entered, left = shown.pop("entered_at")[clicked], shown.pop("left_at")[clicked]
    actions = _actions(day, shown["user"][clicked], shown["room"][clicked], entered, left)
    return Behaviour(**shown, play_impression=clicked, entered_at=entered, left_at=left, actions=actions)


_EMPTY: dict[str, Any] = {
    "user": np.zeros(0, np.int64),
    "room": np.zeros(0, np.int64),
    "shown_at": np.zeros(0, np.int64),
    "position": np.zeros(0, np.int64),
    "request": np.zeros(0, np.int64),
    "followed": np.zeros(0, np.bool_),
    "p_click": np.zeros(0, np.float32),
    "p_click_static": np.zeros(0, np.float32),
    "fixed": np.zeros(0, np.float32),
    "entered_at": np.zeros(0, np.int64),
    "left_at": np.zeros(0, np.int64),
}


def _sessions(
    day: Day, live: LiveRooms, chunk: Ints, first_request: int, rng: np.random.Generator
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the impressions of one request after another, card by card, for all users of the chunk at once."""
    config, rooms = day.config, day.rooms
    wanted = np.minimum(rng.poisson(config.requests_per_user_day * day.users.activity[chunk]), config.max_requests)
    spread = config.session_spread_minutes
    minute = config.prime_minute - spread + np.clip(rng.normal(0.0, spread, len(chunk)), -2 * spread, 2 * spread)
    off_peak = rng.random(len(chunk)) < config.off_peak_share
    minute = np.where(off_peak, rng.uniform(480.0, 1_080.0, len(chunk)), minute)
    clock = day.midnight + (minute * MINUTE_MS).astype(np.int64)
    deadline = clock + int(config.session_limit_minutes * MINUTE_MS)
    room_of_author = np.full(config.authors + 1, -1, dtype=np.int64)  # the last entry stands for "no author"
    room_of_author[rooms.author] = np.arange(len(rooms.author))
    for round_ in range(config.max_requests):
        asks = np.flatnonzero((wanted > round_) & (clock < deadline))
        if not len(asks):
            return
        cards = _choose(day, live, room_of_author, chunk[asks], clock[asks], rng)
        request = first_request + round_ * len(chunk) + asks
        for position in range(cards.shape[1]):
            room = cards[:, position]
            seen = np.flatnonzero((room >= 0) & (clock[asks] < deadline[asks]) & (clock[asks] < rooms.end[room]))
            who, room = asks[seen], room[seen]
            piece = _show(day, chunk[who], room, clock[who], position, rng)
            piece["request"] = request[seen]
            clock[who] = np.where(piece["left_at"] > 0, piece["left_at"], clock[who]) + rng.integers(1_500, 4_000, len(who))
            yield piece
        clock[asks] += rng.integers(2_000, 9_000, len(asks))


def _choose(day: Day, live: LiveRooms, room_of_author: Ints, user: Ints, now: Ints, rng: np.random.Generator) -> Ints:
    """The logging policy: up to `cards` different rooms [n, cards] live now, -1 where there are fewer.

    Without replacement, in proportion to the policy's weight: popular, at random, and followed authors more (Plackett-Luce by
    the Gumbel-max trick).
    """
    config, rooms = day.config, day.rooms
    window = now // WINDOW_MS - live.first_window
    inside = (window >= 0) & (window < len(live.rooms))
    window = np.clip(window, 0, len(live.rooms) - 1)
    pool = np.where(inside[:, None], live.rooms[window], -1)
    score = live.log_weight[window]
    followed = room_of_author[day.users.follows[user]]
    is_followed = (pool[:, :, None] == followed[:, None, :]).any(axis=2) & (pool >= 0)
    score = score + np.log(config.followed_boost).astype(np.float32) * is_followed
    if live.rooms.shape[1] == config.pool_size:  # of very many rooms, a followed one may be missing from the pool: add it
        outside = np.where((pool[:, :, None] == followed[:, None, :]).any(axis=1), -1, followed)
        pool = np.concatenate([pool, outside], axis=1)
        score = np.concatenate(
            [score, np.full(outside.shape, np.log(config.followed_boost / config.pool_size), np.float32)], axis=1
        )
    on_air = (pool >= 0) & (rooms.start[pool] <= now[:, None]) & (now[:, None] < rooms.end[pool])
    score = np.where(on_air, score + rng.gumbel(size=score.shape).astype(np.float32), -np.inf)
    width = min(config.cards, pool.shape[1])
    best = np.argpartition(-score, width - 1, axis=1)[:, :width]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(score, best, axis=1), axis=1), axis=1)
    return np.where(np.take_along_axis(on_air, best, axis=1), np.take_along_axis(pool, best, axis=1), -1)


def _show(day: Day, user: Ints, room: Ints, now: Ints, position: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One card each for n users: how likely a click was, whether it came, and the watch (`left_at` 0: no click)."""
    config, authors, users, rooms = day.config, day.authors, day.users, day.rooms
    author, window_row = rooms.author[room], rooms.window_row(room, now)
    beloved = (users.beloved[user] == author[:, None]).any(axis=1)
    fixed = config.base_logit + authors.appeal[author] + config.beloved_author * beloved + config.position * np.log1p(position)
    logit = fixed + users.taste[user, rooms.topic[window_row]] + config.highlight * rooms.highlight[window_row]
    p_click = _sigmoid(logit + config.low_quality * rooms.low_quality[room])
    clicked = np.flatnonzero(rng.random(len(user)) < p_click)
    entered = np.minimum(now + rng.integers(800, 3_000, len(user)), rooms.end[room] - 1)
    left = np.zeros(len(user), dtype=np.int64)
    left[clicked] = _watch(day, user[clicked], room[clicked], beloved[clicked], entered[clicked], rng)
    return {
        "user": user,
        "room": room,
        "shown_at": now,
        "position": np.full(len(user), position),
        "followed": (users.follows[user] == author[:, None]).any(axis=1),
        "p_click": p_click,
        "p_click_static": _static_probability(day, user, author, fixed),
        "fixed": fixed.astype(np.float32),
        "entered_at": entered,
        "left_at": left,
    }


def _static_probability(day: Day, user: Ints, author: Ints, fixed: Floats) -> Floats:
    """Expected click probability [n] over what the author airs: topics by the author's mix, highlights, low quality."""
    config, authors = day.config, day.authors
    logit = fixed[:, None] + day.users.taste[user[:, None], authors.topics[author]]
    weight, poor = authors.weights[author], authors.low_quality[author][:, None]
    total = np.zeros(logit.shape, dtype=np.float32)
    for highlight, highlight_share in ((0.0, 1 - HIGHLIGHT_SHARE), (config.highlight, HIGHLIGHT_SHARE)):
        good_part = _sigmoid(logit + highlight) * (1 - poor)
        total += highlight_share * (good_part + _sigmoid(logit + highlight + config.low_quality) * poor)
    return (weight * total).sum(axis=1)


def _watch(day: Day, user: Ints, room: Ints, beloved: Bools, entered: Ints, rng: np.random.Generator) -> Ints:
    """The times at which n viewers leave: the likelier, the less the moment is to their taste."""
    rooms, users = day.rooms, day.users
    half_minutes = np.arange(MAX_WATCH_WINDOWS)
    times = np.minimum(entered[:, None] + half_minutes * WINDOW_MS, rooms.end[room][:, None] - 1)
    window_row = rooms.window_row(room[:, None], times)
    taste = users.taste[user[:, None], rooms.topic[window_row]]
    stay = (
        day.config.stay
        + 0.8 * taste
        + 0.4 * beloved[:, None]
        + 0.5 * rooms.highlight[window_row]
        - 0.8 * rooms.low_quality[room][:, None]
    )
    leaves = rng.random(stay.shape, dtype=np.float32) > _sigmoid(stay)
    leaves[:, -1] = True
    whole = leaves.argmax(axis=1)
    left = entered + ((whole + rng.random(len(user))) * WINDOW_MS).astype(np.int64)
    return np.clip(left, entered + 1, rooms.end[room])


def _actions(day: Day, user: Ints, room: Ints, entered: Ints, left: Ints) -> dict[str, tuple[Ints, Ints]]:
    """At most one action of each kind in each of m plays, at an even time of the watch, likelier when the moment pleases."""
    rooms, users, rng = day.rooms, day.users, day.generator("actions")
    author = rooms.author[room]
    beloved = (users.beloved[user] == author[:, None]).any(axis=1)
    follows = (users.follows[user] == author[:, None]).any(axis=1)
    seconds = (left - entered) / 1_000
    actions = {}
    for kind in ACTIONS:
        at = entered + (rng.random(len(user)) * (left - entered)).astype(np.int64)
        window_row = rooms.window_row(room, np.minimum(at, rooms.end[room] - 1))
        base, of_taste, of_love, of_highlight = ACTION_LOGITS[kind]
        logit = (
            base
            + of_taste * users.taste[user, rooms.topic[window_row]]
            + of_love * beloved
            + of_highlight * rooms.highlight[window_row]
        )
        happens = rng.random(len(user)) < _sigmoid(logit) * (1 - np.exp(-seconds / 40))
        if kind == "follows":
            happens &= ~follows
        play = np.flatnonzero(happens)
        actions[kind] = (play, at[play])
    return actions


def _sigmoid(logit: np.ndarray) -> Floats:
    return (1 / (1 + np.exp(-logit, dtype=np.float32))).astype(np.float32)
