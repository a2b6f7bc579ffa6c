"""What is measured in each block of a sparse picture, in one pass over it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled

GRID = (9, 16)
"""Rows and columns of blocks."""
DARK, BRIGHT = 24, 250
"""Gray levels under the first show nothing, from the second on they are saturated."""
_SPAN = 4  # samples over which an edge is looked at
_EDGE = 24  # levels that make one


class Blocks(NamedTuple):
    """Measures of 9 x 16 blocks, float32 each, shares and means over the samples of a block.

    Attributes:
        mean: gray level.
        dark: share under `DARK`.
        bright: share from `BRIGHT` on.
        spread: largest minus smallest level.
        changed: share that differs by more than a level from the picture before.
        edges: share at which an edge begins, of every other row.
        steepness: of the edges, mean share of the whole edge that its largest step between neighbors makes: 1 where
            all are steps, a quarter where all are ramps; 0 without edges.
    """

    mean: NDArray[np.float32]
    dark: NDArray[np.float32]
    bright: NDArray[np.float32]
    spread: NDArray[np.float32]
    changed: NDArray[np.float32]
    edges: NDArray[np.float32]
    steepness: NDArray[np.float32]


def measure(picture: NDArray[np.uint8], before: NDArray[np.uint8]) -> Blocks:
    """Measure a picture.

    Args:
        picture: (h, w) uint8, C-contiguous, 18 x 16 or larger.
        before: (h, w) uint8, C-contiguous, the picture before it.
    """
    out = np.empty((len(Blocks._fields), *GRID), np.float32)
    _measure(picture, before, out)
    return Blocks(*out)


@compiled
def _measure(picture, before, out):  # type: ignore[no-untyped-def]
    height, width = picture.shape
    rows, columns = out.shape[1:]
    for r in range(rows):
        top, bottom = r * height // rows, (r + 1) * height // rows
        for c in range(columns):
            left, right = c * width // columns, (c + 1) * width // columns
            total = dark = bright = changed = edges = np.int32(0)
            low, high = np.uint8(255), np.uint8(0)
            steepness = 0.0
            end, looked = max(min(right, width - _SPAN) - left, 0), 0
            for y in range(top, bottom):
                line, old = picture[y, left:right], before[y, left:right]
                for x in range(right - left):
                    value = np.int32(line[x])
                    total += value
                    dark += np.int32(value < DARK)
                    bright += np.int32(value >= BRIGHT)
                    changed += np.int32(abs(value - np.int32(old[x])) > 1)
                    low, high = min(low, line[x]), max(high, line[x])
                if (y - top) % 2:  # half of them tell as much, and a picture of noise has edges everywhere
                    continue
                looked += end
                line = picture[y, left:]
                for x in range(end):
                    whole = abs(np.int32(line[x + _SPAN]) - np.int32(line[x]))
                    if whole >= _EDGE:
                        largest = np.int32(0)
                        for k in range(x, x + _SPAN):
                            largest = max(largest, abs(np.int32(line[k + 1]) - np.int32(line[k])))
                        edges += 1
                        steepness += min(np.float32(1), np.float32(largest) / np.float32(whole))
            count = (bottom - top) * (right - left)
            out[0, r, c] = total / count
            out[1, r, c] = dark / count
            out[2, r, c] = bright / count
            out[3, r, c] = np.int32(high) - np.int32(low)
            out[4, r, c] = changed / count
            out[5, r, c] = edges / max(looked, 1)
            out[6, r, c] = steepness / max(edges, 1)
