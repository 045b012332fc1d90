"""Settings on top of a profile: from livealign.toml, the environment and `--set`.

    settings = load_settings([GivenValue.flag("--set", "finetune.steps=400")])
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

from livealign.config import TASK_NAMES
from livealign.errors import LiveAlignError
from livealign.paths import path_in
from livealign.profiles import NOT_OF_A_RELEASE, SEEDED, Profile, load_profile, with_seed
from livealign.setting_types import PROFILE, convert, value_of, with_value
from livealign.settings_file import FILE, read_file

CONFIG_VARIABLE, SET_VARIABLE = "LIVEALIGN_CONFIG", "LIVEALIGN_SET"
VARIABLES = {  # environment variable → the setting that it is short for
    "LIVEALIGN_PROFILE": PROFILE,
    "LIVEALIGN_BACKBONE": "backbone",
    "LIVEALIGN_SEED": "seed",
    "LIVEALIGN_DAYS": "dataset.train_days",
}
_WITH_FLAGS = "json:"  # the beginning of LIVEALIGN_SET where `export_flags` has added flags to it
DEFAULT_PROFILE = "laptop"
# A week is enough where every evening is full; where a few channels stream a few times a week, four weeks are. The users of
# one of their days watched one or two broadcasts together, so a release is judged on a fortnight.
_FEW_CHANNELS = {"dataset.train_days": 28, "evaluation.least_days": 14}
PLATFORM_DEFAULTS: dict[str, dict[str, Any]] = dict.fromkeys(("twitch", "youtube", "bilibili", "chat"), _FEW_CHANNELS)


class GivenValue(NamedTuple):
    """A setting's value from one source: the file, the environment or the command line."""

    name: str  # "finetune.steps"
    value: Any  # as TOML has it; text where `is_text`
    origin: str  # "livealign.toml:7", "LIVEALIGN_SEED", "--set"
    place: str  # the beginning of an error's text
    is_text: bool = True  # from the environment or a command line, still to be parsed

    @classmethod
    def flag(cls, flag: str, text: str) -> "GivenValue":
        """The value of `--set name=value`.

        Raises:
            LiveAlignError: there is no "=".
        """
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise LiveAlignError(f"{_one_line(f'{flag} {text}')}: write name=value, as in {flag} finetune.steps=400")
        return cls(name.strip(), value.strip(), flag, _one_line(f"{flag} {text}"))

    @classmethod
    def option(cls, flag: str, name: str, value: str) -> "GivenValue":
        """The value of a flag that stands for one setting, such as `--seed 5`."""
        return cls(name, value, flag, _one_line(f"{flag} {value or repr(value)}"))


@dataclass(frozen=True)
class Settings:
    """The profile in force, and where each value came from."""

    profile: Profile
    origins: Mapping[str, str]  # setting → origin, for settings that did not come from the profile

    def origin(self, name: str) -> str:
        """The origin of the value in force; "profile laptop" for the profile's."""
        return self.origins.get(name, f"profile {self.profile.name}")

    def of_a_release(self) -> dict[str, dict[str, Any]]:
        """Settings of a release that differ from the profile: {setting: {"value": …, "from": …}}.

        The file's name stands without the line, so a comment above a setting does not change the release's id.
        """
        base = load_profile(self.profile.name)
        return {
            name: {"value": value_of(self.profile, name), "from": origin.partition(":")[0]}
            for name, origin in sorted(self.origins.items())
            if name.partition(".")[0] not in NOT_OF_A_RELEASE
            and name != PROFILE
            and value_of(self.profile, name) != value_of(base, name)
            and not (name.endswith(".seed") and origin == self.origins.get("seed"))  # it came with the seed of every stage
        }


