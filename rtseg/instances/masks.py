"""The masks of many objects as lists of grid points, and how they overlap a label image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled


@dataclass(frozen=True)
class MaskStore:
    """Masks one behind the other.

    Attributes:
        starts: (n + 1,) int32; mask i is points starts[i] to starts[i + 1].
        ys, xs: (m,) int32 grid points.
    """

    starts: NDArray[np.int32]
    ys: NDArray[np.int32]
    xs: NDArray[np.int32]

    @staticmethod
    def empty() -> MaskStore:
        """No masks."""
        return MaskStore(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32))

    @staticmethod
    def of(grid: NDArray[np.int32], count: int) -> MaskStore:
        """The masks of the labels 1..count of (h, w) int32."""
        return MaskStore(*_points(grid, count))

    @property
    def sizes(self) -> NDArray[np.int32]:
        """(n,) points of each mask."""
        return np.diff(self.starts)

    def overlaps(
        self, before: NDArray[np.float64], after: NDArray[np.float64], grid: NDArray[np.int32], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lay the masks over a label image, each moved and stretched from one box into another.

        Args:
            before: (n, 4) boxes (x0, y0, x1, y1) in grid units in which the masks are.
            after: (n, 4) boxes into which they are laid.
            grid: (h, w) int32 labels 0..count.
            count: number of labels.

        Returns:
            (n, count) grid points shared with each label, and (n,) those that lie on nothing; stretched masks count
            as many as they cover, what falls outside the image does not count.
        """
        shared = np.zeros((len(self.starts) - 1, count))
        background = np.zeros(len(self.starts) - 1)
        sizes = np.maximum(before[:, 2:] - before[:, :2], 1e-9)
        scales = (after[:, 2:] - after[:, :2]) / sizes
        _lay_over(self.starts, self.ys, self.xs, before, after, scales, grid, shared, background)
        return shared, background

    def choose(self, other: MaskStore, source: NDArray[np.integer]) -> MaskStore:
        """Put a store together: `source` i >= 0 is mask i of `other`, -1 - i is mask i of this one."""
        return MaskStore(*_gather(self.starts, self.ys, self.xs, other.starts, other.ys, other.xs, source))


@compiled
def _points(grid, count):  # type: ignore[no-untyped-def]
    height, width = grid.shape
    starts = np.zeros(count + 1, np.int32)
    for y in range(height):
        for x in range(width):
            label = grid[y, x]
            if label > 0:
                starts[label] += 1
    for i in range(count):
        starts[i + 1] += starts[i]
    ys, xs = np.empty(starts[count], np.int32), np.empty(starts[count], np.int32)
    at = starts[:count].copy()
    for y in range(height):
        for x in range(width):
            label = grid[y, x]
            if label > 0:
                ys[at[label - 1]] = y
                xs[at[label - 1]] = x
                at[label - 1] += 1
    return starts, ys, xs


@compiled
def _lay_over(starts, ys, xs, before, after, scales, grid, shared, background):  # type: ignore[no-untyped-def]
    height, width = grid.shape
    for i in range(starts.size - 1):
        weight = scales[i, 0] * scales[i, 1]
        for p in range(starts[i], starts[i + 1]):
            x = int(np.floor(after[i, 0] + (xs[p] + 0.5 - before[i, 0]) * scales[i, 0]))
            y = int(np.floor(after[i, 1] + (ys[p] + 0.5 - before[i, 1]) * scales[i, 1]))
            if 0 <= x < width and 0 <= y < height:
                label = grid[y, x]
                if label > 0:
                    shared[i, label - 1] += weight
                else:
                    background[i] += weight


@compiled
def _gather(starts, ys, xs, new_starts, new_ys, new_xs, source):  # type: ignore[no-untyped-def]
    out_starts = np.zeros(source.size + 1, np.int32)
    for i in range(source.size):
        j = source[i]
        size = new_starts[j + 1] - new_starts[j] if j >= 0 else starts[-j] - starts[-1 - j]
        out_starts[i + 1] = out_starts[i] + size
    out_ys, out_xs = np.empty(out_starts[-1], np.int32), np.empty(out_starts[-1], np.int32)
    for i in range(source.size):
        j = source[i]
        at = out_starts[i]
        if j >= 0:
            for p in range(new_starts[j], new_starts[j + 1]):
                out_ys[at], out_xs[at] = new_ys[p], new_xs[p]
                at += 1
        else:
            for p in range(starts[-1 - j], starts[-j]):
                out_ys[at], out_xs[at] = ys[p], xs[p]
                at += 1
    return out_starts, out_ys, out_xs
