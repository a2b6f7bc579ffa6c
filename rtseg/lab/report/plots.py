"""Charts as SVG that take their ink from the page; the page's script reads their numbers out at the pointer or by keys.

Each is one ``<svg>`` whose attribute ``data-chart`` holds what is drawn as JSON: the ends of the x axis, in units of
the drawing and of the values, and name, unit, place, x and y of each strip or group. The page's style grows the text on
narrow screens.
"""

from __future__ import annotations

import json
import math
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLORS = ("#2a9164", "#3b7fd0", "#c2681a", "#a05ac4", "#98780f", "#d1495b", "#4a8794")
"""All at least three times as bright or as dark as a light and a dark page."""
_DASHES = ("7 5", "2 5", "9 4 2 4")
"""Of names that come when all colors are taken, once, twice, three times: no two of 28 are drawn alike."""
_INK = "currentColor"
_WIDTH, _LEFT, _RIGHT = 720.0, 66.0, 706.0
_TITLE = 32.0  # above a strip
_LINE = 28.0  # of text below the axis
_LETTERS = 46  # of a line of a legend, at most
_POINTS = 700  # of a curve; of more the highest and lowest of each stretch are drawn
_MARKED = 30  # points of a curve up to which each has a mark


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
    edges: NDArray[np.float64] = np.linspace(0, limit, 90, dtype=np.float64)
    chart = _Chart("Histogram of milliseconds by stage", (0.0, limit), "ms")
    for (name, values), color in zip(drawn.items(), _cycle(len(drawn)), strict=True):
        middle, high = np.percentile(values, [50, 99])
        counts = np.histogram(np.minimum(values, limit), edges)[0].astype(np.float64)
        chart.strip(f"{name}: {middle:.2f} ms, 99 % within {high:.2f} ms", 34)
        chart.values(name, "frames", (edges[:-1] + edges[1:]) / 2, counts)
        chart.bars(edges, counts / (counts.max() or 1.0), {"fill": color})
        for at, dashes in ((middle, ""), (high, "2 3")):
            chart.upright(min(float(at), limit), dashes)
    chart.x_axis(_ticks(0, limit), "milliseconds (line: median, dots: 99th percentile)")
    return chart.svg()


def plot_series(series: Sequence[Series]) -> str:
    """Values over time, one strip each on one time axis."""
    drawn = [s for s in series if len(s.seconds)]
    if not drawn:
        return ""
    ends = min(float(s.seconds[0]) for s in drawn), max(float(s.seconds[-1]) for s in drawn)
    chart = _Chart("Over the seconds of the recording", (ends[0], max(ends[1], ends[0] + 1e-3)), "s", time=True)
    for one, color in zip(drawn, _cycle(len(drawn)), strict=True):
        shown = _thinned(one.values)
        seconds, values = one.seconds[shown], one.values[shown]
        finite = values[np.isfinite(values)]
        highest = (float(finite.max()) if finite.size else 1.0) * 1.12
        highest = highest if highest > 0 else 1.0
        chart.strip(f"{one.name} ({one.unit})" if one.unit else one.name, 72)
        chart.y_axis(_ticks(0, highest, 3), highest)
        chart.values(one.name, one.unit, seconds, values)
        chart.curve(seconds, values / highest, {"stroke": color})
    chart.x_axis(_ticks(*chart.ends), "seconds of the recording")
    return chart.svg()


def plot_bars(
    groups: Mapping[str, Sequence[float]], x_label: str, y_label: str, ticks: Sequence[str] | None = None
) -> str:
    """Bars side by side, one group of color a name; all groups have as many values, which `ticks` may name."""
    count = max((len(values) for values in groups.values()), default=0)
    if not count:
        return ""
    all_values = np.array([value for values in groups.values() for value in values], np.float64)
    finite = all_values[np.isfinite(all_values)]
    highest = (float(finite.max()) if finite.size else 1.0) * 1.08
    highest = highest if highest > 0 else 1.0
    about = ", ".join(filter(None, (y_label, x_label)))
    chart = _Chart(f"Bars of {about} for {', '.join(groups)}", (-0.5, count - 0.5), "", ticks)
    styles = _bar_styles(len(groups))
    chart.legend(groups, styles)
    chart.strip(y_label, 170)
    chart.y_axis(_ticks(0, highest, 5), highest)
    width = 0.8 / len(groups)
    for i, ((name, values), style) in enumerate(zip(groups.items(), styles, strict=True)):
        left = np.arange(count, dtype=np.float64) + (i * width - 0.4)
        heights = np.asarray(values, np.float64)
        chart.values(name, "", np.arange(count, dtype=np.float64), heights)
        chart.bars(left, heights / highest, style, width)
    if ticks is not None:
        chart.x_axis([(float(i), str(tick)) for i, tick in enumerate(ticks)], x_label)
    else:
        chart.x_axis([tick for tick in _ticks(0, count - 1) if tick[0] % 1 == 0], x_label)
    return chart.svg()


