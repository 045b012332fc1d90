"""Bots, announcements and names, as they are found in the messages of a chat."""

import pytest

from livealign.platforms.chat.chatters import find_announcement, find_bots, name_masker
from livealign.platforms.chat.messages import Message


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