def load_settings(
    flags: Sequence[GivenValue] = (), environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """The settings in force.

    Args:
        flags: of the command line; of several with one name the last wins.
        environment: default this process's.
        folder: default the working folder.

    Raises:
        LiveAlignError: a name is unknown, a value is of a wrong type or out of bounds, or the file cannot be read.
    """
    environment = os.environ if environment is None else environment
    of_file, of_environment = _of_file(environment, folder or Path.cwd()), list(_of_environment(environment))
    layers = (of_file, of_environment, [*_set_variable(environment)[1], *flags])
    settings = _platform_profile(_profile(layers), environment.get("LIVEALIGN_PLATFORM") or "simulator")
    for layer in layers:
        # Within one source the seed of a stage wins over the seed of all.
        for given in sorted(layer, key=lambda given: given.name != "seed"):
            settings = _with(settings, given)
    _check_together(settings)
    return settings


def export_flags(flags: Sequence[GivenValue]) -> None:
    """Add flags to LIVEALIGN_SET in this process's environment.

    The code and the processes of its run load the settings again and find them there.
    """
    if flags:
        text, earlier = _set_variable(os.environ)
        os.environ[SET_VARIABLE] = _WITH_FLAGS + json.dumps([text, [*earlier, *flags]])


def _profile(layers: Sequence[Sequence[GivenValue]]) -> Settings:
    """The named profile, unchanged."""
    name, origins = DEFAULT_PROFILE, {}
    for given in (given for layer in layers for given in layer if given.name == PROFILE):
        try:
            name = convert(given.name, given.value, given.is_text)
            load_profile(name)
        except LiveAlignError as error:
            raise LiveAlignError(f"{given.place}: {error}") from None
        origins[PROFILE] = given.origin
    return Settings(load_profile(name), origins)


def _platform_profile(settings: Settings, platform: str) -> Settings:
    """The settings with the platform's defaults."""
    for name, value in PLATFORM_DEFAULTS.get(platform, {}).items():
        settings = _with(settings, GivenValue(name, value, f"platform {platform}", f"platform {platform}", is_text=False))
    return settings


def _with(settings: Settings, given: GivenValue) -> Settings:
    """The settings with this value."""
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
    """The settings file in force; None if there is none.

    It is the file that LIVEALIGN_CONFIG names, else livealign.toml in the folder, else in LIVEALIGN_HOME.

    Raises:
        LiveAlignError: LIVEALIGN_CONFIG names a file that does not exist.
    """
    if (named := path_in(environment, CONFIG_VARIABLE)) is not None:
        if not _is_there(folder / named, Path.is_file):
            raise LiveAlignError(f"{CONFIG_VARIABLE} names {_one_line(str(named))}, which is no file; correct it or unset it")
        return folder / named
    home = folder / (environment.get("LIVEALIGN_HOME") or ".livealign")
    return next((path for path in (folder / FILE, home / FILE) if _is_there(path, os.path.lexists)), None)


def _is_there(path: Path, test: Callable[[Path], bool]) -> bool:
    """The test's answer; False for a path that the system cannot look up, such as one with too long a name."""
    try:
        return test(path)
    except OSError:
        return False


def _of_file(environment: Mapping[str, str], folder: Path) -> list[GivenValue]:
    """The values of livealign.toml, in its order; empty if there is no such file."""
    path = settings_path(environment, folder)
    if path is None:
        return []
    shown = path.name if path.parent == folder else str(path)
    return [
        GivenValue(
            line.name, line.value, f"{path.name}:{line.line}", f"{shown}:{line.line}: {_one_line(line.name)}", is_text=False
        )
        for line in read_file(path, shown)
    ]


def _of_environment(environment: Mapping[str, str]) -> Iterator[GivenValue]:
    """The variables that stand for one setting each, then LIVEALIGN_SET."""
    for variable, name in VARIABLES.items():
        if text := environment.get(variable, "").strip():
            yield GivenValue(name, text, variable, _one_line(f"{variable}={text}"))
    # A value may hold spaces: the next setting begins where a name and "=" follow.
    for text in re.split(r"\s+(?=[a-z_][a-z_0-9.]*\s*=)", _set_variable(environment)[0].strip()):
        if text:
            yield GivenValue.flag(SET_VARIABLE, text)


def _set_variable(environment: Mapping[str, str]) -> tuple[str, list[GivenValue]]:
    """LIVEALIGN_SET: the text that a person set, and the flags that `export_flags` added."""
    text = environment.get(SET_VARIABLE, "")
    if not text.startswith(_WITH_FLAGS):
        return text, []
    try:
        original, flags = json.loads(text.removeprefix(_WITH_FLAGS))
        return str(original), [GivenValue(*flag) for flag in flags]
    except (ValueError, TypeError):
        raise LiveAlignError(f"{SET_VARIABLE} cannot be read; write name=value, as in finetune.steps=400") from None


class _Rule(NamedTuple):
    """A condition on several settings together."""

    names: tuple[str, ...]
    holds: Callable[..., bool]  # of their values
    condition: str


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
    _Rule(("machines.engine", "machines.ranks"), lambda engine, ranks: engine == "ray" or ranks == 1, "ray, or one rank"),
    _Rule(("machines.shard", "machines.ranks"), lambda shard, ranks: not shard or ranks > 1, "false, or several ranks"),
    _Rule(
        ("machines.shard", "frames.prefix_tokens"),
        lambda shard, tokens: not (shard and tokens),
        "false, or 0: an LLM that reads pictures is tuned whole",
    ),
    _Rule(
        ("finetune.broadcast_windows", "frames.prefix_tokens"),
        lambda windows, tokens: not (windows and tokens),
        "0 in one of them: pairs of whole broadcasts have no pictures",
    ),
)


def _check_together(settings: Settings) -> None:
    """Raise LiveAlignError where values do not fit each other; it names their origins."""
    for rule in _RULES:
        values = [value_of(settings.profile, name) for name in rule.names]
        if not rule.holds(*values):
            pairs = ", ".join(
                f"{name} = {json.dumps(value)} ({settings.origin(name)})"
                for name, value in zip(rule.names, values, strict=True)
            )
            raise LiveAlignError(f"{pairs}: has to be {rule.condition}")


def _one_line(text: str) -> str:
    """A text that a person typed, short and on one line."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= 120 else f"{line[:117]}..."
