"""The command `livealign doctor`: what a retrain would miss, and the machine it runs on."""

import importlib.metadata
import json
import os
import platform as system
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from livealign.cli.command import PATH, ProfileOption, SetOption, given_flags
from livealign.cli.releases import PlatformOption
from livealign.console import PlainConsole, styled, table
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.landing.partitions import landed_days
from livealign.platforms.registry import adapter_of
from livealign.release.challengers import read_challengers
from livealign.release.registry import read_champion
from livealign.settings import load_settings

if TYPE_CHECKING:  # the command line starts without torch
    from livealign.retrain.findings import Finding

console = PlainConsole()
PACKAGES = (
    *("livealign", "dagster", "dbt-core", "dbt-duckdb", "duckdb", "torch", "transformers", "peft", "evidently", "bentoml"),
    *("numpy", "pyarrow", "scikit-learn"),
)
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "URL", "SALT", "PROXY")  # in names of variables: not printed
Facts = dict[str, dict[str, str]]  # section → name → value


def doctor(
    platform: PlatformOption = "simulator",
    archive: Annotated[
        Path | None,
        typer.Option(**PATH, envvar="LIVEALIGN_ARCHIVE", help="the archive that a retrain would read"),
    ] = None,
    profile: ProfileOption = None,
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for machines")] = False,
) -> None:
    """Check what a retrain needs and print the machine; a bug report should carry the output.

    Values of secrets are left out. Exits 1 if a retrain could not start.
    """
    from livealign.retrain.findings import finding_of, raised
    from livealign.retrain.graph_variables import variable_findings
    from livealign.retrain.preflight import check_retrain

    facts: Facts = {"machine": machine_facts(), "packages": package_versions(), "environment": variables()}
    findings: list[Finding] = []
    try:
        adapter_of(platform)
        in_force, home = load_settings(given_flags(profile, set_)), Home.from_environment(platform)
    except LiveAlignError as error:
        findings += [finding_of(error), *variable_findings()]
    else:
        facts["settings"] = {"profile": in_force.profile.name, "backbone": in_force.profile.backbone}
        facts["settings"] |= {name: origin for name, origin in in_force.origins.items() if name not in facts["settings"]}
        where = archive.absolute() if archive else home.archive
        findings += check_retrain(home, where, in_force.profile.backbone, store=in_force.profile.machines.store)
        if home.root.is_dir():
            findings += raised(lambda: facts.update(workspace=workspace_facts(home)))
    if as_json:
        problems = [{"what": one.what, "remedy": one.remedy, "stops": one.stops} for one in findings]
        print(json.dumps({**facts, "findings": problems}, indent=1))
    else:
        print_facts(facts, findings)
    if any(finding.stops for finding in findings):
        raise typer.Exit(1)


def machine_facts() -> dict[str, str]:
    """System, processor, number type, memory and GPU of this machine."""
    import torch

    from livealign.llm.backbone import allowed_cores, choose_device, choose_dtype
    from livealign.memory import usable_memory

    memory = psutil.virtual_memory()
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    try:
        device = choose_device()
        number_type = f"{choose_dtype(device)} on {device}".removeprefix("torch.")
    except LiveAlignError as error:
        number_type = str(error)
    return {
        "system": f"{system.system()} {system.release()} {system.machine()}",
        "python": system.python_version(),
        "cores": f"{psutil.cpu_count(logical=False)} of {psutil.cpu_count()} logical, {allowed_cores()} allowed",
        "number type": number_type,
        "memory": f"{usable_memory() / (1 << 30):.1f} of {memory.total / (1 << 30):.1f} GiB free",
        "GPU": ", ".join(gpus) or "none",
    }


def package_versions() -> dict[str, str]:
    """The installed versions of the packages that a result depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def variables() -> dict[str, str]:
    """The variables of LiveAlign, proxies and locale that are set; secrets by their name alone."""
    wanted = ("LIVEALIGN_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TZ", "LANG", "LC_ALL", "BENTOML_", "DAGSTER_")
    shown = {}
    for name, value in sorted(os.environ.items()):
        if name.upper().startswith(wanted):
            shown[name] = "(set)" if any(part in name.upper() for part in _SECRET) else value
    return shown


def workspace_facts(home: Home) -> dict[str, str]:
    """The folder of the platform, its landed days and its champion."""
    days = landed_days(home.landing)
    try:
        champion = read_champion(home.releases) or "none"
    except LiveAlignError as error:
        champion = str(error)
    return {
        "home": str(home.root),
        "platform": home.platform,
        "landed days": f"{len(days)}, {days[0]} to {days[-1]}" if days else "0",
        "champion": champion,
        "challengers": _served(home),
        "free on disk": f"{shutil.disk_usage(home.root).free / (1 << 30):.1f} GiB",
    }


def _served(home: Home) -> str:
    try:
        found = read_challengers(home.releases)
    except LiveAlignError:
        return "cannot be read"  # a finding says why
    served = [] if found is None else found.challengers
    return ", ".join(f"{one.release} {'in the shadow, ' if one.shadow else ''}{one.share:.2%}" for one in served) or "none"


def print_facts(facts: Facts, findings: "Sequence[Finding]") -> None:
    """One table of all facts, then a line for each finding."""
    shown = table("", "", "")
    for section, values in facts.items():
        for number, (name, value) in enumerate(values.items()):
            shown.add_row("" if number else section, name, value)
    console.print(shown)
    for finding in findings:
        console.say(styled(("✗ ", "bold red") if finding.stops else ("! ", "bold yellow"), str(finding)))
    if not findings:
        console.say(styled(("✓ ", "bold green"), "a retrain has what it needs"))
