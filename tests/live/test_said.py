"""What the core gives to people: the last words, searches, and the users that it knows."""

from livealign.live.answers import RoomState
from tests.support.live_stage import USER, Stage


def room_of(stage: Stage, room_id: int) -> RoomState:
    room = stage.core.room(room_id)
    assert room is not None
    return room


def speech(stage: Stage, room_id: int, text: str) -> dict[str, object]:
    at = int(stage.clock.now * 1000)
    return stage.platform.event("speech", room_id, text=text, ended_at=at + 500)


def test_the_last_words_are_the_hosts_and_the_viewers_and_no_prompt(stage: Stage) -> None:
    stage.start_rooms(1)
    assert room_of(stage, 1).said is None
    texts = ("first", "GG", "gg", "what | a move", "\u202eevil\u200b", "   ")
    comments = [{**comment, "at": comment["at"] + number} for number, comment in enumerate(stage.platform.comments(1, *texts))]
    stage.core.ingest([speech(stage, 1, "rook  takes\nqueen"), *comments])
    assert room_of(stage, 1).said is None, "the window is open"
    stage.next_window()
    said = room_of(stage, 1).said
    assert said is not None
    assert said.speech == "rook takes queen"
    assert said.chat == ["evil\u200b", "what a move", "gg", "first"]
    assert said.ended_at == room_of(stage, 1).windows[0].ended_at


def test_a_silent_window_keeps_the_words_before_it_and_long_speech_its_end(stage: Stage) -> None:
    stage.start_rooms(1)
    words = [f"word{number}" for number in range(200)]
    stage.core.ingest([speech(stage, 1, " ".join(words))])
    stage.next_window()
    first = room_of(stage, 1).said
    assert first is not None
    assert first.speech.startswith("… word")
    assert first.speech.endswith(" word199")
    assert len(first.speech) <= 242
    stage.core.ingest([stage.platform.event("like", 1, user_id=7, count=1)])
    stage.next_window()
    assert room_of(stage, 1).said == first


def test_a_search_finds_rooms_by_all_its_words_whatever_their_case_and_by_their_id(stage: Stage) -> None:
    stage.start_rooms(1, 2, 3)
    stage.core.ingest(
        [speech(stage, 1, "a Rook takes"), speech(stage, 2, "bread and rook"), *stage.platform.comments(3, "Straße")]
    )
    stage.next_window()

    def found(search: str) -> set[int]:
        total, rooms = stage.core.found_rooms(search, 100, 0)
        assert total == len(rooms)
        return {room.room_id for room in rooms} & {1, 2, 3}

    assert found("ROOK") == {1, 2}
    assert found("rook bread") == {2}
    assert found("strasse") == {3}
    assert found("host:") == set(), "the words of the prompt are no room's"
    assert found("room 3") == {3}
    assert found("2") >= {2}
    assert found("no such word") == set()
    assert found("  ") == {1, 2, 3}
    assert stage.core.found_rooms("rook", 1, 1)[0] == 2
    assert len(stage.core.found_rooms("rook", 1, 1)[1]) == 1


def test_users_are_those_with_a_history_the_latest_active_first_with_what_they_entered(stage: Stage) -> None:
    users = stage.core.users(100)
    assert users
    assert all(user.engagements and user.newest_at < stage.core.now() for user in users)
    assert len(stage.core.users(2)) == 2
    stage.start_rooms(1)
    stage.core.recommend(USER, 5)  # shown: the latest active
    assert stage.core.users(1)[0].user_id == USER
    history = stage.core.state.users.history(USER, stage.core.now())
    assert stage.core.users(1)[0].engagements == len(history.at)
    names = set(stage.core.serving.recommender.code_names.values())
    assert all(set(user.entered) <= names for user in users)
    stage.core.delete_user(USER)
    assert USER not in {user.user_id for user in stage.core.users(100)}


def test_the_certainty_is_of_the_codes_that_are_shown(stage: Stage) -> None:
    stage.start_rooms(1)
    stage.core.ingest([speech(stage, 1, "rook takes queen")])
    stage.next_window()
    room = room_of(stage, 1)
    assert len(room.code_certainty) == len(room.codes)
    assert all(0 <= certainty <= 1 for certainty in room.code_certainty)


def test_an_explanation_has_the_sentence_of_the_list(stage: Stage) -> None:
    stage.start_rooms(1, 2)
    stage.core.ingest([speech(stage, 1, "rook takes queen")])
    stage.next_window()
    for room in stage.core.recommend(USER, 100, record=False).rooms:
        explanation = stage.core.explain(USER, room.room_id)
        assert explanation is not None
        assert explanation.reason == room.reason
