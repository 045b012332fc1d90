"""One simulated day as landing tables, and as truth tables that only evaluation reads."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from livealign.landing.schema import TABLES, TIMESTAMP
from livealign.simulation import text
from livealign.simulation.audience import Audience
from livealign.simulation.behaviour import Behaviour
from livealign.simulation.frames import frame_rows, frame_truth
from livealign.simulation.grammar import GENRE_OF_TOPIC
from livealign.simulation.members import WORDINGS
from livealign.simulation.moments import Day
from livealign.simulation.topics import TOPICS
from livealign.simulation.vocabulary import GENRES
from livealign.simulation.world import Ints, generator

BOT_IDS = 990_000_000_001 + np.arange(3)
GIFT_VALUES = np.array([1.0, 5.0, 10.0, 52.0, 99.0, 520.0])
GIFT_SHARES = (0.5, 0.2, 0.15, 0.09, 0.05, 0.01)
FOLLOWER_BANDS = ("0-100", "100-1k", "1k-10k", "10k-100k", "100k+")
COUNTRIES = ("CN", "BR", "MX", "JP", "US", "VN", "DE")
GENDERS = ("f", "m", None)
AGE_BANDS = ("18-23", "24-30", "31-40", "41-49", "50+", None)


def landing_tables(day: Day, behaviour: Behaviour) -> dict[str, pa.Table]:
    """The landing tables of the day, with columns and types of `landing.schema.TABLES`.

    Each is in order of time.
    """
    audience = Audience(day)
    rng = day.generator("tables")
    return {
        "rooms": _rooms(day),
        "authors": _authors(day),
        "users": _users(day, behaviour),
        "impressions": _impressions(day, behaviour),
        "plays": _plays(day, behaviour, audience),
        "comments": _comments(day, behaviour, audience),
        "speech": _speech(day),
        "likes": _likes(day, behaviour, rng),
        "gifts": _gifts(day, behaviour, rng),
        "shares": _actions("shares", day, behaviour, {}),
        "follows": _actions("follows", day, behaviour, {}),
        **({"frames": _table("frames", **frame_rows(day))} if day.config.frames else {}),
    }


def truth_tables(day: Day, behaviour: Behaviour) -> dict[str, pa.Table]:
    """True click probabilities, the truth of every window, and every user's tastes."""
    rooms, taste = day.rooms, day.users.taste
    return {
        "impressions": pa.table(
            {
                "impression_id": row_ids(day.date, len(behaviour.user)),
                "p_click": behaviour.p_click.astype(np.float64),
                "p_click_static": behaviour.p_click_static.astype(np.float64),
                "user": behaviour.user.astype(np.int32),
                "fixed_logit": behaviour.fixed,
            }
        ),
        "tastes": pa.table({"taste": pa.FixedSizeListArray.from_arrays(taste.reshape(-1), taste.shape[1])}),
        "segments": pa.table(
            {
                "room_id": rooms.ids[rooms.room],
                "window": rooms.window,
                "topic": rooms.topic.astype(np.int32),
                "genre": GENRE_OF_TOPIC[rooms.topic],
                "highlight": rooms.highlight,
                "low_quality": rooms.low_quality[rooms.room],
                **_wording(day),
            }
        ),
        **({"frames": pa.table(frame_truth(day))} if day.config.frames else {}),
    }


def _wording(day: Day) -> dict[str, np.ndarray | pa.Array]:
    """By window of an open world, whether its members are new and how its room puts things; nothing of a closed one."""
    if day.members is None:
        return {}
    wording = pa.array(WORDINGS).take(pa.array(day.members.wording[day.rooms.room]))
    return {"new_members": day.members.is_new[day.rooms.room, day.rooms.talk], "wording": wording}


def topic_table() -> pa.Table:
    """The names of topics and genres."""
    return pa.table(
        {
            "topic": pa.array(range(len(TOPICS)), pa.int32()),
            "name": [topic.name for topic in TOPICS],
            "genre": [topic.genre for topic in TOPICS],
        }
    )


