"""The facts of a chat beside its words: bots, announcements of the stream, and names."""

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from livealign.platforms.chat.messages import Message

# fmt: off
KNOWN_BOTS = frozenset((
    "streamelements", "nightbot", "ananonymousgifter", "streamlabs", "moobot", "fossabot", "wizebot", "sery_bot", "phantombot",
    "streamstickers", "deepbot", "botisimo", "coebot", "mixitupapp", "commanderroot", "soundalerts",
    "kofistreambot", "pokemoncommunitygame", "tangiabot", "blerp", "songlistbot", "own3d", "restreambot",
    "botrixoficial", "lumiastream",
))
# fmt: on
COMMAND_SECONDS = 2  # a bot answers a command within this time
ANNOUNCED_WITHIN_SECONDS = 600  # a later announcement is of a later game
SOMEBODY = "@user"

_ANNOUNCEMENT = re.compile(r"\S+ is now live! Streaming (?P<rest>.+)", re.DOTALL)
_NO_GAME = frozenset({"<no game>", "no game", ""})
_MENTION = re.compile(r"(?<![\w@])@\w{2,25}")
_WORD = re.compile(r"\w{4,25}")
_LOOKS_LIKE_LOGIN = re.compile(r"[0-9_]")


class Announcement(NamedTuple):
    """The title and category that a bot announced at the start of a broadcast."""

    category: str | None
    title: str


class Bots(NamedTuple):
    """The bots of one broadcast, and the channel's own messages that a bot wrote."""

    logins: frozenset[str]
    own_lines: frozenset[int]


def find_bots(messages: Sequence[Message], channel: str) -> Bots:
    """The bots of one broadcast: by name, by badge, or by behaviour.

    Behaviour: it announces broadcasts; or it never gives a command and at least half of its messages, three or more,
    answer another's command ("!…") within `COMMAND_SECONDS`; or at least half, three or more, are the same long text
    with a link or a command in it (a timer). Some channels run their bot under their own name: then only the answers count.
    """
    sent: Counter[str] = Counter()
    answers: defaultdict[str, list[int]] = defaultdict(list)
    timers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    commanders: set[str] = set()
    bots: set[str] = set()
    commanded_at, commander = float("-inf"), ""
    for message in messages:
        login = message.login
        sent[login] += 1
        if message.bot_badge or login in KNOWN_BOTS or message.name.lower().lstrip("@") in KNOWN_BOTS or _announces(message):
            bots.add(login)
        if message.text.startswith("!"):
            commanders.add(login)
            commanded_at, commander = message.offset, login
        elif login != commander and 0 <= message.offset - commanded_at <= COMMAND_SECONDS:
            answers[login].append(message.line)
        if len(message.text) >= 40 and ("http" in message.text or "!" in message.text):
            timers[login][message.text] += 1
    for login, lines in answers.items():
        if login not in commanders and len(lines) >= max(3, sent[login] / 2):
            bots.add(login)
    for login, texts in timers.items():
        if texts.most_common(1)[0][1] >= max(3, sent[login] / 2):
            bots.add(login)
    bots.discard("")
    own = answers[channel] if len(answers[channel]) >= 3 else []
    bots.discard(channel)
    return Bots(frozenset(bots), frozenset(own))


def find_announcement(messages: Sequence[Message], bots: Bots, title: str | None) -> Announcement | None:
    """The first "… is now live! Streaming GAME: TITLE" of a bot in the first minutes.

    Both game and title may hold ": ". Where the archive's title is the announced one, the split is known; where it was
    changed later, the split is taken whose second half is most like it.
    """
    for message in messages:
        found = _announces(message)
        if found is None or message.login not in bots.logins:
            continue
        splits = [match.start() for match in re.finditer(": ", found["rest"])]
        if not splits:
            return Announcement(None, found["rest"].strip())
        best = max(splits, key=lambda at: _likeness(found["rest"][at + 2 :], title or ""))
        category = found["rest"][:best].strip()
        return Announcement(None if category.lower() in _NO_GAME else category, found["rest"][best + 2 :].strip())
    return None


def name_masker(messages: Sequence[Message]) -> Callable[[str], str]:
    """A function that replaces names in a text by `SOMEBODY`.

    Replaced are every @mention, and the chatters' names where they stand alone and look like names (a digit or an
    underscore in them; others, such as "mario", are also words).
    """
    chatters = {(message.login, message.name) for message in messages}
    names = {name for login, shown in chatters for name in (login, shown.lower()) if _LOOKS_LIKE_LOGIN.search(name)}

    def mask(text: str) -> str:
        masked = _MENTION.sub(SOMEBODY, text) if "@" in text else text
        if not _LOOKS_LIKE_LOGIN.search(masked):
            return masked
        return _WORD.sub(lambda word: SOMEBODY if word[0].lower() in names else word[0], masked)

    return mask


def _announces(message: Message) -> re.Match[str] | None:
    return _ANNOUNCEMENT.fullmatch(message.text) if message.offset <= ANNOUNCED_WITHIN_SECONDS else None


def _likeness(text: str, title: str) -> float:
    return difflib.SequenceMatcher(None, text, title, autojunk=False).ratio()
