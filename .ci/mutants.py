"""`make mutants`: a seeded sample of planted bugs, the tests that touch each of them, and the survivors.

A bug is one change of mutmut's kinds, or a call that is left out, on a sampled line; pyproject.toml names the modules and lines
that are not sampled. Bugs are planted in a copy of the working tree, one at a time. mutmut's own run is not used: it runs the
whole suite before the first bug, to learn which test touches what.
"""

import argparse
import ast
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.configuration import config
from mutmut.mutation.file_mutation import MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import get_ignored_lines

ROOT = Path(__file__).resolve().parent.parent
MOST_FILES = 6  # test files that are run for a bug: the nearest of those that import its module
LONGEST_SECONDS = 300  # tests that take longer have met the bug: an endless loop
SURVIVED, CAUGHT, UNENDED, UNTESTED = "survived", "caught", "caught: no end", "no test imports it"
ANSWERS = {0: SURVIVED, 1: CAUGHT, 2: CAUGHT, 5: UNTESTED}  # of pytest's exit codes; 2: a module cannot be imported any more


def left_out(node: cst.Expr) -> Iterator[cst.Pass]:
    """A statement that calls something, without the call."""
    if isinstance(node.value, cst.Call | cst.Await):
        yield cst.Pass()


# Texts are for people; a change of one is no bug that a test has to see.
OPERATORS = [*(pair for pair in mutation_operators if pair[0] is not cst.BaseString), (cst.Expr, left_out)]


@dataclass(frozen=True)
class Bug:
    """A module as it would be with one bug in it."""

    path: Path  # relative to the repository
    line: int
    code: str

    def shown(self) -> str:
        """The changed lines, before and after."""
        before = (ROOT / self.path).read_text().splitlines()
        lines = difflib.unified_diff(before, self.code.splitlines(), lineterm="", n=0)
        return "\n".join(f"    {line}" for line in list(lines)[3:])


def code_lines() -> list[tuple[Path, int]]:
    """Every line on which a statement of a function begins, of the modules that may be changed."""
    found = []
    for source in config().source_paths:
        for path in sorted((ROOT / source).rglob("*.py")):
            name = path.relative_to(ROOT)
            if not config().should_mutate(name):
                continue
            functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
            inside = {node.lineno for function in functions for node in ast.walk(function) if isinstance(node, ast.stmt)}
            found += [(name, line) for line in sorted(inside - {function.lineno for function in functions})]
    return found


def bugs_on(path: Path, line: int) -> list[Bug]:
    """Every bug that can be planted on the line."""
    code = (ROOT / path).read_text()
    wrapper = MetadataWrapper(cst.parse_module(code))
    visitor = MutationVisitor(OPERATORS, get_ignored_lines(str(path), code, wrapper), {line})
    module = wrapper.visit(visitor)
    changed = [deep_replace(module, one.original_node, one.mutated_node) for one in visitor.mutations]
    return [Bug(path, line, one.code) for one in changed if isinstance(one, cst.Module) and one.code != code]


def sampled(count: int, seed: int, only: str) -> Iterator[Bug]:
    """`count` bugs on as many lines of the modules whose path begins with `only`, in a seeded order."""
    rng = random.Random(seed)
    lines = [place for place in code_lines() if str(place[0]).startswith(only)]
    rng.shuffle(lines)
    for path, line in lines:
        if count and (bugs := bugs_on(path, line)):
            count -= 1
            yield rng.choice(bugs)


def imports_of(path: Path) -> set[str]:
    """Names of all modules that a file imports, with the names that it takes from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return found


class Tests:
    """Which test files touch a module: those that import it, or a module that imports it."""

    def __init__(self) -> None:
        modules = [path for source in config().source_paths for path in sorted((ROOT / source).rglob("*.py"))]
        self.modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): imports_of(path) for path in modules}
        files = [
            path for path in sorted((ROOT / "tests").rglob("test_*.py")) if path.parent.name != "system"
        ]  # whole processes
        self.files = {path.relative_to(ROOT): imports_of(path) for path in files}

    def of(self, path: Path) -> list[Path]:
        """At most MOST_FILES test files, the nearest to the module first; [] if none imports it, however far away."""
        wanted, known = {".".join(path.with_suffix("").parts)}, set[str]()
        while wanted:
            if found := [file for file, imported in self.files.items() if imported & wanted]:
                return sorted(found, key=lambda file: (*distance(path, file), len(self.files[file])))[:MOST_FILES]
            known |= wanted
            wanted = {name for name, imported in self.modules.items() if imported & wanted} - known
        return []


def distance(module: Path, test: Path) -> tuple[bool, int]:
    """(whether the test has another name than the module, minus the packages that they share), for sorting."""
    return not test.stem.startswith(f"test_{module.stem}"), -len({*module.parent.parts} & {*test.parent.parts})


def tried(bug: Bug, tests: Iterable[Path], copy: Path) -> str:
    """Whether the tests see the bug; the copy is as it was afterwards."""
    names = [str(path) for path in tests]
    if not names:
        return UNTESTED
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *names]
    file = copy / bug.path
    before = file.read_text()
    file.write_text(bug.code)
    try:
        environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        return UNENDED
    finally:
        file.write_text(before)
    return ANSWERS.get(done.returncode) or f"pytest ended with {done.returncode}: {done.stdout[-300:]}"


def copied(folder: Path) -> None:
    """The working tree's files that git knows or would add, in another folder."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def main() -> int:
    """Plant the sample, print each answer, and the survivors at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--only", default="", help="beginning of the paths of the modules: livealign/live")
    arguments = parser.parse_args()
    os.chdir(ROOT)  # where mutmut looks for its settings
    tests, answers = Tests(), list[tuple[Bug, str]]()
    with tempfile.TemporaryDirectory(prefix="livealign-mutants-") as folder:
        copied(Path(folder))
        for bug in sampled(arguments.count, arguments.seed, arguments.only):
            started = time.monotonic()
            answer = tried(bug, tests.of(bug.path), Path(folder))
            answers.append((bug, answer))
            print(f"{time.monotonic() - started:5.1f} s  {answer:8}  {bug.path}:{bug.line}", flush=True)
    left = [(bug, answer) for bug, answer in answers if not answer.startswith(CAUGHT)]
    print(f"\n{len(answers) - len(left)} of {len(answers)} planted bugs were caught (seed {arguments.seed})")
    for bug, answer in left:
        print(f"\n{bug.path}:{bug.line}: {answer}\n{bug.shown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
