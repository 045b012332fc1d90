"""A room's title and category as they change over time, as in the mart `segments`."""

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
        """Add a change, also a late one.

        Of several with the same time the first counts, as in landing.
        """
        place = bisect_left(self.changes, text.at, key=lambda text: text.at)
        if place == len(self.changes) or self.changes[place].at != text.at:
            self.changes.insert(place, text)

    def before(self, end: float) -> RoomText:
        """Title and category just before `end` (epoch milliseconds)."""
        at, title, category = 0, None, None
        for text in self.changes:
            if text.at >= end:
                break
            at = text.at
            title = title if text.title is None else text.title
            category = category if text.category is None else text.category
        return RoomText(at, title, category)

    def forget(self, end: int) -> None:
        """Drop what no window after `end` needs.

        The latest title and the latest category before it stay.
        """
        known = [text for text in self.changes if text.at < end]
        title = next((text for text in reversed(known) if text.title is not None), None)
        category = next((text for text in reversed(known) if text.category is not None), None)
        self.changes = [text for text in self.changes if text.at >= end or text in (title, category)]
