"""`livealign store follow` goes on looking, whatever goes wrong meanwhile, and says it in one line."""

import errno
import os
from pathlib import Path

import pytest

from livealign.cli import store as command
from livealign.errors import LiveAlignError


def test_a_full_disk_or_a_store_that_is_away_does_not_end_the_following(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "300")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/models/part")
    looks: list[Exception | str] = [full, full, LiveAlignError("the store is away"), "a release"]

    def follow_champion(*_: object) -> str:
        if not looks:
            raise KeyboardInterrupt
        found = looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr("livealign.release.shared_champion.follow_champion", follow_champion)
    monkeypatch.setattr("livealign.release.shared_champion.follow_challengers", lambda *_: False)
    command.follow("simulator", None, [f"machines.store={tmp_path / 'store'}"], once=False, every=0.0)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(";")[0] for line in said][-4:] == [
        "/models/part: No space left on device",
        "the store is away",
        "the champion is a release",
        "stopped",
    ]
