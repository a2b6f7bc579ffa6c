"""Masks that are sums of prototypes: chosen boxes painted straight into one label image (YOLACT and its heirs).

The usual way makes a mask of the image's size for every object. Here the mask of an object is computed inside its box
alone, at the resolution of the prototypes, and read from there bilinearly while the box is painted: an object costs as
much as it has pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError, GroupingError


@dataclass(frozen=True)
class Detections:
    """Objects, the surest first.

    Attributes:
        boxes: (n, 4) float32 (x0, y0, x1, y1) in pixels of the network's input.
        class_ids: (n,) int32.
        scores: (n,) float32.
        coefficients: (n, m) float32 of the prototypes.
    """

    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    coefficients: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def chosen(self, which: NDArray[np.integer]) -> Detections:
        """Some of them."""
        return Detections(self.boxes[which], self.class_ids[which], self.scores[which], self.coefficients[which])


def suppressed(found: Detections, overlap: float, most: int) -> Detections:
    """Greedy non-maximum suppression within each class.

    Args:
        found: the surest first.
        overlap: an object whose box overlaps (intersection over union) that of a surer one of its class by more goes.
        most: no more objects than this are kept.
    """
    return found.chosen(_suppress(found.boxes, found.class_ids, overlap, most))


class PrototypeMasks:
    """The masks of some objects at the resolution of the prototypes, each inside its box.

    Args:
        found: the objects.
        prototypes: (m, h, w) float32.
        stride: pixels of the network's input to one of the prototypes.

    Raises:
        GroupingError: the maps are not finite.
        ArgumentError: they do not fit each other.
    """

    def __init__(self, found: Detections, prototypes: NDArray[np.float32], stride: float) -> None:
        if prototypes.ndim != 3 or found.coefficients.shape[1:] != prototypes.shape[:1]:
            raise ArgumentError(
                f"expected a coefficient for each of (m, h, w) prototypes, got {found.coefficients.shape[1:]} and "
                f"{prototypes.shape}"
            )
        if not np.isfinite(prototypes.sum()) or not np.isfinite(found.boxes).all():
            raise GroupingError(
                "expected finite prototypes and boxes, got NaN or infinite values; check the network's weights"
            )
        self._boxes, self._stride = found.boxes, stride
        self._windows = _windows(found.boxes, stride, prototypes.shape[1], prototypes.shape[2])
        sizes = (self._windows[:, 1] - self._windows[:, 0]) * (self._windows[:, 3] - self._windows[:, 2])
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self._logits = np.zeros(int(self._starts[-1]), np.float32)
        _sum_prototypes(
            np.ascontiguousarray(prototypes, dtype=np.float32),
            np.ascontiguousarray(found.coefficients, dtype=np.float32),
            self._windows,
            self._starts,
            self._logits,
        )

    def areas(self) -> NDArray[np.int64]:
        """(n,) pixels of the prototypes in each mask, whatever lies in front of it."""
        return _areas(self._boxes, self._stride, self._windows, self._starts, self._logits)

    def paint(
        self, size: tuple[int, int], window: tuple[float, float, float, float], which: NDArray[np.integer] | None = None
    ) -> NDArray[np.int32]:
        """Paint the masks into one image, the first in front.

        Args:
            size: (H, W) of the image.
            window: (top, left, height, width) of the network's input that the image fills, in pixels.
            which: the objects to paint, all by default.

        Returns:
            (H, W) int32, i + 1 where object `which[i]` is seen, 0 where none is.
        """
        out = np.zeros(size, np.int32)
        chosen = np.arange(len(self._boxes)) if which is None else np.asarray(which)
        top, left, height, width = (float(side) for side in window)
        y_steps = (top + (np.arange(size[0]) + 0.5) * (height / size[0])) / self._stride - 0.5
        x_steps = (left + (np.arange(size[1]) + 0.5) * (width / size[1])) / self._stride - 0.5
        # Boxes in pixels of the image: a pixel is inside if its middle is.
        scale = np.array([size[1] / width, size[0] / height, size[1] / width, size[0] / height])
        edges = np.ceil((self._boxes - np.array([left, top, left, top])) * scale - 0.5)
        inside = np.clip(edges, 0, [size[1], size[0], size[1], size[0]]).astype(np.int64)
        _paint(
            chosen.astype(np.int64), inside, self._windows, self._starts, self._logits,
            y_steps.astype(np.float32), x_steps.astype(np.float32), out,
        )  # fmt: skip
        return out


@compiled
def _suppress(boxes, class_ids, overlap, most):  # type: ignore[no-untyped-def]
    kept = np.empty(min(most, len(boxes)), np.int64)
    count = 0
    for i in range(len(boxes)):
        if count == most:
            break
        area = max(boxes[i, 2] - boxes[i, 0], 0.0) * max(boxes[i, 3] - boxes[i, 1], 0.0)
        keep = True
        for k in range(count):
            j = kept[k]
            if class_ids[j] != class_ids[i]:
                continue
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            if width > 0 and height > 0:
                other = (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1])
                shared = width * height
                if shared > overlap * (area + other - shared):
                    keep = False
                    break
        if keep:
            kept[count] = i
            count += 1
    return kept[:count]


@compiled
def _windows(boxes, stride, height, width):  # type: ignore[no-untyped-def]
    """Prototype pixels (y0, y1, x0, x1) that bilinear sampling inside the boxes reads."""
    windows = np.zeros((len(boxes), 4), np.int64)
    for i in range(len(boxes)):
        x0 = min(max(boxes[i, 0] / stride - 0.5, 0.0), width - 1.0)
        x1 = min(max(boxes[i, 2] / stride - 0.5, 0.0), width - 1.0)
        y0 = min(max(boxes[i, 1] / stride - 0.5, 0.0), height - 1.0)
        y1 = min(max(boxes[i, 3] / stride - 0.5, 0.0), height - 1.0)
        if x1 >= x0 and y1 >= y0:
            windows[i, 0], windows[i, 1] = int(y0), min(int(y1) + 2, height)
            windows[i, 2], windows[i, 3] = int(x0), min(int(x1) + 2, width)
    return windows


@compiled(fastmath={"contract"})
def _sum_prototypes(prototypes, coefficients, windows, starts, logits):  # type: ignore[no-untyped-def]
    for i in range(len(windows)):
        y0, y1, x0, x1 = windows[i]
        at = starts[i]
        for y in range(y0, y1):
            row = logits[at : at + x1 - x0]
            for m in range(prototypes.shape[0]):
                weight = coefficients[i, m]
                source = prototypes[m, y, x0:x1]
                for x in range(row.size):
                    row[x] += weight * source[x]
            at += x1 - x0


@compiled
def _areas(boxes, stride, windows, starts, logits):  # type: ignore[no-untyped-def]
    areas = np.zeros(len(windows), np.int64)
    for i in range(len(windows)):
        y0, y1, x0, x1 = windows[i]
        for y in range(y0, y1):
            if not boxes[i, 1] <= (y + 0.5) * stride < boxes[i, 3]:
                continue
            for x in range(x0, x1):
                inside = boxes[i, 0] <= (x + 0.5) * stride < boxes[i, 2]
                areas[i] += inside and logits[starts[i] + (y - y0) * (x1 - x0) + x - x0] > 0
    return areas


@compiled(fastmath={"contract"})
def _paint(chosen, inside, windows, starts, logits, y_steps, x_steps, out):  # type: ignore[no-untyped-def]
    blend = np.empty(out.shape[1] + 2, np.float32)  # one row of a window, interpolated between two rows
    for number in range(len(chosen)):
        i = chosen[number]
        y0, y1, x0, x1 = windows[i]
        across = x1 - x0
        if across <= 0 or y1 <= y0:
            continue
        if blend.size < across + 1:
            blend = np.empty(across + 1, np.float32)
        for row in range(inside[i, 1], inside[i, 3]):
            y = min(max(y_steps[row], np.float32(y0)), np.float32(y1 - 1))
            above = int(y)
            v = y - np.float32(above)
            first = starts[i] + (above - y0) * across
            second = starts[i] + (min(above + 1, y1 - 1) - y0) * across
            upper, lower = logits[first : first + across], logits[second : second + across]
            for x in range(across):
                blend[x] = upper[x] + (lower[x] - upper[x]) * v
            blend[across] = blend[across - 1]
            for column in range(inside[i, 0], inside[i, 2]):
                if out[row, column] == 0:
                    x = min(max(x_steps[column] - np.float32(x0), np.float32(0)), np.float32(across - 1))
                    at = int(x)
                    u = x - np.float32(at)
                    if blend[at] + (blend[at + 1] - blend[at]) * u > 0:
                        out[row, column] = number + 1
