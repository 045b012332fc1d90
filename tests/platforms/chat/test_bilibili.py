"""Bilibili: BililiveRecorder's XML and the danmaku lines of the VTuber archives, from their documentation."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from livealign import ids
from livealign.platforms.registry import land, recognise
from tests.planted.chat_archives import START_MS, danmaku, read, recorder_xml, rejects, write

EIGHT = datetime(2025, 9, 22, 20)
NAME = "12345-host/rec.xml"


def land_xml(tmp_path: Path, content: str) -> Path:
    write(tmp_path / "a" / NAME, content)
    land("bilibili", tmp_path / "a", tmp_path / "l")
    return tmp_path / "l"


def test_messages_gifts_super_chats_and_guards_land(tmp_path: Path) -> None:
    raw = quoteattr(json.dumps({"price": 1_500, "coin_type": "gold"}))
    landing = land_xml(
        tmp_path,
        recorder_xml(
            [
                danmaku(1, "welcome", "1", "host"),
                danmaku(10.5, "你好 <3 & \x01", "1000", "u0"),
                f'<gift ts="20.25" user="u1" uid="1001" giftname="g" giftcount="3" raw={raw} />',
                '<gift ts="21" user="u1" uid="1001" giftname="h" giftcount="1" />',
                '<gift ts="21" user="u1" uid="1001" giftname="h" giftcount="1" />',
                '<sc ts="30" user="u2" uid="1002" price="30" time="60">take it</sc>',
                '<guard ts="40" user="u3" uid="1003" level="3" count="1" />',
                danmaku(50, "masked", "0", "张***"),
            ]
        ),
    )
    assert recognise(tmp_path / "a") == "bilibili"
    assert rejects(landing) == []
    [room] = read(landing, "rooms")
    assert (room["title"], room["category"], room["started_at"]) == ("a title", "chess", EIGHT)
    assert room["ended_at"] == EIGHT + timedelta(seconds=50)
    assert [row["text"] for row in read(landing, "speech")] == ["welcome"]
    assert [row["text"] for row in read(landing, "comments")] == ["你好 <3 &", "take it", "masked"]
    gifts = [(row["count"], row["value"]) for row in read(landing, "gifts")]
    assert gifts[0] == (3, 4.5)
    assert sorted(gifts[1:], key=str) == [(1, 30.0), (1, None), (1, None), (1, None)]
    viewers = {row["user_id"] for row in read(landing, "plays")}
    assert viewers == {ids.hashed_id("bilibili_user", uid) for uid in ("1000", "1001", "1002", "1003")}


@pytest.mark.parametrize(
    "start_time",
    ["2025-09-23T04:00:00.1234567+08:00", "2025-09-23T04:00:00", "2025-09-23T04:00:00Z", "2025-09-22T20:00:00+00:00"],
)
def test_a_start_in_the_wrong_zone_is_put_right_by_the_messages(tmp_path: Path, start_time: str) -> None:
    landing = land_xml(tmp_path, recorder_xml([danmaku(10, "hi", "1000", "u0")], start_time=start_time))
    assert read(landing, "comments")[0]["sent_at"] - (EIGHT + timedelta(seconds=10)) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ('<d p="x,1,25,1,1758571210000,0,1000,0" user="u0">hi</d>', "wrong_type"),
        ('<d p="10,1" user="u0">hi</d>', "wrong_type"),
        ('<d p="-10,1,25,1,1758571210000,0,1000,0" user="u0">hi</d>', "before_start"),
        ('<d p="10,1,25,1,1758571210000,0,0,0">hi</d>', "no_commenter"),
        ('<d p="10,1,25,1,1758571210000,0,1000,0" user="u0"> </d>', "empty_text"),
        ('<gift ts="10" user="u1" uid="1001" giftname="g" giftcount="many" />', "wrong_type"),
        ('<gift ts="10" user="u1" uid="1001" giftname="g" giftcount="0" />', "not_positive"),
        ('<sc ts="10" user="u1" uid="1001" price="a lot">x</sc>', "wrong_type"),
    ],
)
def test_one_bad_element_is_rejected_alone(tmp_path: Path, element: str, reason: str) -> None:
    landing = land_xml(tmp_path, recorder_xml([danmaku(1, "one", "1000", "u0"), element, danmaku(3, "three", "1000", "u0")]))
    assert [row["text"] for row in read(landing, "comments")] == ["one", "three"]
    assert rejects(landing) == [(NAME, 5, reason)]


def test_bytes_that_are_not_utf8_cost_only_their_message(tmp_path: Path) -> None:
    content = recorder_xml([danmaku(1, "one", "1000", "u0"), danmaku(2, "two", "1000", "u0")]).encode()
    path = write(tmp_path / "a" / NAME, "")
    path.write_bytes(content.replace(b"two", b"\xff\xfe"))
    land("bilibili", tmp_path / "a", tmp_path / "l")
    assert rejects(tmp_path / "l") == [(NAME, 5, "invalid_utf8")]


def test_a_truncated_file_is_one_reject_and_its_room_stays_without_an_end(tmp_path: Path) -> None:
    landing = land_xml(tmp_path, recorder_xml([danmaku(i, "hi", "1000", "u0") for i in range(9)])[:-60])
    assert rejects(landing) == [(NAME, 0, "unreadable_file")]
    [room] = read(landing, "rooms")
    assert (room["title"], room["started_at"], room["ended_at"]) == ("a title", EIGHT, None)
    assert not read(landing, "plays")


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE i [<!ENTITY a "aaaa">]>',
        '<!DOCTYPE i SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE i [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_document_types_and_entities_are_refused(tmp_path: Path, declared: str) -> None:
    content = recorder_xml([danmaku(1, "one", "1000", "u0")]).replace("<i>", f"{declared}<i>", 1)
    write(tmp_path / "a" / "other.xml", recorder_xml([danmaku(1, "fine", "1000", "u0")], roomid="9"))
    landing = land_xml(tmp_path, content)
    assert (NAME, 0, "unreadable_file") in rejects(landing)
    assert [row["text"] for row in read(landing, "comments")] == ["fine"]


def test_recordings_that_follow_each_other_are_one_broadcast_and_a_new_title_is_a_change(tmp_path: Path) -> None:
    write(tmp_path / "a" / "r" / "1.xml", recorder_xml([danmaku(i * 100, f"a{i}", "1000", "u0") for i in range(1, 4)]))
    second = [danmaku(i * 100, f"b{i}", "1000", "u0", START_MS + 400_000 + i * 100_000) for i in range(1, 4)]
    write(tmp_path / "a" / "r" / "2.xml", recorder_xml(second, title="another", start_time="2025-09-23T04:06:40+08:00"))
    third = [danmaku(10, "c", "1000", "u0", START_MS + 7_210_000)]
    write(tmp_path / "a" / "r" / "3.xml", recorder_xml(third, start_time="2025-09-23T06:00:00+08:00"))
    land("bilibili", tmp_path / "a", tmp_path / "l")
    first, later = read(tmp_path / "l", "rooms")
    assert first["ended_at"] == EIGHT + timedelta(seconds=700)
    assert later["started_at"] == EIGHT + timedelta(hours=2)
    [change] = read(tmp_path / "l", "room_changes")
    assert (change["title"], change["category"], change["changed_at"]) == ("another", None, EIGHT + timedelta(seconds=400))
    sent = [(row["text"], (row["sent_at"] - EIGHT).seconds) for row in read(tmp_path / "l", "comments")]
    assert sent == [("a1", 100), ("a2", 200), ("a3", 300), ("b1", 500), ("b2", 600), ("b3", 700), ("c", 7_210)]
    plays = [(row["left_at"] - row["entered_at"]).seconds for row in read(tmp_path / "l", "plays")]
    assert plays == [600, 30]


def line(minutes: float, user: int, text: str) -> str:
    return f"{START_MS + round(minutes * 60_000)}:{user}:{text}\n"


def test_danmaku_lines_are_divided_into_broadcasts_by_silence_and_cross_midnight(tmp_path: Path) -> None:
    first = line(0, 1, "a: colons: stay") + "TIME20:00ONLINE1234\n" + line(20, 2, "b") + line(90, 1, "c") + line(239, 2, "d")
    write(tmp_path / "a" / "777" / "2025-09-22.txt", first)
    write(tmp_path / "a" / "777" / "2025-09-23.txt", line(241, 2, "e") + line(250, 1, "f"))
    write(tmp_path / "a" / "778" / "2025-09-22.txt", line(5, 1, "g"))
    assert recognise(tmp_path / "a") == "bilibili"
    land("bilibili", tmp_path / "a", tmp_path / "l")
    assert rejects(tmp_path / "l") == []
    rooms = [
        ((row["started_at"] - EIGHT).seconds // 60, (row["ended_at"] - row["started_at"]).seconds // 60)
        for row in read(tmp_path / "l", "rooms")
    ]
    assert rooms == [(0, 20), (5, 0), (90, 0), (239, 11)]
    comments = {row["text"]: row["room_id"] for row in read(tmp_path / "l", "comments")}
    assert set(comments) == {"a: colons: stay", "b", "c", "d", "e", "f", "g"}
    assert comments["d"] == comments["e"] == comments["f"] != comments["c"]


def test_a_bad_danmaku_line_is_rejected_alone_and_a_stray_time_begins_no_broadcast(tmp_path: Path) -> None:
    content = line(0, 1, "a") + "what is this\n" + line(1, 1, "b") + line(600, 1, "stray") + line(2, 1, "c") + line(3, 1, " ")
    write(tmp_path / "a" / "777" / "2025-09-22.txt", content + "1758571:1:too early\n" + line(4, 2, "d"))
    land("bilibili", tmp_path / "a", tmp_path / "l")
    assert len(read(tmp_path / "l", "rooms")) == 1
    assert [row["text"] for row in read(tmp_path / "l", "comments")] == ["a", "b", "c", "d"]
    found = [(line_, reason) for _, line_, reason in rejects(tmp_path / "l")]
    assert found == [(2, "wrong_type"), (4, "after_end"), (6, "empty_text"), (7, "wrong_type")]
