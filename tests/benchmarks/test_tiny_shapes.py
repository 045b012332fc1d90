"""Every benchmark starts and writes JSON rows; the quick ones run at tiny shapes."""

import json
import os
import runpy
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

from benchmarks import json_rows
from benchmarks.json_rows import MARKER, REPEATS, ROOT, JsonRows
from benchmarks.speed import gpu as bench_gpu
from benchmarks.speed.rows import Cost, Row, comparison, in_turns, record, show
from livealign.errors import LiveAlignError
from livealign.llm.backbone import choose_dtype

FOLDER = ROOT / "benchmarks"
IN_OTHER_ENVIRONMENTS = {"peer", "peer_factors", "peer_sequences"}  # workers of a benchmark, with packages that we do not have
SCRIPTS = sorted(file for file in FOLDER.rglob("*.py") if 'if __name__ == "__main__":' in file.read_text())
ENTRY_POINTS = {
    file.stem: ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in SCRIPTS
    if file.stem not in IN_OTHER_ENVIRONMENTS
}
KEYS = {"name", "value", "interval", "interval_of", "unit", "seed", "commit", "dirty", "machine", "command"}
MACHINE = {"processor", "cores", "number_format", "bfloat16_units", "memory_gib", "accelerator", "system", "python", "torch"}


def run(script: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the script as `python -m` does."""
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.delitem(sys.modules, ENTRY_POINTS[script], raising=False)  # `-m` starts with a fresh module
    runpy.run_module(ENTRY_POINTS[script], run_name="__main__")


def test_the_walk_finds_the_scripts() -> None:
    assert len(ENTRY_POINTS) > 20
    assert {file.stem for file in SCRIPTS} >= IN_OTHER_ENVIRONMENTS


@pytest.mark.parametrize("script", ENTRY_POINTS)
def test_every_benchmark_offers_json(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        run(script, "--help", monkeypatch=monkeypatch)
    assert ended.value.code == 0
    assert "--json FILE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        pytest.param(
            "gpu", ["--tiny"], {"tiny Llama: LoRA tuning", "tiny Qwen2: share of the card's rate"}, marks=pytest.mark.slow
        ),
        ("simulator", ["--impressions", "500", "--days", "3"], {"rate", "peak memory", "rows of impressions"}),
        (
            "retrieval",
            ["--rooms", "500", "--queries", "5", "--repeats", "1"],
            {f"retrieval, 500 rooms: queries/s ÷ faiss flat: {what}" for what in ("ours", "recall@50", "build")},
        ),
        (
            "ranker",
            ["--requests", "60", "--repeats", "1"],
            {"ranker: examples/s ÷ the same network with a DataLoader: ours"},
        ),
        pytest.param(
            "live_core",
            ["--rooms", "40", "--users", "50", "--news", "5", "--seconds", "0.2"],
            {"lists at 50 a second, p99", "refresh: rooms encoded", "checkpoint"},
            marks=pytest.mark.slow,
        ),
        ("planted_gate", ["--users", "20", "--requests", "40", "--seeds", "1"], {"true probabilities", "fixed mean, tells"}),
        ("events", ["--batches", "4", "--runs", "2"], {"ingest, durable", "read for landing"}),
    ],
)
def test_a_benchmark_writes_what_it_prints(
    script: str, arguments: list[str], expected: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "made" / "rows.json"
    try:
        run(script, *arguments, "--json", str(file), monkeypatch=monkeypatch)
    except SystemExit as ended:
        assert ended.code in (0, None)  # noqa: PT017
    rows = read(file)
    assert expected <= {row["name"] for row in rows}
    assert all(row["value"] is None or row["value"] >= 0 for row in rows)
    for row in rows:
        low, high = row["interval"] or (0, float("inf"))
        assert row["value"] is None or low <= row["value"] <= high
        assert (row["interval"] is None) == (row["interval_of"] is None)


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, each of the stated form."""
    document = json.loads(file.read_text())
    assert set(document) == {MARKER, "measured_at", "rows"}
    for row in document["rows"]:
        assert set(row) == KEYS
        assert set(row["machine"]) == MACHINE
        assert isinstance(row["value"], int | float | str | None)
        assert row["unit"]
    return document["rows"]


def test_a_file_that_no_benchmark_wrote_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, text in enumerate(("my diary", "[1, 2]", '{"rows": []}', "")):
        file = tmp_path / f"mine_{number}"
        file.write_text(text)
        with pytest.raises(SystemExit) as ended:
            run("gpu", "--tiny", "--json", str(file), monkeypatch=monkeypatch)
        assert ended.value.code == 2
        assert "was not written by a benchmark" in capsys.readouterr().err
        with pytest.raises(LiveAlignError, match="stays as it is"):
            JsonRows(file).write()
        assert file.read_text() == text


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert json_rows.why_not(tmp_path) is not None
    assert "no folder" in str(json_rows.why_not(tmp_path / "file" / "rows.json"))


def test_an_own_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    for value in (1.0, 2.0):
        out = JsonRows(file, seed=17)
        out.add("one", value, "s")
        out.write()
    assert [(row["value"], row["seed"]) for row in read(file)] == [(2.0, 17)]
    assert list(tmp_path.iterdir()) == [file]


def test_numbers_of_numpy_and_numbers_that_are_none_are_written(tmp_path: Path) -> None:
    out = JsonRows(tmp_path / "rows.json", seed=1)
    out.add("a", np.float32(0.5), "s", (np.float64(0.25), np.float64(1.0)), REPEATS, seed=3)
    out.add("b", float("nan"), "GiB")
    out.add_all("tree", {"milliseconds": {"p50": 1.5}, "gib": [1, 2], "degraded": False}, {"milliseconds": "ms", "gib": "GiB"})
    out.write()
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["name"], row["value"], row["interval"], row["unit"], row["seed"]) for row in rows] == [
        ("a", 0.5, [0.25, 1.0], "s", 3),
        ("b", None, None, "GiB", 1),
        ("tree.milliseconds.p50", 1.5, None, "ms", 1),
        ("tree.gib[0]", 1, None, "GiB", 1),
        ("tree.gib[1]", 2, None, "GiB", 1),
        ("tree.degraded", False, None, "", 1),
    ]


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *own, *arguments], capture_output=True, text=True, check=True)  # noqa: S607
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout_and_changes_of_code_are_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    inner = checkout / "unpacked"
    inner.mkdir(parents=True)
    monkeypatch.setattr(json_rows, "ROOT", checkout)
    unknown, commit = {"commit": "unknown", "dirty": None}, json_rows.commit.__wrapped__
    assert commit() == unknown
    git(checkout, "init", "--quiet")
    assert commit() == unknown  # nothing committed yet
    (checkout / "code.py").write_text("a = 1\n")
    git(checkout, "add", "code.py")
    git(checkout, "commit", "--quiet", "-m", "first")
    (checkout / "rows.json").write_text("{}")  # an own result, untracked: no other code
    assert commit() == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}
    (checkout / "code.py").write_text("a = 2\n")
    assert commit()["dirty"] is True
    monkeypatch.setattr(json_rows, "ROOT", inner)
    assert commit() == unknown  # a copy without history, within a checkout of something else
    monkeypatch.setattr(json_rows, "ROOT", checkout)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == unknown  # no git