def row_ids(date_: date, count: int) -> Ints:
    """Ids [count] that no other day uses."""
    return int(f"{date_:%Y%m%d}") * 10_000_000_000 + np.arange(1, count + 1)


def _rooms(day: Day) -> pa.Table:
    authors, rooms, rng = day.authors, day.rooms, day.generator("categories")
    genre_names = np.array([genre.name for genre in GENRES])
    main_topic = authors.topics[np.arange(len(authors.ids)), authors.weights.argmax(axis=1)]
    category = np.where(rng.random(len(rooms.ids)) < 0.85, genre_names[GENRE_OF_TOPIC[main_topic[rooms.author]]], "chatting")
    return _table(
        "rooms",
        room_id=rooms.ids,
        author_id=authors.ids[rooms.author],
        title=text.titles(day),
        category=category,
        language=pa.repeat("en", len(rooms.ids)),
        started_at=rooms.start,
        ended_at=rooms.end,
    )


def _authors(day: Day) -> pa.Table:
    popularity = day.authors.popularity * day.config.authors
    band = np.clip(np.log10(popularity + 0.05) * 1.5 + 2.5, 0, 4).astype(np.int64)
    return _people(day, "authors", "author_id", day.authors.ids, band, np.unique(day.rooms.author))


def _users(day: Day, behaviour: Behaviour) -> pa.Table:
    band = np.minimum(generator(day.config, "followers").geometric(0.75, day.config.users) - 1, 4)
    return _people(day, "users", "user_id", day.users.ids, band, np.unique(behaviour.user))


def _people(day: Day, table: str, key: str, ids: Ints, band: Ints, seen: Ints) -> pa.Table:
    """The profiles of the people seen on the day; a person's profile is the same every day."""
    rng = generator(day.config, f"profiles of {table}")
    profiles = (("gender", GENDERS), ("age_band", AGE_BANDS), ("country", COUNTRIES))
    columns = {name: _choice(values, len(ids), rng) for name, values in profiles}
    rows = pa.array(seen)
    return _table(
        table,
        **{key: ids[seen]},
        observed_at=np.full(len(seen), day.midnight),
        **{name: column.take(rows) for name, column in columns.items()},
        followers_band=pa.array(FOLLOWER_BANDS).take(pa.array(band[seen])),
    )


def _impressions(day: Day, behaviour: Behaviour) -> pa.Table:
    authors, users, rooms, date_ = day.authors, day.users, day.rooms, day.date
    count = len(behaviour.user)
    request = pc.binary_join_element_wise(f"{date_:%Y%m%d}", pc.cast(pa.array(behaviour.request), pa.string()), "-")
    return _table(
        "impressions",
        impression_id=row_ids(date_, count),
        user_id=users.ids[behaviour.user],
        author_id=authors.ids[rooms.author[behaviour.room]],
        room_id=rooms.ids[behaviour.room],
        shown_at=behaviour.shown_at,
        position=behaviour.position,
        surface=pc.if_else(pa.array(behaviour.followed), "following", "discover"),
        request_id=request,
        score=pa.nulls(count),
        model_version=pa.nulls(count),
    )


def _plays(day: Day, behaviour: Behaviour, audience: Audience) -> pa.Table:
    authors, users, rooms, date_ = day.authors, day.users, day.rooms, day.date
    clicked = behaviour.play_impression
    room = np.concatenate([behaviour.room[clicked], audience.room])
    entered = np.concatenate([behaviour.entered_at, audience.entered_at])
    from_feed = np.arange(len(room)) < len(clicked)
    impression = np.concatenate([row_ids(date_, len(behaviour.user))[clicked], np.zeros(len(audience.room), np.int64)])
    order = np.argsort(entered, kind="stable")
    return _table(
        "plays",
        play_id=row_ids(date_, len(room)),
        user_id=np.concatenate([users.ids[behaviour.user[clicked]], audience.user_id])[order],
        author_id=authors.ids[rooms.author[room[order]]],
        room_id=rooms.ids[room[order]],
        impression_id=pa.array(impression[order], mask=~from_feed[order]),
        entered_at=entered[order],
        left_at=np.concatenate([behaviour.left_at, audience.left_at])[order],
        source=pc.if_else(pa.array(from_feed[order]), "feed", "external"),
    )


