"""From a camera image to a network's input: one resize, shared by training and runtime, and the normalization.

Shrinking averages the area that each target pixel covers, as ``cv2.INTER_AREA`` does, so that a lane line two pixels
wide keeps its share of brightness; bilinear sampling at a quarter of the size reads two of four columns and lets lines
flicker. Enlarging interpolates linearly with half-pixel centers and clamped edges. Each axis chooses for itself.

One thread: the work takes under a millisecond, less than waiting for a second thread can on a busy machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError
from rtseg.frame import check_image
from rtseg.ops.coloring import check_size

_AT_ONCE = 4  # target pixels that are worked on at once, and weights of a filter; shrinking to a third has as many
_FEW = 2  # weights where there are no more, as shrinking to a half has


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


def _padded(values: NDArray[Any], axis: int, whole: int = _AT_ONCE) -> NDArray[Any]:
    """Zeros added at the end of an axis, up to a multiple of `whole`."""
    missing = np.zeros((values.ndim, 2), int)
    missing[axis, 1] = -values.shape[axis] % whole
    return np.pad(values, missing)


@lru_cache(maxsize=32)
def _row_filter(source: int, target: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """As `_filter`, with weights of 0 for taps up to `_FEW`, or a multiple of `_AT_ONCE`."""
    first, weights = _filter(source, target)
    return first, _padded(weights, 1, _FEW if weights.shape[1] <= _FEW else _AT_ONCE)


@lru_cache(maxsize=32)
def _column_filter(source: int, target: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """As `_row_filter`, with target pixels likewise; indices count channels, of which each pixel has three."""
    first, weights = _row_filter(source, target)
    return 3 * _padded(first, 0), _padded(weights, 0)


def _pixel_filter(at_once: int) -> Any:
    """Give what filters four target pixels from x on by so many weights at once, which divide those there are.

    They go rounded to ``row[3 * x : 3 * x + 12]``, each pixel's channels the other way round if `reverse`, and four
    bytes more are overwritten. The three channels lie side by side in `column`, so one load takes them and the next
    pixel's first; Numba alone makes scalars of them, at thrice the time.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector, number = ir.VectorType(ir.FloatType(), 4), ir.IntType(32)
        few = ir.VectorType(ir.FloatType(), at_once)
        views = [context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 1, 2, 5)]
        columns, begins, factors, rows = views
        x, reverse = arguments[3:5]
        taps = builder.extract_value(factors.shape, 1)
        # As one instruction wherever the CPU has it.
        kind = ir.FunctionType(vector, [vector] * 3)
        multiply_add = cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.v4f32")
        # A half more lets truncation round.
        totals = [cgutils.alloca_once_value(builder, ir.Constant(vector, [0.5] * 4)) for _ in range(4)]

        def index(value):  # type: ignore[no-untyped-def]
            return ir.Constant(x.type, value)

        def at(array, place, kind=vector):  # type: ignore[no-untyped-def]
            return builder.bitcast(builder.gep(array.data, [place]), kind.as_pointer())

        def shuffled(a, b, order):  # type: ignore[no-untyped-def]
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(number, len(order)), list(order)))

        with cgutils.for_range(builder, builder.udiv(taps, index(at_once))) as loop:
            tap = builder.mul(loop.index, index(at_once))
            for k, total in enumerate(totals):
                pixel = builder.add(x, index(k))
                factor = builder.load(at(factors, builder.add(builder.mul(pixel, taps), tap), few), align=4)
                place = builder.sext(builder.load(builder.gep(begins.data, [pixel])), x.type)
                place = builder.add(place, builder.mul(tap, index(3)))
                result = builder.load(total)
                for i in range(at_once):
                    values = builder.load(at(columns, builder.add(place, index(3 * i))), align=4)
                    result = builder.call(multiply_add, [values, shuffled(factor, factor, [i] * 4), result])
                builder.store(result, total)
        a, b, c, d = (builder.load(total) for total in totals)
        four = shuffled(shuffled(a, b, range(8)), shuffled(c, d, range(8)), range(16))
        four = builder.fptoui(four, ir.VectorType(ir.IntType(8), 16))
        orders = [
            shuffled(four, four, [4 * k + channel for k in range(4) for channel in channels] + [0] * 4)
            for channels in ((2, 1, 0), (0, 1, 2))
        ]
        result = builder.select(builder.trunc(reverse, ir.IntType(1)), *orders)
        builder.store(result, at(rows, builder.mul(x, index(3)), four.type), align=1)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def filter_pixels(context, column, first, weights, x, reverse, row):  # type: ignore[no-untyped-def]
        return types.void(column, first, weights, types.intp, types.boolean, row), generate

    return filter_pixels


_filter_pixels, _filter_pixels_by_few = _pixel_filter(_AT_ONCE), _pixel_filter(_FEW)


