"""Landing of archives given as bytes, with the checks that hold for any input."""

import re
import tempfile
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, settings

import tests.planted.kuaishou_archives as make
from livealign.errors import LiveAlignError
from livealign.landing.summary import LandingSummary
from livealign.platforms.registry import land
from tests.planted.small_archives import pristine

FEW = settings(max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck))
# Their impressions are inferred from their plays: none may land without the other.
INFER_IMPRESSIONS = {"kuailive", "kuailive_m3", "twitch", "youtube", "bilibili", "chat", "liverec"}


def land_bytes(platform: str, files: dict[str, bytes]) -> LandingSummary | None:
    """Land an archive given as bytes and check what must hold for any input.

    None where the archive is refused as a whole.
    """
    with tempfile.TemporaryDirectory() as name:
        archive, landing = Path(name) / "a", Path(name) / "l"
        for file, content in files.items():
            (archive / file).parent.mkdir(parents=True, exist_ok=True)
            (archive / file).write_bytes(content)
        try:
            summary = land(platform, archive, landing)
        except LiveAlignError:
            assert not list(landing.glob("*/dt=*"))
            return None
        rejects = make.rejects(landing)
        assert all(re.fullmatch(r"[a-z0-9_]+", row["reason"]) and row["file"] and row["line"] >= 0 for row in rejects)
        for table, counts in summary.tables.items():
            assert counts.read == counts.landed + counts.rejected
            assert counts.rejected == sum(counts.reasons.values())
            assert counts.landed == len(make.landed(landing, table))
            assert counts.rejected == sum(row["table"] == table and row["reason"] != "unknown_field" for row in rejects)
        if platform in INFER_IMPRESSIONS:
            shown = {row["impression_id"] for row in make.landed(landing, "impressions")}
            assert {row["impression_id"] for row in make.landed(landing, "plays")} <= shown
        return summary


@cache
def undamaged(platform: str) -> LandingSummary:
    summary = land_bytes(platform, pristine(platform))
    assert summary is not None
    return summary


def damage(content: bytes, kind: str, place: float, noise: bytes) -> bytes:
    at = int(place * len(content))
    if kind == "truncate":
        return content[:at]
    if kind == "cut":
        return content[:at] + content[at + max(1, len(noise)) :]
    if kind == "flip":
        return content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 3]) + content[at + 3 :]
    return content[:at] + noise + content[at:]
