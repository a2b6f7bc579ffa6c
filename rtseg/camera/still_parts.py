"""What stands still in a camera's picture while the road moves: one's own bonnet, a logo, text over the picture.

What moves averages to a blur; what stands keeps its edges in the mean of many pictures. So does the paint of a solid
line, nearly, in a lane that is kept well; therefore only two shapes are taken: what lies below an edge that crosses the
whole lower part of the picture, and small spots near its top and bottom whose edges run in all directions.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rtseg.camera.luma import sparse_luma
from rtseg.frame import Frame

_LOOK = 0.24  # seconds between looks
_JUDGED = (12, 40, 160)  # looks after which it is judged: first to have a bonnet soon, in the end for good
_SPOTTED = 40  # looks before which spots are not told from the road
_EDGE = 3.0  # levels a sample that make an edge in the mean
_KEPT = 0.75  # share of its usual strength that a standing edge keeps in the mean
_LOWER = 0.7  # share of the height below which a bonnet's edge lies
_BOWED = 0.15  # share of the height by which it rises and falls
_LEVEL = 2.0  # times steeper down than across: lane lines run more aslant
_ACROSS = 0.7  # share of the columns in which it is seen
_STAYS = 0.5  # the same of one that is known: light that changes takes some of its edge
_ROUGH = 1  # samples up or down by which it may go on from column to column
_CLIMB = 0.6  # columns of edge that such a step must be worth: else it climbs lines of the road for a few
_SMOOTH = 0.16  # share of the width over which an edge is leveled: where a line meets a bonnet its edge is weak
_STEADY = 8.0  # levels of standard deviation of what is painted over a picture
_ENDS = 0.2  # share of the height, above and below, within which spots lie: far scenery stands still, too
_SPOT, _SPOTS = 0.04, 0.08  # largest share of the picture, of one and of all
_FILLED = 0.4  # share of its box that a spot fills
_STRAIGHT = 0.6  # coherence of edges from which on they are those of a line
_MARGIN = 0.012  # share of the width by which what is found is widened


class StillParts:
    """Learns from the first frames of a drive what stands still; a vehicle that stands teaches nothing, nor do stills.

    Attributes:
        mask: (h, w) bool, what was found, at the size of the sparse pictures; None before it was judged.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as for another camera."""
        self.mask: NDArray[np.bool_] | None = None
        self._bonnet = np.zeros((1, 1), np.bool_)
        self._last: int | None = None
        self._size = (0, 0)
        self._looks = 0
        self._sums: NDArray[np.float32] = np.zeros((5, 1, 1), np.float32)

    def update(self, frame: Frame, moving: bool | None) -> bool:
        """Look at the next frame of a stream.

        Args:
            frame: of any size; another one than before begins anew.
            moving: whether the picture changes as it does while one drives.

        Returns:
            Whether `mask` is another than before.
        """
        if frame.stamp is None:
            return False
        changed = False
        if frame.size != self._size:
            changed = self.mask is not None
            self.reset()
            self._size = frame.size
        if not moving or self._looks >= _JUDGED[-1]:
            return changed
        if self._last is not None and 0 <= frame.stamp - self._last < 1e9 * _LOOK:
            return changed
        self._last = frame.stamp
        self._add(sparse_luma(frame).astype(np.float32))
        if self._looks not in _JUDGED:
            return changed
        self.mask = self._judge()
        return True

    def _add(self, picture: NDArray[np.float32]) -> None:
        down, right = (
            cv2.Sobel(picture, cv2.CV_32F, 0, 1, scale=1 / 8),
            cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=1 / 8),
        )
        self._sums = self._sums + np.stack([picture, picture * picture, right, down, np.hypot(right, down)])
        self._looks += 1

    def _judge(self) -> NDArray[np.bool_]:
        mean, square, right, down, usual = self._sums / self._looks
        kept = np.hypot(right, down)
        still = (kept >= _EDGE) & (kept >= _KEPT * usual)
        level = still & (np.abs(down) >= _LEVEL * np.abs(right))
        bonnet = _below_bonnet(level, np.abs(down))
        if bonnet.any() or not self._bonnet.any() or _seen_along(self._bonnet, level) < _STAYS:
            self._bonnet = bonnet
        mask = self._bonnet.copy()
        steady = np.sqrt(np.maximum(square - mean * mean, 0)) <= _STEADY
        if self._looks >= _SPOTTED:
            mask |= _spots(still & steady & ~mask, right, down)
        if not mask.any():
            return mask
        radius = max(1, round(_MARGIN * mask.shape[1]))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def _below_bonnet(edges: NDArray[np.bool_], strength: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What lies below the edge that crosses the lower part of the picture; nothing where none does.

    It is the path from the left side to the right along which most is edge, found column by column.
    """
    height, width = edges.shape
    top = int(_LOWER * height)
    gain = np.where(edges, 1 + 0.1 * np.minimum(strength, 10), 0)[top:]
    reached = gain[:, 0]
    came = np.zeros(gain.shape, np.intp)
    rows = np.arange(len(gain))
    steps = range(-_ROUGH, _ROUGH + 1)
    for x in range(1, width):
        before = np.stack([reached[np.clip(rows + step, 0, len(rows) - 1)] - _CLIMB * abs(step) for step in steps])
        best = before.argmax(axis=0)
        came[:, x] = np.clip(rows + best - _ROUGH, 0, len(rows) - 1)
        reached = gain[:, x] + before[best, rows]
    row, seen, path = int(reached.argmax()), 0, np.zeros(width, np.intp)
    for x in range(width - 1, -1, -1):
        seen += bool(edges[max(0, top + row - 1) : top + row + 2, x].any())
        path[x] = row
        row = int(came[row, x])
    if seen < _ACROSS * width or np.ptp(path) > _BOWED * height:
        return np.zeros(edges.shape, np.bool_)
    reach = round(_SMOOTH * width / 2)
    smooth = np.median(sliding_window_view(np.pad(path, reach, "edge"), 2 * reach + 1), axis=1)
    # What stands up from a bonnet is no line: a star, washers.
    return np.asarray(np.arange(height)[:, None] >= top + np.minimum(path, smooth))


def _seen_along(bonnet: NDArray[np.bool_], edges: NDArray[np.bool_]) -> float:
    """The share of columns in which there is an edge where a bonnet begins."""
    around = cv2.dilate(edges.astype(np.uint8), np.ones((2 * _ROUGH + 1, 1), np.uint8)) > 0
    return float(around[bonnet.argmax(axis=0), np.arange(bonnet.shape[1])].mean())


def _spots(still: NDArray[np.bool_], right: NDArray[np.float32], down: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Standing edges near the picture's top and bottom that are no line: letters and logos."""
    joined = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 7), np.uint8))
    count, labels, stats, centers = cv2.connectedComponentsWithStats(joined, connectivity=8)
    mask = np.zeros(still.shape, np.bool_)
    for number in range(1, count):
        _, _, across, tall, area = stats[number]
        inside = _ENDS < centers[number][1] / len(still) < 1 - _ENDS
        if inside or area < max(6, _FILLED * across * tall) or across * tall > _SPOT * still.size:
            continue
        of = labels == number
        xx, yy, xy = float((right[of] ** 2).sum()), float((down[of] ** 2).sum()), float((right[of] * down[of]).sum())
        if np.hypot(xx - yy, 2 * xy) < _STRAIGHT * (xx + yy):
            mask |= of
    return mask if mask.mean() <= _SPOTS else np.zeros_like(mask)
