"""Solid or dashed: how much of a lane line is painted, told from the picture along it.

Networks of lane lines are taught to go on through the gaps of dashes, so their maps do not tell. The picture does:
it is read across the line, eight paint widths wide, at rows that lie closer the farther they are, and paint is what is
brighter than both of its sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lanes.tracking import TrackedLanes

_ROWS = 48
_COLUMNS = 25
_ACROSS = 4.0  # paint widths to each side
_WIDTH = 0.09  # paint width by rows below the horizon: 0.13 m seen from 1.4 m above the road
_HORIZON = 0.03  # of the height by which the horizon is above the highest line
_LEAST = 0.12  # of the height that a line has to reach below the horizon
_NEAREST = 0.05  # of the height below the horizon at which reading starts; beyond, paint is thinner than a pixel
_PAINT, _SIDE, _APART = 3, 4, 5  # columns of the paint, of each side, and from the start of one to that of the other
_SHIFTS = slice(7, 16)  # columns at which paint may start: within two widths of the line
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
    nearby = np.ones((1, _AROUND), np.uint8)
    strongest = cv2.blur(cv2.dilate(contrast, nearby), (_AROUND, 1), borderType=cv2.BORDER_REPLICATE)
    share = contrast / (strongest + noise[:, None])
    for i, seen, shares in zip(long, _road(strips) | (share > _PAINTED), share, strict=True):
        if 2 * seen.sum() >= _ROWS:
            told[i] = np.sort(shares[seen])[seen.sum() // 4]
    return told


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
    level = _median(strips)
    usual = _median(level)[:, None]
    return np.abs(level - usual) <= _OTHER * usual + _TEXTURE


def _strips(image: NDArray[np.uint8], lines: list[NDArray[np.float32]], horizon: float) -> NDArray[np.float32]:
    """(n, rows, columns) of the picture's red across each line, from far to near."""
    x, y = np.empty((2, len(lines), _ROWS))
    for i, line in enumerate(lines):
        far, near = max(line[0, 1] - horizon, _NEAREST * len(image)), line[-1, 1] - horizon
        y[i] = horizon + far * (near / far) ** _STEPS
        x[i] = np.interp(y[i], line[:, 1], line[:, 0])
    columns = x[..., None] + _OFFSETS * (_WIDTH * (y - horizon) + 1)[..., None]
    rows = np.broadcast_to(y[..., None], columns.shape)
    at_x, at_y = (part.reshape(-1, _COLUMNS).astype(np.float32) for part in (columns, rows))
    read = cv2.remap(image, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return read[..., 2].reshape(columns.shape).astype(np.float32)


def _contrast(strips: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, rows) how much brighter than both sides the best place for paint is, and (n,) what texture differs by."""
    contrast, noise = _contrasts(strips)
    return np.maximum(contrast.max(axis=2), 0).astype(np.float32), noise


def _contrasts(strips: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, rows, places) how much brighter than both sides each place is, and (n,) what texture differs by."""
    sums = np.zeros((*strips.shape[:2], _COLUMNS + 1), np.float32)
    np.cumsum(strips, axis=2, out=sums[..., 1:])
    paint = (sums[..., _PAINT:] - sums[..., :-_PAINT]) / _PAINT
    side = (sums[..., _SIDE:] - sums[..., :-_SIDE]) / _SIDE
    left, right = (
        side[..., _SHIFTS.start + shift : _SHIFTS.stop + shift] for shift in (-_APART, _APART - (_SIDE - _PAINT))
    )
    noise = _median(np.abs(strips[..., 1:] - strips[..., :-1]).reshape(len(strips), -1)) + 1
    return (paint[..., _SHIFTS] - np.maximum(left, right)).astype(np.float32), noise.astype(np.float32)


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the last axis, as `np.median` gives it for finite values, in a third of its time on arrays so small."""
    middle = values.shape[-1] // 2
    if values.shape[-1] % 2:
        return np.asarray(np.partition(values, middle)[..., middle], np.float32)
    halves = np.partition(values, (middle - 1, middle))
    return np.asarray((halves[..., middle - 1] + halves[..., middle]) / 2, np.float32)


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