def test_the_machine_is_described() -> None:
    about = json_rows.machine()
    assert about["torch"] == torch.__version__
    assert about["python"] == ".".join(map(str, sys.version_info[:3]))
    assert about["number_format"] == str(choose_dtype(torch.device("cuda" if torch.cuda.is_available() else "cpu")))[6:]
    assert 0 < about["cores"] <= (os.cpu_count() or 0)
    assert about["memory_gib"] > 0


@pytest.mark.slow
def test_the_gpu_benchmark_needs_torch_and_transformers_only() -> None:
    wanted, allowed = ["torch", "transformers"], set[str]()
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name not in allowed:
            allowed.add(name)
            needs = [Requirement(one) for one in requires(name) or ()]
            wanted += [one.name for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})]
    absent = [
        module
        for module, names in packages_distributions().items()
        if module.isidentifier() and not {name.lower().replace("_", "-") for name in names} & allowed
    ]
    assert {"duckdb", "pandas", "psutil", "peft"} <= set(absent)
    own = {"livealign", "benchmarks", "orchestration", "bentos", "tests"}
    code = f"import sys\nsys.modules.update(dict.fromkeys({sorted(set(absent) - own)!r}))\nimport benchmarks.json_rows\n"
    code += f"import {ENTRY_POINTS['gpu']}\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_gpu_table_has_a_row_for_each_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_gpu.main(["--tiny"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    assert len(rows) == len(bench_gpu.TINY)
    for row in rows:
        _, _, rooms, share, tokens, _, _ = row.split("|")
        assert float(rooms.replace(",", "")) > 0
        assert float(share) >= 0
        assert float(tokens.replace(",", "")) > 0


def test_made_up_texts_have_the_length_mix_and_the_vocabulary() -> None:
    texts = bench_gpu.made_up_texts(500, 512)
    lengths = np.array([len(ids) for ids in texts])
    assert (lengths.min(), lengths.max()) == (32, 64)
    assert 0.4 < (lengths == 64).mean() < 0.6
    assert max(map(max, texts)) < 512


def test_a_row_is_the_median_of_ratios_of_rates(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = [Cost(1.0, 2.0), Cost(2.0, 2.0), Cost(4.0, 2.0)], [Cost(4.0, 4.0)] * 3
    row = comparison("name", "goal", ours, theirs, (10, 10, "texts/s"), facts={"recall": (0.5, "share")})
    assert (row.ratio, row.low, row.high, row.cpu_ratio) == (2.0, 1.0, 4.0, 2.0)
    assert (row.ours, row.theirs, row.unit) == (5.0, 2.5, "texts/s")
    out = JsonRows(None, seed=17)
    show(row, out)
    read_back = JsonRows(None, seed=17)
    record(Row(**json.loads(capsys.readouterr().out)), read_back)  # as `bench` does
    assert read_back.rows == out.rows
    assert (out.rows[-1]["name"], out.rows[-1]["value"]) == ("name: recall", 0.5)
    found = [(one["name"], one["value"], one["interval"]) for one in out.rows[:4]]
    assert found == [
        ("name", 2.0, [1.0, 4.0]),
        ("name: by CPU seconds", 2.0, None),
        ("name: ours", 5.0, None),
        ("name: theirs", 2.5, None),
    ]


def test_both_sides_are_run_in_turns_after_a_first_time_that_does_not_count() -> None:
    order: list[str] = []

    def side(name: str):
        return lambda: order.append(name) or Cost(float(len(order)), 0.0)

    ours, theirs = in_turns(side("a"), side("b"), 2)
    assert order == ["a", "b"] * 3
    assert ([cost.wall for cost in ours], [cost.wall for cost in theirs]) == ([3.0, 5.0], [4.0, 6.0])
