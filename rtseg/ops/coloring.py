"""Upsampling of head maps and argmax over their channels, in one step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError, GroupingError

_BLOCK = np.uintp(16)  # pixels colored at once


@compiled_in_place
def _argmax_channels(maps, winners, best):  # type: ignore[no-untyped-def]
    channels, height, width = maps.shape
    finite = True
    for y in range(height):
        for x in range(width):
            best[x] = maps[0, y, x]
            winners[y, x] = 0
        # A sum is finite only if each of its finite terms' kind is: NaN and infinities survive addition of x - x.
        check = np.float32(0)
        for c in range(channels):
            for x in range(width):
                value = maps[c, y, x]
                check += value - value
                if value > best[x]:
                    best[x] = value
                    winners[y, x] = c
        finite &= check == 0
    return finite


def argmax_channels(maps: NDArray[np.float32], winners: NDArray[np.uint8]) -> bool:
    """Write the winning channel of every source pixel, ties to the lower; say whether all values are finite.

    Args:
        maps: (C, h, w) float32, C-contiguous.
        winners: (h, w) uint8.
    """
    return bool(_argmax_channels(maps, winners, np.empty(maps.shape[2], np.float32)))


@compiled
def bilinear_taps(source, target):  # type: ignore[no-untyped-def]
    """Half-pixel centers: target i lies between source low[i] and the next (clamped), which has weight[i]."""
    low = np.empty(target, np.int32)
    weight = np.empty(target, np.float32)
    scale = source / target
    for i in range(target):
        position = min(max((i + 0.5) * scale - 0.5, 0.0), source - 1.0)
        at = int(position)
        low[i] = at
        weight[i] = position - at
    return low, weight


@compiled_in_place
def find_contenders(maps, top, below, left, right, peaks, contenders):  # type: ignore[no-untyped-def]
    """List the channels that may win somewhere between four source pixels, and count them.

    A channel that nowhere among them reaches what another never falls below cannot.
    """
    floor = np.float32(-np.inf)
    for c in range(maps.shape[0]):
        a, b, d, e = maps[c, top, left], maps[c, top, right], maps[c, below, left], maps[c, below, right]
        peaks[c] = max(max(a, b), max(d, e))
        floor = max(floor, min(min(a, b), min(d, e)))
    count = 0
    for c in range(maps.shape[0]):
        if peaks[c] >= floor:
            contenders[count] = c
            count += 1
    return count


@compiled_in_place
def lean(maps, contenders, count, top, below, left, right, v, starts, slopes):  # type: ignore[no-untyped-def]
    """Interpolate the contenders down to `v` between the rows: at the left column, and what they gain to the right."""
    for k in range(count):
        c = contenders[k]
        a = maps[c, top, left] + (maps[c, below, left] - maps[c, top, left]) * v
        b = maps[c, top, right] + (maps[c, below, right] - maps[c, top, right]) * v
        starts[k] = a
        slopes[k] = b - a


@compiled_in_place
def leader_at(count, starts, slopes, u):  # type: ignore[no-untyped-def]
    """Give the contender with the greatest value at `u` between the columns."""
    best = starts[0] + slopes[0] * u
    leader = 0
    for k in range(1, count):
        value = starts[k] + slopes[k] * u
        leader = k if value > best else leader
        best = max(value, best)
    return leader


@intrinsic  # type: ignore[untyped-decorator]
def _choose(context, weights, at, start, slope, other_start, other_slope, first, second, out):  # type: ignore[no-untyped-def]
    """Write to `out` at sixteen columns from `at` on which of two lines is greater at their weights, ties `first`.

    Numba unrolls a loop of sixteen instead, at several times the time.
    """
    number, byte = types.float32, types.uint8
    signature = types.void(weights, types.uintp, number, number, number, number, byte, byte, out)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def splat(value):  # type: ignore[no-untyped-def]
            vector = ir.VectorType(value.type, int(_BLOCK))
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
            return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), int(_BLOCK)), None))

        def place(k, kind):  # type: ignore[no-untyped-def]
            data = context.make_array(signature.args[k])(context, builder, arguments[k]).data
            return builder.bitcast(builder.gep(data, [arguments[1]]), kind.as_pointer())

        start, slope, other_start, other_slope, first, second = map(splat, arguments[2:8])
        u = builder.load(place(0, start.type), align=4)
        value, other = (builder.fadd(a, builder.fmul(b, u)) for a, b in ((start, slope), (other_start, other_slope)))
        chosen = builder.select(builder.fcmp_ordered(">", other, value), second, first)
        builder.store(chosen, place(8, first.type), align=1)
        return context.get_dummy_value()

    return signature, generate


@compiled_in_place
def _color_between_two(maps, first, second, corners, y_weight, x_weight, y, y_end, begin, end, out, at_y):  # type: ignore[no-untyped-def]
    """As `color_cell`, with two contenders."""
    top, below, left, right = corners
    a, b, d, e = maps[first, top, left], maps[first, top, right], maps[first, below, left], maps[first, below, right]
    f, g, h, i = (
        maps[second, top, left],
        maps[second, top, right],
        maps[second, below, left],
        maps[second, below, right],
    )
    stop = np.uintp(end)  # unsigned: an index that may be negative is no vector store
    for row in range(y, y_end):
        v = y_weight[row]
        start, other = a + (d - a) * v, f + (h - f) * v
        slope, other_slope = b + (e - b) * v - start, g + (i - g) * v - other
        colors = out[at_y + row - y]
        at = np.uintp(begin)
        while at < stop and at + _BLOCK <= colors.size:
            _choose(x_weight, at, start, slope, other, other_slope, first, second, colors)
            at += _BLOCK
        while at < stop:
            u = x_weight[at]
            colors[at] = second if other + other_slope * u > start + slope * u else first
            at += np.uintp(1)


@compiled_in_place
def color_cell(maps, contenders, count, corners, y_weight, x_weight, y, y_end, begin, end, starts, slopes, out, at_y):  # type: ignore[no-untyped-def]
    """Write the leaders between four source pixels to `out`, and up to fifteen columns further what is none.

    Args:
        maps: (C, h, w) float32.
        contenders: from `find_contenders`.
        count: how many.
        corners: the source rows above and below, the columns to the left and to the right.
        y_weight: (H,) of each row, between the source rows.
        x_weight: (W,) likewise of columns.
        y: first row.
        y_end: after the last one.
        begin: first column.
        end: after the last one.
        starts: (C,) float32, a buffer.
        slopes: likewise.
        out: (rows, W) uint8.
        at_y: the row of `out` that y is.
    """
    if count == 2:  # nearly always
        first, second = contenders[0], contenders[1]
        _color_between_two(maps, first, second, corners, y_weight, x_weight, y, y_end, begin, end, out, at_y)
        return
    for row in range(y, y_end):
        lean(maps, contenders, count, *corners, y_weight[row], starts, slopes)
        for x in range(begin, end):
            out[at_y + row - y, x] = contenders[leader_at(count, starts, slopes, x_weight[x])]


@compiled_in_place
def list_cells(low, begins):  # type: ignore[no-untyped-def]
    """List where targets between the same two source pixels begin, and at last where all end; count these cells."""
    count = 0
    for i in range(low.size):
        if i == 0 or low[i] != low[i - 1]:
            begins[count] = i
            count += 1
    begins[count] = low.size
    return count


@compiled_in_place
def most_rows(low):  # type: ignore[no-untyped-def]
    """Give the most targets that lie between the same two source pixels."""
    most = 0
    begin = 0
    for i in range(low.size):
        if low[i] != low[begin]:
            begin = i
        most = max(most, i + 1 - begin)
    return most


@compiled_in_place
def part_row(values, top, below, x_low, cells, count, stretches):  # type: ignore[no-untyped-def]
    """Part a row of cells into stretches of one value and single cells of several, and count them.

    Args:
        values: (h, w) integers, not negative.
        top: the source row above.
        below: the source row below.
        x_low: (W,) source column left of each target.
        cells: from `list_cells` of those.
        count: how many.
        stretches: (count, 3) int32, written: begin and end of target columns, and the value, -1 for several.
    """
    last = values.shape[1] - 1
    used = 0
    for cell in range(count):
        left = x_low[cells[cell]]
        right = min(left + 1, last)
        value = np.int32(values[top, left])
        if value != values[top, right] or value != values[below, left] or value != values[below, right]:
            value = np.int32(-1)
        if used == 0 or value < 0 or stretches[used - 1, 2] != value:
            stretches[used, 0], stretches[used, 2] = cells[cell], value
            used += 1
        stretches[used - 1, 1] = cells[cell + 1]
    return used


@compiled_in_place
def fill(out, y, y_end, begin, end, value):  # type: ignore[no-untyped-def]
    """Write a value to the columns begin..end of the rows y..y_end."""
    first, length = np.uint64(begin), np.uint64(end - begin)  # unsigned indices need no check for negative ones
    for row in range(y, y_end):
        for x in range(length):
            out[row, first + x] = value


@compiled_in_place
def _color(maps, winners, y_low, y_weight, x_low, x_weight, lines, contenders, cells, stretches, out):  # type: ignore[no-untyped-def]
    _, height, width = maps.shape
    rows = len(out)
    peaks, starts, slopes = lines[0], lines[1], lines[2]
    count = list_cells(x_low, cells)
    y = 0
    while y < rows:
        top = y_low[y]
        below = min(top + 1, height - 1)
        y_end = y + 1
        while y_end < rows and y_low[y_end] == top:
            y_end += 1
        for k in range(part_row(winners, top, below, x_low, cells, count, stretches)):
            begin, end, winner = stretches[k, 0], stretches[k, 1], stretches[k, 2]
            if winner >= 0:
                # Where the four corners agree the interpolated winner is theirs, for the interpolated value of a
                # channel is a convex combination of its corners.
                fill(out, y, y_end, begin, end, np.uint8(winner))
                continue
            corners = top, below, x_low[begin], min(x_low[begin] + 1, width - 1)
            rivals = find_contenders(maps, *corners, peaks, contenders)
            weights = y_weight, x_weight
            color_cell(maps, contenders, rivals, corners, *weights, y, y_end, begin, end, starts, slopes, out, y)
        y = y_end


def check_maps(maps: object) -> NDArray[np.float32]:
    """Return `maps` as a C-contiguous (C, h, w) float32 array.

    Raises:
        ArgumentError: if it is not a non-empty (C, h, w) float array with 1 to 256 channels.
    """
    if not isinstance(maps, np.ndarray) or maps.ndim != 3 or maps.dtype.kind != "f" or 0 in maps.shape:
        what = f"{maps.dtype} array of shape {maps.shape}" if isinstance(maps, np.ndarray) else type(maps).__name__
        raise ArgumentError(f"expected non-empty (C, h, w) float maps, got {what}; put the channels first")
    if maps.shape[0] > 256:
        raise ArgumentError(f"expected at most 256 channels, since the winner is a uint8, got {maps.shape[0]}")
    return np.ascontiguousarray(maps, dtype=np.float32)


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return a (height, width) of at least 1x1.

    Raises:
        ArgumentError: if it is anything else.
    """
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ArgumentError(f"expected a size (height, width) of at least (1, 1), got {size!r}")
    return height, width


