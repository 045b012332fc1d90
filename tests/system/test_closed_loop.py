"""One tiny platform through the whole loop: batch, service, and training on its log.

The service computes what the batch pipeline computed, and the next release learns from what was served.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from livealign.config import LiveConfig
from livealign.days import partition
from livealign.events.log import EventLog
from livealign.files import read_json
from livealign.home import Home
from livealign.live.core import LiveCore
from livealign.release.bundle import ADAPTER, open_bundle
from livealign.release.registry import champion_path
from livealign.replay import compare as replay
from livealign.replay.compare import replay_day
from livealign.replay.events import Timed, day_events, landed_number
from livealign.retrain.encoder_choice import CHOSEN, RECORD
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from tests.support.traces import traces

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GONE, KEPT = 8_765_432_109_876, 8_765_432_109_877  # users of the live platform alone; the first is deleted at its end


def retrain(home: Path, platform: str, archive: Path, *options: str) -> Home:
    """`make retrain` on the tiny profile, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment |= {"LIVEALIGN_HOME": str(home), "DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "true"}
    command = [sys.executable, "-m", "orchestration.retrain", "--profile", "tiny", "--platform", platform]
    done = subprocess.run(
        [*command, "--archive", str(archive), *options],
        cwd=ROOT,
        env=environment | {"DAGSTER_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Home(home, platform)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A workspace of the simulated platform with a champion, whose retrain chose the layers of its LLM."""
    root = tmp_path_factory.mktemp("loop")
    simulate(SimulationConfig.tiny(), root / "archive")
    return retrain(root / "home", "simulator", root / "archive", "--set", "encoder.choice=auto")


def last_day(home: Home) -> date:
    summary = json.loads((home.workspace / "reports" / "latest" / "summary.json").read_text())
    return date.fromisoformat(summary["bundle"]["release_id"][:10])


def test_the_layers_that_the_retrain_chose_are_those_of_its_release(trained: Home) -> None:
    bundle = open_bundle(champion_path(trained.releases))
    encoder, chosen = bundle.manifest["config"]["encoder"], read_json(bundle.file(f"{ADAPTER}/{RECORD}"))
    assert encoder["choice"] == "auto"
    assert [encoder[name] for name in CHOSEN] == [chosen[name] for name in CHOSEN]
    assert "is the shallowest within the noise of the best of" in chosen["reason"]


def test_the_service_computes_what_the_pipeline_computed(
    trained: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = last_day(trained)
    report = replay_day(trained, day, tmp_path / "whole")
    assert report.problems() == []
    assert report.rejected == 0
    assert report.embeddings.compared == report.vectors.compared > 300
    assert report.scores.compared > 1_000
    # In float32 there is no tolerance to speak of.
    assert report.embeddings.largest < 1e-5
    assert report.vectors.largest < 1e-5
    assert report.equal_codes == 1.0
    assert report.scores.largest < 1e-5

    def silenced(landing: Path, rooms: Any, day: date) -> list[Timed]:
        return [one for one in day_events(landing, rooms, day) if one.item["kind"] != "comment"]

    monkeypatch.setattr(replay, "day_events", silenced)
    without = replay_day(trained, day, tmp_path / "silenced")
    assert without.problems() != []  # the comparison can fail
    assert without.embeddings.mean > 1e-3


def visit(core: LiveCore, user_id: int, number: int, at: int) -> None:
    """A user who is shown a list enters its first room, and likes it and writes there."""
    listed = core.recommend(user_id, 3, surface="home")
    for room in listed.rooms[:1]:
        about = {"room_id": room.room_id, "author_id": room.author_id, "user_id": user_id}
        kinds = {"play_started": {"request_id": listed.request_id}, "like": {}, "comment": {"text": "words"}}
        core.ingest(
            [
                {"kind": kind, "event_id": f"{kind}-{user_id}-{number}{place}", "at": at, **about, **fields}
                for place, (kind, fields) in enumerate(kinds.items())
            ]
        )


def test_what_was_served_is_landed_learned_from_promoted_and_served_without_deleted_users(
    trained: Home, tmp_path: Path
) -> None:
    day = last_day(trained)
    log, answers = tmp_path / "log", 0
    now = [0.0]
    core = LiveCore.open(
        champion_path(trained.releases),
        EventLog(log, lambda: now[0]),
        trained.models,
        replace(LiveConfig(), publish_seconds=0.0),
        lambda: now[0],
        number=landed_number,
    )
    for back in (2, 1, 0):
        rooms = replay.rooms_of(trained.marts, day - timedelta(days=back))
        events = day_events(trained.landing, rooms, day - timedelta(days=back))
        for start in range(0, len(events), 100):
            batch = events[start : start + 100]
            now[0] = batch[-1].at / 1000
            core.ingest([one.item for one in batch])
            listed = core.recommend(int(batch[-1].item.get("user_id", 1)), 3, surface="home")
            answers += len(listed.rooms)
            if listed.rooms:  # somebody follows the recommendation
                room, now[0] = listed.rooms[0], now[0] + 2
                play = {
                    "kind": "play_started",
                    "event_id": f"followed-{back}{start:07d}",
                    "at": int(now[0] * 1000),
                    "room_id": room.room_id,
                    "author_id": room.author_id,
                    "user_id": int(batch[-1].item.get("user_id", 1)),
                    "request_id": listed.request_id,
                }
                core.ingest([play])
            if start % 300 == 0:
                for person, user_id in enumerate((GONE, KEPT)):
                    visit(core, user_id, int(f"9{person}{back}{start:07d}"), int(now[0] * 1000))
            core.tick()
    served_version = core.version().release_id
    assert traces(log, GONE)
    assert core.delete_user(GONE) > 100
    core.stop()
    assert answers > 100
    home = retrain(trained.root, "served", log, "--day", day.isoformat())  # some sessions end on the day after
    assert last_day(home) == day
    summary = json.loads((home.workspace / "reports" / "latest" / "summary.json").read_text())
    assert summary["promotion"]["decision"] == "promote"
    shown = pq.ParquetFile(partition(home.landing, "impressions", day)).read()
    ours = [row for row in shown.to_pylist() if row["model_version"] == served_version]
    assert len(ours) > 30
    clicked = pq.ParquetFile(partition(home.marts, "interactions", day)).read().to_pylist()
    assert any(row["click"] and row["model_version"] == served_version for row in clicked)
    for folder in (log, home.landing, home.releases, home.marts):
        assert traces(folder, KEPT)
        assert traces(folder, GONE) == []
    assert any("vocabulary" in file for file in traces(home.releases, KEPT))
    fresh = LiveCore.open(champion_path(home.releases), EventLog(tmp_path / "next", lambda: now[0]), trained.models)
    assert fresh.version().platform == "served"
    assert fresh.recommend(int(shown["user_id"][0].as_py()), 3).rooms
    fresh.stop()
