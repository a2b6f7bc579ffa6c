"""Areas, boxes, centers and mean map values of labelled regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError


@dataclass(frozen=True)
class RegionStatistics:
    """Row i describes the region with label i + 1.

    Attributes:
        areas: (n,) int64 pixels.
        boxes: (n, 4) int32 (x0, y0, x1, y1), x1 and y1 exclusive; all 0 where a label has no pixel.
        centers: (n, 2) float64 (x, y), the mean of the pixels' coordinates; NaN where a label has no pixel.
    """

    areas: NDArray[np.int64]
    boxes: NDArray[np.int32]
    centers: NDArray[np.float64]

    def lowered(self, rows: int) -> RegionStatistics:
        """What it is of the same regions so many rows further down."""
        if not rows:
            return self
        seen = (self.areas > 0)[:, None]
        return RegionStatistics(
            self.areas,
            (self.boxes + seen * np.array([0, rows, 0, rows])).astype(np.int32),
            self.centers + np.array([0.0, rows]),
        )


@compiled
def _accumulate(labels, count, areas, boxes, sums):  # type: ignore[no-untyped-def]
    """Add up each run of equal labels at once; False if a label is outside 0..count."""
    height, width = labels.shape
    for y in range(height):
        row = labels[y]
        x = 0
        while x < width:
            label = row[x]
            begin = x
            x += 1
            while x < width and row[x] == label:
                x += 1
            if label == 0:
                continue
            if label < 0 or label > count:
                return False
            region = label - 1
            length = x - begin
            box = boxes[region]
            if areas[region] == 0:
                box[0], box[1], box[2], box[3] = begin, y, x, y + 1
            else:
                box[0] = min(box[0], begin)
                box[2] = max(box[2], x)
                box[3] = y + 1
            areas[region] += length
            sums[region, 0] += 0.5 * length * (begin + x - 1)
            sums[region, 1] += float(length) * y
    return True


@compiled
def _accumulate_maps(labels, count, maps, areas, sums):  # type: ignore[no-untyped-def]
    height, width = labels.shape
    channels = maps.shape[0]
    for y in range(height):
        row = labels[y]
        x = 0
        while x < width:
            label = row[x]
            begin = x
            x += 1
            while x < width and row[x] == label:
                x += 1
            if label == 0:
                continue
            if label < 0 or label > count:
                return False
            areas[label - 1] += x - begin
            for c in range(channels):
                total = 0.0
                for i in range(begin, x):
                    total += maps[c, y, i]
                sums[label - 1, c] += total
    return True


def _check(labels: object, count: int) -> NDArray[np.int32]:
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "bui":
        what = (
            f"{labels.dtype} array of shape {labels.shape}" if isinstance(labels, np.ndarray) else type(labels).__name__
        )
        raise ArgumentError(f"expected an (H, W) integer label image, got {what}")
    if count < 0:
        raise ArgumentError(f"expected a count of regions of 0 or more, got {count}")
    if labels.dtype.itemsize > 4 or labels.dtype == np.uint32:
        # A label too great for int32 must not wrap round to a valid one.
        labels = np.clip(labels, -1, np.int64(2**31 - 1))
    return np.ascontiguousarray(labels, dtype=np.int32)


def _out_of_range(labels: NDArray[np.int32], count: int) -> ArgumentError:
    return ArgumentError(
        f"expected labels from 0 to {count}, got {labels.min()} to {labels.max()}; pass the count that "
        "label_components returned with them"
    )


def region_statistics(labels: NDArray[np.integer], count: int) -> RegionStatistics:
    """Measure the regions 1..count of a label image.

    Args:
        labels: (H, W) integer, 0 = nothing.
        count: the number of regions.

    Raises:
        ArgumentError: if `labels` is not an integer image with values 0..count.
    """
    image = _check(labels, count)
    areas = np.zeros(count, np.int64)
    boxes = np.zeros((count, 4), np.int32)
    sums = np.zeros((count, 2))
    if not _accumulate(image, count, areas, boxes, sums):
        raise _out_of_range(image, count)
    with np.errstate(invalid="ignore"):
        return RegionStatistics(areas, boxes, sums / areas[:, None])


def region_means(labels: NDArray[np.integer], count: int, maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average every channel of `maps` over each region.

    Args:
        labels: (H, W) integer, 0 = nothing.
        count: the number of regions.
        maps: (C, H, W) float.

    Returns:
        (count, C) float64; NaN where a label has no pixel.

    Raises:
        ArgumentError: if the shapes do not fit or a label is outside 0..count.
    """
    image = _check(labels, count)
    if not isinstance(maps, np.ndarray) or maps.ndim != 3 or maps.shape[1:] != image.shape:
        raise ArgumentError(
            f"expected maps of shape (C, {image.shape[0]}, {image.shape[1]}) to fit the labels, got "
            f"{getattr(maps, 'shape', type(maps).__name__)}"
        )
    areas = np.zeros(count, np.int64)
    sums = np.zeros((count, maps.shape[0]))
    if not _accumulate_maps(image, count, np.ascontiguousarray(maps, dtype=np.float32), areas, sums):
        raise _out_of_range(image, count)
    with np.errstate(invalid="ignore"):
        return sums / areas[:, None]