def _comments(day: Day, behaviour: Behaviour, audience: Audience) -> pa.Table:
    authors, users, rooms, rng = day.authors, day.users, day.rooms, day.generator("comments")
    play, at = behaviour.actions["comments"]
    impression = behaviour.play_impression[play]
    window_row = rooms.window_row(behaviour.room[impression], at)
    panel = text.Sentences(window_row, at, text.messages(day, window_row, rng))
    chat, bots = text.chat(day), text.bot_messages(day)
    chat_users = audience.speakers(rooms.room[chat.window_row], chat.at, rng)
    bot_users = BOT_IDS[rooms.room[bots.window_row] % len(BOT_IDS)]
    times = np.concatenate([panel.at, chat.at, bots.at])
    order = np.argsort(times, kind="stable")
    room = rooms.room[np.concatenate([panel.window_row, chat.window_row, bots.window_row])[order]]
    return _table(
        "comments",
        comment_id=row_ids(day.date, len(times)),
        user_id=np.concatenate([users.ids[behaviour.user[impression]], chat_users, bot_users])[order],
        author_id=authors.ids[rooms.author[room]],
        room_id=rooms.ids[room],
        sent_at=times[order],
        text=pa.chunked_array([*panel.text.chunks, *chat.text.chunks, *bots.text.chunks], pa.string()).take(pa.array(order)),
        is_bot=order >= len(panel.at) + len(chat.at),
    )


def _speech(day: Day) -> pa.Table:
    authors, rooms, utterances = day.authors, day.rooms, text.speech(day)
    order = np.argsort(utterances.at, kind="stable")
    room = rooms.room[utterances.window_row[order]]
    characters = pc.utf8_length(utterances.text).to_numpy()[order].astype(np.int64)
    return _table(
        "speech",
        speech_id=row_ids(day.date, len(order)),
        author_id=authors.ids[rooms.author[room]],
        room_id=rooms.ids[room],
        started_at=utterances.at[order],
        ended_at=np.minimum(utterances.at[order] + 500 + 60 * characters, rooms.end[room]),
        text=utterances.text.take(pa.array(order)),
    )


def _likes(day: Day, behaviour: Behaviour, rng: np.random.Generator) -> pa.Table:
    count = rng.geometric(0.3, len(behaviour.actions["likes"][0]))
    return _actions("likes", day, behaviour, {"count": count})


def _gifts(day: Day, behaviour: Behaviour, rng: np.random.Generator) -> pa.Table:
    count = rng.geometric(0.7, len(behaviour.actions["gifts"][0]))
    value = count * rng.choice(GIFT_VALUES, size=len(count), p=GIFT_SHARES)
    return _actions("gifts", day, behaviour, {"count": count, "value": value})


def _actions(kind: str, day: Day, behaviour: Behaviour, extra: dict[str, np.ndarray]) -> pa.Table:
    authors, users, rooms = day.authors, day.users, day.rooms
    play, at = behaviour.actions[kind]
    order = np.argsort(at, kind="stable")
    impression = behaviour.play_impression[play[order]]
    room = behaviour.room[impression]
    return _table(
        kind,
        action_id=row_ids(day.date, len(order)),
        user_id=users.ids[behaviour.user[impression]],
        author_id=authors.ids[rooms.author[room]],
        room_id=rooms.ids[room],
        at=at[order],
        **{name: values[order] for name, values in extra.items()},
    )


def _table(name: str, **columns: np.ndarray | pa.Array) -> pa.Table:
    """Columns in the contract's types; times are given in ms since 1970."""
    arrays = []
    for field in TABLES[name].schema:
        column = columns[field.name]
        array = pa.array(column) if isinstance(column, np.ndarray) else column
        arrays.append(array.cast(pa.int64()).cast(TIMESTAMP) if field.type == TIMESTAMP else array.cast(field.type))
    return pa.table(arrays, schema=TABLES[name].schema)


def _choice(values: tuple[str | None, ...], count: int, rng: np.random.Generator) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(rng.integers(len(values), size=count)))
