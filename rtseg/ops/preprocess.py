"""From a camera image to a network's input: one resize, shared by training and runtime, and the normalization.

Shrinking averages the area that each target pixel covers, as ``cv2.INTER_AREA`` does, so that a lane line two pixels
wide keeps its share of brightness; bilinear sampling at a quarter of the size reads two of four columns and lets lines
flicker. Enlarging interpolates linearly with half-pixel centers and clamped edges. Each axis chooses for itself.

One thread: the work takes under a millisecond, less than waiting for a second thread can on a busy machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from rtseg.compiled import compiled
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


@intrinsic  # type: ignore[untyped-decorator]
def _filter_pixel(context, column, at, weights, first, taps, row, to, planes):  # type: ignore[no-untyped-def]
    """Filter the channels of a target pixel at once, from `column` with `taps` weights to ``row[planes[c] + to]``.

    A half more lets truncation round. The three channels lie side by side, so one load takes them and the next
    pixel's first (`column` is one longer); Numba alone makes scalars of them, at twice the time.
    """
    signature = types.void(column, types.intp, weights, types.intp, types.intp, row, types.intp, planes)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector, number = ir.VectorType(ir.FloatType(), 4), ir.IntType(32)
        nothing = ir.Constant(vector, ir.Undefined)
        arrays = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2, 5))
        columns, factors, rows = (array.data for array in arrays)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.5] * 4))
        with cgutils.for_range(builder, arguments[4]) as loop:
            place = builder.add(arguments[1], builder.mul(loop.index, ir.Constant(loop.index.type, 3)))
            values = builder.load(builder.bitcast(builder.gep(columns, [place]), vector.as_pointer()), align=4)
            factor = builder.load(builder.gep(factors, [builder.add(arguments[3], loop.index)]))
            factor = builder.insert_element(nothing, factor, number(0))
            factor = builder.shuffle_vector(factor, nothing, ir.Constant(ir.VectorType(number, 4), [0] * 4))
            product = builder.fmul(values, factor, flags=("contract",))
            builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
        result = builder.load(total)
        for channel in range(3):
            place = builder.add(arguments[6], builder.extract_value(arguments[7], channel))
            builder.store(builder.extract_element(result, number(channel)), builder.gep(rows, [place]))
        return context.get_dummy_value()

    return signature, generate


@compiled(fastmath={"contract"})
def _filter_columns(image, y, y_first, y_weights, column):  # type: ignore[no-untyped-def]
    """Filter one target row down the columns of the (H, 3 W) image into `column` (3 W,)."""
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


@compiled
def _resize_row(image, y, y_first, y_weights, x_first, x_weights, column, row, planes):  # type: ignore[no-untyped-def]
    """Filter one target row by way of `column` (3 W + 1,); channel c begins at ``row[planes[c]]``."""
    _filter_columns(image, y, y_first, y_weights, column[: image.shape[1]])
    taps = x_weights.shape[1]
    for x in range(len(x_first)):
        _filter_pixel(column, 3 * np.int64(x_first[x]), x_weights, x * taps, taps, row, x, planes)


@compiled
def _resize(image, y_first, y_weights, x_first, x_weights, out):  # type: ignore[no-untyped-def]
    column = np.zeros(image.shape[1] + 1, np.float32)
    row = np.empty(out.shape[1], np.float32)
    width = len(x_first)
    for y in range(len(y_first)):
        _resize_row(image, y, y_first, y_weights, x_first, x_weights, column, row, (0, width, 2 * width))
        for c in range(3):
            for x in range(width):
                out[y, 3 * x + c] = np.uint8(np.int32(row[c * width + x]))


@compiled
def _preprocess(image, y_first, y_weights, x_first, x_weights, places, scale, shift, out):  # type: ignore[no-untyped-def]
    """As `_resize`, and write channel c of the image, normalized, to ``out[places[c]]``."""
    column = np.zeros(image.shape[1] + 1, np.float32)
    row = np.empty(3 * out.shape[2], np.float32)
    width = out.shape[2]
    planes = (places[0] * width, places[1] * width, places[2] * width)
    for y in range(len(y_first)):
        _resize_row(image, y, y_first, y_weights, x_first, x_weights, column, row, planes)
        for c in range(3):
            for x in range(width):
                out[c, y, x] = np.float32(np.int32(row[c * width + x])) * scale[c] + shift[c]


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
    places = np.array([2, 1, 0] if order == "rgb" else [0, 1, 2])
    planes = out[0]
    rows, columns = _filter(image.shape[0], height), _filter(image.shape[1], width)
    _preprocess(source, *rows, *columns, places, scale, shift, planes)
    return out
