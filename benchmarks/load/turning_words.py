"""The events of `turning_rooms.py`: hosts speak and viewers write in the simulator's words."""

import json
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.load.large_release import FIRST_ROOM, FIRST_USER
from benchmarks.load.turning_plan import Ints, Stage
from livealign.client_types import SentEvent
from livealign.files import read_json
from livealign.home import Home
from livealign.release.bundle import SNAPSHOT, Bundle
from livealign.release.contents import with_snapshot
from livealign.simulation.config import MANIFEST, WINDOW_MS, SimulationConfig
from livealign.simulation.grammar import GENRE_OF_TOPIC
from livealign.simulation.members import choose_members, never_introduced
from livealign.simulation.moments import Day, Rooms, make_rooms
from livealign.simulation.text import Sentences, chat, speech, titles
from livealign.simulation.truth import SIMULATE_AGAIN
from livealign.simulation.vocabulary import GENRES
from livealign.simulation.world import FIRST_AUTHOR_ID, authors_on, make_authors, make_users

SCRIPTS = {  # titles of 40 to 57 characters that say nothing of a topic, one script a room
    "Chinese": "今晚和大家一起慢慢聊天欢迎新来的朋友们点个关注不要错过精彩内容我们马上开始准备好了吗",
    "Japanese": "今夜もみんなでゆっくり楽しく配信していきますので初見さんも気軽にコメントしてくださいね",
    "Korean": "오늘 밤에도 여러분과 함께 즐거운 시간을 보내려고 합니다 처음 오신 분들도 환영합니다",
    "Thai": "คืนนี้มาพูดคุยกันสนุกสนานกับเพื่อนทุกคนนะครับยินดีต้อนรับ",
    "Arabic": "أهلا وسهلا بكم جميعا في بث الليلة نقضي معا وقتا ممتعا",
    "emoji": "🎉🔥✨💖🎶🌟🥳💫🎈🙌💥🌈😍🚀🎊👏💯🤩🍀🌸🎁💎⚡🌺😎🎵🦋🍭🌙💐🎀🏆🌻😻🍓🎠🪩🧸🌠🫶",
}
ENGLISH, IN_SCRIPTS = "english", "scripts"
SPEECH_MS = 1_000  # of a sentence
VIEWERS = 1_000


def release_now(bundle: Bundle, out: Path, now: int) -> Path:
    """Write the release again, its snapshot moved to `now` and without rooms.

    So the users' histories are as old as they were at its time.

    Args:
        now: epoch milliseconds.

    Returns:
        The new bundle's path.
    """
    old = bundle.path / SNAPSHOT
    state = read_json(old / "state.json")
    later = (now - state["moment"]) // WINDOW_MS * WINDOW_MS
    tables = {path.stem: pq.read_table(path) for path in old.glob("*.parquet")}
    tables["rooms"] = tables["rooms"].slice(0, 0)
    items, histories = tables["items"], tables["histories"]
    ended = pc.add(items["ended_at"], pa.scalar(later))
    tables["items"] = items.set_column(items.schema.get_field_index("ended_at"), "ended_at", ended)
    engaged = histories["engaged_at"].combine_chunks()
    moved = pa.ListArray.from_arrays(engaged.offsets, pc.add(engaged.values, pa.scalar(later)))
    tables["histories"] = histories.set_column(histories.schema.get_field_index("engaged_at"), "engaged_at", moved)
    with tempfile.TemporaryDirectory(prefix="livealign-bench-") as folder:
        for name, table in tables.items():
            pq.write_table(table, Path(folder) / f"{name}.parquet", compression="zstd")
        (Path(folder) / "state.json").write_text(json.dumps({**state, "moment": state["moment"] + later}))
        return with_snapshot(bundle, Path(folder), out)


def told(home: Home, stage: Stage, first_window: int, before: int, after: int, scripts: bool, seed: int) -> list[SentEvent]:
    """The events of all rooms by time.

    `before` windows are of the first topic, then `after` of the second. Authors, members and habits of speech
    are those of the archive's last day. Sound is good and no host is silent.

    Args:
        first_window: its number since 1970.
        scripts: titles in six scripts; else the simulator's, which name the first topic.
    """
    made_with = read_json(home.archive / MANIFEST, SIMULATE_AGAIN)["config"]
    config = SimulationConfig(
        **{"new_words": 0.0, **made_with, "first_day": date.fromisoformat(made_with["first_day"])}  # a closed world has none
    )
    rooms = _rooms(stage, first_window, before, after)
    day = _day(config, rooms, seed)
    names = list(SCRIPTS.values()) if scripts else titles(day).to_pylist()
    events: list[dict[str, Any]] = []
    for room, (author, topic) in enumerate(zip(stage.author_ids.tolist(), stage.first.tolist(), strict=True)):
        begun = {"kind": "room_started", "event_id": f"begins-{room}", "at": first_window * WINDOW_MS}
        about = {"title": names[room % len(names)], "category": GENRES[GENRE_OF_TOPIC[topic]].name, "language": "en"}
        events.append({**begun, **about, "room_id": FIRST_ROOM + room, "author_id": author})
    said, written = speech(day), chat(day)
    viewers = np.random.default_rng(seed).integers(0, VIEWERS, len(written.at)).tolist()
    for kind, sentences in (("speech", said), ("comment", written)):
        for number, (room, at, text) in enumerate(_rows(rooms, sentences)):
            event = {"kind": kind, "event_id": f"{kind}-{number}", "at": at, "text": text}
            event |= {"room_id": FIRST_ROOM + room, "author_id": int(stage.author_ids[room])}
            event |= {"ended_at": at + SPEECH_MS} if kind == "speech" else {"user_id": FIRST_USER + viewers[number]}
            events.append(event)
    return cast(list[SentEvent], sorted(events, key=lambda event: event["at"]))


def _rows(rooms: Rooms, sentences: Sentences) -> "zip[tuple[int, int, str]]":
    room: list[int] = rooms.room[sentences.window_row].tolist()
    return zip(room, sentences.at.tolist(), sentences.text.to_pylist(), strict=True)


def _rooms(stage: Stage, first_window: int, before: int, after: int) -> Rooms:
    count, length = len(stage.author_ids), before + after
    room, nth = np.divmod(np.arange(count * length), length)
    talk = np.where(nth < before, stage.first[room], stage.second[room])
    never: Any = np.zeros(len(room), dtype=np.bool_)

    def of_all(value: int) -> Ints:
        return np.full(count, value, dtype=np.int64)

    return Rooms(
        ids=FIRST_ROOM + np.arange(count),
        author=stage.author_ids - FIRST_AUTHOR_ID,
        start=of_all(first_window * WINDOW_MS),
        end=of_all((first_window + length) * WINDOW_MS),
        title_topic=stage.first,
        low_quality=never[:count],
        first_window=of_all(first_window),
        offset=np.arange(count) * length,
        room=room,
        window=first_window + nth,
        topic=talk,
        talk=talk,
        highlight=never,
        silent=never,
    )


def _day(config: SimulationConfig, rooms: Rooms, seed: int) -> Day:
    """The archive's last day with these rooms instead of its own; the seed is that of what is said."""
    last, every = config.days - 1, make_authors(config)
    introduced = never_introduced()
    for number in range(last if config.new_words else 0):
        aired = make_rooms(config, authors_on(config, every, number), number).talked_of
        introduced = choose_members(config, number, aired, introduced).introduced
    members = choose_members(config, last, rooms.talked_of, introduced) if config.new_words else None
    authors = authors_on(config, every, last)
    return Day(replace(config, seed=seed), last, authors, make_users(config, every), rooms, members)
