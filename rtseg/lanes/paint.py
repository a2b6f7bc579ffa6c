"""Solid or dashed: how much of a lane line is painted, told from the picture along it.

Networks of lane lines are taught to go on through the gaps of dashes, so their maps do not tell. The picture does:
it is read across the line, eight paint widths wide, at rows that lie closer the farther they are, and paint is what is
brighter than both of its sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.lanes.sampling import interpolated
from rtseg.lanes.tracking import TrackedLanes
from rtseg.ops.order import median

_ROWS = 48
_COLUMNS = 25
_ACROSS = 4.0  # paint widths to each side
_WIDTH = 0.09  # paint width by rows below the horizon: 0.13 m seen from 1.4 m above the road
_HORIZON = 0.03  # of the height by which the horizon is above the highest line
_LEAST = 0.12  # of the height that a line has to reach below the horizon
_NEAREST = 0.05  # of the height below the horizon at which reading starts; beyond, paint is thinner than a pixel
_PAINT, _SIDE, _APART = 3, 4, 5  # columns of the paint, of each side, and from the start of one to that of the other
_FIRST, _PLACES = 7, 9  # columns at which paint may start: within two widths of the line
_AROUND = 13  # rows among which paint is compared with the strongest
_PAINTED = 0.4  # of the strongest contrast around: surely paint
_SURELY = 3.0  # times what texture differs by: paint, and no stain
_OTHER, _TEXTURE = 0.3, 10.0  # of the road's level, and gray levels, by which a vehicle differs from it
_STEPS = np.linspace(0, 1, _ROWS)
_OFFSETS = np.linspace(-_ACROSS, _ACROSS, _COLUMNS)
_STEEP, _EVEN = 15.0, 0.22  # of the logistic curve; fitted by `rtseg lab lane-markings`
_SECONDS = 1.0  # over which a line is remembered: a dash and its gap pass at 12 m/s
_FORGET = 2.0  # seconds without a frame after which ids may be others'
_AT_ONCE = 2


def paint_of(
    image: NDArray[np.uint8], polylines: Sequence[NDArray[np.float32]], chosen: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """How much paint the weaker rows of lane lines show.

    Args:
        image: (H, W, 3) uint8 BGR; its red is read, in which yellow paint is as bright as white.
        polylines: of one picture, (k, 2) of (x, y) in pixels, y increasing; together they tell where the horizon is.
        chosen: (m,) indices of those to read, unlike each other; all of them by default.

    Returns:
        (m,) float32 in [0, 1]: in three quarters of the rows in which a line is not hidden its contrast against its
        sides is more than this share of the strongest around; NaN for lines too short, too far or too hidden to tell.
    """
    chosen = range(len(polylines)) if chosen is None else chosen
    told = np.full(len(chosen), np.nan, np.float32)
    long, strips = _read(image, polylines, chosen)
    if not long:
        return told
    contrast, noise = _contrast(strips)
    strongest = np.empty_like(contrast)
    _around(contrast, _AROUND // 2, np.empty(_ROWS), strongest)
    share = contrast / (strongest + noise[:, None])
    for i, seen, shares in zip(long, _road(strips) | (share > _PAINTED), share, strict=True):
        if 2 * seen.sum() >= _ROWS:
            told[i] = np.sort(shares[seen])[seen.sum() // 4]
    return told


@compiled_in_place
def _around(contrast, reach, greatest, strongest):  # type: ignore[no-untyped-def]
    """Write the mean, over the rows around each, of the greatest contrast around those; ends count for rows beyond."""
    rows = contrast.shape[1]
    for n in range(contrast.shape[0]):
        for r in range(rows):
            greatest[r] = contrast[n, r]
            for k in range(max(r - reach, 0), min(r + reach + 1, rows)):
                greatest[r] = max(greatest[r], contrast[n, k])
        for r in range(rows):
            total = 0.0
            for k in range(r - reach, r + reach + 1):
                total += greatest[min(max(k, 0), rows - 1)]
            strongest[n, r] = total / (2 * reach + 1)


def painted_share(image: NDArray[np.uint8], polylines: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(n,) float32 share of each line's rows, where it is not hidden, that surely show paint, all at the same place.

    It tells a painted line, a dashed one too, from one that is none: of the road between lines hardly a row does. NaN
    for lines too short, too far or too hidden to tell.

    Args:
        image: as of :func:`paint_of`.
        polylines: likewise.
    """
    told = np.full(len(polylines), np.nan, np.float32)
    long, strips = _read(image, polylines, range(len(polylines)))
    if not long:
        return told
    contrast, noise = _contrasts(strips)
    surely = contrast > _SURELY * noise[:, None, None]
    surely = surely[..., :-2] | surely[..., 1:-1] | surely[..., 2:]  # a line is known to a third of its width or so
    for i, seen, rows in zip(long, _road(strips) | surely.any(axis=2), surely, strict=True):
        if 2 * seen.sum() >= _ROWS:
            told[i] = rows[seen].mean(axis=0).max()
    return told


def _read(
    image: NDArray[np.uint8], polylines: Sequence[NDArray[np.float32]], chosen: Sequence[int]
) -> tuple[list[int], NDArray[np.float32]]:
    """Those of the chosen lines that are long enough to be read, numbered as chosen, and the picture across them."""
    lines = [polylines[i] for i in chosen]
    tops = [line[0, 1] for line in polylines if len(line)]
    height = len(image)
    horizon = float(min(tops, default=0.0)) - _HORIZON * height
    long = [i for i, line in enumerate(lines) if len(line) > 1 and line[-1, 1] >= horizon + _LEAST * height]
    nothing = np.empty((0, _ROWS, _COLUMNS), np.float32)
    return long, _strips(image, [lines[i] for i in long], horizon) if long else nothing


