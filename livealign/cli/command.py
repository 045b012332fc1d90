"""Shared parts of command lines: options of settings, and errors as one line."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from livealign.errors import LiveAlignError
from livealign.full_disk import full_disk_line
from livealign.home import home_root
from livealign.paths import path_named
from livealign.settings import GivenValue

ProfileOption = Annotated[
    str | None, typer.Option(help="tiny, laptop or gpu; default: LIVEALIGN_PROFILE, else livealign.toml, else laptop")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="a setting on top of the profile, as finetune.steps=400; may be repeated")
]


def _path(text: str) -> Path:
    """The path in an option or argument.

    Raises:
        typer.BadParameter: it is empty, or begins with ~.
    """
    try:
        return path_named(text, "the path")
    except LiveAlignError as error:
        raise typer.BadParameter(str(error)) from None


PATH: dict[str, Any] = {"parser": _path, "metavar": "PATH"}  # of an option or argument that is a path


def given_flags(profile: str | None = None, settings: Sequence[str] | None = None) -> list[GivenValue]:
    """The values of `--profile` and `--set`.

    Raises:
        LiveAlignError: a `--set` without "=".
    """
    flags = [GivenValue.flag("--set", text) for text in settings or ()]
    return flags if profile is None else [GivenValue.option("--profile", "profile", profile), *flags]


def write_new(out: Path, text: str, flag: str) -> None:
    """Write the text to a file that is not there yet.

    Args:
        flag: the option that named the file.

    Raises:
        LiveAlignError: the file exists already, or cannot be written.
    """
    created = False
    try:
        with out.open("x", encoding="utf-8") as file:
            created = True
            file.write(text)
    except FileExistsError as error:
        raise LiveAlignError(f"{out} exists already and stays as it is; name another file by {flag}") from error
    except OSError as error:
        if created:
            out.unlink()  # what a full disk left of it, so that the next try finds no file
        raise LiveAlignError(f"{out} cannot be written ({error.strerror}); name another file by {flag}") from error


def run_command(app: typer.Typer) -> None:
    """Run the application and end the process with its exit code.

    0 is success, 1 an error of LiveAlign, 2 an invalid command line, 130 an abort.
    """
    try:
        code: Any = app(standalone_mode=False)
    except LiveAlignError as error:
        say_error(full_disk_line(error, home_root()) or str(error))
        code = 1
    except OSError as error:
        say_error(path_error(error))
        code = 1
    except NoArgsIsHelpError:  # the help is on the screen
        code = 2
    except ClickException as error:
        say_error(" ".join(error.format_message().split()).rstrip(".") + "; --help lists what there is")
        code = error.exit_code
    except typer.Abort:
        code = 130
    except Exception as error:
        full = full_disk_line(error, home_root())  # not all libraries raise an OSError for it
        if full is None:
            raise
        say_error(full)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def path_error(error: OSError) -> str:
    """The system's refusal, the file and the remedy, on one line; a long file name is cut."""
    if full := full_disk_line(error, home_root()):
        return " ".join(full.split())
    where = f"{str(error.filename)[:200]}: " if error.filename is not None else ""
    return " ".join(f"{where}{error.strerror or error}".split()) + "; name another file or folder, or change its permissions"


def say_error(text: str) -> None:
    """Print the error to standard error on one line; markup in the text is escaped."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]✗[/] {escape(text)}")
