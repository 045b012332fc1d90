"""What a room is called, as it changes: a title and a category count from their time on, as in the mart `segments`."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple


class RoomText(NamedTuple):
    """A title and a category from `at` on (epoch milliseconds); None leaves what was before."""

    at: int
    title: str | None
    category: str | None


@dataclass(slots=True)
class RoomTexts:
    """The texts of one room that a window which is still open may have."""

    changes: list[RoomText] = field(default_factory=list)  # by time, which no two share

    def change(self, text: RoomText) -> None:
        """It may come late. The first that is sent of one time counts, as in landing."""
        place = bisect_left(self.changes, text.at, key=lambda one: one.at)
        if place == len(self.changes) or self.changes[place].at != text.at:
            self.changes.insert(place, text)

    def before(self, end: float) -> RoomText:
        """What the room was called just before `end` (epoch milliseconds)."""
        at, title, category = 0, None, None
        for one in self.changes:
            if one.at >= end:
                break
            at = one.at
            title = title if one.title is None else one.title
            category = category if one.category is None else one.category
        return RoomText(at, title, category)

    def forget(self, end: int) -> None:
        """Drop what no window after `end` has: all before it but the latest title and the latest category."""
        known = [one for one in self.changes if one.at < end]
        title = next((one for one in reversed(known) if one.title is not None), None)
        category = next((one for one in reversed(known) if one.category is not None), None)
        self.changes = [one for one in self.changes if one.at >= end or one in (title, category)]
