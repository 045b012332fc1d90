"""The Twitch adapter, on archives written as archivers write them, and on the real sample where it is at hand."""

import gzip
import json
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livealign import ids
from livealign.errors import ArchiveError, LiveAlignError
from livealign.landing.books import WARNINGS
from livealign.landing.partitions import landed_days
from livealign.landing.summary import LandingSummary
from livealign.platforms.chat import json_text as messages_module
from livealign.platforms.chat.chatters import find_announcement, find_bots, name_masker
from livealign.platforms.chat.formats.twitch_archiver import read_messages
from livealign.platforms.chat.json_text import stream_array
from livealign.platforms.chat.messages import Message
from livealign.platforms.registry import archive_days, land
from tests.planted.twitch_archives import old_message, small_twitch_archive, twitch_user, write_broadcast, write_chat

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "twitch_archive"
DAY, NEXT = date(2025, 12, 22), date(2025, 12, 23)
EVENING = datetime(2025, 12, 22, 22, 0, 0)
ALICE, DAVE = (ids.hashed_id("twitch_channel", f"@{name}") for name in ("alice", "dave"))


def read(root: Path, name: str) -> list[dict[str, Any]]:
    """All days of a table, rows in order."""
    return [row for path in sorted(root.glob(f"{name}/dt=*/*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


def user(login: str) -> int:
    return int(twitch_user(login)["id"])


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, LandingSummary]:
    small_twitch_archive(tmp_path / "archive")
    return tmp_path / "landing", land("twitch", tmp_path / "archive", tmp_path / "landing")


def test_the_days_of_an_archive_are_those_on_which_anything_was_live(tmp_path: Path) -> None:
    small_twitch_archive(tmp_path)
    assert archive_days("twitch", tmp_path) == [DAY, NEXT]


def test_rooms_carry_what_was_announced_at_the_start_not_the_later_title(small: tuple[Path, LandingSummary]) -> None:
    alice, dave = read(small[0], "rooms")
    assert (alice["room_id"], alice["author_id"], alice["category"]) == (101, ALICE, "Silent Hill: Homecoming")
    assert alice["title"] == "spooky night: part 2"
    assert (alice["started_at"], alice["ended_at"]) == (EVENING, EVENING + timedelta(seconds=10_000))
    assert (dave["room_id"], dave["author_id"], dave["category"], dave["title"]) == (102, DAVE, None, "a title")


def test_every_message_lands_once_as_comment_or_speech_at_its_offset(small: tuple[Path, LandingSummary]) -> None:
    speech, comments = read(small[0], "speech"), read(small[0], "comments")
    assert [(row["room_id"], row["text"]) for row in speech] == [(101, "welcome everybody"), (102, "hello there")]
    assert speech[0]["started_at"] == EVENING + timedelta(seconds=10)
    assert speech[0]["ended_at"] == speech[0]["started_at"] + timedelta(milliseconds=60 * len("welcome everybody"))
    assert [(row["user_id"], row["text"], row["is_bot"]) for row in comments if row["room_id"] == 101] == [
        (user("streamelements"), "alice is now live! Streaming Silent Hill: Homecoming: spooky night: part 2", True),
        (user("bob_1"), "hi @user how are you", False),
        (user("carol"), "first", False),
        (user("bob_1"), "lol", False),
        (user("carol"), "good night @user", False),
    ]
    assert comments[-1]["sent_at"] == EVENING + timedelta(seconds=9_000)  # the next day
    assert [row["text"] for row in comments if row["is_bot"]][1:] == ["type !discord"]
    [gift] = read(small[0], "gifts")
    assert (gift["user_id"], gift["value"], gift["count"]) == (user("bob_1"), 100.0, 1)


def test_plays_span_a_viewers_messages_and_bots_and_owners_have_none(small: tuple[Path, LandingSummary]) -> None:
    plays = {(row["room_id"], row["user_id"]): row for row in read(small[0], "plays")}
    assert plays.keys() == {(101, user("bob_1")), (101, user("carol")), (102, user("erin"))}
    bob, erin = plays[101, user("bob_1")], plays[102, user("erin")]
    assert (bob["entered_at"], bob["left_at"]) == (EVENING + timedelta(seconds=20), EVENING + timedelta(seconds=500))
    assert erin["left_at"] - erin["entered_at"] == timedelta(seconds=30)
    assert plays[101, user("carol")]["left_at"].date() == NEXT


def test_each_play_has_its_list_of_what_was_on(small: tuple[Path, LandingSummary]) -> None:
    plays = {row["impression_id"]: row for row in read(small[0], "plays")}
    lists: dict[str, list[dict[str, Any]]] = {}
    for row in read(small[0], "impressions"):
        lists.setdefault(row["request_id"], []).append(row)
        assert (row["surface"], row["position"]) == ("inferred", None)
    shown = {}
    for rows in lists.values():
        [chosen] = [row for row in rows if row["impression_id"] in plays]
        play = plays[chosen["impression_id"]]
        assert (chosen["user_id"], chosen["room_id"]) == (play["user_id"], play["room_id"])
        assert {row["shown_at"] for row in rows} == {play["entered_at"] - timedelta(seconds=1)}
        shown[play["user_id"]] = {row["room_id"] for row in rows}
    assert shown == {user("bob_1"): {101}, user("carol"): {101}, user("erin"): {101, 102}}  # dave began after bob and carol


def test_other_broadcasts_are_shown_while_live_or_within_twelve_hours_of_their_start(tmp_path: Path) -> None:
    start = datetime(2025, 12, 22, 1)
    for hours, duration, number in ((0, 60, 1), (2, 60, 2), (3, 11 * 3_600, 3)):
        write_broadcast(tmp_path / "a", f"channel{number}", start + timedelta(hours=hours), [], number, duration)
    write_broadcast(tmp_path / "a", "channel1", start + timedelta(hours=20), [], 4)  # of the future
    late = start + timedelta(hours=13)
    write_broadcast(
        tmp_path / "a", "channel9", late, [old_message(1, "bob", "hi"), old_message(7_260, "carol", "hi")], 9, 8_000
    )
    land("twitch", tmp_path / "a", tmp_path / "landing")
    shown = {name: set[int]() for name in ("bob", "carol")}
    for row in read(tmp_path / "landing", "impressions"):
        shown["bob" if row["user_id"] == user("bob") else "carol"].add(row["room_id"])
    # bob at 14:00 sees 2, which is 11 h old, and 3, which is live; carol at 16:01 neither, for 3 is 12 h old and over
    assert shown == {"bob": {9, 2, 3}, "carol": {9}}


def test_users_and_authors_are_those_of_the_day(small: tuple[Path, LandingSummary]) -> None:
    users = [(row["user_id"], row["observed_at"].date()) for row in read(small[0], "users")]
    assert sorted(users) == sorted([(user("bob_1"), DAY), (user("carol"), DAY), (user("erin"), DAY), (user("carol"), NEXT)])
    authors = [(row["author_id"], row["observed_at"].date()) for row in read(small[0], "authors")]
    assert sorted(authors) == sorted([(ALICE, DAY), (DAVE, DAY), (ALICE, NEXT)])


def test_messages_that_do_not_fit_are_rejected_with_their_line(small: tuple[Path, LandingSummary]) -> None:
    rejects = read(small[0], "rejects/comments")
    assert [(row["file"], row["line"], row["reason"]) for row in rejects] == [
        ("dave/2025-12-22_22-10-00_102/verbose_chat.json.gz", 3, "no_commenter"),
        ("dave/2025-12-22_22-10-00_102/verbose_chat.json.gz", 4, "empty_text"),
    ]
    assert small[1].read == small[1].landed + small[1].rejected
    assert small[1].tables["comments"].read + small[1].tables["speech"].read == 6 + 5


def test_landing_day_by_day_gives_the_same_as_landing_all_at_once(tmp_path: Path) -> None:
    small_twitch_archive(tmp_path / "archive")
    land("twitch", tmp_path / "archive", tmp_path / "a")
    for day in (NEXT, DAY):
        land("twitch", tmp_path / "archive", tmp_path / "b", [day])
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.glob("**/*.parquet")}
        for root in (tmp_path / "a", tmp_path / "b")
    ]
    assert files[0] == files[1]
    assert landed_days(tmp_path / "b") == [DAY, NEXT]


