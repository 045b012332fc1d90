from pathlib import Path

from livealign.file_cache import FileCache


def test_a_value_is_read_again_only_for_another_key_or_other_files(tmp_path: Path) -> None:
    file, read = tmp_path / "a", []

    def value() -> int:
        read.append(len(read))
        return read[-1]

    last: FileCache[int] = FileCache()
    assert last("x", [file], value) == last("x", [file], value) == 0  # a missing file is a state too
    file.write_text("1")
    assert last("x", [file], value) == last("x", [file], value) == 1
    (tmp_path / "b").write_text("1")
    (tmp_path / "b").replace(file)  # same size, perhaps the same time: another file
    assert last("x", [file], value) == 2
    assert last("y", [file], value) == 3
    assert last("x", [file], value) == 4
