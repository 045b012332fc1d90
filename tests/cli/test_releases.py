"""The release commands as a person types them: what they list, what they move, what they refuse."""

import contextlib
import re
import shutil
from pathlib import Path

import pytest
import typer

from livealign.cli import main as cli
from livealign.cli.releases import no_retrain_running
from livealign.errors import BundleError, LiveAlignError
from livealign.home import Home
from livealign.release.bundle import read_manifest, write_bundle
from livealign.release.decisions import decision_file, write_decision
from livealign.release.lineage import explain, lineage_of
from livealign.release.promotion import Decision
from livealign.release.registry import CHALLENGERS, list_releases, promote, read_champion, read_history
from tests.release.test_bundle import FIELDS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "220")
    home = Home(tmp_path, "simulator")
    home.activate()
    return home


def make(home: Home, day: int, gauc: float, learning_rate: float = 0.002) -> str:
    fields = FIELDS | {
        "data_window": {"start": f"2025-01-{day - 7:02d}", "train_end": f"2025-01-{day - 1:02d}", "end": f"2025-01-{day:02d}"},
        "metrics": {"gauc": gauc},
        "config": {"ranker": {"learning_rate": learning_rate, "hidden": [32]}},
    }
    parts: dict[str, Path | bytes] = {
        "ranker.safetensors": f"ranker {day}".encode(),
        "alignment.safetensors": b"the same",
        "adapter/adapter_model.safetensors": f"adapter {day}".encode(),
    }
    one = write_bundle(home.releases, parts, fields).name
    decision = Decision("promote", "not_worse", f"Promoted, because {gauc} is enough.", {"difference": 0.01})
    write_decision(home.releases, one, read_champion(home.releases), decision)
    return one


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.app(list(arguments), standalone_mode=False)
    return capsys.readouterr().out


