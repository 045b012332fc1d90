"""Plots as PNG bytes, for the HTML report and for Dagster's metadata. Agg canvas only: no display, no global state.

Colours are those of Okabe & Ito (2008), told apart by colour-blind readers.
"""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from livealign.evaluation import EvaluationReport
from livealign.metrics import Reliability
from livealign.truth import ANY_PLACE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#777777"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)


def to_markdown_image(png: bytes, alt: str = "plot") -> str:
    """The picture as inline Markdown, as Dagster's metadata shows it. Brackets in `alt` would end it early, so they go."""
    return f"![{alt.translate({91: None, 93: None})}](data:image/png;base64,{base64.b64encode(png).decode()})"


def loss_curve(
    losses: Sequence[float],
    validation: Sequence[tuple[float, float]] = (),
    step: str = "optimiser step",
    title: str = "Training loss",
    unit: str = "nats",
) -> bytes:
    """Loss of each step (or epoch), raw and smoothed; validation points [(steps taken, loss)] on top."""
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


def variants_bar(report: EvaluationReport) -> bytes:
    """GAUC of each variant; whiskers are the interval of its difference to the baseline, lines the ceilings (of any place)."""
    names = [name for name, metrics in report.variants.items() if metrics.gauc is not None]
    values = [report.variants[name].gauc or 0.0 for name in names]
    figure, axes = figure_with_axes(8, 1.6 + 0.42 * max(len(names), 1))
    colours = [ORANGE if name == report.baseline else BLUE for name in names]
    axes.barh(names, values, color=colours, height=0.65)
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        interval, reach = report.differences.get(name), value
        if interval is not None and np.isfinite(interval.low):
            below, above = max(interval.difference - interval.low, 0), max(interval.high - interval.difference, 0)
            axes.errorbar(value, place, xerr=[[below], [above]], color="black", capsize=3, linewidth=1)
            reach = value + above
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # readable where a ceiling's line passes
        axes.annotate(f"{value:.4f}", (reach, place), (5, 0), textcoords="offset points", va="center", fontsize=8, bbox=box)
    ceilings = {name: one for name, one in report.oracle.items() if name.endswith(ANY_PLACE)} or report.oracle
    for (name, metrics), style in zip(ceilings.items(), ("-", "-.", "--"), strict=False):
        if metrics.gauc is not None:
            axes.axvline(metrics.gauc, color=GREEN, linestyle=style, linewidth=1.5, label=f"{name} {metrics.gauc:.4f}")
    ends = [*values, *(metrics.gauc for metrics in ceilings.values() if metrics.gauc is not None), 0.5]
    room = max(max(ends) - min(ends), 0.01)
    axes.set_xlim(min(ends) - 0.05 * room, max(ends) + 0.2 * room)
    axes.set(
        title="Click ranking of the held-out day", xlabel=f"GAUC (0.5 is chance); whiskers: 95 % of gain over {report.baseline}"
    )
    axes.invert_yaxis()
    if report.oracle:
        figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return png_of(figure)


def gain_by_slice(report: EvaluationReport, slice_name: str = "author_popularity", variants: Sequence[str] = ()) -> bytes:
    """Gain in GAUC over the baseline in each value of a slice, with intervals; all variants, or those named."""
    table = report.slices.get(slice_name, {})
    wanted = list(variants) or [name for name in report.variants if name != report.baseline]
    figure, axes = figure_with_axes(8, 4.2)
    width = 0.8 / max(len(wanted), 1)
    for number, name in enumerate(wanted):
        for place, values in enumerate(table.values()):
            gain = values[name].against_baseline if name in values else None
            if gain is None or not np.isfinite(gain.difference):
                continue
            at = place - 0.4 + width * (number + 0.5)
            axes.bar(at, gain.difference, width * 0.92, color=PALETTE[number % len(PALETTE)], label=name)
            whisker = [[max(gain.difference - gain.low, 0)], [max(gain.high - gain.difference, 0)]]
            axes.errorbar(at, gain.difference, yerr=whisker, color="black", capsize=2, linewidth=1)
    axes.axhline(0, color=GREY, linewidth=1)
    users = {value: next(iter(row.values())).n_users for value, row in table.items() if row}
    axes.set_xticks(range(len(table)), [f"{value}\n{users.get(value, 0):,} users" for value in table])
    axes.set(title=f"Gain by {slice_name.replace('_', ' ')}", ylabel=f"GAUC − GAUC of {report.baseline}")
    _legend_once(axes)
    return png_of(figure)


def reliability_plot(curves: Mapping[str, Reliability], title: str = "Calibration") -> bytes:
    """Observed against predicted click rate, a point for each bin of equal count; the diagonal is perfect."""
    figure, axes = figure_with_axes(5.5, 5.2)
    top = max((float(max(c.predicted.max(), c.observed.max())) for c in curves.values() if len(c.predicted)), default=1.0)
    axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, label="perfect")
    for number, (name, curve) in enumerate(curves.items()):
        marker = "osD^vX"[number % 6]
        colour = PALETTE[number % len(PALETTE)]
        axes.plot(curve.predicted, curve.observed, marker=marker, markersize=4, color=colour, linewidth=1.2, label=name)
    axes.set(title=title, xlabel="predicted click probability", ylabel="observed click rate")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(frameon=False, fontsize=8)
    return png_of(figure)


def codebook_usage(counts: Sequence[ArrayLike], title: str = "Codebook usage") -> bytes:
    """Share of segments on each code, a panel for each level, most used first; the line is an even spread."""
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
    """Each column's (score, threshold) as score / threshold, largest first: right of the line it has drifted.

    A threshold of 0 stands for a column that came or went; it is drawn at twice its threshold.
    """
    ratio = {name: score / threshold if threshold > 0 else 2.0 for name, (score, threshold) in scores.items()}
    names = sorted(ratio, key=lambda name: -ratio[name])
    figure, axes = figure_with_axes(7, 1.4 + 0.3 * max(len(names), 1))
    values = [ratio[name] for name in names]
    bars = axes.barh(names, values, color=[VERMILION if value > 1 else BLUE for value in values], height=0.65)
    for bar, value in zip(bars, values, strict=True):
        bar.set_hatch("//" if value > 1 else "")  # told apart in grey print too
    axes.axvline(1, color="black", linewidth=1)
    axes.set(title=title, xlabel="drift score / threshold (above 1: drifted)")
    axes.invert_yaxis()
    return png_of(figure)


def figure_with_axes(width: float, height: float) -> "tuple[Figure, Axes]":
    """An empty figure of so many inches, with one set of axes in the house style."""
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


def _legend_once(axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(reversed(labels), reversed(handles), strict=True))
    if first:
        axes.legend([first[label] for label in dict.fromkeys(labels)], list(dict.fromkeys(labels)), frameon=False, fontsize=8)


def png_of(figure: "Figure") -> bytes:
    """The figure as a picture; the same data gives the same bytes."""
    data = BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
