"""The console: prints text from archives, file names and errors as it is.

Nothing in a text is taken for markup or for a control code.

Strings are plain wherever they go (lines, titles, headings, cells). Style is given by `styled`, beside the text, not inside it.
"""

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_KEPT = "\n\t"


class PlainConsole(Console):
    """A console without markup, emoji codes and control characters."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as `visible` has it."""
        return super().render_str(visible(text), **options)

    def say(self, *parts: RenderableType) -> None:
        """A line that is not broken, so that a path in it can be copied."""
        self.print(*parts, soft_wrap=True)


def visible(text: str) -> str:
    """The text with control characters, and bytes that are not text, written out (`\\x1b`)."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    if plain.isprintable():
        return plain
    return "".join(
        letter if letter in _KEPT or unicodedata.category(letter) not in ("Cc", "Cs") else f"\\x{ord(letter):02x}"
        for letter in plain
    )


def styled(*parts: str | tuple[str, str]) -> Text:
    """Text of parts, plain or with a style: `styled(("✗", "bold red"), " nothing landed")`."""
    return Text.assemble(*(visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts))


def table(*headings: str, title: str = "") -> Table:
    """A table whose cells are broken into lines where they are too long, not cut."""
    made = Table(title=title or None, title_justify="left")
    for heading in headings:
        made.add_column(heading, overflow="fold")
    return made


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the elapsed time; the block is given `advance(done, total)`."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=PlainConsole()) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