def plot_curves(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    x_label: str,
    y_label: str,
    diagonal: bool = False,
) -> str:
    """Curves (x, y) of shares in [0, 1] by name, NaN left open; with the diagonal where the two should be equal."""
    if not curves:
        return ""
    chart = _Chart(f"Curves of {y_label} against {x_label} for {', '.join(curves)}", (0.0, 1.0), x_label)
    styles = _curve_styles(len(curves))
    chart.legend(curves, styles, lines=True)
    chart.strip(y_label, 250)
    chart.y_axis(_ticks(0, 1), 1.02)
    if diagonal:
        chart.curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]) / 1.02, {"stroke": _INK, "stroke-dasharray": "2 4"})
    for (name, (x, y)), style in zip(curves.items(), styles, strict=True):
        shown = _thinned(np.asarray(y, np.float64))
        chart.values(name, "", x[shown], y[shown])
        chart.curve(x[shown], y[shown] / 1.02, style, marks=len(x) < _MARKED)
    chart.x_axis(_ticks(0, 1), x_label)
    return chart.svg()


class _Chart:
    """Strips below each other on one x axis; y of a strip is a share of its height."""

    def __init__(
        self,
        about: str,
        ends: tuple[float, float],
        unit: str,
        ticks: Sequence[str] | None = None,
        time: bool = False,
    ) -> None:
        self.ends = ends
        self._root = ElementTree.Element("svg", {"class": "chart", "role": "img", "aria-label": about})
        self._strips: list[dict[str, Any]] = []
        self._said = {
            "left": _LEFT,
            "right": _RIGHT,
            "from": ends[0],
            "to": ends[1],
            "unit": unit,
            "time": time,
            "ticks": None if ticks is None else [str(tick) for tick in ticks],
        }
        self._top = self._bottom = 0.0

    def strip(self, title: str, height: float) -> None:
        """Go on below, under a title."""
        self._top = self._bottom + _TITLE
        self._bottom = self._top + height
        self._text(_LEFT, self._top - 10, title, "start")
        self._line(_LEFT, self._bottom, _RIGHT, self._bottom, {"stroke-opacity": "0.6"})

    def legend(self, names: Mapping[str, Any], styles: Sequence[Mapping[str, str]], lines: bool = False) -> None:
        """Names beside pieces of bars or curves, in lines that are not cut off where the page grows its text."""
        for name, style in zip(names, styles, strict=True):
            top = self._bottom + _LINE - 14
            if lines:
                self._add("path", d=f"M{_LEFT:g} {top + 6:g}h18", **{**style, "stroke-width": "3"})
            else:
                self._add("rect", x=_LEFT, y=top, width=16, height=12, rx=2, **style)
            for line in textwrap.wrap(name, _LETTERS) or [""]:
                self._bottom += _LINE
                self._text(_LEFT + 24, self._bottom - 3, line, "start")

    def values(self, name: str, unit: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Say to the page's script what is drawn."""
        strip = {"name": name, "unit": unit, "top": self._top, "bottom": self._bottom}
        self._strips.append({**strip, "x": _rounded(x), "y": _rounded(y)})

    def bars(
        self, edges: NDArray[np.floating], shares: NDArray[np.floating], style: Mapping[str, str], width: float = 0.0
    ) -> None:
        """Bars that begin at `edges`: each is `width` wide, or goes on to the next edge."""
        height = self._bottom - self._top
        parts = []
        for i, share in enumerate(shares):
            if share > 0:  # no NaN either
                left, right = self._x(edges[i]), self._x(edges[i] + width if width else edges[i + 1])
                parts.append(
                    f"M{left:.1f} {self._bottom:.1f}V{self._bottom - max(share * height, 1):.1f}"
                    f"H{right:.1f}V{self._bottom:.1f}Z"
                )
        self._add("path", d="".join(parts), **style)

    def curve(
        self,
        x: NDArray[np.float64],
        shares: NDArray[np.float64],
        style: Mapping[str, str],
        marks: bool = False,
    ) -> None:
        """A curve that is open where its values are NaN."""
        points = []
        pen = "M"
        for at, share in zip(x, shares, strict=True):
            if not math.isfinite(share):
                pen = "M"
                continue
            place = f"{self._x(at):.1f} {self._bottom - share * (self._bottom - self._top):.1f}"
            points.append(f"{pen}{place}" + (f"L{place}" if pen == "M" else ""))  # a lone point is a dot
            pen = "L"
            if marks:
                cx, cy = place.split()
                self._add("circle", cx=cx, cy=cy, r=4, fill=style["stroke"])
        drawn = {"stroke-linejoin": "round", "stroke-linecap": "round", "stroke-width": "1.6", **style}
        self._add("path", d="".join(points), fill="none", **drawn)

    def upright(self, at: float, dashes: str) -> None:
        """A line at `at` over the height of the strip."""
        style = {"stroke-dasharray": dashes} if dashes else {}
        self._line(self._x(at), self._top, self._x(at), self._bottom, style)

    def y_axis(self, ticks: Sequence[tuple[float, str]], highest: float) -> None:
        """Lines across at values of which `highest` is as high as the strip."""
        for value, name in ticks:
            y = self._bottom - value / highest * (self._bottom - self._top)
            if value:
                self._line(_LEFT, y, _RIGHT, y, {"stroke-opacity": "0.18"})
            self._text(_LEFT - 8, y + 5, name, "end")

    def x_axis(self, ticks: Sequence[tuple[float, str]], label: str) -> None:
        """Names at values below the last strip, and what they mean."""
        room = (_RIGHT - _LEFT) / max(len(ticks), 1)
        longest = max((len(name) for _, name in ticks), default=0)
        every = max(1, math.ceil(9 * longest / room)) if longest * 9 <= room * 3 else 1
        slanted = longest * 9 > room * 3  # names that would be drawn over each other
        for i, (value, name) in enumerate(ticks):
            if slanted:
                turn = {"transform": f"rotate(-35 {self._x(value):.1f} {self._bottom + 18:.1f})"}
                self._text(self._x(value), self._bottom + 18, name, "end", turn)
            elif i % every == 0:
                self._text(self._x(value), self._bottom + 20, name, "middle")
        self._bottom += 6 + (longest * 6 if slanted else _LINE - 6)
        if label:
            self._bottom += _LINE
            self._text((_LEFT + _RIGHT) / 2, self._bottom - 4, label, "middle")

    def svg(self) -> str:
        """The chart as text."""
        self._root.set("viewBox", f"0 0 {_WIDTH:g} {self._bottom + 8:.0f}")
        self._root.set("font-size", "14")
        self._root.set("data-chart", json.dumps({**self._said, "strips": self._strips}, separators=(",", ":")))
        return ElementTree.tostring(self._root, encoding="unicode")

    def _x(self, value: float) -> float:
        low, high = self.ends
        return _LEFT + (float(value) - low) / (high - low) * (_RIGHT - _LEFT)

    def _add(self, tag: str, text: str = "", **attributes: Any) -> None:
        said = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in attributes.items()}
        ElementTree.SubElement(self._root, tag, said).text = text or None

    def _line(self, x1: float, y1: float, x2: float, y2: float, style: Mapping[str, str]) -> None:
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=_INK, **style)

    def _text(self, x: float, y: float, text: str, anchor: str, style: Mapping[str, str] | None = None) -> None:
        self._add("text", text, x=x, y=y, fill=_INK, **{"text-anchor": anchor}, **(style or {}))


