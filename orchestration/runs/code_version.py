"""The version of an asset's code: a hash of its module and of our modules that it imports."""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN_PACKAGES = ("livealign", "orchestration")
DIGITS = 12


def code_version(module: str) -> str:
    """The first 12 hex digits of a hash over a module and all that it imports of ours.

    It changes when any of these modules changes, imported directly or not.
    """
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen[name] = hashlib.sha256(_file(name).read_bytes()).hexdigest()
        waiting.extend(_imports(name))
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(seen.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:DIGITS]


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Our modules that a module imports, at its top or inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(_file(module).read_bytes())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from package import name`: the name may be a module of its own.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found.update(name for name in names if name.split(".")[0] in OWN_PACKAGES and _file(name).is_file())
    return tuple(sorted(found))


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
