"""Targets of the losses from labels of every kind: what is a line, what is background, and what nobody has said.

Labels say different things. Full labels name every line, so that all else is background. Of some pictures only the two
boundaries of the own lane are labelled: other lines are there without a label, so that background is known between the
two and close beside them, and nowhere else. Of some the paint is known pixel by pixel, but which line a stretch of it
belongs to only in part, and the gaps of dashed lines are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.data.lane_targets import clip_to_image, draw_ids, nearest_lanes
from rtseg.lab.data.tusimple import PAINT, UNKNOWN_PAINT
from rtseg.lab.training.l2c_losses import IGNORE, UNNUMBERED

Lines = Sequence[NDArray[np.float32]]

_PAINTED, _CLEAR = 0.35, 0.05  # share of a target's cell that is paint: from the one on a line, below the other none
_BESIDE = 3.0  # widths of a stroke within which a labelled line is alone
_HORIZON = 0.06  # of the height above the crossing of the own lane's boundaries: no road there
_EXTENSION = 1.5  # lengths of a stretch of paint within which it may go on


@dataclass(frozen=True)
class SampleShape:
    """What a training sample looks like.

    Attributes:
        size: (height, width) of the network's input.
        mean: of the RGB input, 0..255.
        std: of the RGB input, 0..255.
        lanes: n, the greatest number of line ids; further lines are marked as ignored.
        label_stride: the id mask is drawn at size / label_stride.
        near_width: width of a drawn line at the bottom row, input pixels.
        far_width: width of a drawn line at the horizon, input pixels.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    lanes: int = 6
    label_stride: int = 1
    near_width: float = 4.0
    far_width: float = 2.5