def test_with_a_secret_key_no_number_of_the_platform_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_ID_KEY", "hush")
    small_twitch_archive(tmp_path / "archive")
    land("twitch", tmp_path / "archive", tmp_path / "landing")
    numbers = {user(login) for login in ("bob_1", "carol", "erin", "streamelements", "helper")}
    found = {
        row["user_id"] for name in ("comments", "plays", "impressions", "users") for row in read(tmp_path / "landing", name)
    }
    assert found.isdisjoint(numbers)
    assert ids.hashed_id("twitch_user", str(user("carol")), b"hush") in found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"contentOffsetSeconds": None}, "missing_value"),
        ({"contentOffsetSeconds": "12"}, "wrong_type"),
        ({"contentOffsetSeconds": float("nan")}, "not_finite"),
        ({"contentOffsetSeconds": -5}, "before_start"),
        ({"contentOffsetSeconds": 12_000_000}, "after_end"),
        ({"contentOffsetSeconds": 10**400}, "not_finite"),
        ({"id": None}, "missing_value"),
        ({"commenter": []}, "wrong_type"),
        ({"commenter": {"login": "bob"}}, "missing_value"),
        ({"message": None}, "missing_value"),
        ({"message": {"fragments": "hi"}}, "wrong_type"),
        ({"message": {"fragments": [{}]}}, "wrong_type"),
        ({"message": {"body": "\ud800"}}, "invalid_utf8"),
        ({"message": {"body": "x" * (2 << 20)}}, "text_too_long"),
    ],
)
def test_one_bad_message_does_not_lose_the_others(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    chat = [old_message(1, "bob", "one"), old_message(2, "bob", "two") | change, old_message(3, "bob", "three")]
    write_broadcast(tmp_path / "a", "alice", EVENING, chat)
    summary = land("twitch", tmp_path / "a", tmp_path / "landing")
    assert [row["text"] for row in read(tmp_path / "landing", "comments")] == ["one", "three"]
    [reject] = read(tmp_path / "landing", "rejects/comments")
    assert (reject["line"], reject["reason"]) == (2, reason)
    assert summary.tables["comments"].read == 3


CHAT = json.dumps([old_message(1, "bob", "one"), old_message(2, "bob", "two")]).encode()


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(CHAT)[:-20],
        gzip.compress(CHAT)[:-8] + b"\0" * 8,
        b"",
        b"no gzip",
        gzip.compress(CHAT[:-30]),
        gzip.compress(CHAT + b"x"),
        gzip.compress(b'{"comments": []}'),
        gzip.compress(b"[" * 100_000),
        gzip.compress(b'[{"id": nul'),
    ],
    ids=["truncated", "checksum", "empty", "not gzip", "cut json", "goes on", "object", "nested", "broken"],
)
def test_a_chat_that_cannot_be_read_is_one_reject_and_its_room_stays(tmp_path: Path, content: bytes) -> None:
    folder = write_broadcast(tmp_path / "a", "alice", EVENING, [])
    (folder / "verbose_chat.json.gz").write_bytes(content)
    summary = land("twitch", tmp_path / "a", tmp_path / "landing")
    [reject] = read(tmp_path / "landing", "rejects/comments")
    assert (reject["line"], reject["reason"]) == (0, "unreadable_file")
    assert "verbose_chat.json.gz" in reject["detail"]
    assert summary.tables["rooms"].landed == 1
    assert (summary.tables["comments"].read, summary.tables["comments"].rejected) == (1, 1)


