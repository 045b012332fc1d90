"""Whatever a person types or sets, a command ends in success, or in one line and a code that is not zero.

Each option of each command, each environment variable and each setting is given odd values, in this process. The work behind
a command is cut off where a value could start it: what is tested is what stands before it.
"""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import typer
from typer._click.core import Command, Parameter
from typer.core import TyperGroup

from bentos import __main__ as bentos
from bentos.live_recommender.start_check import check_start
from livealign.cli import main as cli
from livealign.cli.command import run_command
from livealign.errors import LiveAlignError
from livealign.ids import secret_key
from livealign.llm.backbone import choose_device
from livealign.retrain.preflight import refuse_variables
from livealign.setting_types import all_names
from livealign.settings import GivenValue, load_settings
from orchestration import retrain, ui
from orchestration.resources import Workspace
from tests.support.odd_values import odd_values

ROOT = Path(__file__).parents[2]
FEW, MANY = 4, 200  # values of each option, variable and setting: in the default lane, and in the slow one
MANY_TOOK = pytest.mark.timeout(1_200)
LANES = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=[pytest.mark.slow, MANY_TOOK])]
ONE_LINE = re.compile(r"(✗|error:) [^\n]+\n?")


class Ended(Exception):
    """The work behind a command would have begun."""


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """The environment as it was: a command sets variables for what it starts."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def nothing_is_started(same_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home and working folder; what would simulate, fetch, serve or listen ends at once."""
    for name in [name for name in os.environ if name.startswith(("LIVEALIGN_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def stop(*_: object, **__: object) -> None:
        raise Ended

    for place in (
        "livealign.simulation.archive.simulate",
        "livealign.retrain.backbone.fetch_backbone",
        "orchestration.retrain.prepare",
        "orchestration.ui.subprocess.Popen",
        "orchestration.ui.os.execv",
        "bentos.__main__.feed",
        "bentos.serve.subprocess.Popen",
        "livealign.events.redis_log._package",
        "bentos.serve.refuse_address",
    ):
        monkeypatch.setattr(place, stop)


@contextmanager
def streams() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Standard output and error as a terminal in UTF-8 has them."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    before = sys.stdout, sys.stderr, sys.argv
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr, sys.argv = before


def run(program: Callable[[], object], arguments: list[str]) -> None:
    """Run a command line and check how it ends."""
    with streams() as (_, err):
        sys.argv = ["program", *arguments]
        code: object = 0
        try:
            program()
        except Ended:
            return
        except SystemExit as ended:
            code = ended.code
        assert isinstance(err.buffer, io.BytesIO)
        said = err.buffer.getvalue().decode()
    if isinstance(code, str):  # what `sys.exit` would print
        said, code = f"{code}\n", 1
    shown = [argument[:60] for argument in arguments]
    assert "Traceback" not in said, shown
    if code and not said.startswith(("⠋", "⠙")) and said:
        assert ONE_LINE.fullmatch(said), f"{shown} says {said[:500]!r}"


def commands_of(group: Command, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command below a group, with its words."""
    if isinstance(group, TyperGroup):
        for name, command in group.commands.items():
            yield from commands_of(command, (*before, name))
    else:
        yield before, group


COMMANDS = dict(commands_of(typer.main.get_command(cli.app)))


def retrain_app() -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(retrain.main)
    run_command(app)


def ui_app() -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(ui.main)
    run_command(app)


def is_argument(parameter: Parameter) -> bool:
    """Whether it stands by its place, without a name."""
    return parameter.param_type_name == "argument"


def typed(command: Command, parameter: Parameter, value: str) -> list[str]:
    """A command line that gives the parameter the value, and the others what they need."""
    needed = [other for other in command.params if other.required and other is not parameter]
    words = [word for other in needed for word in ([] if is_argument(other) else [other.opts[0], "x"])]
    if is_argument(parameter):
        return [*words, "--", *(value if other is parameter else "x" for other in command.params if is_argument(other))]
    given = [parameter.opts[0]] if getattr(parameter, "is_flag", False) else [f"{parameter.opts[0]}={value}"]
    return [*words, *given, "--", *("x" for other in needed if is_argument(other))]


@pytest.mark.parametrize("count", LANES)
@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)) for words in COMMANDS])
def test_every_option_of_every_command_takes_a_value_or_refuses_it_in_one_line(words: tuple[str, ...], count: int) -> None:
    command = COMMANDS[words]
    for number, parameter in enumerate(command.params):
        if parameter.name == "help":
            continue
        for value in odd_values(number, count):
            run(cli.main, [*words, *typed(command, parameter, value)])


def options_of(main: Callable[..., None]) -> list[str]:
    """The names of a program's options, without dashes."""
    app = typer.Typer()
    app.command()(main)
    return [parameter.opts[0].lstrip("-") for parameter in typer.main.get_command(app).params if parameter.name != "help"]


@pytest.mark.parametrize("count", LANES)
@pytest.mark.parametrize("option", options_of(retrain.main))
def test_every_option_of_a_retrain_takes_a_value_or_refuses_it_in_one_line(option: str, count: int) -> None:
    for value in odd_values(len(option), count):
        others = [] if option == "platform" else ["--platform=parquet"]
        run(retrain_app, [*others, f"--{option}={value}"])


@pytest.mark.parametrize("count", LANES)
def test_every_option_of_the_service_takes_a_value_or_refuses_it_in_one_line(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEALIGN_API_KEYS", "k" * 20)
    (commands,) = (action for action in bentos.parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert commands.choices.keys() == {"build", "serve", "feed", "demo"}
    for command, parser in commands.choices.items():
        places = [action.dest for action in parser._actions if not action.option_strings]
        for number, action in enumerate(parser._actions):
            if action.dest == "help":
                continue
            for value in odd_values(number, count):
                filled = [value if place == action.dest else "x" for place in places]
                options = [f"{action.option_strings[0]}={value}"] if action.option_strings else []
                run(bentos.main, [command, *options, "--", *filled])
    for value in odd_values(1, count):
        run(bentos.main, ["--", value])


@pytest.mark.parametrize("count", LANES)
@pytest.mark.parametrize("option", options_of(ui.main))
def test_every_option_of_the_ui_takes_a_value_or_refuses_it_in_one_line(option: str, count: int) -> None:
    for value in odd_values(1, count):
        run(ui_app, [f"--{option}={value}"])


def refusal(read: Callable[[], object]) -> str | None:
    """The error of ours that a reader raises; None if it takes the value."""
    try:
        read()
    except LiveAlignError as error:
        return str(error)
    return None


def assert_one_line(said: str | None, value: str) -> None:
    assert said is None or (said.strip() and "\n" not in said), f"{value[:60]!r}: {said!r}"


def variables() -> list[str]:
    """Every variable that the code, dbt's project or the Makefile names."""
    found: set[str] = set()
    files = [file for package in ("livealign", "orchestration", "bentos") for file in (ROOT / package).rglob("*.py")]
    for file in [*files, *(ROOT / "dbt_project").rglob("*.yml"), *(ROOT / "dbt_project").rglob("*.sql"), ROOT / "Makefile"]:
        found.update(re.findall(r"\bLIVEALIGN_[A-Z_]*[A-Z]\b", file.read_text()))
    return sorted(found - {"LIVEALIGN_SUPERVISOR"})


def test_every_variable_of_the_documents_is_one_of_these() -> None:
    documents = "".join(file.read_text() for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    assert set(re.findall(r"\bLIVEALIGN_[A-Z_]*[A-Z]\b", documents)) <= set(variables())


def from_environment() -> list[Callable[[], object]]:
    """Everything that reads the environment before work begins."""
    return [
        load_settings,
        refuse_variables,
        Workspace.from_environment,
        check_start,
        secret_key,
        choose_device,
    ]


@pytest.mark.parametrize("count", LANES)
@pytest.mark.parametrize("variable", variables())
def test_every_variable_takes_a_value_or_refuses_it_in_one_line(
    variable: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable == "LIVEALIGN_SHARED_WAREHOUSE":
        monkeypatch.setenv("LIVEALIGN_DBT_TARGET", "shared")  # which alone reads it
    for value in odd_values(len(variable), count):
        monkeypatch.setenv(variable, value)
        for read in from_environment():
            with suppress(Ended):
                assert_one_line(refusal(read), value)
        run(cli.main, ["settings", "--changed"])


@pytest.mark.parametrize("count", LANES)
def test_every_setting_takes_a_value_or_refuses_it_in_one_line(count: int, tmp_path: Path) -> None:
    for number, name in enumerate(all_names()):
        for value in odd_values(number, count):
            assert_one_line(refusal(lambda: load_settings([GivenValue.flag("--set", f"{name}={value}")], {}, tmp_path)), value)  # noqa: B023


@pytest.mark.parametrize("count", LANES)
def test_every_line_of_a_settings_file_is_read_or_refused_in_one_line(count: int, tmp_path: Path) -> None:
    file = tmp_path / "livealign.toml"
    for number, name in enumerate(("seed", "profile", "backbone", "finetune.steps", "promotion.guarded_slices")):
        for value in odd_values(number, count):
            for text in (f"{name} = {value}", f'{name} = "{value}"', value, f"[{value}]\n{name} = 1"):
                file.write_bytes(text.encode("utf-8", "surrogateescape"))
                assert_one_line(refusal(lambda: load_settings((), {}, tmp_path)), text)
