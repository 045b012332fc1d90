"""TwitchDownloader's chat JSON, from its documentation."""

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from livealign import ids
from livealign.platforms.chat import json_text
from livealign.platforms.registry import land
from tests.planted.chat_archives import START, chapter, read, rejects, td_chat, td_comment, write

EIGHT = datetime(2025, 9, 22, 20)


def test_messages_bits_and_room_land_with_the_ids_of_the_other_twitch_formats(tmp_path: Path) -> None:
    comments = [
        td_comment(0, 5, "hostone", "welcome"),
        td_comment(1, 10, "viewer_1", "hi @Hostone", bits=50),
        td_comment(2, 700, "viewer_1", "bye"),
    ]
    write(tmp_path / "a" / "chat.json", json.dumps(td_chat(comments)))
    land("twitch", tmp_path / "a", tmp_path / "l")
    [room] = read(tmp_path / "l", "rooms")
    assert (room["room_id"], room["title"], room["category"]) == (101, "a stream", "Some Game")
    assert room["author_id"] == ids.hashed_id("twitch_channel", "@hostone")
    assert (room["started_at"], room["ended_at"]) == (EIGHT, EIGHT + timedelta(hours=1))
    assert [row["text"] for row in read(tmp_path / "l", "speech")] == ["welcome"]
    assert [(row["user_id"], row["text"]) for row in read(tmp_path / "l", "comments")] == [(708, "hi @user"), (708, "bye")]
    [gift] = read(tmp_path / "l", "gifts")
    assert (gift["value"], gift["count"], gift["user_id"]) == (50.0, 1, 708)
    [play] = read(tmp_path / "l", "plays")
    assert play["left_at"] - play["entered_at"] == timedelta(seconds=690)


def test_chapters_give_the_category_of_the_start_and_each_change_with_its_time(tmp_path: Path) -> None:
    chapters = [chapter(0, "Chess"), chapter(600_000, "Chess"), chapter(900_000, "Go"), chapter(1_800_000, "Chess")]
    whole = td_chat([td_comment(0, 10, "v", "hi")], {"chapters": chapters, "game": "Chess, the last"})
    write(tmp_path / "a" / "chat.json", json.dumps(whole))
    land("twitch", tmp_path / "a", tmp_path / "l")
    assert read(tmp_path / "l", "rooms")[0]["category"] == "Chess"
    changes = [
        (row["room_id"], row["changed_at"], row["title"], row["category"]) for row in read(tmp_path / "l", "room_changes")
    ]
    assert changes == [
        (101, EIGHT + timedelta(minutes=15), None, "Go"),
        (101, EIGHT + timedelta(minutes=30), None, "Chess"),
    ]


def test_an_older_file_without_id_and_start_takes_both_from_its_comments(tmp_path: Path) -> None:
    comments = [td_comment(i, 10 * i, "v", f"line {i}") for i in range(3)]
    whole = {"comments": comments, "streamer": {"name": "Hostone", "id": 9}, "video": {"start": 0, "end": 100}, "emotes": {}}
    path = tmp_path / "a" / "chat.json.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(json.dumps(whole).encode()))
    summary = land("twitch", tmp_path / "a", tmp_path / "l")
    [room] = read(tmp_path / "l", "rooms")
    assert (room["room_id"], room["started_at"]) == (101, EIGHT)
    assert summary.tables["comments"].landed == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content_offset_seconds": None}, "missing_value"),
        ({"content_offset_seconds": -1}, "before_start"),
        ({"content_offset_seconds": 9e6}, "after_end"),
        ({"commenter": None}, "no_commenter"),
        ({"message": {"body": " ", "fragments": []}}, "empty_text"),
        ({"message": {"body": "x", "bits_spent": "many"}}, "wrong_type"),
        ({"_id": None}, "missing_value"),
    ],
)
def test_one_bad_comment_is_rejected_alone(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    comments = [td_comment(0, 1, "v", "one"), td_comment(1, 2, "v", "two") | change, td_comment(2, 3, "v", "three")]
    write(tmp_path / "a" / "chat.json", json.dumps(td_chat(comments)))
    land("twitch", tmp_path / "a", tmp_path / "l")
    assert [row["text"] for row in read(tmp_path / "l", "comments")] == ["one", "three"]
    assert rejects(tmp_path / "l") == [("chat.json", 2, reason)]


@pytest.mark.parametrize("cut", [0.45, 0.7, 0.99])
def test_a_file_cut_short_is_one_reject_and_its_room_stays(tmp_path: Path, cut: float) -> None:
    content = json.dumps(td_chat([td_comment(i, i, "v", f"line {i}") for i in range(20)]))
    write(tmp_path / "a" / "chat.json", content[: int(cut * len(content))])
    summary = land("twitch", tmp_path / "a", tmp_path / "l")
    assert rejects(tmp_path / "l") == [("chat.json", 0, "unreadable_file")]
    assert (summary.tables["rooms"].landed, summary.tables["comments"].landed) == (1, 0)


def test_embedded_pictures_are_passed_over_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", 1_000)
    monkeypatch.setattr(json_text, "MAX_ELEMENT_CHARACTERS", 5_000)
    whole = td_chat([td_comment(0, 1, "v", "one")])
    whole["embeddedData"] = {"firstParty": [{"data": 'A"\\' * 40_000}]}
    write(tmp_path / "a" / "chat.json", json.dumps(whole))
    assert land("twitch", tmp_path / "a", tmp_path / "l").tables["comments"].landed == 1


@pytest.mark.parametrize(
    ("video", "reason"),
    [
        ({"created_at": "2999-01-01T00:00:00Z"}, "time_in_future"),
        ({"created_at": "soon"}, "wrong_type"),
        ({"length": 10**9}, "too_long"),
        ({"title": 7}, "wrong_type"),
    ],
)
def test_a_video_that_does_not_fit_is_rejected_with_its_chat(tmp_path: Path, video: dict[str, object], reason: str) -> None:
    write(tmp_path / "a" / "bad.json", json.dumps(td_chat([td_comment(0, 1, "v", "one")], video)))
    write(tmp_path / "a" / "good.json", json.dumps(td_chat([td_comment(5, 1, "v", "one")], {"id": "102"})))
    land("twitch", tmp_path / "a", tmp_path / "l")
    assert sorted(rejects(tmp_path / "l")) == [("bad.json", 0, "no_broadcast"), ("bad.json", 0, reason)]
    assert [row["room_id"] for row in read(tmp_path / "l", "rooms")] == [102]


def test_a_start_with_an_offset_is_the_same_moment_as_in_utc(tmp_path: Path) -> None:
    whole = td_chat([td_comment(0, 1, "v", "one")], {"created_at": "2025-09-23T05:00:00+09:00"})
    write(tmp_path / "a" / "chat.json", json.dumps(whole))
    land("twitch", tmp_path / "a", tmp_path / "l")
    assert read(tmp_path / "l", "rooms")[0]["started_at"] == EIGHT
    assert round((EIGHT - datetime(1970, 1, 1)).total_seconds()) == START
