"""Which release a day's challenger goes on from: the newest champion whose data ends before that day.

Not simply the champion of now: a day that is retrained again, after its own release was promoted, must find what it found the
first time, or it would end in another release.
"""

from datetime import date
from pathlib import Path

from livealign.bundle import Bundle, open_bundle, read_manifest
from livealign.errors import BundleError
from livealign.releases import champion_line


def predecessor(releases: Path, day: date) -> Bundle | None:
    """The verified bundle that a challenger for `day` goes on from, or None if there is none.

    Of the champions that one can go back through, the one whose held-out day is the newest before `day`. A bundle that is gone
    or damaged is passed over: going on from nothing is slower, not wrong.
    """
    ends = [(_end(releases / release_id), place, release_id) for place, release_id in enumerate(champion_line(releases))]
    known = [(end, place, release_id) for end, place, release_id in ends if end is not None and end < day]
    for _, _, release_id in sorted(known, reverse=True):
        try:
            return open_bundle(releases / release_id)
        except BundleError:
            continue
    return None


def _end(path: Path) -> date | None:
    """The held-out day of a release."""
    try:
        return date.fromisoformat(read_manifest(path)["data_window"]["end"])
    except (BundleError, KeyError, ValueError):
        return None
