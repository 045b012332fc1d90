"""A person's settings on top of a profile: livealign.toml, the environment, `--set`.

    settings = load_settings([Given.flag("--set", "finetune.steps=400")])
    settings.profile.finetune.steps        # 400
    settings.origin("finetune.steps")      # "--set"

A later source wins: profile < platform < livealign.toml < environment < flags. The file is `LIVEALIGN_CONFIG`, else
livealign.toml in the working folder, else in LIVEALIGN_HOME. A mistake is one line that names the file and line, or the flag.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from livealign.config import NOT_OF_A_RELEASE, SEEDED, TASK_NAMES, Profile, load_profile, with_seed
from livealign.errors import LiveAlignError
from livealign.setting_types import PROFILE, convert, value_of, with_value
from livealign.settings_file import FILE, read_file

CONFIG_VARIABLE, SET_VARIABLE = "LIVEALIGN_CONFIG", "LIVEALIGN_SET"
VARIABLES = {  # environment variable → the setting that it is short for
    "LIVEALIGN_PROFILE": PROFILE,
    "LIVEALIGN_BACKBONE": "backbone",
    "LIVEALIGN_SEED": "seed",
    "LIVEALIGN_DAYS": "dataset.train_days",
}
_HANDED_ON = "json:"  # what LIVEALIGN_SET begins with where a command has handed on its flags
USUAL = "laptop"
# A week where every evening is full; four where a few channels stream a few times a week. The users of one of their days sat in
# one or two broadcasts together, so a release is judged on a fortnight.
PLATFORM_DEFAULTS: dict[str, dict[str, Any]] = {"twitch": {"dataset.train_days": 28, "evaluation.least_days": 14}}


class Given(NamedTuple):
    """One value that a person gave."""

    name: str  # "finetune.steps"
    value: Any  # as TOML has it; text where `is_text`
    origin: str  # "livealign.toml:7", "LIVEALIGN_SEED", "--set"
    place: str  # what a message begins with
    is_text: bool = True  # of the environment or a command line, still to be parsed

    @classmethod
    def flag(cls, flag: str, text: str) -> "Given":
        """`name=value` after `--set`.

        Raises:
            LiveAlignError: there is no "=".
        """
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise LiveAlignError(f"{_one_line(f'{flag} {text}')}: write name=value, as in {flag} finetune.steps=400")
        return cls(name.strip(), value.strip(), flag, _one_line(f"{flag} {text}"))

    @classmethod
    def option(cls, flag: str, name: str, value: str) -> "Given":
        """The value of a flag that is short for one setting, such as `--seed 5`."""
        return cls(name, value, flag, _one_line(f"{flag} {value}"))


@dataclass(frozen=True)
class Settings:
    """The profile in force, and where each value came from."""

    profile: Profile
    origins: Mapping[str, str]  # setting → origin, of what did not come from the profile

    def origin(self, name: str) -> str:
        """Where the value in force came from, "profile laptop" if nobody gave one."""
        return self.origins.get(name, f"profile {self.profile.name}")

    def of_a_release(self) -> dict[str, dict[str, Any]]:
        """{setting: {"value": …, "from": …}} of what differs from the profile and makes a release another one.

        The file's name stands without the line: a comment above a setting does not make another release.
        """
        base = load_profile(self.profile.name)
        return {
            name: {"value": value_of(self.profile, name), "from": origin.partition(":")[0]}
            for name, origin in sorted(self.origins.items())
            if name.partition(".")[0] not in NOT_OF_A_RELEASE
            and name != PROFILE
            and value_of(self.profile, name) != value_of(base, name)
            and not (name.endswith(".seed") and origin == self.origins.get("seed"))  # it came with that of every stage
        }


def load_settings(
    flags: Sequence[Given] = (), environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """The settings in force.

    Args:
        flags: of the command line, the last of a name wins.
        environment: instead of this process's.
        folder: instead of the working folder.

    Raises:
        LiveAlignError: an unknown name, a wrong type, a value out of bounds, or a file that cannot be read.
    """
    environment = os.environ if environment is None else environment
    of_file, of_environment = _of_file(environment, folder or Path.cwd()), list(_of_environment(environment))
    layers = (of_file, of_environment, [*_set_variable(environment)[1], *flags])
    settings = _platform_profile(_profile(layers), environment.get("LIVEALIGN_PLATFORM") or "simulator")
    for layer in layers:
        # Within one source the seed of a stage wins over the seed of all.
        for given in sorted(layer, key=lambda one: one.name != "seed"):
            settings = _with(settings, given)
    _check_together(settings)
    return settings


def hand_on(flags: Sequence[Given]) -> None:
    """Put flags into this process's environment, for the code and the processes of its run that load settings again."""
    if flags:
        before, earlier = _set_variable(os.environ)
        os.environ[SET_VARIABLE] = _HANDED_ON + json.dumps([before, [*earlier, *flags]])


def _profile(layers: Sequence[Sequence[Given]]) -> Settings:
    """The named profile, unchanged."""
    name, origins = USUAL, {}
    for given in (one for layer in layers for one in layer if one.name == PROFILE):
        try:
            name = convert(given.name, given.value, given.is_text)
            load_profile(name)
        except LiveAlignError as error:
            raise LiveAlignError(f"{given.place}: {error}") from None
        origins[PROFILE] = given.origin
    return Settings(load_profile(name), origins)


