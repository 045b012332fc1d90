"""Imports run down: each sub-package of livealign imports only from floors below its own."""

import ast
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "livealign"
FLOORS = (
    ("frames",),
    ("landing", "events", "dataset"),
    ("simulation", "llm", "alignment", "codes"),
    ("platforms", "tuning", "ranking", "evaluation"),
    ("release",),
    ("retrain", "live"),
    ("replay",),
    ("cli",),
)
FLOOR = {package: floor for floor, packages in enumerate(FLOORS, 1) for package in packages}


def package_of(module: str) -> str:
    """`livealign.live.state.users` → `live`; a module beside the sub-packages → "" (the ground)."""
    name = module.split(".")[1] if "." in module else ""
    return name if (LIBRARY / name).is_dir() else ""


def imports_of(source: str) -> set[str]:
    """The modules of livealign that a program imports, at its top or inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "livealign":
            found |= {f"livealign.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] == "livealign"}


def upward_imports(module: str, source: str) -> list[str]:
    """The imports of a module that do not run down."""
    here = package_of(module)
    floors = {name: package_of(name) for name in sorted(imports_of(source))}
    return [name for name, there in floors.items() if there != here and FLOOR.get(there, 0) >= FLOOR.get(here, 0)]


def test_every_sub_package_has_a_floor() -> None:
    assert {path.parent.name for path in LIBRARY.glob("*/__init__.py")} == set(FLOOR)


def test_imports_run_down() -> None:
    wrong = {}
    for file in sorted(LIBRARY.rglob("*.py")):
        module = ".".join(("livealign", *file.relative_to(LIBRARY).with_suffix("").parts))
        if found := upward_imports(module, file.read_text()):
            wrong[module] = found
    assert wrong == {}


def test_an_import_that_runs_up_or_sideways_is_seen() -> None:
    source = "def late():\n    from livealign.release.bundle import Bundle\n"
    assert upward_imports("livealign.ranking.ranker", source) == ["livealign.release.bundle"]
    assert upward_imports("livealign.live.core", "import livealign.retrain.artifacts") == ["livealign.retrain.artifacts"]
    assert upward_imports("livealign.days", "from livealign import cli") == ["livealign.cli"]


def test_a_sub_package_says_what_it_is_and_no_more() -> None:
    for file in LIBRARY.rglob("*/__init__.py"):
        tree = ast.parse(file.read_text())
        assert ast.get_docstring(tree), file
        assert len(tree.body) == 1, file
