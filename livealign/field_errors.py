"""pydantic's validation errors in plain words: the field, and what is wrong with it.

The values themselves are never repeated, because they are a user's.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LONGEST = 300  # characters of one text
LONGEST_NAME = 60  # of a field that the sender made up

# type of pydantic's error → what is wrong; the braces take its bounds
_WORDS = {
    "missing": "is missing",
    "string_type": "has to be text",
    "string_too_short": "has to have at least {min_length} characters",
    "string_too_long": "has more than {max_length} characters",
    "string_pattern_mismatch": "is not written as {pattern}",
    "string_unicode": "is no valid text",
    "int_type": "has to be a whole number",
    "int_parsing": "has to be a whole number",
    "int_parsing_size": "is too large a number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "finite_number": "has to be a finite number",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "list_type": "has to be a list",
    "tuple_type": "has to be a list",
    "too_long": "has more than {max_length} members",
    "too_short": "has to have at least {min_length} members",
    "greater_than": "has to be more than {gt}",
    "greater_than_equal": "has to be at least {ge}",
    "less_than": "has to be less than {lt}",
    "less_than_equal": "has to be at most {le}",
    "datetime_type": "has to be a time: epoch seconds or ISO 8601 text",
    "datetime_parsing": "has to be a time: epoch seconds or ISO 8601 text",
    "datetime_from_date_parsing": "has to be a time: epoch seconds or ISO 8601 text",
    "datetime_object_invalid": "has to be a time: epoch seconds or ISO 8601 text",
    "model_type": "has to be a JSON object",
    "model_attributes_type": "has to be a JSON object",
    "dict_type": "has to be a JSON object",
}
_UNKNOWN_TAGS = ("union_tag_invalid", "union_tag_not_found")


def plain_error(error: Mapping[str, Any], whole: str, fields: Iterable[str] = (), skip: int = 0) -> str:
    """One error of `ValidationError.errors()` as a clause: "text is missing".

    Args:
        error: with its context; its input is not looked at.
        whole: what the value is as a whole, for an error of no field: "the event".
        fields: the names that there are, for a field that there is not.
        skip: parts of the location that name no field, at its beginning.
    """
    kind, context = str(error["type"]), error.get("ctx", {})
    where = ".".join(str(part)[:LONGEST_NAME] for part in error["loc"][skip:])
    if kind == "extra_forbidden":
        parent, _, name = where.rpartition(".")
        return f"{f'{parent} has' if parent else f'{whole} has'} no field {name}{nearest(name, fields)}"[:LONGEST]
    if kind in _UNKNOWN_TAGS:
        name = str(context.get("discriminator", "kind")).strip("'")
        if kind == "union_tag_not_found":
            return f"{name} is missing"
        expected = [tag.strip(" '") for tag in str(context.get("expected_tags", "")).split(",")]
        return f"{name} is none of those that there are{nearest(str(context.get('tag', '')), expected)}"[:LONGEST]
    if kind == "value_error":  # of a validator of ours, which speaks plainly
        text = str(context.get("error", error["msg"]))
        return f"{where}: {text}"[:LONGEST] if where else text[:LONGEST]
    words = _WORDS.get(kind)
    said = str(error["msg"]) if words is None else words.format(**context)
    joint = " " if words else ": "
    return f"{where or whole}{joint}{said}"[:LONGEST]


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause with the known name that is written most alike; empty if none is."""
    found: Sequence[str] = difflib.get_close_matches(name, sorted(known), 1)
    return f"; is {found[0]} meant?" if found else ""
