"""Moments of the held-out day for a person to judge: picture, words, codes, what followed."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO

from PIL import Image

from livealign.frames.decode import Pixels

_QUALITY = 80  # of the pictures in the report


@dataclass(frozen=True)
class ShownMoment:
    """One window of a room that users were shown."""

    picture: Pixels
    heading: str  # title, category, minute
    lines: Sequence[str]  # what was said
    codes: Sequence[tuple[str, str]]  # code and name of each level
    then: Sequence[str]  # what happened next


def moments_html(moments: Sequence[ShownMoment], note: str) -> str:
    """The moments as a part of the report; every text is escaped."""
    return (
        "<h2>Moments to judge</h2>"
        f"<p class='note'>{escape(note)}</p>"
        f"<table><tbody>{''.join(map(_row, moments))}</tbody></table>"
    )


def _row(moment: ShownMoment) -> str:
    codes = [f"<code>{escape(code)}</code> {escape(name)}" for code, name in moment.codes]
    said = "<br>".join([f"<b>{escape(moment.heading)}</b>", *map(escape, moment.lines)])
    columns = [f"<img width='224' height='224' alt='' src='{_source(moment.picture)}'>", said, "<br>".join(codes)]
    columns.append("<br>".join(map(escape, moment.then)))
    style = "text-align:left;white-space:normal;vertical-align:top;min-width:11rem"
    return "<tr>" + "".join(f"<td style='{style}'>{column}</td>" for column in columns) + "</tr>"


def _source(pixels: Pixels) -> str:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
