"""From a camera image to a network's input: one resize, shared by training and runtime, and the normalization.

Shrinking averages the area that each target pixel covers, as ``cv2.INTER_AREA`` does, so that a lane line two pixels
wide keeps its share of brightness; bilinear sampling at a quarter of the size reads two of four columns and lets lines
flicker. Enlarging interpolates linearly with half-pixel centers and clamped edges. Each axis chooses for itself.

One thread: the work takes half a millisecond, less than waiting for a second thread can on a busy machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.frame import check_image
from rtseg.ops.coloring import check_size


@lru_cache(maxsize=32)
def _filter(source: int, target: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give every target pixel's first source index, (target,), and weights, (target, taps), which sum to 1."""
    scale = source / target
    index = np.arange(target)
    if scale > 1:
        begin, end = index * scale, np.minimum((index + 1) * scale, source)
        first = np.floor(begin + 1e-9).astype(np.int64)
        taps = int((np.ceil(end - 1e-9) - first).max())
        first = np.minimum(first, source - taps)
        cell = first[:, None] + np.arange(taps)
        weights = np.clip(np.minimum(cell + 1, end[:, None]) - np.maximum(cell, begin[:, None]), 0, None)
    else:
        position = np.clip((index + 0.5) * scale - 0.5, 0, source - 1)
        first = np.minimum(np.floor(position).astype(np.int64), max(source - 2, 0))
        fraction = position - first
        weights = np.stack([1 - fraction, fraction], axis=1)[:, : min(source, 2)]
    weights = weights / weights.sum(axis=1, keepdims=True)
    return first.astype(np.int32), np.ascontiguousarray(weights, dtype=np.float32)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _resize_row(image, y, y_first, y_weights, x_first, x_weights, column, row):  # type: ignore[no-untyped-def]
    """Filter one target row: down the columns of the (H, 3 W) image into `column`, then along it into `row` (3 w,)."""
    first = y_first[y]
    weight = y_weights[y, 0]
    source = image[first]
    for i in range(len(column)):
        column[i] = np.float32(source[i]) * weight
    for tap in range(1, y_weights.shape[1]):
        weight = y_weights[y, tap]
        if weight != 0:
            source = image[first + tap]
            for i in range(len(column)):
                column[i] += np.float32(source[i]) * weight
    taps = x_weights.shape[1]
    for x in range(len(x_first)):
        blue = np.float32(0.5)  # a half more, so that truncation rounds
        green = np.float32(0.5)
        red = np.float32(0.5)
        at = 3 * x_first[x]
        for tap in range(taps):
            weight = x_weights[x, tap]
            blue += column[at + 3 * tap] * weight
            green += column[at + 3 * tap + 1] * weight
            red += column[at + 3 * tap + 2] * weight
        row[3 * x] = blue
        row[3 * x + 1] = green
        row[3 * x + 2] = red


@njit(cache=True, nogil=True)
def _resize(image, y_first, y_weights, x_first, x_weights, out):  # type: ignore[no-untyped-def]
    column = np.empty(image.shape[1], np.float32)
    row = np.empty(out.shape[1], np.float32)
    for y in range(len(y_first)):
        _resize_row(image, y, y_first, y_weights, x_first, x_weights, column, row)
        for i in range(len(row)):
            out[y, i] = np.uint8(np.int32(row[i]))


@njit(cache=True, nogil=True)
def _preprocess(image, y_first, y_weights, x_first, x_weights, channels, scale, shift, out):  # type: ignore[no-untyped-def]
    """As `_resize`, and write channel ``channels[c]`` of the image, normalized, to ``out[c]``."""
    column = np.empty(image.shape[1], np.float32)
    row = np.empty(3 * out.shape[2], np.float32)
    for y in range(len(y_first)):
        _resize_row(image, y, y_first, y_weights, x_first, x_weights, column, row)
        for c in range(3):
            for x in range(out.shape[2]):
                out[c, y, x] = np.float32(np.int32(row[3 * x + channels[c]])) * scale[c] + shift[c]


def _flat(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = np.ascontiguousarray(check_image(image))
    flat = image.reshape(image.shape[0], -1)
    flat.setflags(write=False)  # as ROS' buffers are: Numba compiles a kernel for each of the two kinds
    return flat


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a BGR image the way training and runtime do it: area average to shrink, linear to enlarge.

    Args:
        image: (H, W, 3) uint8, any size from 2x2, any strides.
        size: (h, w) of the result.

    Returns:
        (h, w, 3) uint8, rounded to nearest.

    Raises:
        ImageError: if `image` is not an (H, W, 3) uint8 image.
        ArgumentError: if `size` is not at least 1x1.
    """
    source = _flat(image)
    height, width = check_size(size)
    rows, columns = _filter(image.shape[0], height), _filter(image.shape[1], width)
    out = np.empty((height, 3 * width), np.uint8)
    _resize(source, *rows, *columns, out)
    return out.reshape(height, width, 3)


def preprocess(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    order: Literal["rgb", "bgr"] = "rgb",
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Resize, normalize and transpose in one pass: ``(resize_image(image, size) - mean) / std`` as NCHW.

    Args:
        image: (H, W, 3) uint8 BGR, any size from 2x2, any strides.
        size: (h, w) of the network's input.
        mean: three means on the scale 0 to 255, in the order of `order`.
        std: three positive standard deviations, likewise.
        order: order of the channels that the network expects.
        out: (1, 3, h, w) float32, C-contiguous, written to and returned; allocated if None.

    Returns:
        (1, 3, h, w) float32.

    Raises:
        ImageError: if `image` is not an (H, W, 3) uint8 image.
        ArgumentError: if a parameter does not fit.
    """
    source = _flat(image)
    height, width = check_size(size)
    if order not in ("rgb", "bgr"):
        raise ArgumentError(f"expected order 'rgb' or 'bgr', got {order!r}")
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ArgumentError(f"expected three means and three positive standard deviations, got {mean!r} and {std!r}")
    if out is None:
        out = np.empty((1, 3, height, width), np.float32)
    elif out.shape != (1, 3, height, width) or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ArgumentError(
            f"expected out to be a C-contiguous float32 array of shape (1, 3, {height}, {width}), got {out.dtype} of "
            f"shape {out.shape}"
        )
    deviation = np.asarray(std, np.float64)
    scale = (1 / deviation).astype(np.float32)
    shift = (-np.asarray(mean, np.float64) / deviation).astype(np.float32)
    channels = np.array([2, 1, 0] if order == "rgb" else [0, 1, 2])
    planes = out[0]
    rows, columns = _filter(image.shape[0], height), _filter(image.shape[1], width)
    _preprocess(source, *rows, *columns, channels, scale, shift, planes)
    return out
