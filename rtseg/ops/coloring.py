"""Upsampling of head maps and argmax over their channels, in one step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError, GroupingError


@compiled
def argmax_channels(maps, winners):  # type: ignore[no-untyped-def]
    """Write the winning channel of every source pixel, ties to the lower; say whether all values are finite."""
    channels, height, width = maps.shape
    finite = True
    best = np.empty(width, np.float32)
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


@compiled
def _color(maps, winners, y_low, y_weight, x_low, x_weight, out):  # type: ignore[no-untyped-def]
    channels, height, width = maps.shape
    rows, columns = out.shape
    starts = np.empty(channels, np.float32)
    slopes = np.empty(channels, np.float32)
    peaks = np.empty(channels, np.float32)
    contenders = np.empty(channels, np.uint8)
    cells = np.empty(columns + 1, np.int32)
    count = list_cells(x_low, cells)
    stretches = np.empty((count, 3), np.int32)
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
            for row in range(y, y_end):
                lean(maps, contenders, rivals, *corners, y_weight[row], starts, slopes)
                for i in range(begin, end):
                    out[row, i] = contenders[leader_at(rivals, starts, slopes, x_weight[i])]
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
    source = check_maps(maps)
    rows, columns = check_size(size)
    _, height, width = source.shape
    winners = np.empty((height, width), np.uint8)
    if not argmax_channels(source, winners):
        raise GroupingError("expected finite maps, got NaN or infinite values; check the network's input and weights")
    y_low, y_weight = bilinear_taps(height, rows)
    x_low, x_weight = bilinear_taps(width, columns)
    out = np.empty((rows, columns), np.uint8)
    _color(source, winners, y_low, y_weight, x_low, x_weight, out)
    return out
