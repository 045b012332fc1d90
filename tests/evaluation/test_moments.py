"""Moments of the report: a picture that can be read back, and texts of which none is HTML."""

import base64
import re
from io import BytesIO

import numpy as np
from PIL import Image

from livealign.evaluation.moments import ShownMoment, moments_html


def test_a_moment_shows_its_picture_and_its_texts_escaped() -> None:
    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[:, :112] = (255, 0, 0)
    moment = ShownMoment(pixels, "<b>title</b>", ["host: a & b"], [("3", "<i>chess"), ("5", "")], ["shown to 2: 1 entered"])
    page = moments_html([moment, moment], "a <note>")
    assert "&lt;b&gt;title" in page
    assert "host: a &amp; b" in page
    assert "<code>3</code> &lt;i&gt;chess" in page
    assert "a &lt;note&gt;" in page
    assert page.count("<tr>") == 2
    (data, *_) = re.findall(r"data:image/jpeg;base64,([^']+)'", page)
    seen = np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"), np.int64)
    assert np.abs(seen[:, :100] - (255, 0, 0)).max() < 8
    assert np.abs(seen[:, 124:]).max() < 8
