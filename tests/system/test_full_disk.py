"""A full disk at each stage of a retrain."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from livealign.full_disk import REMEDY
from tests.support.fault_server import STAGES
from tests.support.fault_workspaces import Base, Server, assert_all_whole, champion_of, copy, files_of, simulated_server
from tests.support.small_disk import fill, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a retrain whose every stage is tried three times
LINKS = {"marts"}  # second names of files that the stage before has written: they take no room
IN_THE_MIDDLE = 64 << 10  # bytes that are left: less than most stages write
# Stages that have put something in place before the rest did not fit: the record of a decision, then the summary of the day.
IN_PARTS = {"promotion", "offline_report", "drift_report", "warehouse"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with simulated_server(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_each_stage_fails_in_one_line_leaves_what_was_there_and_goes_on_when_there_is_room(
    server: Server, tmp_path: Path
) -> None:
    base = Base(tmp_path / "base", server)
    with small_disk(tmp_path / "disk", "256m") as disk:
        home = copy(base.begun, disk / "home")
        shutil.move(home.workspace / "dagster", tmp_path / "dagster")  # Dagster's own database needs room to say what failed
        (home.workspace / "dagster").symlink_to(tmp_path / "dagster")
        ended = set()
        for stage in STAGES:
            for left in (0, IN_THE_MIDDLE):
                before, champion, filler = files_of(home), champion_of(home), fill(disk, left)
                answer = server.run(home, stage)
                filler.unlink()
                assert_all_whole(home)
                assert list(home.workspace.rglob(".tmp-*")) == [], stage
                if answer["ok"]:
                    ended |= {stage} if left == 0 else set()
                    continue
                _, _, line = answer["error"].partition(": ")
                assert "\n" not in line, f"{stage}: {line}"
                assert line.count("No space left on device") == 1, f"{stage}: {line}"
                assert f"{home.workspace}/" in line, f"{stage}: {line}"
                assert line.endswith(REMEDY), f"{stage}: {line}"
                if left == 0:
                    assert files_of(home) == before, stage
                    assert champion_of(home) == champion
            server.must(home, stage)
        assert ended == LINKS
        assert files_of(home) == files_of(base.home)
        assert champion_of(home) == champion_of(base.home)