@compiled(fastmath={"contract"}, _nrt=False)
def _filter_columns(image, y, y_first, y_weights, column):  # type: ignore[no-untyped-def]
    """Filter one target row down the columns of the (H, 3 W) image into `column`, of 3 W at least."""
    last = len(image) - 1
    if y_weights.shape[1] == _FEW:
        a, b = image[y_first[y]], image[min(y_first[y] + 1, last)]
        for i in range(np.uint64(image.shape[1])):
            total = np.float32(0)  # added to as below, so that the last bit is the same
            total += np.float32(a[i]) * y_weights[y, 0]
            column[i] = total + np.float32(b[i]) * y_weights[y, 1]
        return
    for tap in range(0, y_weights.shape[1], _AT_ONCE):
        row = y_first[y] + tap
        # Rows past the last have no weight.
        a, b, c, d = image[row], image[min(row + 1, last)], image[min(row + 2, last)], image[min(row + 3, last)]
        weights = y_weights[y, tap], y_weights[y, tap + 1], y_weights[y, tap + 2], y_weights[y, tap + 3]
        for i in range(np.uint64(image.shape[1])):
            total = column[i] if tap else np.float32(0)
            total += np.float32(a[i]) * weights[0]
            total += np.float32(b[i]) * weights[1]
            total += np.float32(c[i]) * weights[2]
            column[i] = total + np.float32(d[i]) * weights[3]


@compiled_in_place
def _resize(image, y_first, y_weights, x_first, x_weights, reverse, column, row, out):  # type: ignore[no-untyped-def]
    """Filter the flat image into the flat `out`, each pixel's channels the other way round if `reverse`.

    On the way lie a finite `column`, (3 W + 12,), and a `row` with three bytes for each of `x_first` and four more.
    """
    for y in range(len(out)):
        _filter_columns(image, y, y_first, y_weights, column)
        if x_weights.shape[1] == _FEW:
            for x in range(0, len(x_first), _AT_ONCE):
                _filter_pixels_by_few(column, x_first, x_weights, x, reverse, row)
        else:
            for x in range(0, len(x_first), _AT_ONCE):
                _filter_pixels(column, x_first, x_weights, x, reverse, row)
        target = out[y]
        for i in range(np.uint64(len(target))):
            target[i] = row[i]


def _reversed(order: str) -> bool:
    """Whether channels in this order are an image's BGR the other way round."""
    if order not in ("rgb", "bgr"):
        raise ArgumentError(f"expected order 'rgb' or 'bgr', got {order!r}")
    return order == "rgb"


def _flat(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = np.ascontiguousarray(check_image(image))
    flat = image.reshape(image.shape[0], -1)
    flat.setflags(write=False)  # as ROS' buffers are: Numba compiles a kernel for each of the two kinds
    return flat


def resize_image(
    image: NDArray[np.uint8], size: tuple[int, int], order: Literal["rgb", "bgr"] = "bgr"
) -> NDArray[np.uint8]:
    """Resize a BGR image the way training and runtime do it: area average to shrink, linear to enlarge.

    Args:
        image: (H, W, 3) uint8, any size from 2x2, any strides.
        size: (h, w) of the result.
        order: of its channels.

    Returns:
        (h, w, 3) uint8, rounded to nearest.

    Raises:
        ImageError: if `image` is not an (H, W, 3) uint8 image.
        ArgumentError: if `size` is not at least 1x1, or `order` is another.
    """
    source = _flat(image)
    height, width = check_size(size)
    rows, columns = _row_filter(image.shape[0], height), _column_filter(image.shape[1], width)
    out = np.empty((height, 3 * width), np.uint8)
    column = np.zeros(source.shape[1] + 3 * _AT_ONCE, np.float32)
    row = np.empty(3 * len(columns[0]) + _AT_ONCE, np.uint8)
    _resize(source, *rows, *columns, _reversed(order), column, row, out)
    return out.reshape(height, width, 3)


def preprocess(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    order: Literal["rgb", "bgr"] = "rgb",
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Resize, normalize and transpose: ``(resize_image(image, size) - mean) / std`` as NCHW.

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
    height, width = check_size(size)
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ArgumentError(f"expected three means and three positive standard deviations, got {mean!r} and {std!r}")
    if out is None:
        out = np.empty((1, 3, height, width), np.float32)
    elif out.shape != (1, 3, height, width) or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ArgumentError(
            f"expected out to be a C-contiguous float32 array of shape (1, 3, {height}, {width}), got {out.dtype} of "
            f"shape {out.shape}"
        )
    normalize(resize_image(image, (height, width), order), mean, std, out[0])
    return out


def normalize(pixels: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float], out: NDArray[np.float32]) -> None:
    """Write ``(pixels - mean) / std`` of (h, w, 3) uint8 to the planes of `out`, (3, h, w) float32, C-contiguous."""
    for plane, table, target in zip(cv2.split(pixels), _normalized(tuple(mean), tuple(std)), out, strict=True):
        cv2.LUT(plane, table, dst=target)


@lru_cache(maxsize=32)
def _normalized(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """What each byte becomes in each channel, (3, 256)."""
    values = (np.arange(256) - np.array(mean)[:, None]) / np.array(std)[:, None]
    return values.astype(np.float32)
