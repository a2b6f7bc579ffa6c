"""Instance labels of a head map at the size of the image."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.ops import upsample_argmax
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
    if labels.shape != guide.shape[1:]:
        raise ArgumentError(f"expected a guide of the labels' size {labels.shape}, got {guide.shape[1:]}")
    kinds = upsample_argmax(guide, labels.shape)
    if labels.shape == tuple(size):
        return np.array(labels, dtype=np.int32)
    winners = upsample_argmax(guide, size)
    out = np.empty(size, dtype=np.int32)
    y_low, y_weight = bilinear_taps(labels.shape[0], size[0])
    x_low, x_weight = bilinear_taps(labels.shape[1], size[1])
    _paint(np.ascontiguousarray(labels, dtype=np.int32), kinds, winners, y_low, y_weight, x_low, x_weight, out)
    return out


@njit(cache=True, nogil=True)
def _paint(labels, kinds, winners, y_low, y_weight, x_low, x_weight, out):  # type: ignore[no-untyped-def]  # noqa: C901
    height, width = labels.shape
    rows, columns = out.shape
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
        x = 0
        while x < columns:
            left = x_low[x]
            right = min(left + 1, width - 1)
            x_end = x + 1
            while x_end < columns and x_low[x_end] == left:
                x_end += 1
            names[0], names[1] = labels[top, left], labels[top, right]
            names[2], names[3] = labels[below, left], labels[below, right]
            if names[0] == names[1] and names[0] == names[2] and names[0] == names[3]:
                for row in range(y, y_end):
                    for column in range(x, x_end):
                        out[row, column] = names[0]
            else:
                corner_kinds[0], corner_kinds[1] = kinds[top, left], kinds[top, right]
                corner_kinds[2], corner_kinds[3] = kinds[below, left], kinds[below, right]
                for row in range(y, y_end):
                    v = y_weight[row]
                    for column in range(x, x_end):
                        u = x_weight[column]
                        weights[0], weights[1] = (1 - v) * (1 - u), (1 - v) * u
                        weights[2], weights[3] = v * (1 - u), v * u
                        kind = winners[row, column]
                        best = np.float32(-1)
                        label = 0
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
                        out[row, column] = label
            x = x_end
        y = y_end
