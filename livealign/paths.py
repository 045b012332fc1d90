"""Paths that a person gives as text, in a variable or an option."""

from collections.abc import Mapping
from pathlib import Path

from livealign.errors import LiveAlignError


def path_named(text: str, where: str) -> Path:
    """The path that a person wrote.

    Args:
        where: the variable or option, for the error.

    Raises:
        LiveAlignError: the text is empty, or begins with ~, which a shell expands and LiveAlign does not.
    """
    if not text.strip():
        raise LiveAlignError(f"{where} is empty; give a path, or leave it out")
    if text.startswith("~"):
        raise LiveAlignError(f"{where}={text[:80]!r}: only a shell expands ~; write the path in full")
    return Path(text)


def path_in(environment: Mapping[str, str], variable: str) -> Path | None:
    """The path in a variable; None where it is empty or not set.

    Raises:
        LiveAlignError: it begins with ~.
    """
    return path_named(environment[variable], variable) if environment.get(variable) else None
