"""API keys from the environment: who may write and who may read.

| variable | what its keys may do | if it is not set |
|---|---|---|
| `LIVEALIGN_API_KEYS` | everything: send events, have lists logged as impressions, read | writing is off |
| `LIVEALIGN_READ_KEYS` | read | reading needs no key; a wrong key is refused all the same |

Keys are separated by commas, spaces or line breaks. A request carries one as `Authorization: Bearer <key>` or as
`X-API-Key: <key>`.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from livealign.errors import LiveAlignError

WRITE_VARIABLE, READ_VARIABLE = "LIVEALIGN_API_KEYS", "LIVEALIGN_READ_KEYS"
SHORTEST = 16  # characters; shorter ones can be guessed
HOW = "as `Authorization: Bearer <key>`"

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Refusal:
    """The status and the reason with which a request is refused."""

    status: int  # 401: no key or a wrong one; 403: a key that may only read, or the service has no keys
    error: str


WRONG_KEY = Refusal(401, "the API key is wrong: it is none that this service knows; copy it again, whole")


@dataclass(frozen=True)
class ApiKeys:
    """The API keys as SHA-256 digests.

    A comparison then takes the same time for every key, whatever its length.
    """

    writers: tuple[bytes, ...]
    readers: tuple[bytes, ...]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ApiKeys":
        """The keys in LIVEALIGN_API_KEYS and LIVEALIGN_READ_KEYS.

        Raises:
            LiveAlignError: a key is too short.
        """
        return cls(_digests(environment, WRITE_VARIABLE), _digests(environment, READ_VARIABLE))

    def known(self, headers: Headers) -> str | None:
        """A short name of the known key that a request carries; None without one.

        It is made of a hash: the key itself is not in it.
        """
        key = request_key(headers)
        if key is None or not _is_one_of(key, self.writers + self.readers):
            return None
        return hashlib.sha256(key).hexdigest()[:16]

    def refuses_write(self, headers: Headers) -> Refusal | None:
        """The refusal of a request to write; None if it may."""
        if not self.writers:
            return Refusal(
                403, f"writing is off: set {WRITE_VARIABLE} where the service starts, then send one of its keys {HOW}"
            )
        key = request_key(headers)
        if key is None:
            return Refusal(401, f"this needs an API key: send one {HOW}")
        if _is_one_of(key, self.writers):
            return None
        if _is_one_of(key, self.readers):
            return Refusal(403, f"this key may only read; send one of {WRITE_VARIABLE}")
        return WRONG_KEY

    def refuses_read(self, headers: Headers) -> Refusal | None:
        """The refusal of a request to read; None if it may.

        A wrong key is refused also where reading needs none: who sends a key believes that their lists are logged.
        """
        key = request_key(headers)
        if key is None:
            return Refusal(401, f"reading needs an API key here: send one {HOW}") if self.readers else None
        known = self.readers + self.writers
        return None if not known or _is_one_of(key, known) else WRONG_KEY


def request_key(headers: Headers) -> bytes | None:
    """The API key that a request carries, None without one."""
    for name, value in headers:
        lower = name.lower()
        if lower == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
        if lower == b"x-api-key":
            return value.strip()
    return None


def _is_one_of(key: bytes, known: tuple[bytes, ...]) -> bool:
    digest, matches = hashlib.sha256(key).digest(), False
    for known_digest in known:  # all of them, so that the time does not show which one matched
        matches |= hmac.compare_digest(digest, known_digest)
    return matches


def _digests(environment: Mapping[str, str], variable: str) -> tuple[bytes, ...]:
    keys = environment.get(variable, "").replace(",", " ").split()
    for place, key in enumerate(keys, 1):
        if len(key) < SHORTEST:
            raise LiveAlignError(
                f"key {place} of {variable} has {len(key)} characters; give it at least {SHORTEST} random ones"
            )
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)
