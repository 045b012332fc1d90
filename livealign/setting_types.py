"""Settings by name (`finetune.steps`): their types, bounds and descriptions.

They are read from the dataclasses of `livealign.config` and `livealign.operation_config`.
"""

import json
import math
import tomllib
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from livealign.bounds import SettingInfo, info_of
from livealign.errors import LiveAlignError
from livealign.profiles import Profile

PROFILE = "profile"


def _stages() -> dict[str, type]:
    hints = get_type_hints(Profile)
    return {part.name: hints[part.name] for part in fields(Profile) if is_dataclass(hints[part.name])}


_CLASSES = _stages()
STAGES = {name: (cls.__doc__ or "").strip().partition("\n")[0] for name, cls in _CLASSES.items()}  # name → description


@cache
def _settings() -> dict[str, tuple[Any, SettingInfo]]:
    """Name → (type, description), of the profile's own settings and then of each stage's."""
    settings: dict[str, tuple[Any, SettingInfo]] = {}
    for prefix, cls in (("", Profile), *((f"{name}.", cls) for name, cls in _CLASSES.items())):
        hints = get_type_hints(cls)
        for field in fields(cls):
            if (info := info_of(field)) is not None:
                settings[prefix + field.name] = hints[field.name], info
    return settings


def all_names() -> tuple[str, ...]:
    """Every setting but `profile`, the profile's own first, then stage by stage."""
    return tuple(_settings())


def value_of(profile: Profile, name: str) -> Any:
    """The setting's value in this profile."""
    stage, _, key = name.rpartition(".")
    return getattr(getattr(profile, stage) if stage else profile, key)


def with_value(profile: Profile, name: str, value: Any) -> Profile:
    """The profile with another value, already converted."""
    stage, _, key = name.rpartition(".")
    if not stage:
        return replace(profile, **{key: value})
    return replace(profile, **{stage: replace(getattr(profile, stage), **{key: value})})


def convert(name: str, value: Any, is_text: bool) -> Any:
    """The value in the dataclass's type, from TOML or from the text of a command line.

    Raises:
        LiveAlignError: there is no such setting, or the value is of a wrong type or out of bounds.
    """
    if name == PROFILE:
        hint, info = str, SettingInfo("", None, (), "")
    elif name in _settings():
        hint, info = _settings()[name]
    else:
        raise LiveAlignError(_no_such(name))
    if is_text:
        value = _from_text(value, hint)
    try:
        converted = _as(hint, value)
    except TypeError:
        raise LiveAlignError(f"takes {kind_of(hint, info)}, not {_short(value)}") from None
    _check(converted, info, hint)
    return converted


def description_of(name: str) -> str:
    """One line: what the setting does, its unit, its type and bounds."""
    hint, info = _settings()[name]
    unit = f" [{info.unit}]" if info.unit else ""
    return f"{info.description}{unit}; {kind_of(hint, info)}"


def kind_of(hint: Any, info: SettingInfo) -> str:
    """The type and bounds in words: "a whole number, at least 1"."""
    bounds = f", {info.bounds}" if info.bounds else ""
    if info.choices:
        which = ", ".join(info.choices)
        return f"one of {which}" if hint is str else f"a list of {which}"
    if isinstance(hint, UnionType):
        return "a whole number of layers, or a share of the depth such as 0.2"
    if get_origin(hint) is tuple:
        inner = [part for part in get_args(hint) if part is not Ellipsis]
        if get_origin(inner[0]) is tuple:
            return f'a list of pairs such as ["content=none", 0.03]{bounds}'
        of = {int: "whole numbers", float: "numbers", str: "texts"}[inner[0]]
        return f"a list of {'' if Ellipsis in get_args(hint) else f'{len(inner)} '}{of}{bounds}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text in quotes"}[hint] + bounds


def toml_text(value: Any) -> str:
    """The value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_text, value))}]"
    return repr(value)


def _from_text(text: str, hint: Any) -> Any:
    """The value of the text as TOML; the bare text where it is no TOML, or the setting takes a text."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    value = parsed["value"] if list(parsed) == ["value"] else text
    return text if hint is str and not isinstance(value, str) else value


def _as(hint: Any, value: Any) -> Any:
    """The value in the type; a whole number becomes a number. Raises TypeError for another type."""
    if isinstance(hint, UnionType):
        if type(value) in get_args(hint):
            return value
    elif get_origin(hint) is tuple:
        inner = get_args(hint)
        if isinstance(value, list):
            if Ellipsis in inner:
                return tuple(_as(inner[0], part) for part in value)
            if len(inner) == len(value):
                return tuple(_as(part_hint, part) for part_hint, part in zip(inner, value, strict=True))
    elif hint is float:
        if type(value) in (int, float):
            try:
                return float(value)
            except OverflowError:  # a whole number of more than 308 digits; out of every bound
                return math.inf if value > 0 else -math.inf
    elif type(value) is hint:
        return value
    raise TypeError


def _check(value: Any, info: SettingInfo, hint: Any) -> None:
    """Raise LiveAlignError where a number is out of bounds, or a text is not among the choices."""
    leaves = list(_leaves(value))
    if isinstance(value, tuple) and not value:
        raise LiveAlignError("is an empty list; leave it out for the profile's")
    for leaf in leaves:
        if isinstance(leaf, str):
            if info.choices and leaf not in info.choices:
                nearest = get_close_matches(leaf, info.choices, 1)
                meant = f"did you mean {nearest[0]}? " if nearest else ""
                raise LiveAlignError(f"there is no {_short(leaf)}; {meant}It takes {kind_of(hint, info)}")
            if not leaf.strip() or not leaf.isprintable():
                raise LiveAlignError(f"{_short(leaf)} is no text that can be used; leave it out for the profile's")
        elif info.bounds is not None and not isinstance(leaf, bool) and not info.bounds.hold(leaf):
            raise LiveAlignError(f"is {info.bounds}, not {_short(leaf)}")
    if isinstance(value, float) and isinstance(hint, UnionType) and not 0 <= value <= 1:
        raise LiveAlignError(f"a share of the depth lies from 0 to 1, not at {value}; a number of layers has no point")
    if info.choices and len(set(leaves)) < len(leaves):
        raise LiveAlignError(f"{_short(value)} names one twice")


def _leaves(value: Any) -> Any:
    if isinstance(value, tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _no_such(name: str) -> str:
    """The error's text for an unknown setting, with the nearest known one."""
    if name in STAGES:
        return f"is a table; write [{name}] and its settings below, or {name}.setting = value"
    stage, _, key = name.rpartition(".")
    if "." not in name and (tables := get_close_matches(name, STAGES, 1)):
        return f"no such setting; did you mean [{tables[0]}]?"
    names = [*all_names(), PROFILE]
    same_key = [known for known in names if known.rpartition(".")[2] == key]
    in_stage = [known for known in names if known.startswith(f"{stage}.")] if stage in STAGES else []
    for candidates in (same_key, in_stage, names):
        if nearest := get_close_matches(name, candidates, 1, 0.0 if candidates is same_key else 0.6):
            return f"no such setting; did you mean {nearest[0]}?"
    return "no such setting; `livealign settings` lists all"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