def _thinned(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the highest and lowest value of each stretch of many, so that no spike is lost; all of few."""
    if len(values) <= _POINTS:
        return np.arange(len(values))
    kept = set()
    for part in np.array_split(np.arange(len(values)), _POINTS // 2):
        known = part[np.isfinite(values[part])]
        if known.size:
            kept |= {int(known[np.argmax(values[known])]), int(known[np.argmin(values[known])])}
        if known.size < part.size:
            kept.add(int(part[~np.isfinite(values[part])][0]))  # the curve is open here
    return np.array(sorted(kept), np.int64)


def _ticks(low: float, high: float, count: int = 7) -> list[tuple[float, str]]:
    """At most `count` round numbers from low to high, with their names."""
    span = high - low
    if not span > 0:
        return [(low, f"{low:g}")]
    step = 10.0 ** math.floor(math.log10(span / count))
    step = next((m * step for m in (1, 2, 5, 10) if span / (m * step) <= count), 10 * step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, f"{i * step:.6g}") for i in range(first, last + 1)]


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]


def _cycle(count: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _bar_styles(count: int) -> list[dict[str, str]]:
    """How the bars of each name are drawn: filled with a color, then hollow, then hollow with dashed edges."""
    styles = []
    for i, color in enumerate(_cycle(count)):
        style = {"fill": color}
        if taken := i // len(COLORS) % (1 + len(_DASHES)):
            style |= {"fill-opacity": "0.12", "stroke": color, "stroke-width": "1.6"}
            style |= {"stroke-dasharray": _DASHES[taken - 2]} if taken > 1 else {}
        styles.append(style)
    return styles


def _curve_styles(count: int) -> list[dict[str, str]]:
    """How the curve of each name is drawn: in a color, then dashed."""
    dashes = [i // len(COLORS) % (1 + len(_DASHES)) for i in range(count)]
    return [
        {"stroke": color, **({"stroke-dasharray": _DASHES[taken - 1]} if taken else {})}
        for color, taken in zip(_cycle(count), dashes, strict=True)
    ]
