"""The documents are true: their links, paths, modules and targets exist, and README's tree is the repository's."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
LIBRARY = ROOT / "livealign"
PACKAGES = ("livealign", "orchestration", "bentos", "benchmarks")
RUN_TAGS = {"livealign/accept", "livealign/retune"}  # names of Dagster run tags, which look like paths
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
COLUMNS, README_LINES, ARCHITECTURE_LINES = 120, 110, 120


def _markdown() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in ("build", "dist", "target"))
        yield from (Path(folder) / name for name in sorted(files) if name.endswith(".md"))


DOCUMENTS = list(_markdown())
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def prose_of(text: str) -> list[str]:
    """The lines outside fenced code; those of code are empty, so that numbers of lines stay."""
    lines, fenced = [], False
    for line in text.split("\n"):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        lines.append("" if fence or fenced else line)
    return lines


def broken_links(document: Path) -> list[str]:
    """Relative links and images whose file, or whose heading in that file, does not exist."""
    prose = re.sub(r"`[^`\n]*`", "", "\n".join(prose_of(document.read_text())))
    broken = []
    for target in re.findall(r"\]\(([^()\s]+)\)", prose):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = document.parent / path if path else document
        if not file.exists() or (anchor and anchor not in anchors_of(file.read_text())):
            broken.append(target)
    return broken


def anchors_of(text: str) -> set[str]:
    """The anchors that a Markdown page's headings get."""
    headings = (line.lstrip("#").strip() for line in prose_of(text) if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def long_lines(text: str) -> list[str]:
    """Prose lines beyond the width; tables and lines with a URL cannot be wrapped."""
    lines = enumerate(prose_of(text), 1)
    return [f"{n}: {len(line)}" for n, line in lines if len(line) > COLUMNS and line[0] != "|" and "://" not in line]


def unknown_names(text: str) -> list[str]:
    """Dotted module names and paths of the repository's files that do not exist."""
    dotted = re.findall(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+(?![\w/])", text)
    folders = "|".join((*PACKAGES, "tests", "docs", "dbt_project", "containers", r"\.ci"))
    paths = {path.rstrip(".") for path in re.findall(rf"(?<![\w./<>-])(?:{folders})/[\w./-]*\w(?![\w<*…])", text)}
    modules = {name for name in dotted if not name.endswith(".toml") and not is_name_of_code(name)}
    return sorted(modules | {path for path in paths - RUN_TAGS if not (ROOT / path).exists()})


def is_name_of_code(name: str) -> bool:
    """Whether `package.module` exists, or `package.module.name` stands in that module."""
    path, rest = ROOT, name.split(".")
    while rest and (path / rest[0]).is_dir():
        path /= rest.pop(0)
    if rest and (path / f"{rest[0]}.py").is_file():
        path /= f"{rest.pop(0)}.py"
    module = path if path.is_file() else path / "__init__.py"
    return not rest or (len(rest) <= 2 and module.is_file() and re.search(rf"\b{rest[0]}\b", module.read_text()) is not None)


def tree_of(readme: str) -> list[tuple[Path, str]]:
    """Folder and description of each line of README's tree; indented ones lie in `livealign/`."""
    (block,) = re.findall(r"^```\n(livealign/.+?)^```", readme, re.MULTILINE | re.DOTALL)
    found = []
    for line in block.splitlines():
        folder, _, description = line.partition("/")
        found.append(((LIBRARY if line.startswith(" ") else ROOT) / folder.strip(), description.strip()))
    return found


def test_the_readme_can_be_read_in_five_minutes() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= README_LINES
    assert {line.partition("#")[0].strip() for line in lines} >= {"make retrain", "make test"}


def test_the_architecture_stays_an_overview() -> None:
    assert len((ROOT / "docs" / "architecture.md").read_text().splitlines()) <= ARCHITECTURE_LINES


def test_the_readmes_tree_is_the_repositorys() -> None:
    tree = tree_of((ROOT / "README.md").read_text())
    assert [str(folder) for folder, _ in tree if not folder.is_dir()] == []
    assert {folder.name for folder, _ in tree if folder.parent == LIBRARY} == {
        file.parent.name for file in LIBRARY.glob("*/__init__.py")
    }
    for folder, description in tree:
        for name in re.findall(r"[\w/]+/(?![\w])|\w+\.py\b", description):
            assert (folder / name).exists() or (LIBRARY / name).exists(), f"{folder.name}/ has no {name}"


@each_document
def test_links_and_images_resolve(document: Path) -> None:
    assert broken_links(document) == []


@each_document
def test_prose_is_wrapped(document: Path) -> None:
    assert long_lines(document.read_text()) == []


@each_document
def test_modules_and_files_that_are_named_exist(document: Path) -> None:
    assert unknown_names(document.read_text()) == []


@each_document
def test_make_targets_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    code = [
        *re.findall(r"`([^`\n]+)`", text),
        *(line for block in re.findall(r"```sh\n(.+?)```", text, re.S) for line in block.split("\n")),
    ]
    named = {target for line in code for target in re.findall(r"(?:^|&& )make ([a-z][a-z-]*)", line.strip())}
    assert named <= TARGETS


def test_what_is_wrong_in_a_document_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = f"# A day\n\n[here](#a-day) [gone](gone.md) [nowhere](#no-day)\n{'long ' * 30}\n```\n{'code ' * 30}\n```\n"
    page.write_text(text)
    assert broken_links(page) == ["gone.md", "#no-day"]
    assert long_lines(text) == ["4: 150"]
    names = (
        "`livealign.errors.LiveAlignError` livealign.nothing.here livealign/errors.py `tests/test_nothing.py` livealign.toml"
    )
    assert unknown_names(names) == ["livealign.nothing.here", "tests/test_nothing.py"]


def test_pre_commit_runs_what_lint_runs_and_fetches_nothing() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {repository["repo"] for repository in repositories} == {"local"}
    hooks = [hook for repository in repositories for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    recipe = re.findall(r"^lint:.*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]
    lint = {line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe.splitlines()}
    assert {hook["entry"] for hook in hooks} == lint
