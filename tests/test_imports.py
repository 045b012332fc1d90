"""Imports run one way: orchestration → livealign ← bentos. Importing a module does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "livealign": {"orchestration", "bentos", "dagster", "dagster_dbt", "dbt", "evidently", "bentoml"},
    "bentos": {"orchestration", "dagster", "dagster_dbt", "dbt", "evidently"},
    "orchestration": {"bentos", "bentoml"},
}
TORCH_FREE = (
    "config",
    "settings",
    "cli_settings",
    "command",
    "schemas",
    "home",
    "ids",
    "landing",
    "platforms",
    "metrics",
    "promotion",
    "bundle",
    "marts",
    "cli",
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
