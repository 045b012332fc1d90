"""The planted evening of the small Twitch archive, and the rows that landed of it."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from livealign import ids
from tests.planted.twitch_archives import twitch_user

DAY, NEXT = date(2025, 12, 22), date(2025, 12, 23)
EVENING = datetime(2025, 12, 22, 22, 0, 0)
ALICE, DAVE = (ids.hashed_id("twitch_channel", f"@{name}") for name in ("alice", "dave"))


def read(root: Path, name: str) -> list[dict[str, Any]]:
    """All days of a table, rows in order."""
    return [row for path in sorted(root.glob(f"{name}/dt=*/*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


def user(login: str) -> int:
    return int(twitch_user(login)["id"])
