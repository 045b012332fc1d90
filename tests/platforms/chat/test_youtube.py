"""YouTube: yt-dlp's live chat with its info, and chat-downloader's lists, from their documentation."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from livealign import ids
from livealign.platforms.chat.money import amount_of
from livealign.platforms.registry import archive_days, land, recognise
from tests.planted.chat_archives import FAN, HOST, START, cd_message, read, rejects, write, write_yt, yt_line, yt_text

EIGHT = datetime(2025, 9, 22, 20)


def test_text_emoji_and_the_owners_messages_land_at_their_offset(tmp_path: Path) -> None:
    owner = {"authorBadges": [{"liveChatAuthorBadgeRenderer": {"icon": {"iconType": "OWNER"}, "tooltip": "Owner"}}]}
    heart = {"emoji": {"emojiId": "❤", "shortcuts": [":heart:"]}}
    wave = {"emoji": {"emojiId": "UCx/wave", "shortcuts": [":wave:"], "isCustomEmoji": True}}
    lines = [
        yt_line(500, yt_text(0, 500, "welcome", authorExternalChannelId=HOST) | owner),
        yt_line(10_000, yt_text(1, 10_000, "") | {"message": {"runs": [{"text": "hi "}, heart, wave]}}),
        {"replayChatItemAction": {"actions": [{"addLiveChatTickerItemAction": {}}], "videoOffsetTimeMsec": "11000"}},
        yt_line(12_000, {"id": "e"}, "liveChatViewerEngagementMessageRenderer"),
        yt_line(20_500, yt_text(2, 20_500, "bye", "2")),
    ]
    write_yt(
        tmp_path / "a", lines, {"chapters": [{"start_time": 300, "end_time": 600, "title": "Boss"}], "categories": ["Gaming"]}
    )
    assert recognise(tmp_path / "a") == "youtube"
    summary = land("youtube", tmp_path / "a", tmp_path / "l")
    assert summary.rejected == 0
    [room] = read(tmp_path / "l", "rooms")
    assert room["room_id"] == ids.hashed_id("youtube_room", "abcdefghijk")
    assert (room["title"], room["category"]) == ("A stream", "Gaming")
    assert (room["started_at"], room["ended_at"]) == (EIGHT, EIGHT + timedelta(minutes=10))
    assert [row["text"] for row in read(tmp_path / "l", "speech")] == ["welcome"]
    comments = [(row["text"], row["sent_at"] - EIGHT) for row in read(tmp_path / "l", "comments")]
    assert comments == [("hi ❤:wave:", timedelta(seconds=10)), ("bye", timedelta(seconds=20.5))]
    [change] = read(tmp_path / "l", "room_changes")
    assert (change["title"], change["category"], change["changed_at"]) == ("Boss", None, EIGHT + timedelta(minutes=5))


def test_super_chats_stickers_and_memberships_are_gifts(tmp_path: Path) -> None:
    given = {"id": "g", "authorExternalChannelId": FAN + "4", "timestampUsec": "1"}
    given["header"] = {"liveChatSponsorshipsHeaderRenderer": {"primaryText": {"runs": [{"text": "Sent "}, {"text": "5"}]}}}
    paid, sticker = "liveChatPaidMessageRenderer", "liveChatPaidStickerRenderer"
    joined = {"headerSubtext": {"simpleText": "Welcome!"}, "message": None}
    lines = [
        yt_line(1_000, yt_text(0, 0, "take it", purchaseAmountText={"simpleText": "€1.234,50"}), paid),
        yt_line(2_000, yt_text(1, 0, "", "2", purchaseAmountText={"simpleText": "¥1,000"}), sticker),
        yt_line(3_000, yt_text(2, 0, "", "3", **joined), "liveChatMembershipItemRenderer"),
        yt_line(4_000, given, "liveChatSponsorshipsGiftPurchaseAnnouncementRenderer"),
        yt_line(5_000, yt_text(5, 0, "so?", purchaseAmountText={"simpleText": "free"}), paid),
    ]
    write_yt(tmp_path / "a", lines, {})
    land("youtube", tmp_path / "a", tmp_path / "l")
    assert [(row["count"], row["value"]) for row in read(tmp_path / "l", "gifts")] == [
        (1, 1_234.5),
        (1, 1_000.0),
        (1, None),
        (5, None),
    ]
    assert [row["text"] for row in read(tmp_path / "l", "comments")] == ["take it", "Welcome!"]
    assert [(line, reason) for _, line, reason in rejects(tmp_path / "l")] == [(5, "wrong_type")]
    assert len(read(tmp_path / "l", "plays")) == 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$5.00", 5.0),
        ("CA$2", 2.0),
        ("R$ 10,00", 10.0),
        ("1.234,50 €", 1_234.5),
        ("¥1,000", 1_000.0),
        ("₹1,00,000.00", 100_000.0),
        ("CHF 1’500.00", 1_500.0),
        ("2\u202f000,00 ₽", 2_000.0),
        ("₩10,000", 10_000.0),
        ("1.000 Ft", 1_000.0),
        ("free", None),
    ],
)
def test_amounts_are_read_in_every_locale(text: str, value: float | None) -> None:
    assert amount_of(text) == value


def test_without_a_release_time_the_start_is_that_of_the_messages_clock(tmp_path: Path) -> None:
    lines = [yt_line(i * 1_000, yt_text(i, i * 1_000, f"line {i}")) for i in range(1, 6)]
    lines[0]["replayChatItemAction"]["actions"][0]["addChatItemAction"]["item"]["liveChatTextMessageRenderer"][
        "timestampUsec"
    ] = "1"
    write_yt(tmp_path / "a", lines, {"release_timestamp": None, "duration": None, "timestamp": START + 90_000})
    land("youtube", tmp_path / "a", tmp_path / "l")
    [room] = read(tmp_path / "l", "rooms")
    assert (room["started_at"], room["ended_at"]) == (EIGHT, EIGHT + timedelta(seconds=5))


def test_a_chat_without_info_is_named_by_its_file_and_dated_by_its_messages(tmp_path: Path) -> None:
    write_yt(tmp_path / "a", [yt_line(1_000, yt_text(0, 1_000, "hi"))], None)
    land("youtube", tmp_path / "a", tmp_path / "l")
    [room] = read(tmp_path / "l", "rooms")
    assert (room["room_id"], room["started_at"]) == (ids.hashed_id("youtube_room", "abcdefghijk"), EIGHT)


def test_a_broadcast_that_nothing_dates_is_rejected(tmp_path: Path) -> None:
    line = yt_line(1_000, yt_text(0, 0, "hi", timestampUsec=None))
    write_yt(tmp_path / "a", [line], {"release_timestamp": None, "upload_date": "20250922"}, "x")
    write_yt(tmp_path / "a", [line], {"id": "good"}, "y")
    land("youtube", tmp_path / "a", tmp_path / "l")
    assert sorted(rejects(tmp_path / "l")) == [("x.info.json", 0, "missing_value"), ("x.live_chat.json", 0, "no_broadcast")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{broken", "broken_json"),
        ('{"other": 1}', "wrong_type"),
        ("[]", "wrong_type"),
        (json.dumps(yt_line("soon", yt_text(1, 0, "x"))), "missing_value"),
        (json.dumps(yt_line(99_999_999, yt_text(1, 0, "x"))), "after_end"),
        (json.dumps(yt_line(0, yt_text(1, 0, "x", timestampText={"simpleText": "-0:10"}))), "before_start"),
        (json.dumps(yt_line(5, yt_text(1, 0, "x", authorExternalChannelId=None))), "no_commenter"),
        (json.dumps(yt_line(5, yt_text(1, 0, " "))), "empty_text"),
        (json.dumps(yt_line(5, {}, "liveChatNewRenderer")), "unknown_kind"),
        (json.dumps(yt_line(5, yt_text(1, 0, "x") | {"message": {"runs": [{}]}})), "wrong_type"),
    ],
)
def test_one_bad_line_is_rejected_alone(tmp_path: Path, line: str, reason: str) -> None:
    path = write_yt(tmp_path / "a", [], {})
    good = [json.dumps(yt_line(1_000 * i, yt_text(i, 1_000 * i, f"line {i}"))) for i in (2, 3)]
    path.write_text("\n".join([good[0], line, good[1]]) + "\n")
    land("youtube", tmp_path / "a", tmp_path / "l")
    assert [row["text"] for row in read(tmp_path / "l", "comments")] == ["line 2", "line 3"]
    assert rejects(tmp_path / "l") == [(path.name, 2, reason)]


@pytest.mark.parametrize("content", ["", "cut"])
def test_an_empty_or_truncated_chat_is_one_reject_and_its_room_stays(tmp_path: Path, content: str) -> None:
    path = write_yt(tmp_path / "a", [yt_line(1_000 * i, yt_text(i, 0, f"line {i}")) for i in range(3)], {})
    path.write_text(path.read_text()[:-30] if content else "")
    summary = land("youtube", tmp_path / "a", tmp_path / "l")
    assert rejects(tmp_path / "l") == [(path.name, 0, "unreadable_file")]
    assert (summary.tables["rooms"].landed, summary.tables["plays"].landed) == (1, 0)


def test_an_info_of_a_live_broadcast_without_chat_is_a_room_and_a_missing_file(tmp_path: Path) -> None:
    write_yt(tmp_path / "a", [], {}).unlink()
    write(tmp_path / "a" / "video.info.json", json.dumps({"id": "v", "title": "no live", "live_status": "not_live"}))
    summary = land("youtube", tmp_path / "a", tmp_path / "l")
    assert (summary.tables["rooms"].landed, summary.tables["comments"].reasons) == (1, {"missing_file": 1})


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_chat_downloaders_lists_and_lines_land_with_their_super_chats(tmp_path: Path, form: str) -> None:
    paid = {"message_type": "paid_message", "money": {"amount": 5.0, "currency": "EUR", "text": "5,00 €"}}
    owner = {"author": {"id": HOST, "name": "Host", "badges": [{"title": "Owner"}]}}
    rows = [
        cd_message(0, 2.0, HOST, "welcome") | owner,
        cd_message(1, 10.0, FAN + "1", "take it") | paid,
        cd_message(2, 12.0, FAN + "2", None, message_type="viewer_engagement_message"),
        cd_message(3, 20.0, FAN + "2", "bye"),
        cd_message(4, -30.0, FAN + "2", "early"),
    ]
    text = json.dumps(rows, indent=1) if form == "json" else "".join(json.dumps(row) + "\n" for row in rows)
    write(tmp_path / "a" / f"Title [drops on] [zyxwvutsrqp].{form}", text)
    assert recognise(tmp_path / "a") == "youtube"
    land("youtube", tmp_path / "a", tmp_path / "l")
    [room] = read(tmp_path / "l", "rooms")
    assert (room["room_id"], room["started_at"]) == (ids.hashed_id("youtube_room", "zyxwvutsrqp"), EIGHT)
    assert room["author_id"] == ids.person_id("youtube_channel", f"@{HOST}", None)
    assert [row["text"] for row in read(tmp_path / "l", "speech")] == ["welcome"]
    assert [row["text"] for row in read(tmp_path / "l", "comments")] == ["take it", "bye"]
    assert [row["value"] for row in read(tmp_path / "l", "gifts")] == [5.0]
    assert [(line, reason) for _, line, reason in rejects(tmp_path / "l")] == [(5, "before_start")]


def test_chat_downloaders_file_without_a_clock_is_rejected_as_undated(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.json", json.dumps([cd_message(0, 2.0, FAN + "1", "hi", timestamp=None)]))
    write(tmp_path / "a" / "101.json", json.dumps([cd_message(0, 2.0, "551", "hi")]))
    land("chat", tmp_path / "a", tmp_path / "l")
    assert sorted(rejects(tmp_path / "l")) == [("x.json", 0, "missing_value"), ("x.json", 0, "no_broadcast")]
    assert [row["room_id"] for row in read(tmp_path / "l", "rooms")] == [101]


def test_a_truncated_list_of_chat_downloader_is_rejected_as_a_whole(tmp_path: Path) -> None:
    text = json.dumps([cd_message(i, 2.0 + i, FAN + "1", "hi") for i in range(3)])
    write(tmp_path / "a" / "x.json", text[:-40])
    write(tmp_path / "a" / "y.jsonl", json.dumps(cd_message(7, 2.0, FAN + "1", "hi")) + "\n")
    land("chat", tmp_path / "a", tmp_path / "l", archive_days("chat", tmp_path / "a"))
    assert sorted(rejects(tmp_path / "l")) == [("x.json", 0, "no_broadcast"), ("x.json", 0, "unreadable_file")]
