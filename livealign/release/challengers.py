"""The challengers that are served beside the champion, and the users of each.

    releases/challengers.json    replaced by rename; a running service follows it

    {"format": 1, "champion": …, "experiment": …, "salt": …, "since": …,
     "challengers": [{"release": …, "share": 0.05, "first": 0.0, "shadow": false}]}

A salted hash gives every user a point from 0 to 1 (`point_of`). A challenger serves the users whose points lie from `first` to
`first + share`; the champion serves all others. A challenger in the shadow ranks for the first `share` of users and nobody sees
its lists. The file counts only beside the champion that it names, so a promotion ends it, whatever happens in between.

Each change of who is served what is another experiment, so shares are constant within one. The salt stays as long as any
challenger does, so a user keeps their release; the next time it is a new one, so the same users are not the first again.
"""

import hashlib
import math
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from livealign.errors import BundleError
from livealign.files import exclusive, json_bytes, read_json, replace_bytes, sync_directory
from livealign.release.bundle import LOCK, RELEASE_ID, open_bundle
from livealign.release.registry import CHALLENGERS, read_champion

FORMAT = 1
MOST = 3  # challengers at once: each has a state of its own
LEAST_SHARE, LARGEST_SHARE = 1e-4, 0.9  # of one challenger, and of all that are shown: the champion is always compared with
_REMEDY = "run `livealign releases stop`, which removes it, then serve the challengers again"
_LAST_MOMENT = 253_402_300_799_000  # epoch milliseconds of the end of the year 9999
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Challenger:
    """A release that is served to a share of the users."""

    release: str
    share: float
    first: float = 0.0  # the point at which its users begin
    shadow: bool = False

    def serves(self, point: float) -> bool:
        """Whether the user at this point is one of its users."""
        return self.first <= point < self.first + self.share


@dataclass(frozen=True)
class Challengers:
    """What is served beside a champion."""

    champion: str
    experiment: str
    salt: str
    since: int  # epoch milliseconds; of the experiment
    challengers: tuple[Challenger, ...]

    @property
    def shown(self) -> tuple[Challenger, ...]:
        """The challengers whose lists users see."""
        return tuple(challenger for challenger in self.challengers if not challenger.shadow)

    @property
    def champion_share(self) -> float:
        """The share of the users whom the champion serves."""
        return 1.0 - math.fsum(challenger.share for challenger in self.shown)


