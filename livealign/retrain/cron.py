"""The cron of a schedule: five parts, for a time that comes."""

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PARTS: tuple[tuple[int, int, dict[str, int]], ...] = (  # lowest, highest, names
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    (0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # of each month at most
_ITEM = re.compile(r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?")


def is_cron(text: str) -> bool:
    """Whether the text is a cron of five parts, for a time that comes.

    The parts are minute, hour, day of the month, month, day of the week. A part is a list of `*`, `n` and `n-m`, each with a
    `/step` or without; a range may wrap. A cron whose days no month has, such as the 30th of February, is none.
    """
    words = text.lower().split()
    if len(words) != len(_PARTS):
        return False
    values = [_values(word, *part) for word, part in zip(words, _PARTS, strict=True)]
    if not all(values):
        return False
    return any(day <= _DAYS[month - 1] for day in values[2] for month in values[3])


def _values(word: str, lowest: int, highest: int, names: dict[str, int]) -> set[int]:
    """The numbers that a part stands for; empty if it is none."""
    found: set[int] = set()
    for item in word.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            return set()
        first, last, step = match.groups()
        if step is not None and int(step) == 0:
            return set()
        begin = lowest if first is None else _number(first, names)
        end = _number(last, names) if last else highest if first is None or step else begin
        if not (lowest <= begin <= highest and lowest <= end <= highest):
            return set()
        every = range(lowest, highest + 1)
        through = range(begin, end + 1) if begin <= end else [*range(begin, every.stop), *range(lowest, end + 1)]
        found.update(list(through)[:: int(step or 1)])
    return found


def _number(text: str, names: dict[str, int]) -> int:
    return int(text) if text.isdigit() else names.get(text, -1)
