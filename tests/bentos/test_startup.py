"""Opening a core runs no model; warming it up runs all of them and logs nothing."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bentos.live_recommender.startup import warm_up
from livealign.config import LiveConfig
from livealign.events.log import EventLog
from livealign.events.log_files import log_files
from livealign.live.core import LiveCore
from livealign.llm.encoder import Encoder
from livealign.ranking.ranker import Ranker
from tests.planted.live_release import plant_live_releases


def test_a_core_ranks_and_reads_first_when_it_is_warmed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (release,) = plant_live_releases(tmp_path)
    worked: Counter[str] = Counter()

    def counted(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            worked[kind.__name__] += 1
            return original(self, *arguments, **options)

        monkeypatch.setattr(kind, name, call)

    counted(Ranker, "predict")
    counted(Encoder, "encode")
    clock = release.taken_at / 1000
    core = LiveCore.open(
        release.bundle, EventLog(tmp_path / "log", lambda: clock), Path("none"), LiveConfig(), clock=lambda: clock
    )
    assert not worked
    started = {"kind": "room_started", "event_id": "e1", "at": release.taken_at, "room_id": 1, "author_id": 900}
    assert len(core.ingest([started]).accepted) == 1  # from now on lists are logged
    logged = [path.read_bytes() for path in log_files(tmp_path / "log")]
    assert warm_up(core) > 0
    assert worked["Ranker"] >= 2  # with content and without
    assert worked["Encoder"] >= 1
    core.stop()
    assert [path.read_bytes() for path in log_files(tmp_path / "log")] == logged
