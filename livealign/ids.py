"""63-bit ids: numbers stay, strings and people are hashed with a key.

Every id of the landing tables is an int64. Numbers that fit stay numbers. Text is hashed with a key (BLAKE2b), so ids are the
same in every run. With a secret key in `LIVEALIGN_ID_KEY` they do not reveal who is meant; the ids of people are then hashed
even where the platform gives numbers.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from livealign.errors import LiveAlignError

KEY_VARIABLE = "LIVEALIGN_ID_KEY"
DEFAULT_KEY = b"livealign"  # public: stable ids, no secrecy
MAX_ID = 2**63 - 1


def secret_key() -> bytes | None:
    """The key from the environment, or None where none is set.

    Raises:
        LiveAlignError: the key is longer than BLAKE2b takes.
    """
    key = os.environ.get(KEY_VARIABLE, "").encode("utf-8", "surrogateescape")
    if len(key) > hashlib.blake2b.MAX_KEY_SIZE:
        raise LiveAlignError(f"{KEY_VARIABLE} has {len(key)} bytes; use at most {hashlib.blake2b.MAX_KEY_SIZE}")
    return key or None


def hashed_id(namespace: str, text: str, key: bytes = DEFAULT_KEY) -> int:
    """63-bit keyed hash of `text`; the same text under another namespace is another id."""
    content = f"{namespace}\0{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=key).digest()) & MAX_ID


def hashed_ids(namespace: str, texts: Sequence[str], key: bytes = DEFAULT_KEY) -> npt.NDArray[np.int64]:
    """[n] `hashed_id` of each text; each distinct text is hashed once."""
    known = {text: hashed_id(namespace, text, key) for text in dict.fromkeys(texts)}
    return np.fromiter((known[text] for text in texts), np.int64, len(texts))


def person_id(namespace: str, text: str, secret: bytes | None) -> int:
    """The id of a person: the platform's own number, or a keyed hash.

    The number stays where it fits 63 bits and no secret key is set.
    """
    if secret is None and text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_ID:
        return int(text)
    return hashed_id(namespace, text, secret or DEFAULT_KEY)


def segment_id(room_id: int, window: int) -> int:
    """Id of a room's 30-second window: the first 15 hex digits of an MD5, as a number.

    `window` is Unix seconds // 30. The dbt macro `segment_id` computes the same in SQL.
    """
    digest = hashlib.md5(f"{room_id}:{window}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8]) >> 4


def segment_ids(room_ids: Iterable[int], windows: Iterable[int]) -> npt.NDArray[np.int64]:
    """[n] `segment_id` of each pair."""
    return np.array([segment_id(int(room), int(window)) for room, window in zip(room_ids, windows, strict=True)], np.int64)
