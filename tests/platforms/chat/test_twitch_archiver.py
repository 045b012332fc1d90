"""Archives as Twitch archivers write them, and the real sample where it is at hand."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from livealign import ids
from livealign.landing.partitions import landed_days
from livealign.landing.summary import LandingSummary
from livealign.platforms.registry import archive_days, land
from tests.planted.twitch_archives import old_message, small_twitch_archive, write_broadcast
from tests.support.twitch_landing import ALICE, DAVE, DAY, EVENING, NEXT, read, user

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "twitch_archive"


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