def point_of(salt: str, user_id: int) -> float:
    """A user's point in [0, 1): uniform over users, always the same under one salt."""
    digest = hashlib.blake2b(f"{salt}:{user_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def read_challengers(releases: Path) -> Challengers | None:
    """What is served beside the present champion, or None if it serves alone.

    Raises:
        BundleError: the file or the champion pointer cannot be read, or a newer version of LiveAlign wrote it.
    """
    file = releases / CHALLENGERS
    if not os.path.lexists(file):
        return None
    found = challengers_of(read_json(file, _REMEDY, FORMAT, BundleError, replaces=True), file, _REMEDY)
    return found if found.challengers and found.champion == read_champion(releases) else None


def challengers_of(content: Any, where: Path | str, remedy: str) -> Challengers:
    """What the content of such a file says.

    Args:
        content: decoded, without its format. where: names it in errors. remedy: the end of an error's text.

    Raises:
        BundleError: it is not what `serve` writes.
    """
    try:
        found = Challengers(
            str(content["champion"]),
            str(content["experiment"]),
            str(content["salt"]),
            int(content["since"]),
            tuple(
                Challenger(str(one["release"]), float(one["share"]), float(one["first"]), _flag(one["shadow"]))
                for one in content["challengers"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{where} cannot be read ({error!r}); {remedy}") from error
    if wrong := _fault(found):
        raise BundleError(f"{where} {wrong}; {remedy}")
    return found


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _fault(found: Challengers) -> str | None:
    """What `serve` would not have written, in words; None if there is nothing."""
    for one in found.challengers:
        if not RELEASE_ID.fullmatch(one.release) or not LEAST_SHARE <= one.share <= 1:
            return f"names {one.release[:80]!r} with share {one.share}"
        if not 0 <= one.first <= 1:
            return f"lets the users of {one.release} begin at {one.first}"
    names = [one.release for one in found.challengers]
    if len(set(names)) < len(names) or found.champion in names or len(names) > MOST:
        return f"names the champion, one release twice, or more than {MOST}"
    shown = sorted(found.shown, key=lambda one: one.first)
    if any(left.first + left.share > right.first + _TOLERANCE for left, right in pairwise(shown)):
        return "serves some users by two challengers"
    if math.fsum(one.share for one in shown) > LARGEST_SHARE + _TOLERANCE:
        return f"leaves the champion fewer than {1 - LARGEST_SHARE:.0%} of the users"
    return None if 0 <= found.since <= _LAST_MOMENT else f"was written at {found.since}, which is no time"


def serve(
    releases: Path, release_id: str, share: float, *, shadow: bool = False, salt: str | None = None, now: datetime | None = None
) -> Challengers:
    """Serve a release beside the champion, or change its share; the bundle is verified first.

    Args:
        share: of the users. shadow: its lists are compared and not shown.
        salt: of a first challenger; None draws one.

    Raises:
        BundleError: there is no champion, the release is the champion or damaged, or the share is out of bounds.
    """
    if not LEAST_SHARE <= share <= (1.0 if shadow else LARGEST_SHARE):
        most = "1" if shadow else f"{LARGEST_SHARE}, for the champion is compared with"
        raise BundleError(f"a share of {share} cannot be served; give one from {LEAST_SHARE} to {most}")
    if not RELEASE_ID.fullmatch(release_id):
        raise BundleError(f"{release_id[:80]!r} is no release id; `livealign releases` lists the releases")
    open_bundle(releases / release_id)
    with exclusive(releases / LOCK):
        champion = read_champion(releases)
        if champion is None:
            raise BundleError(f"{releases} has no champion to compare with; run `livealign promote {release_id}`")
        if champion == release_id:
            raise BundleError(f"{release_id} is the champion; choose another of `livealign releases`")
        known = read_challengers(releases)
        others = () if known is None else tuple(one for one in known.challengers if one.release != release_id)
        if len(others) >= MOST:
            raise BundleError(f"{len(others)} challengers are served already; run `livealign releases stop` for one of them")
        first = 0.0 if shadow else _room_for(share, [one for one in others if not one.shadow], release_id, known)
        fresh = Challengers(champion, "", salt or uuid.uuid4().hex, 0, ()) if known is None else known
        return _write(releases, known, replace(fresh, challengers=(*others, Challenger(release_id, share, first, shadow))), now)


def stop(releases: Path, release_id: str | None = None, now: datetime | None = None) -> Challengers | None:
    """Serve a challenger no more, or none of them; returns what is served still.

    Raises:
        BundleError: the release is not served.
    """
    with exclusive(releases / LOCK):
        if release_id is None:
            end_experiment(releases)
            return None
        known = read_challengers(releases)
        if known is None or all(one.release != release_id for one in known.challengers):
            raise BundleError(f"{release_id[:80]} is not served beside the champion; `livealign releases` shows what is")
        rest = replace(known, challengers=tuple(one for one in known.challengers if one.release != release_id))
        if not rest.challengers:
            end_experiment(releases)
            return None
        return _write(releases, known, rest, now)


def end_experiment(releases: Path) -> None:
    """Remove the file; the caller holds the lock of the folder."""
    (releases / CHALLENGERS).unlink(missing_ok=True)
    sync_directory(releases)


def _room_for(share: float, shown: Sequence[Challenger], release_id: str, known: Challengers | None) -> float:
    """The point at which a challenger's users begin: where they began, if that is free, else the first gap."""
    before = [one.first for one in (known.challengers if known else ()) if one.release == release_id and not one.shadow]
    for first in (*before, 0.0, *sorted(one.first + one.share for one in shown)):
        clash = any(first < one.first + one.share - _TOLERANCE and one.first < first + share - _TOLERANCE for one in shown)
        if (
            not clash
            and first + share <= 1.0
            and math.fsum([share, *(one.share for one in shown)]) <= LARGEST_SHARE + _TOLERANCE
        ):
            return first
    served = math.fsum(one.share for one in shown)
    raise BundleError(
        f"no {share:.4f} of the users in one piece is free beside the {served:.4f} of other challengers; stop one"
    )


def _write(releases: Path, known: Challengers | None, fresh: Challengers, now: datetime | None) -> Challengers:
    if known is None or set(known.shown) != set(fresh.shown):
        since = int((now or datetime.now(UTC)).timestamp() * 1000)
        fresh = replace(fresh, experiment=uuid.uuid4().hex[:12], since=since)
    replace_bytes(releases / CHALLENGERS, file_of(fresh))
    sync_directory(releases)
    return fresh


def file_of(served: Challengers) -> bytes:
    """The content of `challengers.json` for these challengers."""
    return json_bytes(asdict(served), FORMAT)