def _platform_profile(settings: Settings, platform: str) -> Settings:
    """The settings with what is usual on this platform."""
    for name, value in PLATFORM_DEFAULTS.get(platform, {}).items():
        settings = _with(settings, Given(name, value, f"platform {platform}", f"platform {platform}", is_text=False))
    return settings


def _with(settings: Settings, given: Given) -> Settings:
    """The settings with one value more."""
    if given.name == PROFILE:
        return settings
    try:
        value = convert(given.name, given.value, given.is_text)
    except LiveAlignError as error:
        raise LiveAlignError(f"{given.place}: {error}") from None
    origins = {**settings.origins, given.name: given.origin}
    if given.name == "seed":
        names = [f"{stage}.seed" for stage in SEEDED]
        return Settings(with_seed(settings.profile, value), origins | dict.fromkeys(names, given.origin))
    return Settings(with_value(settings.profile, given.name, value), origins)


def settings_path(environment: Mapping[str, str], folder: Path) -> Path | None:
    """The file that LIVEALIGN_CONFIG names, else livealign.toml in the folder, else in LIVEALIGN_HOME; None without any.

    Raises:
        LiveAlignError: LIVEALIGN_CONFIG names no file.
    """
    if named := environment.get(CONFIG_VARIABLE):
        if not (folder / named).is_file():
            raise LiveAlignError(f"{CONFIG_VARIABLE} names {_one_line(named)}, which is no file; correct it or unset it")
        return folder / named
    home = folder / (environment.get("LIVEALIGN_HOME") or ".livealign")
    return next((one for one in (folder / FILE, home / FILE) if one.exists()), None)


def _of_file(environment: Mapping[str, str], folder: Path) -> list[Given]:
    """What livealign.toml says, in its order; nothing where there is no such file."""
    path = settings_path(environment, folder)
    if path is None:
        return []
    shown = path.name if path.parent == folder else str(path)
    return [
        Given(one.name, one.value, f"{path.name}:{one.line}", f"{shown}:{one.line}: {_one_line(one.name)}", is_text=False)
        for one in read_file(path, shown)
    ]


def _of_environment(environment: Mapping[str, str]) -> Iterator[Given]:
    """The variables that are short for one setting, then LIVEALIGN_SET."""
    for variable, name in VARIABLES.items():
        if text := environment.get(variable, "").strip():
            yield Given(name, text, variable, _one_line(f"{variable}={text}"))
    # A value may hold spaces: the next setting begins where a name and "=" follow.
    for one in re.split(r"\s+(?=[a-z_][a-z_0-9.]*\s*=)", _set_variable(environment)[0].strip()):
        if one:
            yield Given.flag(SET_VARIABLE, one)


def _set_variable(environment: Mapping[str, str]) -> tuple[str, list[Given]]:
    """LIVEALIGN_SET: what a person put there, and the flags that `hand_on` added."""
    text = environment.get(SET_VARIABLE, "")
    if not text.startswith(_HANDED_ON):
        return text, []
    try:
        before, flags = json.loads(text.removeprefix(_HANDED_ON))
        return str(before), [Given(*one) for one in flags]
    except (ValueError, TypeError):
        raise LiveAlignError(f"{SET_VARIABLE} cannot be read; write name=value, as in finetune.steps=400") from None


class _Rule(NamedTuple):
    """Settings that have to fit each other."""

    names: tuple[str, ...]
    holds: Callable[..., bool]  # of their values
    says: str


_FIRST_AT_MOST_SECOND = "the first at most the second"
_RULES = (
    _Rule(("finetune.engagement_share", "finetune.neighbour_share"), lambda a, b: a + b <= 1, "together at most 1"),
    _Rule(("evaluation.head_share", "evaluation.torso_share"), lambda a, b: a <= b, _FIRST_AT_MOST_SECOND),
    _Rule(("evaluation.early_minutes",), lambda pair: pair[0] <= pair[1], _FIRST_AT_MOST_SECOND),
    _Rule(("drift.heavy_user_impressions",), lambda pair: pair[0] <= pair[1], _FIRST_AT_MOST_SECOND),
    _Rule(("drift.head_author_share",), lambda pair: pair[0] <= pair[1], _FIRST_AT_MOST_SECOND),
    _Rule(("ranker.tasks",), lambda names: names == TASK_NAMES, "the five tasks in their order"),
    _Rule(("ranker.tasks", "ranker.task_weights"), lambda a, b: len(a) == len(b), "as many weights as tasks"),
    _Rule(
        ("encoder.first_adapted_layer", "encoder.exit_layer"),
        lambda first, last: type(first) is not type(last) or first < last,
        "the first below the second",
    ),
)


def _check_together(settings: Settings) -> None:
    """Raises LiveAlignError where values do not fit each other; it names who gave them."""
    for rule in _RULES:
        values = [value_of(settings.profile, name) for name in rule.names]
        if not rule.holds(*values):
            said = ", ".join(
                f"{name} = {json.dumps(value)} ({settings.origin(name)})"
                for name, value in zip(rule.names, values, strict=True)
            )
            raise LiveAlignError(f"{said}: has to be {rule.says}")


def _one_line(text: str) -> str:
    """What a person typed, short and on one line."""
    line = "".join(one if one.isprintable() else " " for one in text)
    return line if len(line) <= 120 else f"{line[:117]}..."
