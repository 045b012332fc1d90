"""The command `livealign settings`: values in force with their origins, or all defaults."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from livealign.cli.command import PATH, ProfileOption, SetOption, given_flags, write_new
from livealign.errors import LiveAlignError
from livealign.profiles import load_profile
from livealign.setting_types import PROFILE, all_names, toml_text, value_of
from livealign.settings import Settings, load_settings
from livealign.settings_file import defaults_file

console = Console(highlight=False)


def settings(
    profile: ProfileOption = None,
    set_: SetOption = None,
    changed: Annotated[bool, typer.Option("--changed", help="only what did not come from the profile")] = False,
    defaults: Annotated[bool, typer.Option("--defaults", help="write a livealign.toml with every default, commented")] = False,
    out: Annotated[Path | None, typer.Option(help="file for --defaults; default: standard output", **PATH)] = None,
) -> None:
    """Print the settings in force and where each came from.

    With --defaults, write a file that names every setting.
    """
    in_force = load_settings(given_flags(profile, set_))
    if out is not None and not defaults:
        raise LiveAlignError(f"--out {out}: only --defaults writes a file; add --defaults")
    if defaults:
        write_defaults(defaults_file(load_profile(in_force.profile.name)), out)
    else:
        console.print(settings_table(in_force, changed))


def settings_table(in_force: Settings, changed: bool) -> Table:
    """Name, value and origin of every setting, or only of those not from the profile."""
    table = Table("setting", "value", "from", title=f"profile {in_force.profile.name}", title_justify="left")
    table.add_row(PROFILE, in_force.profile.name, in_force.origins.get(PROFILE, "default"))
    for name in all_names():
        if not changed or name in in_force.origins:
            table.add_row(name, toml_text(value_of(in_force.profile, name)).replace("[", r"\["), in_force.origin(name))
    return table


def write_defaults(text: str, out: Path | None) -> None:
    """Write the text to a new file, or to standard output.

    Raises:
        LiveAlignError: the file exists already, or cannot be written.
    """
    if out is None:
        print(text, end="")
        return
    write_new(out, text, "--out")
    console.print(f"{out}: every setting of the profile, commented out", markup=False)