class TargetPainter:
    """Draws the id masks of pictures of one size.

    Args:
        shape: what a sample looks like.
        size: (height, width) of the pictures that the lines are of.
    """

    def __init__(self, shape: SampleShape, size: tuple[int, int]) -> None:
        stride = shape.label_stride
        self._lanes = shape.lanes
        self._picture = size
        self._size = (shape.size[0] // stride, shape.size[1] // stride)
        self._scale = (self._size[1] / size[1], self._size[0] / size[0])
        self._widths = (shape.near_width / stride, shape.far_width / stride)

    def lines(self, lanes: Lines, ignored: Lines = ()) -> NDArray[np.uint8]:
        """All lines are labelled: those of `ignored` may be some or not, all else is background.

        Args:
            lanes: polylines (k, 2) of (x, y) in the picture's pixels, top to bottom; they may leave the picture.
            ignored: the same.

        Returns:
            (h, w) uint8: 0 background, 1..n lines, 255 nothing known.
        """
        chosen, others = nearest_lanes(self._visible(lanes), self._picture, self._lanes)
        ids = self._draw(chosen)
        unknown = self._draw([*others, *self._visible(ignored)]) > 0
        ids[unknown & (ids == 0)] = IGNORE
        return ids

    def ego(self, lanes: Lines) -> NDArray[np.uint8]:
        """Only the boundaries of the own lane are labelled, one or two lines.

        Background is known between the two, where both are or would go on straight; in a strip beside either; and above
        where they cross. Where a boundary would go on beyond its label nothing is known.

        Returns:
            As of :meth:`lines`.
        """
        ids = np.full(self._size, IGNORE, np.uint8)
        inside, horizon = self._between(*lanes) if len(lanes) == 2 else (np.zeros(self._size, np.bool_), 0)
        ids[inside] = 0
        extended = self._visible([_extended(line, 1.0, self._picture[0]) for line in lanes])
        ids[self._draw(extended, 2.0) > 0] = IGNORE
        ids[:horizon] = 0
        visible = self._visible(lanes)
        ids[self._draw(visible, _BESIDE) > 0] = 0
        drawn = self._draw(visible)
        return np.where(drawn > 0, drawn, ids)

    def mask(self, lanes: Lines, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The paint is known, and some of its lines: paint of no traced line is a line without a number.

        Between and behind dashes, straight on, nothing is known.

        Args:
            lanes: lines that could be traced.
            mask: (H, W) uint8 of the picture's size, classes as of :data:`rtseg.lab.data.tusimple.PAINT`.

        Returns:
            As of :meth:`lines`, and 254 where a line is but not which.
        """
        shrunk = (self._size[1], self._size[0])
        paint = cv2.resize((mask == PAINT).astype(np.float32), shrunk, interpolation=cv2.INTER_AREA)
        unknown = cv2.resize((mask == UNKNOWN_PAINT).astype(np.float32), shrunk, interpolation=cv2.INTER_AREA) > 0.5
        visible = self._visible(lanes)
        chosen, others = nearest_lanes(visible, self._picture, self._lanes)
        ids = self._draw(chosen)
        covered = self._draw(visible, 2.0) > 0
        on_line = ids > 0
        stretches = _stretches((paint >= _PAINTED) & ~covered)
        scale = np.asarray(self._scale, np.float32)
        inner = [_extended((line + 0.5) * scale - 0.5, _EXTENSION, self._size[0]) for line in visible]
        near, far = self._widths
        uncertain = draw_ids([*inner, *stretches], self._size, 1.5 * near, 1.5 * far) > 0
        uncertain |= unknown | ((paint > _CLEAR) & ~on_line) | (self._draw(others) > 0)
        ids[uncertain & ~on_line] = IGNORE
        ids[(paint >= _PAINTED) & ~covered] = UNNUMBERED
        return ids

    def _visible(self, lines: Lines) -> list[NDArray[np.float32]]:
        return [part for line in lines if (part := clip_to_image(line, self._picture)) is not None]

    def _draw(self, lines: Lines, wider: float = 1.0) -> NDArray[np.uint8]:
        near, far = self._widths
        return draw_ids(lines, self._size, wider * near, wider * far, self._scale)

    def _between(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[NDArray[np.bool_], int]:
        """Where two boundaries have the own lane between them, and the target's rows above where they cross."""
        height, width = self._picture
        rows = np.arange(max(first[0, 1], second[0, 1]), height, max(1.0, height / 90))
        inside = np.zeros(self._size, np.uint8)
        scale = np.asarray(self._scale)
        if len(rows) < 2:
            return inside > 0, 0
        sides = [np.stack([_straight_on(line, rows), rows], 1) for line in (first, second)]
        polygon = (np.concatenate([sides[0], sides[1][::-1]]) + 0.5) * scale - 0.5
        cv2.fillPoly(inside, [np.clip(np.round(polygon), -4 * width, 4 * width).astype(np.int32)], 1)
        top, bottom = (abs(sides[0][i, 0] - sides[1][i, 0]) for i in (0, -1))
        if not bottom > top > 0:
            return inside > 0, 0
        crossing = rows[0] - (rows[-1] - rows[0]) * top / (bottom - top)
        return inside > 0, max(0, int((crossing - _HORIZON * height) * scale[1]))


def _straight_on(line: NDArray[np.float32], rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """The x of a line at rows, straight on beyond its ends."""
    y, x = line[:, 1].astype(np.float64), line[:, 0].astype(np.float64)
    reach = max(1, len(y) // 3)
    found = np.interp(rows, y, x)
    for beyond, end, inner in ((rows < y[0], 0, reach), (rows > y[-1], -1, -1 - reach)):
        slope = (x[inner] - x[end]) / (y[inner] - y[end]) if y[inner] != y[end] else 0.0
        found[beyond] = x[end] + slope * (rows[beyond] - y[end])
    return np.asarray(found)


def _extended(line: NDArray[np.float32], lengths: float, height: int) -> NDArray[np.float32]:
    """A line that goes on straight at either end, by so many of its own heights, within the picture's rows."""
    reach = lengths * float(line[-1, 1] - line[0, 1])
    top, bottom = max(0.0, line[0, 1] - reach), min(height - 1.0, line[-1, 1] + reach)
    rows = np.concatenate([[top], line[:, 1], [bottom]])
    rows = np.unique(rows)
    return np.stack([_straight_on(line, rows), rows], axis=1).astype(np.float32)


def _stretches(paint: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    """Each stretch of paint as a straight line along it, drawn out at both ends."""
    count, labels = cv2.connectedComponents(paint.astype(np.uint8), connectivity=8)
    lines = []
    for number in range(1, count):
        y, x = np.nonzero(labels == number)
        if len(y) < 2:
            continue
        points = np.stack([x, y], axis=1).astype(np.float32)
        (dx, dy, x0, y0) = cv2.fitLine(points, cv2.DIST_L2, 0, 0.01, 0.01).ravel()
        along = (points - (x0, y0)) @ np.array([dx, dy])
        reach = _EXTENSION * float(along.max() - along.min())
        ends = np.array([along.min() - reach, along.max() + reach])
        line = np.stack([x0 + ends * dx, y0 + ends * dy], axis=1).astype(np.float32)
        lines.append(line[np.argsort(line[:, 1])])
    return lines
