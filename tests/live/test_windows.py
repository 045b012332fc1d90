"""Open windows and sessions count as the warehouse does, and cut texts as DuckDB does."""

import duckdb
import numpy as np
import pytest

from livealign.live.state.sessions import Sessions
from livealign.live.state.windows import OpenWindow, Utterance, is_blank, text_of

WINDOW = 30_000


def sessions() -> Sessions:
    return Sessions(WINDOW, 6 * 3_600_000, 60_000)


@pytest.mark.parametrize("text", ["", " ", " \u00a0\u2003", "\t", "\n", " a ", "\u200b", "🎉"])
def test_blank_is_what_duckdb_trims_to_nothing(text: str) -> None:
    assert is_blank(text) == (duckdb.execute("select trim($1) = ''", [text]).fetchall()[0][0])


def test_the_chat_is_the_last_characters_of_the_messages_in_order() -> None:
    window, rng = OpenWindow(), np.random.default_rng(3)
    messages = [
        (int(at), number, f"message {number} 🎉 " * int(rng.integers(1, 30)))
        for number, at in enumerate(rng.integers(0, 40, 60))
    ]
    for at, number, text in messages:
        window.comment(at, number, number % 7, text, is_bot=number % 9 == 0)
    told = [one for one in messages if one[1] % 9]
    expected = duckdb.execute(
        """
        select right(string_agg(right(message, 2000), chr(10) order by sent, id), 2000)
        from (select unnest($1) as sent, unnest($2) as id, unnest($3) as message)
        """,
        [[one[0] for one in told], [one[1] for one in told], [one[2] for one in told]],
    ).fetchall()[0][0]
    assert window.chat_text() == expected
    assert (window.n_comments, window.commenters) == (len(told), {one[1] % 7 for one in told})


def test_a_window_has_the_lines_of_the_chat_and_utterances_in_one_text() -> None:
    window = OpenWindow()
    window.comment(2, 1, 5, "two\nlines", is_bot=False)
    window.comment(1, 1, 5, "  ", is_bot=False)
    window.speech += [Utterance(9, 1, "later"), Utterance(3, 1, "sooner")]
    text = text_of(7, 2, None, "chess", window)
    assert (text.chat, text.speech, text.title, text.category) == (("two", "lines"), "sooner later", "", "chess")
    assert window.n_comments == 2
    assert text_of(7, 2, "t", None, None).is_silent


def test_viewers_are_counted_once_and_retained_over_a_window_by_any_of_their_sessions() -> None:
    table = sessions()
    for play, user, start, end in [
        ("whole", 1, 0, 95_000),
        ("leaves", 2, 10_000, 45_000),
        ("comes", 3, 40_000, None),
        ("first", 4, 20_000, 50_000),  # and comes back before the window is over
        ("back", 4, 55_000, 70_000),
        ("at the edge", 5, 30_000, 60_000),
    ]:
        table.start(play, 8, user, 80, start, 0, False)
        if end is not None:
            table.end(play, end)
    now = table.viewers(1)  # 30 to 60 seconds
    assert now.room_id.tolist() == [8]
    assert (now.viewers[0], now.entered[0], now.left[0]) == (5, 3, 3)  # plays "leaves", "first", "at the edge" end in it
    assert now.retention[0] == pytest.approx(2 / 4)  # 1, 2, 4, 5 were there at its start; 1 and 4 at its end
    table.forget(2)
    assert len(table) == 3
    assert table.viewers(2).viewers.tolist() == [3]


def test_sessions_end_with_their_room_or_after_six_hours_and_an_early_end_waits_for_its_start() -> None:
    table = sessions()
    table.end("swapped", 20_000)
    table.start("swapped", 8, 1, 80, 5_000, 0, False)
    table.start("open", 8, 2, 80, 5_000, 0, False)
    table.start("other room", 9, 3, 90, 5_000, 0, False)
    table.start("again", 8, 2, 80, 5_000, 0, False)
    table.start("again", 8, 2, 80, 6_000, 0, False)
    table.end_room(8, 65_000)
    assert table.table["until"].tolist() == [20_000, 65_000, 5_000 + 6 * 3_600_000, 65_000]
    assert table.viewers(3).room_id.tolist() == [9]


def test_a_click_becomes_a_long_view_once_when_it_has_lasted() -> None:
    table = sessions()
    for play, end, clicked in [("stays", None, True), ("leaves", 50_000, True), ("walked in", None, False)]:
        table.start(play, 8, 1, 80, 1_000, 0, clicked)
        if end:
            table.end(play, end)
    assert len(table.long_views(60_999).author_id) == 0
    assert table.long_views(61_000).known_at.tolist() == [61_000]
    assert len(table.long_views(999_000).author_id) == 0