def source_winners(maps: object) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return `maps` as :func:`check_maps`, and (h, w) uint8, the winner at each of their pixels.

    Raises:
        GroupingError: if they hold values that are not finite.
        ArgumentError: as :func:`check_maps`.
    """
    source = check_maps(maps)
    winners = np.empty(source.shape[1:], np.uint8)
    if not argmax_channels(source, winners):
        raise GroupingError("expected finite maps, got NaN or infinite values; check the network's input and weights")
    return source, winners


@lru_cache(maxsize=16)
def upsampling_taps(source: tuple[int, int], target: tuple[int, int]) -> tuple[NDArray[Any], ...]:
    """Give what `bilinear_taps` are of rows and of columns: low and weight of each, not to be written to."""
    taps = (*bilinear_taps(source[0], target[0]), *bilinear_taps(source[1], target[1]))
    for array in taps:
        array.setflags(write=False)
    return taps


def upsample_argmax(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Interpolate maps to `size` and give the channel with the greatest value at every pixel.

    The interpolation is bilinear with half-pixel centers and clamped edges, as ``cv2.resize`` with ``INTER_LINEAR``
    and torch's ``align_corners=False``; ties go to the lower channel. Only cells between source pixels of unlike
    winners are evaluated pixel by pixel, so the cost follows the length of the borders and not the area.

    Args:
        maps: (C, h, w) float32, at most 256 channels.
        size: (H, W) of the result.

    Returns:
        (H, W) uint8 channel indices.

    Raises:
        GroupingError: if `maps` holds values that are not finite.
        ArgumentError: if `maps` does not fit, or `size` is not at least 1x1.
    """
    source, winners = source_winners(maps)
    out = np.empty(check_size(size), np.uint8)
    channels, columns = len(source), out.shape[1]
    _color(
        source,
        winners,
        *upsampling_taps(source.shape[1:], out.shape),
        np.empty((3, channels), np.float32),
        np.empty(channels, np.uint8),
        np.empty(columns + 1, np.int32),
        np.empty((columns, 3), np.int32),
        out,
    )
    return out