def test_a_zip_bomb_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages_module, "MAX_CHAT_BYTES", 4 << 20)
    write_chat(tmp_path, b"[" + b" " * (16 << 20) + b"]")
    with pytest.raises(ArchiveError, match=r"larger than 4,194,304 bytes .* remove it"):
        list(stream_array(tmp_path / "verbose_chat.json.gz"))


def test_bytes_that_are_not_utf8_cost_only_their_message(tmp_path: Path) -> None:
    write_chat(tmp_path, CHAT.replace(b"two", b"\xff\xfe"))
    good, bad, _ = read_messages(tmp_path / "verbose_chat.json.gz", 60)
    assert ([message.text for message in good], [message.reason for message in bad]) == (["one"], ["invalid_utf8"])


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
def test_the_stream_does_not_depend_on_where_it_is_cut(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    elements = [{"a": [1, "]", '"', "ü😺"]}, 12, "x", None, [], {"b": {"c": -1.5e3}}, 7]
    monkeypatch.setattr(messages_module, "_CHUNK", chunk)
    write_chat(tmp_path, b" \n" + json.dumps(elements, indent=1, ensure_ascii=False).encode() + b"\n ")
    assert list(stream_array(tmp_path / "verbose_chat.json.gz")) == elements


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vod_id": "abc"}, "wrong_type"),
        ({"vod_id": str(2**63)}, "wrong_type"),
        ({"vod_id": None}, "missing_value"),
        ({"duration": -1}, "negative_duration"),
        ({"duration": "1h"}, "wrong_type"),
        ({"duration": 10**8}, "too_long"),
        ({"created_at": "1999-12-31T00:00:00Z"}, "time_before_2000"),
        ({"created_at": "2999-12-31T00:00:00Z"}, "time_in_future"),
        ({"created_at": "soon"}, "wrong_type"),
        ({"title": ["x"]}, "wrong_type"),
    ],
)
def test_a_broadcast_that_does_not_fit_is_rejected_with_its_chat(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    small_twitch_archive(tmp_path / "a")
    folder = write_broadcast(tmp_path / "a", "zoe", EVENING, [old_message(1, "bob", "one")], vod_id=103)
    vod = json.loads((folder / "vod.json").read_text())
    (folder / "vod.json").write_text(json.dumps(vod | change))
    summary = land("twitch", tmp_path / "a", tmp_path / "landing")
    [room] = read(tmp_path / "landing", "rejects/rooms")
    assert (room["file"], room["reason"]) == (f"zoe/{folder.name}/vod.json", reason)
    assert summary.tables["comments"].reasons["no_broadcast"] == 1
    assert summary.tables["rooms"].landed == 2


def test_missing_files_and_unknown_fields_are_told(tmp_path: Path) -> None:
    folder = write_broadcast(tmp_path / "a", "alice", EVENING, [old_message(1, "bob", "one") | {"mood": 1}])
    vod = json.loads((folder / "vod.json").read_text())
    (folder / "vod.json").write_text(json.dumps(vod | {"views": 3}))
    (write_broadcast(tmp_path / "a", "alice", EVENING, [], 2) / "verbose_chat.json.gz").unlink()
    (write_broadcast(tmp_path / "a", "alice", EVENING, [], 3) / "vod.json").unlink()
    land("twitch", tmp_path / "a", tmp_path / "landing")
    rejects = {
        (row["reason"], row["detail"])
        for name in ("rooms", "comments")
        for row in read(tmp_path / "landing", f"rejects/{name}")
    }
    assert rejects == {
        ("unknown_field", "mood"),
        ("unknown_field", "views"),
        ("missing_file", "there is no chat beside vod.json"),
        ("missing_file", "there is no vod.json"),
        ("no_broadcast", "its vod.json does not fit"),
    }


def test_a_folder_of_another_kind_is_refused_with_the_layout_that_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no Twitch broadcasts; expected CHANNEL/"):
        archive_days("twitch", tmp_path)
    with pytest.raises(ArchiveError, match="is no folder"):
        land("twitch", tmp_path / "nowhere", tmp_path / "landing")
    with pytest.raises(LiveAlignError, match="no platform 'tiktok'"):
        archive_days("tiktok", tmp_path)


def said(*lines: tuple[float, str, str]) -> list[Message]:
    return [Message(i, str(i), offset, login, login, login, text) for i, (offset, login, text) in enumerate(lines, 1)]


def test_a_bot_without_name_or_badge_is_known_by_what_it_does() -> None:
    commands = [line for n in range(4) for line in ((n * 100, "bob", "!song"), (n * 100 + 1, "robo", f"the song is {n}"))]
    timers = [(n * 600, "clock", "Join us at https://example.org/a-place-for-all") for n in range(3)]
    chatter = [(n * 100 + 1.5, "carol", f"{n} !!! what a song, I love this one so much") for n in range(4)]
    talk = [(n * 50 + 7, "carol", "yes") for n in range(9)]
    bots = find_bots(said(*commands, *timers, *sorted(chatter + talk)), "alice")
    assert bots.logins == {"robo", "clock"}


def test_answers_that_a_bot_gives_under_the_channels_name_are_not_speech() -> None:
    commands = [line for n in range(3) for line in ((n * 100, "bob", "!ball"), (n * 100 + 1, "alice", f"the ball says {n}"))]
    bots = find_bots(said(*commands, (900, "alice", "so, where were we")), "alice")
    assert (bots.logins, bots.own_lines) == (frozenset(), {2, 4, 6})


@pytest.mark.parametrize(
    ("text", "title", "expected"),
    [
        ("A is now live! Streaming Just Chatting: hi: there", "hi: there", ("Just Chatting", "hi: there")),
        ("A is now live! Streaming Silent Hill: Homecoming: boo", "boo", ("Silent Hill: Homecoming", "boo")),
        ("A is now live! Streaming <no game>: boo", "boo", (None, "boo")),
        ("A is now live! Streaming Chess: blitz: round 1", "blitz: round 2, changed", ("Chess", "blitz: round 1")),
        ("I heard A is now live! Streaming Chess: blitz", "blitz", None),
    ],
)
def test_an_announcement_tells_game_and_title(text: str, title: str, expected: tuple[str | None, str] | None) -> None:
    chat = said((5, "streamelements", text))
    told = find_announcement(chat, find_bots(chat, "a"), title)
    assert (told and (told.category, told.title)) == expected


def test_names_in_texts_are_masked_and_words_are_not() -> None:
    mask = name_masker(said((1, "bob_1", "x"), (2, "mario", "x")))
    assert (
        mask("@Bob_1 hey BOB_1, @mario plays mario, mail a@b.org, 3_2")
        == "@user hey @user, @user plays mario, mail a@b.org, 3_2"
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    elements=st.lists(
        st.one_of(
            st.none(),
            st.integers(),
            st.fixed_dictionaries(
                {
                    "id": st.one_of(st.sampled_from(["a", "b"]), st.none(), st.uuids().map(str)),
                    "contentOffsetSeconds": st.one_of(st.integers(-10, 9_000), st.floats(), st.integers(), st.text(max_size=2)),
                    "commenter": st.one_of(st.none(), st.just({}), st.sampled_from(["bob", "alice", "zed_9"]).map(twitch_user)),
                    "message": st.one_of(
                        st.none(), st.fixed_dictionaries({"body": st.text(max_size=5)}), st.just({"fragments": [1]})
                    ),
                }
            ),
        ),
        max_size=8,
    ),
    damage=st.one_of(st.none(), st.integers(0, 60)),
)
def test_no_chat_crashes_the_landing_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, elements: list[Any], damage: int | None
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    folder = write_broadcast(root / "a", "alice", EVENING, elements)
    if damage is not None:
        path = folder / "verbose_chat.json.gz"
        path.write_bytes(path.read_bytes()[:-damage] if damage else path.read_bytes() + b"junk")
    summary = land("twitch", root / "a", root / "landing", [DAY, NEXT])
    rejects = Counter(row["reason"] for row in read(root / "landing", "rejects/*") if row["reason"] not in WARNINGS)
    assert rejects == summary.reasons
    assert summary.read == summary.landed + summary.rejected
    messages = summary.tables["comments"].read + summary.tables["speech"].read
    assert messages == (1 if summary.reasons["unreadable_file"] else len(elements))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample is not beside the project")
def test_a_week_of_the_real_sample_lands_whole(tmp_path: Path) -> None:
    days = [day for day in archive_days("twitch", SAMPLE) if date(2026, 1, 12) <= day < date(2026, 1, 15)]
    summary = land("twitch", SAMPLE, tmp_path, days)
    assert landed_days(tmp_path) == days
    assert summary.read == summary.landed + summary.rejected
    assert summary.rejected < summary.read / 1_000
    assert set(summary.reasons) <= {"no_commenter", "empty_text"}
    plays, comments = read(tmp_path, "plays"), read(tmp_path, "comments")
    assert len(plays) > 100
    assert {row["impression_id"] for row in plays} <= {row["impression_id"] for row in read(tmp_path, "impressions")}
    assert 0 < sum(row["is_bot"] for row in comments) < 0.05 * len(comments)
    assert not [row["text"] for row in read(tmp_path, "speech") if row["text"].startswith("channel")]
