"""Plots of an evaluation report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from livealign.calibration_metrics import Reliability
from livealign.evaluation.plots import BLUE, GREEN, GREY, ORANGE, PALETTE, figure_with_axes, png_of
from livealign.evaluation.report import EvaluationReport
from livealign.simulation.truth import ANY_PLACE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def variants_bar(report: EvaluationReport) -> bytes:
    """GAUC of each variant, with the interval of its gain over the baseline, and ceilings.

    Whiskers are the intervals, lines the ceilings (of any place).
    """
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
    ceilings = {name: metrics for name, metrics in report.oracle.items() if name.endswith(ANY_PLACE)} or report.oracle
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
    """Gain in GAUC over the baseline in each value of a slice, with intervals.

    Args:
        variants: the variants to draw; default all.
    """
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
    """Observed against predicted click rate; the diagonal is perfect calibration.

    Each point is a bin; bins have equal counts.
    """
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


def _legend_once(axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(reversed(labels), reversed(handles), strict=True))
    if first:
        axes.legend([first[label] for label in dict.fromkeys(labels)], list(dict.fromkeys(labels)), frameon=False, fontsize=8)
