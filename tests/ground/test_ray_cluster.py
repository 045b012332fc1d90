"""The cluster of Ray: closed without a token, absent without the setting, and one line where it is not installed."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from livealign import ray_cluster as module
from livealign.errors import LiveAlignError
from livealign.operation_config import MachinesConfig
from livealign.ray_cluster import TOKEN, own_error, ray_cluster
from livealign.settings import GivenValue, load_settings

ROOT = Path(__file__).parents[2]


def imports_of_ray(tree: ast.AST) -> list[ast.stmt]:
    """The statements below this one that import Ray."""
    return [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "ray" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ray")
    ]


def test_ray_is_imported_by_its_own_modules_alone_and_inside_functions() -> None:
    with_ray = set()
    for file in (path for package in ("livealign", "orchestration", "bentos") for path in (ROOT / package).rglob("*.py")):
        tree = ast.parse(file.read_text())
        found = imports_of_ray(tree)
        assert not [node for node in found if node in tree.body], f"{file} imports ray whenever it is imported itself"
        with_ray |= {file.name} if found else set()
    assert with_ray == {"ray_cluster.py", "ray_embedding.py", "ray_tuning.py"}


def test_a_missing_ray_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(LiveAlignError, match="Ray is not installed; run `make setup-ray`"), ray_cluster(MachinesConfig(), 1):
        pass


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; make setup-ray installs it")
@pytest.mark.parametrize("token", [None, "short"])
def test_a_cluster_of_several_machines_is_not_joined_without_a_token(
    token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    if token:
        monkeypatch.setenv(TOKEN, token)
    with (
        pytest.raises(LiveAlignError, match=f"{TOKEN} has fewer than 32 characters"),
        ray_cluster(MachinesConfig(address="10.0.0.1:6379"), 1),
    ):
        pass


def test_the_message_of_our_own_error_is_found_below_those_of_ray() -> None:
    text = (
        'File "spec.py", line 3, in load\n    raise\nlivealign.errors.BackboneError: this worker has another model; share it\n'
    )
    assert own_error(RuntimeError(f"ray::Map() (pid=3)\n{text}\nThe above exception was\nretry: set x")) == (
        "this worker has another model; share it"
    )
    assert own_error(RuntimeError("a node died")) == ""


def test_ranks_without_ray_are_refused_with_where_each_was_set(tmp_path: Path) -> None:
    flags = [GivenValue.flag("--set", "machines.ranks=2")]
    with pytest.raises(LiveAlignError, match=r"machines\.engine = \"local\" \(profile laptop\), machines\.ranks = 2 \(--set\)"):
        load_settings(flags, {}, tmp_path)
    settings = load_settings([*flags, GivenValue.flag("--set", "machines.engine=ray")], {}, tmp_path)
    assert settings.of_a_release() == {}
