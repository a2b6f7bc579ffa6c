"""Plots as inline SVG that take their ink from the page, so that one picture fits a light and a dark page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_INK = "#010203"  # stands for the page's text color until the SVG is written
_COLORS = ("#2f9e6e", "#3b82d6", "#d9822b", "#a463c9", "#c9a227", "#d1495b", "#5b8f9b")
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rtseg",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
}


@dataclass(frozen=True)
class Series:
    """Values over the time of a recording.

    Attributes:
        name: title of the plot.
        unit: of the values.
        seconds: (n,) since the start.
        values: (n,) float, NaN where there is none.
    """

    name: str
    unit: str
    seconds: NDArray[np.float64]
    values: NDArray[np.float64]


def plot_latency(stages: Mapping[str, NDArray[np.float64]]) -> str:
    """Histograms of milliseconds, one strip a stage on one scale, with the median and the 99th percentile marked."""
    drawn = {name: values for name, values in stages.items() if len(values)}
    if not drawn:
        return ""
    # A few outliers must not squeeze the rest into one bar; what lies beyond is gathered in the last one.
    limit = max(float(np.percentile(values, 99, method="lower")) for values in drawn.values()) * 1.15 or 1.0
    edges = np.linspace(0, limit, 90)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _strips(len(drawn), 0.62)
        for axis, (name, values), color in zip(axes, drawn.items(), _cycle(len(drawn)), strict=True):
            axis.hist(np.minimum(values, limit), edges.tolist(), color=color, alpha=0.85)
            middle, high = np.percentile(values, [50, 99])
            for at, style in ((middle, "-"), (high, ":")):
                axis.axvline(min(at, limit), color=_INK, linewidth=0.9, linestyle=style)
            axis.set_ylabel(name, rotation=0, ha="right", va="center")
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
            axis.tick_params(bottom=axis is axes[-1])
        axes[-1].set_xlim(0, limit)
        axes[-1].set_xlabel("milliseconds (line: median, dots: 99th percentile)")
        return _svg(figure)


def plot_series(series: Sequence[Series]) -> str:
    """Values over time, one strip each on one time axis."""
    drawn = [s for s in series if len(s.seconds)]
    if not drawn:
        return ""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _strips(len(drawn), 1.05)
        for axis, one, color in zip(axes, drawn, _cycle(len(drawn)), strict=True):
            thin = max(1, len(one.seconds) // 1500)
            axis.plot(one.seconds[::thin], one.values[::thin], color=color, linewidth=1.1)
            axis.set_title(f"{one.name} ({one.unit})" if one.unit else one.name, loc="left", fontsize=10)
            finite = one.values[np.isfinite(one.values)]
            axis.set_ylim(0, (float(finite.max()) if finite.size else 1.0) * 1.15 or 1.0)
            axis.margins(x=0.01)
            axis.grid(axis="y", color=_INK, alpha=0.12, linewidth=0.6)
        axes[-1].set_xlabel("seconds of the recording")
        return _svg(figure)


def plot_bars(
    groups: Mapping[str, Sequence[float]], x_label: str, y_label: str, ticks: Sequence[str] | None = None
) -> str:
    """Bars side by side, one group of color a name; all groups have as many values, which `ticks` may name."""
    count = max((len(values) for values in groups.values()), default=0)
    if not count:
        return ""
    with matplotlib.rc_context(_STYLE):
        figure, (axis,) = _strips(1, 2.4)
        width = 0.8 / len(groups)
        for i, ((name, values), color) in enumerate(zip(groups.items(), _cycle(len(groups)), strict=True)):
            axis.bar(np.arange(count) + (i + 0.5) * width - 0.4, values, width, color=color, label=name)
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.margins(x=0.01)
        if ticks is not None:
            axis.set_xticks(range(count), ticks)
        axis.legend(frameon=False)
        return _svg(figure)


def plot_curves(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    x_label: str,
    y_label: str,
    diagonal: bool = False,
) -> str:
    """Curves (x, y) of shares in [0, 1] by name, NaN left open; with the diagonal where the two should be equal."""
    if not curves:
        return ""
    with matplotlib.rc_context(_STYLE):
        figure, (axis,) = _strips(1, 3.2)
        if diagonal:
            axis.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, alpha=0.5, linestyle=":")
        for (name, (x, y)), color in zip(curves.items(), _cycle(len(curves)), strict=True):
            axis.plot(x, y, color=color, linewidth=1.4, marker="o" if len(x) < 30 else None, markersize=4, label=name)
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1.02)
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.grid(color=_INK, alpha=0.12, linewidth=0.6)
        axis.legend(frameon=False)
        return _svg(figure)


def _strips(count: int, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9.2, height * count + 0.7), layout="constrained")
    axes = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    figure.patch.set_alpha(0)
    for axis in axes:
        axis.patch.set_alpha(0)
    return figure, list(axes)


def _cycle(count: int) -> list[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(count)]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # The viewBox alone lets the page set the width; font families are the page's too.
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", text, count=1)
    return re.sub(r"font: ([^;\"]*?)px [^;\"]*", r"font-size: \1px", text)
