"""The decision about a release, stored beside its bundle.

The file is `releases/<release id>.decision.json`. It is not part of the bundle: the bundle's files are hashed when it is
built, before the decision.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from livealign.errors import BundleError, LiveAlignError
from livealign.files import read_json, replace_json
from livealign.release.bundle import RELEASE_ID
from livealign.release.promotion import Decision

SUFFIX = ".decision.json"
_FIELDS = ("release", "against", "decision", "rule", "reason", "numbers", "decided_at")


def decision_file(releases: Path, release_id: str) -> Path:
    """Path of the decision about a release.

    Raises:
        BundleError: `release_id` is not a release id.
    """
    if not RELEASE_ID.fullmatch(release_id):
        raise BundleError(f"{release_id[:80]!r} is no release id; `livealign releases` lists the releases")
    return releases / f"{release_id}{SUFFIX}"


def write_decision(
    releases: Path, release_id: str, against: str | None, decision: Decision, now: datetime | None = None
) -> dict[str, Any]:
    """Write the decision about a release, replacing an earlier one; returns the record.

    Args:
        against: release id of the champion at that time.
    """
    record = {
        "release": release_id,
        "against": against,
        **decision.to_dict(),
        "decided_at": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
    }
    replace_json(decision_file(releases, release_id), record, version=1)
    return record


def unscored_days(releases: Path, champion: str) -> set[str]:
    """The last held-out days in a row on which this champion could not be scored, YYYY-MM-DD."""
    return _latest_days(releases, lambda record: record["against"] == champion and record["rule"] == "champion_not_scored")


def refused_days(releases: Path) -> set[str]:
    """The last held-out days in a row whose challenger was kept out, YYYY-MM-DD; no ties."""
    return _latest_days(releases, lambda record: record["decision"] == "keep" and record["rule"] != "tie")


def _latest_days(releases: Path, holds: Callable[[dict[str, Any]], bool]) -> set[str]:
    """The held-out days of the newest decisions in a row for which `holds`; unreadable decisions are left out."""
    decisions = []
    for file in releases.glob(f"*{SUFFIX}"):
        with suppress(LiveAlignError):
            decisions.append(read_decision(releases, file.name.removesuffix(SUFFIX)) or {})
    newest_first = sorted(filter(None, decisions), key=lambda record: str(record["decided_at"]), reverse=True)
    return {_day_of(record) for record in takewhile(holds, newest_first)}


def _day_of(record: dict[str, Any]) -> str:
    """The held-out day; of a challenger without metrics, the day in its release id."""
    challenger = (record["numbers"] or {}).get("challenger")
    return str(challenger["day"] if challenger else record["release"][:10])


def read_decision(releases: Path, release_id: str) -> dict[str, Any] | None:
    """The record of the decision about a release, or None if it has no decision yet.

    Keys: release, against, decision, rule, reason, numbers, decided_at.

    Raises:
        LiveAlignError: the file is damaged, or of a newer version.
    """
    file = decision_file(releases, release_id)
    if not file.exists():
        return None
    record = read_json(file)
    if not isinstance(record, dict) or set(_FIELDS) - record.keys() or record["release"] != release_id:
        raise BundleError(f"{file} is no decision about {release_id}; remove it and run `make retrain` for that day")
    return record
