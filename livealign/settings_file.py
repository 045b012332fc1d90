"""Read livealign.toml with the line of each value, and write one that names every setting."""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from livealign.errors import LiveAlignError
from livealign.files import plain_file
from livealign.profiles import Profile
from livealign.setting_types import PROFILE, STAGES, all_names, description_of, toml_text, value_of

FILE = "livealign.toml"
MOST_BYTES = 256 * 1024  # a larger file is no settings file

_HEAD = """\
## Settings of LiveAlign. Save it as livealign.toml in the folder you work in, or in LIVEALIGN_HOME.
## Every setting is commented out by "# ": as it is, the file changes nothing. `livealign settings` prints what is in force.
"""


class Line(NamedTuple):
    """One value of the file."""

    name: str  # "finetune.steps"
    value: Any
    line: int  # counted from 1


def read_file(path: Path, shown: str) -> list[Line]:
    """Every value of the file, in its order. `shown` is the file's name in messages.

    Raises:
        LiveAlignError: the file cannot be read, or it is not TOML.
    """
    try:
        data = plain_file(path).read_bytes()
        if len(data) > MOST_BYTES:
            raise LiveAlignError(f"{shown} has {len(data):,} bytes, which is no settings file; the most is {MOST_BYTES:,}")
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise LiveAlignError(f"{shown} cannot be read ({error.strerror}); correct it or move it away") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LiveAlignError(f"{shown}:{line}: not UTF-8; save the file as UTF-8") from error
    return _lines(text, _flat(_parsed(text, shown)))


def _parsed(text: str, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = re.search(r"at line (\d+)", message)
        line = int(match[1]) if match else text.count("\n") + 1
        raise LiveAlignError(f"{shown}:{line}: not TOML: {message.partition(' (at ')[0]}") from error
    except RecursionError as error:
        raise LiveAlignError(f"{shown} is nested too deeply; write `name = value` below [stage]") from error


def _lines(text: str, values: dict[str, Any]) -> list[Line]:
    """The values with the lines on which their statements begin.

    A statement ends where its lines are TOML by themselves.
    """
    lines: dict[str, int] = {}
    header, statement, begins = "", "", 0
    for number, row in enumerate(text.split("\n"), 1):
        if not statement and (not row.strip() or row.lstrip().startswith("#")):
            continue
        begins = begins if statement else number
        statement += f"{row}\n"
        is_header = statement.lstrip().startswith("[")
        try:
            parsed = tomllib.loads(statement if is_header else header + statement)
        except tomllib.TOMLDecodeError:
            continue
        for name in _flat(parsed):
            lines.setdefault(name, begins)
        header, statement = statement if is_header else header, ""
    return [Line(name, values[name], lines.get(name, 1)) for name in sorted(values, key=lambda name: lines.get(name, 1))]


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    """`stage.name` → value. Deeper tables stay values, and so do unknown and empty tables."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict) and value:
            flat.update({f"{name}.{inner}": part for inner, part in value.items()})
        elif not (name in STAGES and value == {}):
            flat[name] = value
    return flat


def defaults_file(profile: Profile) -> str:
    """A livealign.toml with every setting of the profile, described and commented out."""
    parts = [_HEAD, "## the profile that all below is put on top of", f"# {PROFILE} = {toml_text(profile.name)}", ""]
    names = all_names()
    for name in (name for name in names if "." not in name):
        parts += _entry(profile, name, name)
    for stage, description in STAGES.items():
        parts += [f"## {description}", f"# [{stage}]", ""]
        for name in (name for name in names if name.startswith(f"{stage}.")):
            parts += _entry(profile, name, name.partition(".")[2])
    return "\n".join(parts)


def _entry(profile: Profile, name: str, key: str) -> list[str]:
    return [f"## {description_of(name)}", f"# {key} = {toml_text(value_of(profile, name))}", ""]
