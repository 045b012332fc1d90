"""Imports run one way: orchestration → livealign ← bentos, never in a circle. Importing a module does nothing."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "livealign": {"orchestration", "bentos", "dagster", "dagster_dbt", "dbt", "evidently", "bentoml"},
    "bentos": {"orchestration", "dagster", "dagster_dbt", "dbt", "evidently"},
    "orchestration": {"bentos", "bentoml"},
}
TORCH_FREE = (
    *("config", "days", "errors", "file_cache", "files", "home", "ids", "metrics", "calibration_metrics", "settings"),
    *("landing", "simulation", "events", "platforms", "dataset", "cli"),
    *("release.promotion", "release.bundle"),
)


def imported_packages(path: Path) -> set[str]:
    """The top-level names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def imported_modules(root: Path) -> dict[str, set[str]]:
    """Each module below `root` and those of them that it imports, at its top or inside its functions."""
    files = {path.relative_to(root).with_suffix(""): path for path in root.rglob("*.py")}
    names = {".".join(one.parts).removesuffix(".__init__"): path for one, path in files.items()}
    found: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.module, f"{path} has a relative import, which this test does not follow"
                assert node.level == 0, f"{path} has a relative import, which this test does not follow"
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                # What is taken out of a package is a module of it, or something that its __init__ defines.
                found[name] |= (inner & names.keys()) or {node.module}
        found[name] &= names.keys()
    return found


def copy_of_packages(target: Path) -> Path:
    """The modules of all three packages below `target`."""
    for package in FORBIDDEN:
        for path in (ROOT / package).rglob("*.py"):
            copy = target / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return target


def test_no_modules_import_each_other_in_a_circle(tmp_path: Path) -> None:
    imports = imported_modules(copy_of_packages(tmp_path))
    assert "livealign.profiles" in imports["orchestration.resources"], "the test does not see imports"
    order = list(TopologicalSorter(imports).static_order())  # raises CycleError with the circle
    assert len(order) == len(imports)


def package_of(module: str) -> str:
    """`livealign.live.state.users` → `livealign.live`; another module of `livealign`, `bentos`, `orchestration` → that."""
    top, _, rest = module.partition(".")
    sub_package = rest.partition(".")[0]
    return f"{top}.{sub_package}" if top == "livealign" and sub_package and (ROOT / top / sub_package).is_dir() else top


def longest_chain(imports: dict[str, set[str]]) -> list[str]:
    """The longest chain of packages of which each imports the next; several modules of a package count once."""
    packages: dict[str, set[str]] = {}
    for module, imported in imports.items():
        here = package_of(module)
        packages.setdefault(here, set()).update(package_of(name) for name in imported if package_of(name) != here)
    longest: dict[str, list[str]] = {}
    for package in TopologicalSorter(packages).static_order():
        longest[package] = [package, *max((longest[below] for below in packages[package]), key=len, default=[])]
    return max(longest.values(), key=len)


def test_a_chain_of_packages_has_at_most_eight_imports(tmp_path: Path) -> None:
    chain = longest_chain(imported_modules(copy_of_packages(tmp_path)))
    assert len(chain) - 1 <= 8, " → ".join(chain)
    assert len(chain) - 1 > 5, "the test does not see imports"


def test_a_circle_through_a_function_is_found(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "one.py").write_text("from pack import two\n")
    (tmp_path / "pack" / "two.py").write_text("def late():\n    from pack.one import name\n    return name\n")
    with pytest.raises(CycleError):
        TopologicalSorter(imported_modules(tmp_path)).prepare()


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_against_the_direction(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no modules: the test looks in the wrong place"
    offences = {str(file): found for file in files if (found := imported_packages(file) & FORBIDDEN[package])}
    assert offences == {}


def test_the_direction_is_really_looked_at(tmp_path: Path) -> None:
    module = tmp_path / "wrong.py"
    module.write_text("def late():\n    from dagster import asset\n    return asset\n")
    assert imported_packages(module) & FORBIDDEN["livealign"] == {"dagster"}


def test_light_modules_need_no_torch_and_make_no_folder(tmp_path: Path) -> None:
    imports = "; ".join(f"import livealign.{name}" for name in TORCH_FREE)
    code = f"{imports}; import sys; assert 'torch' not in sys.modules; assert 'transformers' not in sys.modules"
    environment = {"PYTHONPATH": str(ROOT), "LIVEALIGN_HOME": str(tmp_path / "home"), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert list(tmp_path.iterdir()) == []
