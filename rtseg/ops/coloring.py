"""Upsampling of head maps and argmax over their channels, in one step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError, GroupingError
from rtseg.ops.cells import color_cell, corners_of, fill, find_contenders, list_cells, part_row


@compiled_in_place
def _argmax_channels(maps, winners, best):  # type: ignore[no-untyped-def]
    channels, height, width = maps.shape
    endless = 0  # bits, since sums in order are no vectors
    for y in range(height):
        for x in range(width):
            best[x] = maps[0, y, x]
            winners[y, x] = 0
        for c in range(channels):
            for x in range(width):
                value = maps[c, y, x]
                endless |= value - value != 0
                if value > best[x]:
                    best[x] = value
                    winners[y, x] = c
    return endless == 0


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
def _color(maps, winners, y_low, y_weight, x_low, x_weight, lines, contenders, cells, stretches, out):  # type: ignore[no-untyped-def]
    height, rows = maps.shape[1], len(out)
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
            corners = corners_of(maps, top, x_low[begin])
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
