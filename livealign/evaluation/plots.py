"""Drawing primitives: loss curves, bars, PNG bytes.

The HTML report and Dagster's metadata show them. Agg canvas only: no display, no global state. Colours are those of Okabe & Ito
(2008), which colour-blind readers can distinguish.
"""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#777777"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)


def to_markdown_image(png: bytes, alt: str = "plot") -> str:
    """The picture as inline Markdown, as Dagster's metadata shows it.

    Brackets in `alt` would end it early, so they are left out.
    """
    return f"![{alt.translate({91: None, 93: None})}](data:image/png;base64,{base64.b64encode(png).decode()})"


def loss_curve(
    losses: Sequence[float],
    validation: Sequence[tuple[float, float]] = (),
    step: str = "optimiser step",
    title: str = "Training loss",
    unit: str = "nats",
) -> bytes:
    """Loss of each step (or epoch), raw and smoothed, with validation points on top.

    Args:
        validation: (steps taken, loss) of each validation.
    """
    figure, axes = figure_with_axes(7, 4)
    steps = range(1, len(losses) + 1)
    axes.plot(steps, losses, color=BLUE, alpha=0.3, linewidth=1, label=f"each {step}")
    window = max(1, len(losses) // 20)
    if window > 1:
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        axes.plot(steps[window - 1 :], smooth, color=BLUE, linewidth=2, label=f"mean of {window}")
    if validation:
        axes.plot(*zip(*validation, strict=True), color=VERMILION, marker="o", linewidth=1.5, label="validation")
    axes.set(title=title, xlabel=step, ylabel=f"loss ({unit})")
    axes.legend(frameon=False)
    return png_of(figure)


def codebook_usage(counts: Sequence[ArrayLike], title: str = "Codebook usage") -> bytes:
    """Share of segments on each code, a panel for each level, most used first.

    The line is an even spread.
    """
    figure, panels = _panels(3.2 * max(len(counts), 1), 3.4, max(len(counts), 1))
    for level, (axes, values) in enumerate(zip(panels, counts, strict=False), start=1):
        share = np.sort(np.asarray(values, np.float64))[::-1]
        dead, share = int((share == 0).sum()), share / max(share.sum(), 1)
        axes.bar(np.arange(len(share)), 100 * share, color=BLUE, width=0.9)
        axes.axhline(100 / max(len(share), 1), color=VERMILION, linestyle="--", linewidth=1)
        axes.set(title=f"level {level}: {len(share)} codes, {dead} dead", xlabel="code, most used first")
    panels[0].set_ylabel("segments (%)")
    figure.suptitle(title)
    return png_of(figure)


def drift_bars(scores: Mapping[str, tuple[float, float]], title: str = "Drift of the day against the reference") -> bytes:
    """Each column's drift score / threshold, largest first; above 1 it has drifted.

    Args:
        scores: column → (score, threshold).

    A threshold of 0 stands for a column that came or went; it is drawn at twice its threshold.
    """
    ratio = {name: score / threshold if threshold > 0 else 2.0 for name, (score, threshold) in scores.items()}
    names = sorted(ratio, key=lambda name: -ratio[name])
    figure, axes = figure_with_axes(7, 1.4 + 0.3 * max(len(names), 1))
    values = [ratio[name] for name in names]
    bars = axes.barh(names, values, color=[VERMILION if value > 1 else BLUE for value in values], height=0.65)
    for bar, value in zip(bars, values, strict=True):
        bar.set_hatch("//" if value > 1 else "")  # distinct in grey print too
    axes.axvline(1, color="black", linewidth=1)
    axes.set(title=title, xlabel="drift score / threshold (above 1: drifted)")
    axes.invert_yaxis()
    return png_of(figure)


def figure_with_axes(width: float, height: float) -> "tuple[Figure, Axes]":
    """An empty figure, width × height inches, with one set of axes in the house style."""
    figure, panels = _panels(width, height, 1)
    return figure, panels[0]


def _panels(width: float, height: float, columns: int) -> "tuple[Figure, list[Axes]]":
    """A figure outside pyplot, width × height inches: no global state, nothing to close, safe in threads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, columns, column + 1) for column in range(columns)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="both", alpha=0.25)
        axes.set_axisbelow(True)
    return figure, panels


def png_of(figure: "Figure") -> bytes:
    """The figure as a picture; the same data gives the same bytes."""
    data = BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
