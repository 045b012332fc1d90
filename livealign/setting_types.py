"""The settings by name (`finetune.steps`): types, bounds and descriptions, taken from the dataclasses of `livealign.config`."""

import json
import tomllib
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from livealign.bounds import About, about
from livealign.config import Profile
from livealign.errors import LiveAlignError

PROFILE = "profile"


def _stages() -> dict[str, type]:
    hints = get_type_hints(Profile)
    return {one.name: hints[one.name] for one in fields(Profile) if is_dataclass(hints[one.name])}


_CLASSES = _stages()
STAGES = {name: (cls.__doc__ or "").strip().partition("\n")[0] for name, cls in _CLASSES.items()}  # name → one line


@cache
def _known() -> dict[str, tuple[Any, About]]:
    """Name → (type, what is known of it), of the profile's own and then of each stage."""
    found: dict[str, tuple[Any, About]] = {}
    for prefix, cls in (("", Profile), *((f"{name}.", cls) for name, cls in _CLASSES.items())):
        hints = get_type_hints(cls)
        for one in fields(cls):
            if "about" in one.metadata:
                found[prefix + one.name] = hints[one.name], about(one)
    return found


def all_names() -> tuple[str, ...]:
    """Every setting but `profile`, the profile's own first, then stage by stage."""
    return tuple(_known())


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
    """The value as the dataclass has it, from TOML or from the text of a command line.

    Raises:
        LiveAlignError: no such setting, a wrong type, or out of bounds.
    """
    if name == PROFILE:
        hint, known = str, About("", None, (), "")
    elif name in _known():
        hint, known = _known()[name]
    else:
        raise LiveAlignError(_no_such(name))
    if is_text:
        value = _from_text(value, hint)
    try:
        found = _as(hint, value)
    except TypeError:
        raise LiveAlignError(f"takes {kind_of(hint, known)}, not {_short(value)}") from None
    _check(name, found, known, hint)
    return found


def described(name: str) -> str:
    """One line: what it sets, its unit, its type and bounds."""
    hint, known = _known()[name]
    unit = f" [{known.unit}]" if known.unit else ""
    return f"{known.says}{unit}; {kind_of(hint, known)}"


def kind_of(hint: Any, known: About) -> str:
    """The type and bounds in words: "a whole number, at least 1"."""
    bounds = f", {known.bounds}" if known.bounds else ""
    if known.choices:
        which = ", ".join(known.choices)
        return f"one of {which}" if hint is str else f"a list of {which}"
    if isinstance(hint, UnionType):
        return "a whole number of layers, or a share of the depth such as 0.2"
    if get_origin(hint) is tuple:
        inner = [one for one in get_args(hint) if one is not Ellipsis]
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
    """TOML where it is TOML of the right kind; else the bare text."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    value = parsed["value"] if list(parsed) == ["value"] else text
    return text if hint is str and not isinstance(value, str) else value


def _as(hint: Any, value: Any) -> Any:
    """Raises TypeError where the value is not of the type; whole numbers pass for numbers."""
    if isinstance(hint, UnionType):
        if type(value) in get_args(hint):
            return value
    elif get_origin(hint) is tuple:
        inner = get_args(hint)
        if isinstance(value, list):
            if Ellipsis in inner:
                return tuple(_as(inner[0], one) for one in value)
            if len(inner) == len(value):
                return tuple(_as(one, part) for one, part in zip(inner, value, strict=True))
    elif hint is float:
        if type(value) in (int, float):
            return float(value)
    elif type(value) is hint:
        return value
    raise TypeError


def _check(name: str, value: Any, known: About, hint: Any) -> None:
    """Raises LiveAlignError where a number is out of bounds, or a text is none of the choices."""
    leaves = list(_leaves(value))
    if isinstance(value, tuple) and not value:
        raise LiveAlignError("is an empty list; leave it out for the profile's")
    for leaf in leaves:
        if isinstance(leaf, str):
            if known.choices and leaf not in known.choices:
                nearest = get_close_matches(leaf, known.choices, 1)
                meant = f"did you mean {nearest[0]}? " if nearest else ""
                raise LiveAlignError(f"there is no {_short(leaf)}; {meant}It takes {kind_of(hint, known)}")
            if not leaf.strip() or not leaf.isprintable():
                raise LiveAlignError(f"{_short(leaf)} is no text that can be used; leave it out for the profile's")
        elif known.bounds is not None and not isinstance(leaf, bool) and not known.bounds.hold(leaf):
            raise LiveAlignError(f"is {known.bounds}, not {_short(leaf)}")
    if isinstance(value, float) and isinstance(hint, UnionType) and not 0 <= value <= 1:
        raise LiveAlignError(f"a share of the depth lies from 0 to 1, not at {value}; a number of layers has no point")
    if known.choices and len(set(leaves)) < len(leaves):
        raise LiveAlignError(f"{_short(value)} names one twice")


def _leaves(value: Any) -> Any:
    if isinstance(value, tuple):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _no_such(name: str) -> str:
    """That there is no such setting, and the nearest that there is."""
    if name in STAGES:
        return f"is a table; write [{name}] and its settings below, or {name}.setting = value"
    stage, _, key = name.rpartition(".")
    if "." not in name and (tables := get_close_matches(name, STAGES, 1)):
        return f"no such setting; did you mean [{tables[0]}]"
    names = [*all_names(), PROFILE]
    same_key = [one for one in names if one.rpartition(".")[2] == key]
    in_stage = [one for one in names if one.startswith(f"{stage}.")] if stage in STAGES else []
    for known in (same_key, in_stage, names):
        if nearest := get_close_matches(name, known, 1, 0.0 if known is same_key else 0.6):
            return f"no such setting; did you mean {nearest[0]}"
    return "no such setting; `livealign settings` lists all"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
