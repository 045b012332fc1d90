"""The commands `livealign backbone fetch` and `livealign backbone compare`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from livealign.cli.command import PATH, ProfileOption, SetOption, given_flags, write_new
from livealign.cli.releases import PlatformOption
from livealign.config import EncoderConfig, SegmentConfig
from livealign.console import PlainConsole, progress_bar, table
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.settings import load_settings

if TYPE_CHECKING:  # the command line starts without torch
    from livealign.tuning.backbone_comparison import Candidate
    from livealign.tuning.comparison_sample import ComparisonSample
    from livealign.tuning.content_measures import Chance, Measures

DAYS = 7  # landed days that windows are drawn from, the last ones
NAMES = "smollm2-135m, gemma3-270m, minilm-l6, efficientnet-lite0, org/name@revision, or a model folder"
console = PlainConsole()
backbones = typer.Typer(no_args_is_help=True, help="Fetch language models, and compare them on landed days.")


@backbones.command()
def fetch(name: Annotated[str, typer.Argument(help=NAMES)] = "smollm2-135m") -> None:
    """Fetch a pretrained model once, verify its hashes, and check that it can be used."""
    from livealign.llm.backbone_names import PINNED_IMAGES
    from livealign.profiles import load_profile
    from livealign.retrain.backbone import ready_backbone, ready_images

    if name in PINNED_IMAGES:
        ready_images(name, Home.from_environment().models, console.say)
        console.say(f'{name} can be used: frames.backbone = "{name}" in livealign.toml')
        return
    profile = replace(load_profile("laptop"), backbone=name, encoder=EncoderConfig(exit_layer=1.0, first_adapted_layer=0))
    ready_backbone(profile, Home.from_environment().models, console.say)
    console.say(f'{name} can be used: backbone = "{name}" in livealign.toml')


@backbones.command()
def compare(
    names: Annotated[list[str], typer.Argument(help=f"backbones that lie on this machine: {NAMES}")],
    platform: PlatformOption = "simulator",
    sample: Annotated[int, typer.Option(min=16, help="windows that each backbone reads")] = 400,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="of the choice of windows; default: the setting seed")
    ] = None,
    profile: ProfileOption = None,
    set_: SetOption = None,
    out: Annotated[Path | None, typer.Option("--json", help="new file with the rows, for machines", **PATH)] = None,
) -> None:
    """Compare backbones, layers and poolings on the last landed days, and print settings.

    No label of a user is read. Vectors are those of the frozen weights.
    """
    if out is not None and out.exists():
        raise LiveAlignError(f"{out} exists already and stays as it is; name another file by --json")
    from livealign.llm.backbone import load_backbone
    from livealign.tuning.backbone_comparison import choose, compare_layers, counted_words
    from livealign.tuning.content_measures import chance_of

    in_force, home = load_settings(given_flags(profile, set_)).profile, Home.from_environment(platform)
    seed = in_force.seed if seed is None else seed
    loaded = {name: load_backbone(name, home.models) for name in dict.fromkeys(names)}  # a wrong name fails before the work
    windows, days = _read_sample(home, in_force.segments, sample, seed)
    chance, counted = chance_of(windows), counted_words(windows)
    chosen, every = [], []
    for name, backbone in loaded.items():
        with progress_bar(name) as advance:
            found = compare_layers(backbone, name, windows, in_force.segments, in_force.encoder, in_force.finetune, advance)
        every += found
        chosen.append(choose(found))
    console.say(
        f"{len(windows.texts):,} windows of {windows.broadcasts:,} broadcasts, {days[0]} to {days[1]}, seed {seed}; "
        "their words alone, without title and category"
    )
    console.print(_shown(every, chosen, counted, chance))
    for one in chosen:
        if not one.fused:
            console.say(f"{one.backbone} is read by transformers' own layers, which is slower")
    for one in chosen:
        console.say(f"\n# {one.backbone}: the shallowest layer within one standard error of its best, in livealign.toml")
        console.say(one.settings().rstrip())
    if out is not None:
        found_all = _as_json(every, chosen, counted, chance, windows, days, seed)
        write_new(out, json.dumps(found_all, indent=1, ensure_ascii=False) + "\n", "--json")


def _read_sample(home: Home, config: SegmentConfig, windows: int, seed: int) -> tuple["ComparisonSample", tuple[str, str]]:
    """The windows, and the first and last day that they were drawn from."""
    from livealign.dataset.marts import built_days, read_mart
    from livealign.llm.texts import TEXT_COLUMNS
    from livealign.tuning.comparison_sample import choose_windows

    days = built_days(home.marts, "segments")[-DAYS:]
    if not days:
        raise LiveAlignError(
            f"{home.marts} has no days of platform {home.platform} yet; run `make retrain`, or name another by --platform"
        )
    segments = read_mart(home.marts, "segments", days, [*TEXT_COLUMNS, "author_id"])
    return choose_windows(segments, config, windows, seed), (days[0].isoformat(), days[-1].isoformat())


def _shown(every: "list[Candidate]", chosen: "list[Candidate]", counted: "Measures", chance: "Chance") -> Table:
    shown = table("", "backbone", "layers", "share", "pooling", "half to half", "next day", "mean ± s.e.", "category")
    for name in ("texts/s", "MiB"):
        shown.add_column(name, no_wrap=True)
    for one in every:
        row = one.row()
        named = (str(row[name]) for name in ("backbone", "layers", "share", "pooling"))
        cost = f"{row['texts_per_second']:,.0f}", f"{row['weight_bytes'] / 2**20:,.0f}"
        shown.add_row("→" if one in chosen else "", *named, *_cells(one.measures), *cost)
    shown.add_row("", "counted words", "", "", "", *_cells(counted), "", "")
    of_chance = (_number(value) for value in (chance.half_to_half, chance.next_day))
    shown.add_row("", "chance", "", "", "", *of_chance, "", _number(chance.category), "", "")
    return shown


def _cells(measures: "Measures") -> tuple[str, str, str, str]:
    means = {name: _number(value) for name, value in measures.means().items()}
    return means["half_to_half"], means["next_day"], f"{means['mean']} ± {means['standard_error']}", means["category"]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _as_json(
    every: "list[Candidate]",
    chosen: "list[Candidate]",
    counted: "Measures",
    chance: "Chance",
    windows: "ComparisonSample",
    days: tuple[str, str],
    seed: int,
) -> dict[str, Any]:
    return {
        "sample": {"windows": len(windows.texts), "broadcasts": windows.broadcasts, "days": list(days), "seed": seed},
        "chance": {"half_to_half": chance.half_to_half, "next_day": chance.next_day, "category": chance.category},
        "counted_words": counted.means(),
        "rows": [{**one.row(), "chosen": one in chosen} for one in every],
        "settings": {one.backbone: one.settings() for one in chosen},
    }
