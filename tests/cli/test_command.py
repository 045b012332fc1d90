"""Files that commands write anew: what is there stays, and a path that cannot be is one line."""

from pathlib import Path

import pytest

from livealign.cli.command import write_new
from livealign.errors import LiveAlignError


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    out = tmp_path / "there.json"
    write_new(out, "first", "--out")
    with pytest.raises(LiveAlignError, match=r"exists already and stays as it is; name another file by --out"):
        write_new(out, "second", "--out")
    assert out.read_text() == "first"


@pytest.mark.parametrize("name", ["file/below.json", "x" * 300])
def test_a_path_that_cannot_be_names_the_option(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("stays")
    with pytest.raises(LiveAlignError, match=r"cannot be written .*; name another file by --out"):
        write_new(tmp_path / name, "text", "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
