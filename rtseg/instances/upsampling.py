"""Instance labels of a head map at the size of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError
from rtseg.ops import RegionStatistics, region_statistics, upsample_argmax
from rtseg.ops.coloring import bilinear_taps


def upsample_labels(labels: NDArray[np.int32], guide: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.int32]:
    """Enlarge a label map so that outlines follow the network's own maps instead of the edges of map pixels.

    Where the four map pixels around an image pixel have one label, it has that label. Elsewhere the maps of `guide`,
    bilinearly interpolated, decide what kind of pixel it is (:func:`rtseg.ops.upsample_argmax`), and of the labels
    around that lie on map pixels of this kind the one with the greatest bilinear weight wins (ties: the lower label).

    Args:
        labels: (h, w) int32, 0 = nothing.
        guide: (K, h, w) float32, channel 0 background: the colors of a coloring, or background and foreground.
        size: (H, W) of the image.

    Returns:
        (H, W) int32; a label of few map pixels may be gone.

    Raises:
        GroupingError: if the maps are not finite.
        ArgumentError: if they do not fit each other.
    """
    return upsample_and_measure(labels, guide, size, int(labels.max(initial=0)))[0]


def upsample_and_measure(
    labels: NDArray[np.int32], guide: NDArray[np.float32], size: tuple[int, int], count: int
) -> tuple[NDArray[np.int32], RegionStatistics]:
    """Enlarge as :func:`upsample_labels` and measure the labels 1..count on the way.

    Returns:
        (H, W) int32, and what :func:`rtseg.ops.region_statistics` gives for it.

    Raises:
        GroupingError: if the maps are not finite.
        ArgumentError: if they do not fit each other.
    """
    if labels.shape != guide.shape[1:]:
        raise ArgumentError(f"expected a guide of the labels' size {labels.shape}, got {guide.shape[1:]}")
    kinds = upsample_argmax(guide, labels.shape)
    if labels.shape == tuple(size):
        same = np.array(labels, dtype=np.int32)
        return same, region_statistics(same, count)
    winners = upsample_argmax(guide, size)
    out = np.empty(size, dtype=np.int32)
    y_low, y_weight = bilinear_taps(labels.shape[0], size[0])
    x_low, x_weight = bilinear_taps(labels.shape[1], size[1])
    areas, sums = np.zeros(count, np.int64), np.zeros((count, 2), np.int64)
    boxes = np.zeros((count, 4), np.int32)
    boxes[:, :2] = np.iinfo(np.int32).max
    maps = np.ascontiguousarray(labels, dtype=np.int32), kinds, winners
    _paint(*maps, y_low, y_weight, x_low, x_weight, out, areas, boxes, sums)
    boxes[areas == 0] = 0
    with np.errstate(invalid="ignore"):
        return out, RegionStatistics(areas, boxes, sums / areas[:, None])


@compiled
def _measure(label, begin, end, y, y_end, areas, boxes, sums):  # type: ignore[no-untyped-def]
    """Add the columns begin..end of the rows y..y_end to a label."""
    box = boxes[label - 1]
    width, height = end - begin, y_end - y
    areas[label - 1] += width * height
    sums[label - 1, 0] += (begin + end - 1) * width // 2 * height
    sums[label - 1, 1] += (y + y_end - 1) * height // 2 * width
    box[0], box[1] = min(box[0], begin), min(box[1], y)
    box[2], box[3] = max(box[2], end), max(box[3], y_end)


@compiled
def _paint(labels, kinds, winners, y_low, y_weight, x_low, x_weight, out, areas, boxes, sums):  # type: ignore[no-untyped-def]  # noqa: C901
    """Row of cells by row of cells: stretches of one label are filled, cells of several looked at pixel by pixel."""
    height, width = labels.shape
    rows, columns = out.shape
    begins, ends = np.empty(columns + 1, np.int64), np.empty(columns + 1, np.int64)
    owners = np.empty(columns + 1, np.int32)  # the label of a stretch, -1 where there are several
    names = np.empty(4, np.int32)
    weights = np.empty(4, np.float32)
    corner_kinds = np.empty(4, np.uint8)
    y = 0
    while y < rows:
        top = y_low[y]
        below = min(top + 1, height - 1)
        y_end = y + 1
        while y_end < rows and y_low[y_end] == top:
            y_end += 1
        used = 0
        x = 0
        while x < columns:
            left = x_low[x]
            right = min(left + 1, width - 1)
            x_end = x + 1
            while x_end < columns and x_low[x_end] == left:
                x_end += 1
            label = labels[top, left]
            if label != labels[top, right] or label != labels[below, left] or label != labels[below, right]:
                label = np.int32(-1)
            if used > 0 and label >= 0 and owners[used - 1] == label:
                ends[used - 1] = x_end
            else:
                begins[used], ends[used], owners[used] = x, x_end, label
                used += 1
            x = x_end
        for k in range(used):
            if owners[k] > 0:
                _measure(owners[k], begins[k], ends[k], y, y_end, areas, boxes, sums)
        for row in range(y, y_end):
            v = y_weight[row]
            line = out[row]
            for k in range(used):
                if owners[k] >= 0:
                    line[begins[k] : ends[k]] = owners[k]
                    continue
                left = x_low[begins[k]]
                right = min(left + 1, width - 1)
                names[0], names[1] = labels[top, left], labels[top, right]
                names[2], names[3] = labels[below, left], labels[below, right]
                corner_kinds[0], corner_kinds[1] = kinds[top, left], kinds[top, right]
                corner_kinds[2], corner_kinds[3] = kinds[below, left], kinds[below, right]
                for column in range(begins[k], ends[k]):
                    u = x_weight[column]
                    weights[0], weights[1] = (1 - v) * (1 - u), (1 - v) * u
                    weights[2], weights[3] = v * (1 - u), v * u
                    kind = winners[row, column]
                    best = np.float32(-1)
                    label = np.int32(0)
                    if kind > 0:
                        for i in range(4):
                            if names[i] == 0 or corner_kinds[i] != kind:
                                continue
                            total = np.float32(0)
                            for j in range(4):
                                if names[j] == names[i] and corner_kinds[j] == kind:
                                    total += weights[j]
                            if total > best or (total == best and names[i] < label):
                                best = total
                                label = names[i]
                    line[column] = label
                    if label > 0:
                        _measure(label, column, column + 1, row, row + 1, areas, boxes, sums)
        y = y_end
