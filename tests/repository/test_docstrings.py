"""The first line of a docstring says what the thing is: at most 90 characters, one plain line, no question."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("livealign", "orchestration", "bentos", "benchmarks", "tests/planted", "tests/support")
MAX_CHARACTERS = 90


def documented(tree: ast.Module) -> Iterator[tuple[str, int, str | None]]:
    """Name, line and docstring of a module and of its public classes, functions and methods."""
    yield "the module", 1, ast.get_docstring(tree)
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                yield node.name, node.lineno, ast.get_docstring(node)
                if isinstance(node, ast.ClassDef):
                    waiting.append(node)


def wrong_first_lines(source: str) -> list[str]:
    """What is wrong with the first lines of a module's docstrings."""
    wrong = []
    for name, line, docstring in documented(ast.parse(source)):
        first = (docstring or "").partition("\n")[0]
        if name == "the module" and not first:
            wrong.append(f"{line}: {name} has no docstring")
        if len(first) > MAX_CHARACTERS:
            wrong.append(f"{line}: {name}: {len(first)} characters")
        if "?" in first:
            wrong.append(f"{line}: {name}: a question")
        if first and not first.rstrip().endswith((".", ":", "`")):
            wrong.append(f"{line}: {name}: the sentence does not end on its line")
    return wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_a_docstring_opens_with_what_the_thing_is(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no modules: the test looks in the wrong place"
    found = {str(file.relative_to(ROOT)): wrong for file in files if (wrong := wrong_first_lines(file.read_text()))}
    assert found == {}


def test_a_riddle_is_seen() -> None:
    source = '"""What is told to the ranker?"""\n\n\ndef late():\n    """' + "x" * 91 + '."""\n'
    assert wrong_first_lines(source) == [
        "1: the module: a question",
        "1: the module: the sentence does not end on its line",
        "4: late: 92 characters",
    ]
