"""The words that were said last in a room, for people to read.

The text that the LLM reads has separators and earlier windows too (`livealign.llm.segment_text`).
"""

from livealign.live.answers import Said
from livealign.live.state.rooms import LiveRoom
from livealign.llm.segment_text import one_line, visible_text

SPEECH_CHARACTERS, CHAT_CHARACTERS, MESSAGES = 240, 160, 4


def said_in(room: LiveRoom, window_ms: int) -> Said | None:
    """The last words of the room's newest closed window that has any; None before there is one."""
    if not room.earlier:
        return None
    text = room.earlier[0]
    speech = one_line(text.speech, 2 * SPEECH_CHARACTERS)
    if len(speech) > SPEECH_CHARACTERS:
        cut = speech.find(" ", len(speech) - SPEECH_CHARACTERS)
        speech = f"… {speech[cut + 1 :] if cut >= 0 else speech[-SPEECH_CHARACTERS:]}"
    newest: dict[str, str] = {}
    for message in reversed(text.chat):
        line = one_line(message[:CHAT_CHARACTERS], CHAT_CHARACTERS)
        if key := visible_text(line).casefold():
            newest.setdefault(key, line)
        if len(newest) == MESSAGES:
            break
    return Said((text.window + 1) * window_ms, speech, list(newest.values()))


def searched(room: LiveRoom) -> str:
    """The text that a search of rooms looks through: title, category, and the last words."""
    words = [room.title or "", room.category or ""]
    if room.earlier:
        words += [room.earlier[0].speech[-2 * SPEECH_CHARACTERS :]]
        words += [message[:CHAT_CHARACTERS] for message in room.earlier[0].chat[-MESSAGES:]]
    return "\n".join(words).casefold()
