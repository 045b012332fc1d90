"""Bounds, choices, unit and description of a setting, as metadata of its dataclass field."""

from dataclasses import Field, field
from math import inf
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Bounds(NamedTuple):
    """An interval of numbers."""

    least: float = -inf
    most: float = inf
    without_least: bool = False
    without_most: bool = False

    def hold(self, number: float) -> bool:
        """Whether the number lies within; infinity and NaN never do."""
        if not -inf < number < inf:
            return False
        low = number > self.least if self.without_least else number >= self.least
        return low and (number < self.most if self.without_most else number <= self.most)

    def __str__(self) -> str:
        """As read in a sentence: "from 0 to 1", "at least 1", "above 0 and below 1"."""
        low = f"{'above' if self.without_least else 'at least'} {self.least:,}"
        if self.most == inf:
            return low
        if not (self.without_least or self.without_most):
            return f"from {self.least:,} to {self.most:,}"
        return f"{low} and {'below' if self.without_most else 'at most'} {self.most:,}"


COUNT, AMOUNT, POSITIVE = Bounds(1), Bounds(0), Bounds(0, without_least=True)
SHARE, PART = Bounds(0, 1), Bounds(0, 1, without_least=True, without_most=True)
BELOW_ONE = Bounds(0, 1, without_most=True)
SEED = Bounds(0, 2**32 - 1)


class SettingInfo(NamedTuple):
    """Description, bounds, choices and unit of a setting."""

    description: str  # one line
    bounds: Bounds | None  # of each number in it; None where it holds no number
    choices: tuple[str, ...]  # of each text in it; empty where any will do
    unit: str


def setting(default: T, description: str, bounds: Bounds | None = None, *, choices: tuple[str, ...] = (), unit: str = "") -> T:
    """A dataclass field with this default and this `SettingInfo`."""
    return field(default=default, metadata={"setting": SettingInfo(description, bounds, choices, unit)})


def info_of(dataclass_field: Field[Any]) -> SettingInfo | None:
    """The `SettingInfo` that `setting` gave the field; None for another field."""
    info: SettingInfo | None = dataclass_field.metadata.get("setting")
    return info
