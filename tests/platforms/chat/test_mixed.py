"""Archives of several formats and sites, rooms whose ids could collide, and the lists inferred beside plays."""

import json
import os
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from livealign import ids
from livealign.errors import ArchiveError
from livealign.landing.run import LandingRun
from livealign.landing.validate import validate_landing
from livealign.platforms.chat.broadcasts import Broadcast
from livealign.platforms.chat.guide import RECENT_MS, Guide
from livealign.platforms.inspect import inspect_archive
from livealign.platforms.registry import PLATFORMS, archive_days, land, recognise
from tests.planted.chat_archives import read, rejects, td_chat, td_comment, write, write_every_format
from tests.planted.twitch_archives import new_message, old_message, small_twitch_archive, write_broadcast

CASES = Path(__file__).parents[4] / "shared" / "cases" / "landing"
EVENING = datetime(2025, 9, 22, 20)


@pytest.mark.parametrize("platform", ["twitch", "youtube", "bilibili", "chat"])
def test_a_mixed_archive_lands_in_one_run_whatever_the_platform_is_called(tmp_path: Path, platform: str) -> None:
    small_twitch_archive(tmp_path / "a")
    write_every_format(tmp_path / "a")
    assert recognise(tmp_path / "a") == "chat"
    summary = land(platform, tmp_path / "a", tmp_path / "l")
    assert summary.tables["rooms"].landed == 2 + 6
    assert summary.read == summary.landed + summary.rejected
    assert not [row for row in rejects(tmp_path / "l") if not row[0].startswith("dave/")]
    assert len({row["author_id"] for row in read(tmp_path / "l", "rooms")}) == 8
    rooms = {row["room_id"]: row["author_id"] for row in read(tmp_path / "l", "rooms")}
    assert all(rooms[row["room_id"]] == row["author_id"] for row in read(tmp_path / "l", "impressions"))
    assert not [problem for problem in validate_landing(tmp_path / "l") if problem.severity == "error"]
    assert inspect_archive(tmp_path / "a").platform == "chat"


def test_ids_of_one_site_are_none_of_another(tmp_path: Path) -> None:
    write_every_format(tmp_path / "a")
    land("chat", tmp_path / "a", tmp_path / "l")
    users = {row["user_id"] for row in read(tmp_path / "l", "comments")}
    assert {701, 702, 550, 551} <= users  # Twitch's numbers stay
    assert users.isdisjoint({880, 881, 1000, 1001})  # Bilibili's numbers are hashed with the site's name
    assert ids.hashed_id("bilibili_user", "880") in users


def test_an_adapter_recognises_the_archives_of_its_site_alone(tmp_path: Path) -> None:
    write_broadcast(tmp_path / "twitch", "alice", EVENING, [new_message(1, "bob", "hi")])
    write_every_format(tmp_path / "mixed")
    for folder, platform in (("twitch", "twitch"), ("mixed", "chat"), ("nothing", None)):
        chats = [name for name in ("twitch", "youtube", "bilibili", "chat") if PLATFORMS[name].recognises(tmp_path / folder)]  # type: ignore[attr-defined]
        assert chats == ([platform] if platform else [])


def test_broadcasts_without_a_vod_are_rooms_of_their_own(tmp_path: Path) -> None:
    for number, stream in enumerate((4_001, 4_002, 0, None)):
        folder = tmp_path / "a" / f"host{number}" / "2025-09-22_20-00-00 - live only - STREAM_ONLY"
        vod = {"vod_id": 0, "stream_id": stream, "title": "x", "created_at": 1_758_571_200.5 + number, "duration": 60}
        write(folder / "vod.json", json.dumps(vod))
        write(folder / "verbose_chat.json", json.dumps([new_message(1, "bob", f"hi {number}")]))
        write(folder / "readable_chat.txt", "[1.0] bob: hi")
    land("twitch", tmp_path / "a", tmp_path / "l")
    rooms = [row["room_id"] for row in read(tmp_path / "l", "rooms")]
    assert rooms[:2] == [4_001, 4_002]
    assert len(set(rooms)) == 4
    assert 0 not in rooms
    assert {row["room_id"] for row in read(tmp_path / "l", "comments")} == set(rooms)
    assert rejects(tmp_path / "l") == []


