"""Plots of the aligned space: code map, code path, gate, trust."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from livealign.evaluation.plots import GREY, PALETTE, figure_with_axes, png_of

_POINTS = 4_000  # of the map
_LABELLED_WINDOWS = 6  # a code that lasts so long has its words in the path
_COLOURED = 12  # categories with a colour of their own; the rest is grey
_MARKERS = "osD^vXPp"


def code_map(
    vectors: NDArray[np.float32], codes: NDArray[np.integer], groups: Sequence[str], title: str = "Room-moments, by topic"
) -> bytes:
    """Map of aligned vectors [n, dim] in two principal directions, coloured by group [n].

    First codes are numbered. Neighbours should share a colour, and so should the points around a code.
    """
    rows = np.linspace(0, len(vectors) - 1, min(_POINTS, len(vectors))).astype(np.int64) if len(vectors) else np.zeros(0, int)
    figure, axes = figure_with_axes(8, 6.5)
    if len(rows) > 2:
        centred = vectors - vectors[rows].mean(0)
        flat = centred @ np.linalg.svd(centred[rows], full_matrices=False)[2][:2].T
        names = np.asarray(groups)
        known, counts = np.unique(names[rows], return_counts=True)
        common = known[np.argsort(-counts, kind="stable")][:_COLOURED]
        rest = rows[~np.isin(names[rows], common)]
        axes.scatter(flat[rest, 0], flat[rest, 1], s=5, color=GREY, alpha=0.25, label="others" if len(rest) else None)
        for number, name in enumerate(common):
            mine = rows[names[rows] == name]
            colour, marker = PALETTE[number % len(PALETTE)], _MARKERS[number // len(PALETTE)]
            label = str(name)[:24]
            axes.scatter(flat[mine, 0], flat[mine, 1], s=7, alpha=0.6, linewidths=0, label=label, color=colour, marker=marker)
        for code in np.unique(codes[rows, 0]):
            place = flat[codes[:, 0] == code].mean(0)
            axes.annotate(
                str(code), place, ha="center", va="center", fontsize=8, bbox={"facecolor": "white", "alpha": 0.7, "pad": 1}
            )
        axes.legend(frameon=False, fontsize=7, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(title=title, xlabel="first principal direction", ylabel="second principal direction")
    return png_of(figure)


def code_path(
    minutes: NDArray[np.floating], names: Sequence[str], texts: Sequence[str], title: str = "One room, minute by minute"
) -> bytes:
    """The first code of one room's windows over time, with the text where it changes.

    Args:
        minutes: [n] since the broadcast began.
        names: [n] of the first code of each window.
        texts: [n] of each window.
    """
    levels = list(dict.fromkeys(names))
    rows = np.array([levels.index(name) for name in names])
    figure, axes = figure_with_axes(10, 1.8 + 0.45 * max(len(levels), 1))
    axes.step(minutes, rows, where="post", color=PALETTE[0], linewidth=1.2)
    axes.scatter(minutes, rows, s=14, color=PALETTE[0])
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]] if len(rows) else []).tolist()
    for start, end in zip(starts, [*starts, len(rows)][1:], strict=True):
        if end - start >= _LABELLED_WINDOWS:  # the words of shorter steps would cover those of longer ones
            words = _plain(texts[start])
            axes.annotate(
                words, (minutes[start], rows[start]), (2, 6), textcoords="offset points", fontsize=6, color=PALETTE[3]
            )
    axes.set_yticks(range(len(levels)), [_plain(name, 40) for name in levels])
    axes.set(title=title, xlabel="minute of the broadcast")
    axes.margins(y=0.2)
    return png_of(figure)


def gate_by_group(
    groups: Mapping[str, Mapping[str, tuple[float, float]]], title: str = "How the gate leans: author ID or content"
) -> bytes:
    """Mean gate and the ID's mean share in the vector, by value of each grouping.

    Args:
        groups: grouping (author popularity, content quality) → value → (gate, share).
    """
    bars = [(f"{group}\n{value}", *numbers) for group, values in groups.items() for value, numbers in values.items()]
    figure, axes = figure_with_axes(1.6 + 1.0 * max(len(bars), 4), 4)
    places = np.arange(len(bars))
    axes.bar(places - 0.2, [bar[1] for bar in bars], 0.38, color=PALETTE[0], label="gate (1 = author ID)")
    axes.bar(places + 0.2, [bar[2] for bar in bars], 0.38, color=PALETTE[1], label="share of the vector that is the ID's")
    axes.set_xticks(places, [bar[0] for bar in bars], fontsize=7)
    axes.set_ylim(0, 1)
    axes.set(title=title)
    axes.legend(frameon=False, fontsize=8)
    return png_of(figure)


def _plain(text: str, longest: int = 48) -> str:
    """One short line without what matplotlib would read as a formula."""
    line = " ".join(text.replace("$", "").split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def trust_plot(trust: NDArray[np.floating], impressions: NDArray[np.integer]) -> bytes:
    """Trust in each author's content [n], 0 to 1, against their training impressions [n]."""
    figure, axes = figure_with_axes(8, 3.6)
    axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    trusted = trust >= 0.5
    for rows, colour, marker, name in ((trusted, PALETTE[0], "o", "trusted"), (~trusted, PALETTE[3], "v", "not trusted")):
        label = f"{name}: {rows.sum()}"
        axes.scatter(impressions[rows], trust[rows], s=16, alpha=0.6, color=colour, marker=marker, label=label)
    if len(trust):
        axes.set_xscale("log")
    axes.set_ylim(-0.05, 1.05)
    axes.set(title="Trust in authors' content", xlabel="training impressions of the author", ylabel="P(content tells more)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return png_of(figure)