def _road(strips: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n, rows) where the line runs over the road that is there in most rows, and not behind a vehicle."""
    level = _medians(strips.reshape(-1, _COLUMNS).copy()).reshape(-1, _ROWS)
    usual = _medians(level.copy())[:, None]
    return np.abs(level - usual) <= _OTHER * usual + _TEXTURE


def _strips(image: NDArray[np.uint8], lines: list[NDArray[np.float32]], horizon: float) -> NDArray[np.float32]:
    """(n, rows, columns) of the picture's red across each line, from far to near."""
    strips = np.empty((len(lines), _ROWS, _COLUMNS), np.float32)
    pixels = np.ascontiguousarray(image).view()
    pixels.setflags(write=False)  # as ROS' buffers are: Numba compiles a kernel for each kind of array
    for line, strip in zip(lines, strips, strict=True):
        _read_across(pixels, line, horizon, _STEPS, _OFFSETS, strip)
    return strips


@compiled_in_place
def _inside(x, last):  # type: ignore[no-untyped-def]
    return min(x, last) if x > 0 else 0.0  # what is not a number, too


@compiled_in_place
def _read_across(image, line, horizon, steps, offsets, strip):  # type: ignore[no-untyped-def]
    """Write the red of an image (H, W, 3) across a line of two points or more, between pixels as they are mixed."""
    height, width = image.shape[:2]
    far = max(line[0, 1] - horizon, _NEAREST * height)
    near = line[-1, 1] - horizon
    for i in range(len(steps)):
        y = horizon + far * (near / far) ** steps[i]
        middle = interpolated(y, line[:, 1], line[:, 0])
        across = _WIDTH * (y - horizon) + 1
        y = _inside(y, height - 1.0)
        y0 = int(y)
        y1, v = min(y0 + 1, height - 1), y - y0
        for k in range(len(offsets)):
            x = _inside(middle + offsets[k] * across, width - 1.0)
            x0 = int(x)
            x1, u = min(x0 + 1, width - 1), x - x0
            upper = image[y0, x0, 2] * (1 - u) + image[y0, x1, 2] * u
            lower = image[y1, x0, 2] * (1 - u) + image[y1, x1, 2] * u
            strip[i, k] = upper * (1 - v) + lower * v


def _contrast(strips: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, rows) how much brighter than both sides the best place for paint is, and (n,) what texture differs by."""
    contrast, noise = _contrasts(strips)
    return np.maximum(contrast.max(axis=2), 0), noise


def _contrasts(strips: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, rows, places) how much brighter than both sides each place is, and (n,) what texture differs by."""
    contrasts = np.empty((*strips.shape[:2], _PLACES), np.float32)
    steps = np.empty((len(strips), _ROWS * (_COLUMNS - 1)), np.float32)
    _compare(strips, contrasts, steps)
    return contrasts, _medians(steps) + 1


@compiled_in_place
def _compare(strips, contrasts, steps):  # type: ignore[no-untyped-def]
    """Write how much brighter than both sides each place is, and how much neighbors along a row differ."""
    for n in range(strips.shape[0]):
        at = 0
        for r in range(strips.shape[1]):
            strip = strips[n, r]
            for c in range(len(strip) - 1):
                steps[n, at] = abs(strip[c + 1] - strip[c])
                at += 1
            for k in range(contrasts.shape[2]):
                first = _FIRST + k
                paint = left = right = 0.0
                for c in range(_PAINT):
                    paint += strip[first + c]
                for c in range(_SIDE):
                    left += strip[first - _APART + c]
                    right += strip[first + _PAINT + _APART - _SIDE + c]
                contrasts[n, r, k] = paint / _PAINT - max(left, right) / _SIDE


def _medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the rows (n, m), whose order changes."""
    found = np.empty(len(values), np.float32)
    _write_medians(values, found)
    return found


@compiled_in_place
def _write_medians(values, found):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        found[i] = median(values[i])


@dataclass
class _Line:
    paint: float = np.nan
    weight: float = 0.0
    read: int = 0


class MarkingMemory:
    """Tells of the lines of one camera whether they are solid, from what it saw of each within a second or so.

    Of each frame it reads the two lines that it has not read for longest, so that its time is the same however many
    there are.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all lines."""
        self._lines: dict[int, _Line] = {}
        self._last = 0

    def update(self, image: NDArray[np.uint8], lanes: TrackedLanes, stamp: int) -> NDArray[np.float32]:
        """Add what a frame shows.

        Args:
            image: (H, W, 3) uint8 BGR.
            lanes: its lines.
            stamp: nanoseconds; one that jumps back, or far ahead, starts anew.

        Returns:
            (n,) float32: how probable it is that each line is solid; NaN where that cannot be told yet.
        """
        if not 0 <= stamp - self._last <= _FORGET * 1e9:
            self.reset()
        ids = lanes.ids.tolist()
        self._lines, self._last = {i: self._lines.get(i) or _Line() for i in ids}, stamp
        lines = list(self._lines.values())
        turn = sorted(range(len(lines)), key=lambda i: lines[i].read)[:_AT_ONCE]
        for i, value in zip(turn, paint_of(image, lanes.polylines, turn).tolist(), strict=True):
            line, elapsed = lines[i], (stamp - lines[i].read) / 1e9
            line.read = stamp
            if np.isfinite(value):
                kept = line.weight * float(np.exp(-elapsed / _SECONDS))
                line.paint = value if not kept else line.paint + (value - line.paint) / (kept + 1)
                line.weight = kept + 1
        return solid_of(np.array([line.paint for line in lines], np.float32))


def solid_of(paint: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) float32, how probable it is that a line of so much paint is solid; NaN stays."""
    return (1 / (1 + np.exp(-_STEEP * (paint - _EVEN)))).astype(np.float32)