def test_a_broadcast_that_is_there_twice_is_read_once_and_the_copy_is_named(tmp_path: Path) -> None:
    write_broadcast(tmp_path / "a", "hostone", EVENING, [new_message(1, "bob", "hi")], vod_id=101)
    write(tmp_path / "a" / "copy.json", json.dumps(td_chat([td_comment(0, 5, "v", "hi")])))
    land("twitch", tmp_path / "a", tmp_path / "l")
    assert [row["room_id"] for row in read(tmp_path / "l", "rooms")] == [101]
    assert sorted(rejects(tmp_path / "l")) == [("copy.json", 0, "duplicate_broadcast"), ("copy.json", 0, "no_broadcast")]


def test_brackets_in_names_are_data(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "[host]" / "2025-09-22_20-00-00 - [german] [bold]*chill? - 102"
    write(
        folder / "vod.json",
        json.dumps({"vod_id": 102, "title": "[german] [bold]*chill?", "created_at": f"{EVENING}", "duration": 60}),
    )
    write(folder / "verbose_chat.json", json.dumps([new_message(1, "bob", "hi"), 7]))
    land("twitch", tmp_path / "a", tmp_path / "l")
    assert read(tmp_path / "l", "rooms")[0]["title"] == "[german] [bold]*chill?"
    assert rejects(tmp_path / "l") == [(f"[host]/{folder.name}/verbose_chat.json", 2, "wrong_type")]


def test_what_a_run_read_or_knows_is_reported_as_used(tmp_path: Path) -> None:
    write_every_format(tmp_path / "a")
    write(tmp_path / "a" / "notes.md", "what is this")
    with LandingRun(tmp_path / "l", archive_days("chat", tmp_path / "a")) as run:
        PLATFORMS["chat"].land_days(tmp_path / "a", run, run.days)
        files = {path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*") if path.is_file()}
        assert files - run._used == {"notes.md"}


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the project")
@pytest.mark.parametrize(
    ("case", "rooms", "comments"),
    [("01", 2, 12), ("02", 5, 12), ("03", 2, 12), ("04", 1, 6), ("05", 1, 6), ("07", 1, 6), ("19", 2, 6)],
)
def test_the_public_cases_land(tmp_path: Path, case: str, rooms: int, comments: int) -> None:
    [folder] = CASES.glob(f"{case}-*/archive")
    summary = land(recognise(folder), folder, tmp_path)
    assert (summary.tables["rooms"].landed, summary.tables["comments"].landed) == (rooms, comments)
    assert summary.read == summary.landed + summary.rejected
    assert not [problem for problem in validate_landing(tmp_path) if problem.severity == "error"]


def on_air(number: int, start: int, minutes: float, channel: int | None = None) -> Broadcast:
    name = f"c{number if channel is None else channel}"
    return Broadcast("twitch", name, name, f"{number}", number, None, None, start, minutes * 60, ())


def truth(broadcasts: list[Broadcast], author: int, at: int) -> set[int]:
    """The rooms of the other channels that a viewer could be shown, by the definition."""
    latest: dict[int, Broadcast] = {}
    for one in sorted(broadcasts, key=lambda one: (one.started_at, one.file)):
        if one.started_at <= at and one.author_id != author:
            latest[one.author_id] = one
    return {one.room_id for one in latest.values() if one.last_known > at or one.started_at >= at - RECENT_MS}


def test_where_few_rooms_are_on_all_of_them_are_listed() -> None:
    random = np.random.default_rng(1)
    hour = 3_600_000
    days = [(int(random.integers(0, 72 * hour)), float(random.integers(0, 2_000)), int(random.integers(15))) for _ in range(60)]
    broadcasts = [on_air(i, 1_700_000_000_000 + start, minutes, channel) for i, (start, minutes, channel) in enumerate(days)]
    guide = Guide(broadcasts, per_play=20)
    at = 1_700_000_000_000 + random.integers(0, 80 * hour, 200)
    author = broadcasts[0].author_id
    which, rooms, authors = guide.beside(author, np.arange(200), at)
    for i in range(200):
        assert sorted(rooms[which == i]) == sorted(truth(broadcasts, author, int(at[i])))
    assert author not in authors


@pytest.mark.parametrize("channels", [40, 400])
def test_a_play_has_at_most_the_set_number_of_negatives_uniformly_among_what_is_on(channels: int) -> None:
    start = 1_700_000_000_000
    off = [on_air(10_000 + i, start - 20 * 3_600_000 + i, 5) for i in range(50)]
    broadcasts = [*(on_air(i, start + i, 60 + 3 * i) for i in range(channels)), *off, on_air(99_999, start - 86_400_000, 9_000)]
    guide = Guide(broadcasts, per_play=10)
    plays, at = np.arange(4_000), np.full(4_000, start + 1_800_000)
    author = broadcasts[0].author_id
    which, rooms, _ = guide.beside(author, plays, at)
    assert set(np.bincount(which)) == {10}
    assert len(set(zip(which.tolist(), rooms.tolist(), strict=True))) == len(which)
    counts = Counter(rooms.tolist())
    assert set(counts) == truth(broadcasts, author, start + 1_800_000)
    expected = len(which) / channels  # channels - 1 of the evening and the long one
    chi_square = sum((n - expected) ** 2 / expected for n in counts.values())
    assert chi_square < channels + 4 * np.sqrt(2 * channels)
    again = guide.beside(author, plays[::-1].copy(), at)
    assert {(3_999 - i, room) for i, room in zip(again[0].tolist(), again[1].tolist(), strict=True)} == set(
        zip(which.tolist(), rooms.tolist(), strict=True)
    )


def test_many_channels_of_one_evening_give_rows_that_grow_with_the_messages(tmp_path: Path) -> None:
    for number in range(60):
        chat = [old_message(10 * i, f"fan{number}x{i}", "hi") for i in range(2)]
        write_broadcast(tmp_path / "a", f"channel{number}", EVENING + timedelta(seconds=number), chat, number + 1)
    summary = land("twitch", tmp_path / "a", tmp_path / "l")
    assert summary.tables["impressions"].landed <= 120 * 21
    lists = Counter(row["request_id"] for row in read(tmp_path / "l", "impressions"))
    assert max(lists.values()) == 21
    land("twitch", tmp_path / "a", tmp_path / "again")
    file = "impressions/dt=2025-09-22/part-0.parquet"
    assert (tmp_path / "l" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_a_folder_without_chats_is_refused_with_every_layout_that_is_expected(tmp_path: Path) -> None:
    write(tmp_path / "x.json", "{}")
    with pytest.raises(ArchiveError, match=r"holds no Bilibili broadcasts; expected CHANNEL/.*yt-dlp.*BililiveRecorder"):
        archive_days("bilibili", tmp_path)


def test_days_landed_before_there_were_room_changes_stay_valid(tmp_path: Path) -> None:
    small_twitch_archive(tmp_path / "a")
    land("twitch", tmp_path / "a", tmp_path / "l")
    for path in (tmp_path / "l" / "room_changes").glob("dt=*/*"):
        path.unlink()
    assert not [problem for problem in validate_landing(tmp_path / "l") if problem.severity == "error"]


def test_names_that_are_no_utf8_are_data_too(tmp_path: Path) -> None:
    folder = tmp_path / "a" / os.fsdecode("主播".encode("gbk")) / "2025-09-22_20-00-00 - x - 102"
    write(folder / "vod.json", json.dumps({"vod_id": 102, "title": "x", "created_at": f"{EVENING}", "duration": 60}))
    chat = json.dumps([new_message(1, "bob", "hi"), new_message(2, "bob", "") | {"mood": 1}])
    (folder / "verbose_chat.json").write_bytes(chat.encode().replace(b'"mood"', b'"\xff"'))
    summary = land("twitch", tmp_path / "a", tmp_path / "l")
    assert (summary.tables["comments"].landed, summary.tables["comments"].reasons) == (1, {"empty_text": 1})
    assert summary.tables["comments"].warnings == {"unknown_field": 1}