def test_the_list_shows_champion_way_back_metrics_decision_and_lineage(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, three = make(home, 8, 0.61), make(home, 9, 0.64), make(home, 10, 0.63)
    promote(home.releases, one)
    promote(home.releases, two)
    home.bento(two).mkdir(parents=True)
    lines = {name: line for line in run(capsys, "releases").splitlines() for name in (one, two, three) if name in line}
    assert "↩" in lines[one]
    assert "★" in lines[two]
    assert "★" not in lines[three]
    assert "0.6400" in lines[two]
    assert "promote (not_worse)" in lines[two]
    assert "2025-01-02..2025-01-08 → adapter " in lines[two]
    assert lines[two].count("→") == 4
    assert "no Bento" not in lines[two]
    assert "no Bento" in lines[one]


def test_lineage_names_each_part_by_its_own_hash(home: Home) -> None:
    one, two = make(home, 8, 0.61), make(home, 9, 0.64)
    first, second = (lineage_of(release.manifest or {}, home) for release in list_releases(home.releases))
    assert (first.release_id, second.release_id) == (one, two)
    assert first.trained_on == ("2025-01-01", "2025-01-07")
    assert first.held_out == "2025-01-08"
    assert first.ranker != second.ranker
    assert first.adapter != second.adapter
    assert first.alignment == second.alignment


def test_explain_says_what_differs_and_nothing_else(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = make(home, 8, 0.61), make(home, 9, 0.64, learning_rate=0.004)
    found = {difference.what: (difference.first, difference.second) for difference in explain(home.releases, one, two)}
    assert found["metric.gauc"] == (0.61, 0.64)
    assert found["settings.ranker.learning_rate"] == (0.002, 0.004)
    assert found["data.end"] == ("2025-01-08", "2025-01-09")
    assert "file ranker.safetensors" in found
    assert not {"file alignment.safetensors", "settings.ranker.hidden", "platform", "backbone.id"} & found.keys()
    assert explain(home.releases, one, one) == []
    said = run(capsys, "explain-release", one, two)
    assert "settings.ranker.learning_rate" in said
    assert "0.6400" in said


def test_explain_shows_what_was_set_and_where_and_an_older_release_has_no_record(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make(home, 8, 0.61)
    made = {"ranker.learning_rate": {"value": 0.004, "from": "livealign.toml"}}
    fields = FIELDS | {"config": {"ranker": {"learning_rate": 0.004}}, "settings": made}
    two = write_bundle(home.releases, {"ranker.safetensors": b"other"}, fields).name
    found = {difference.what: (difference.first, difference.second) for difference in explain(home.releases, one, two)}
    assert found["set by: ranker.learning_rate"] == (None, "livealign.toml")
    said = run(capsys, "explain-release", one, two)
    assert f"{two}: ranker.learning_rate = 0.004 (livealign.toml)" in said
    assert f"{one}: nothing was set beside its profile" in said


def test_promote_and_rollback_move_the_pointer_and_keep_the_reason(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, three = make(home, 8, 0.61), make(home, 9, 0.64), make(home, 10, 0.63)
    for release in (one, two, three):
        run(capsys, "promote", release, "--reason", f"try {release}")
    assert read_champion(home.releases) == three
    assert one in run(capsys, "rollback", one, "--reason", "two steps at once")
    assert read_champion(home.releases) == one
    assert read_history(home.releases)[-1]["reason"] == "two steps at once"
    with pytest.raises(BundleError, match="no earlier champion"):
        run(capsys, "rollback")


def test_rollback_goes_to_former_champions_alone_and_never_to_a_damaged_one(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, three = make(home, 8, 0.61), make(home, 9, 0.64), make(home, 10, 0.63)
    run(capsys, "promote", one)
    run(capsys, "promote", two)
    with pytest.raises(BundleError, match=f"{three} was never the champion"):
        run(capsys, "rollback", three)
    (home.releases / one / "ranker.safetensors").write_bytes(b"other")
    for arguments in (["rollback"], ["rollback", one], ["promote", one]):
        with pytest.raises(BundleError, match=r"ranker\.safetensors is damaged"):
            run(capsys, *arguments)
    assert read_champion(home.releases) == two


def test_prune_says_what_would_go_and_waits_for_no_retrain(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for day in range(1, 21):
        (home.artifacts / f"2025-01-{day:02d}").mkdir()
    said = run(capsys, "prune", "--dry-run")
    assert "would be removed: 6" in said
    assert "there is no champion yet" in said
    with no_retrain_running(home), pytest.raises(LiveAlignError, match="a retrain runs"):
        run(capsys, "prune")
    assert len(list(home.artifacts.glob("2025-*"))) == 20
    assert "removed: 6" in run(capsys, "prune")
    assert len(list(home.artifacts.glob("2025-*"))) == 14


def test_every_command_that_an_error_names_is_there() -> None:
    known = {command.name for command in cli.app.registered_commands}
    known |= {
        (command.callback.__name__ if command.callback else "").replace("_", "-") for command in cli.app.registered_commands
    }
    known |= {group.name for group in cli.app.registered_groups}
    sources = [path.read_text() for path in (Path(__file__).parents[2] / "livealign").rglob("*.py")]
    named = {match for text in sources for match in re.findall(r"`livealign ([a-z][a-z-]+)", text)}
    assert {"promote", "releases"} <= named
    assert named <= known


def test_a_challenger_is_served_listed_and_stopped(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = make(home, 8, 0.61), make(home, 9, 0.64)
    promote(home.releases, one)
    assert "the champion serves alone" in run(capsys, "releases")
    assert f"{two} serves 5.00% of the users" in run(capsys, "releases", "serve", two, "--share", "0.05")
    listed = run(capsys, "releases")
    assert f"{one}, the champion, serves 95.00%" in listed
    assert f"{two} shadows 50.00%" in run(capsys, "releases", "serve", two, "--share", "0.5", "--shadow")
    assert "the champion serves alone" in run(capsys, "releases", "stop", two)
    with pytest.raises(BundleError, match="is the champion"):
        run(capsys, "releases", "serve", one, "--share", "0.05")


def test_without_a_release_or_a_champion_nothing_is_said_to_serve(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no release yet; run `make retrain`" in run(capsys, "releases")
    assert "serves alone" not in run(capsys, "releases")
    make(home, 8, 0.61)
    assert "there is no champion; `livealign promote RELEASE` makes one" in run(capsys, "releases")


def test_promoting_the_champion_ends_the_experiment(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = make(home, 8, 0.61), make(home, 9, 0.64)
    promote(home.releases, one)
    run(capsys, "releases", "serve", two, "--share", "0.05")
    assert "the experiment has ended" in run(capsys, "promote", one)
    assert "the champion serves alone" in run(capsys, "releases")
    assert "the experiment" not in run(capsys, "promote", one)
    run(capsys, "releases", "serve", one if read_champion(home.releases) == two else two, "--share", "0.05")
    assert "the experiment has ended" in run(capsys, "promote", two)
    assert "the champion serves alone" in run(capsys, "releases")


@pytest.mark.parametrize("content", ["{", '{"format": 99}', '{"challengers": 3}'])
def test_a_damaged_file_of_challengers_is_named_and_its_remedy_is_enough(
    content: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make(home, 8, 0.61)
    promote(home.releases, one)
    file = home.releases / CHALLENGERS
    file.write_text(content)
    for command in (["releases"], ["prune", "--dry-run"], ["doctor"]):
        with contextlib.suppress(typer.Exit):  # the doctor misses an archive
            cli.app(command, standalone_mode=False)
        said = " ".join(capsys.readouterr().out.split())
        assert str(file) in said, command
        assert "delete it" not in said
        assert "run `livealign releases stop`, which removes it, then serve the challengers again" in said
    assert "the champion serves alone" in run(capsys, "releases", "stop")
    assert not file.exists()


@pytest.mark.parametrize("columns", ["80", "60"])
def test_a_narrow_terminal_breaks_no_name_and_no_hash(
    columns: str, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    one, two = make(home, 8, 0.61), make(home, 9, 0.64)
    promote(home.releases, one)
    listed, explained = run(capsys, "releases"), run(capsys, "explain-release", one, two)
    wanted = [one, two, "0.6400", lineage_of(read_manifest(home.releases / two), home).ranker]
    assert [text for text in wanted if text not in listed] == []
    wanted = [one, two, "metric.gauc: 0.6100 → 0.6400", "adapter/adapter_model.safetensors", "ranker.safetensors"]
    assert [text for text in wanted if text not in explained] == []
    assert max(len(line) for line in (listed + explained).splitlines() if not line.startswith("/")) <= int(columns)


@pytest.mark.parametrize("damage", ["rubbish", "folder", "link"])
def test_a_damaged_champion_or_a_folder_of_challengers_is_said_below_the_list(
    home: Home, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    one = make(home, 8, 0.61)
    champion, challengers = home.releases / "champion", home.releases / CHALLENGERS
    champion.write_text(f"{one}\n")
    challengers.mkdir()
    said = run(capsys, "releases")
    assert one in said
    assert "challengers.json is a folder where a file belongs; move it away and run again" in said
    challengers.rmdir()
    challengers.symlink_to("gone")
    assert "challengers.json is missing; run `livealign releases stop`" in run(capsys, "releases"), "it is not taken for none"
    challengers.unlink()
    champion.unlink()
    if damage == "rubbish":
        champion.write_text("rubbish")
    elif damage == "folder":
        champion.mkdir()
    else:
        champion.symlink_to("gone")
    said = run(capsys, "releases")
    assert one in said
    assert "★ serves" in said
    assert "livealign promote <id>" in said


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 99}'])
def test_a_damaged_decision_is_said_beside_the_list(home: Home, capsys: pytest.CaptureFixture[str], content: str) -> None:
    one, two = make(home, 8, 0.61), make(home, 9, 0.64)
    decision_file(home.releases, one).write_text(content)
    lines = run(capsys, "releases").splitlines()
    assert [line for line in lines if line.startswith("! ") and decision_file(home.releases, one).name in line]
    assert [line for line in lines if one in line and "cannot be read" in line]
    assert [line for line in lines if two in line and "promote (not_worse)" in line]


def test_a_champion_that_is_missing_is_said_with_or_without_other_releases(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = make(home, 8, 0.61), make(home, 9, 0.64)
    promote(home.releases, two)
    for left in ([one], []):
        for release in {one, two} - set(left):
            shutil.rmtree(home.releases / release, ignore_errors=True)
        said = run(capsys, "releases")
        assert f"{two}, the champion, is missing; run `livealign rollback` or `livealign promote <id>`" in said
        assert all(release in said for release in left)
