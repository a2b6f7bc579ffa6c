"""Colored components of upsampled maps as runs, without an image of them: lane lines are thin, most is background.

What :func:`rtseg.ops.upsample_argmax` gives and :func:`rtseg.ops.label_runs` finds in that, in one pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.ops.coloring import (
    check_size,
    color_cell,
    find_contenders,
    list_cells,
    most_rows,
    part_row,
    source_winners,
    upsampling_taps,
)
from rtseg.ops.components import Runs, number_roots, unite_rows


@compiled_in_place
def _change(x, value, begin, run, starts, ends, values, parent):  # type: ignore[no-untyped-def]
    """End the stretch of a color that began at `begin`, a run unless it is background; give the next run's number."""
    # Without a branch: what is written of background the next run is written over.
    starts[run], ends[run], values[run], parent[run] = begin, x, value, run
    return run + np.uintp(value != 0)


@compiled_in_place
def _color_cells(maps, stretches, top, y, y_end, y_weight, x_low, x_weight, lines, contenders, band):  # type: ignore[no-untyped-def]
    """Color those of a row of cells in which several colors meet; row y is the first of `band`."""
    for k in range(len(stretches)):
        if stretches[k, 2] < 0:
            begin, end = stretches[k, 0], stretches[k, 1]
            below, left = min(top + 1, maps.shape[1] - 1), x_low[begin]
            corners = top, below, left, min(left + 1, maps.shape[2] - 1)
            count = find_contenders(maps, *corners, lines[0], contenders)
            ends = y, y_end, begin, end
            color_cell(maps, contenders, count, corners, y_weight, x_weight, *ends, lines[1], lines[2], band, 0)


@compiled_in_place
def _find(maps, winners, ignored, taps, buffers, found):  # type: ignore[no-untyped-def]
    """Write the runs to the arrays of `found`, and give how many there are."""
    y_low, y_weight, x_low, x_weight = taps
    starts, ends, values, parent, rows, row_ends = found
    height, columns = maps.shape[1], len(x_low)
    lines, contenders, cells, stretches, band = buffers
    count = list_cells(x_low, cells)
    ignoring = ignored.size > 0
    run = np.uintp(0)
    y = 0
    while y < len(y_low):
        top = y_low[y]
        below = min(top + 1, height - 1)
        y_end = y + 1
        while y_end < len(y_low) and y_low[y_end] == top:
            y_end += 1
        used = part_row(winners, top, below, x_low, cells, count, stretches)
        _color_cells(maps, stretches[:used], top, y, y_end, y_weight, x_low, x_weight, lines, contenders, band)
        for row in range(y, y_end):
            rows[row] = run
            start, value = np.uintp(0), np.uint8(0)
            for k in range(used):
                first, end, winner = np.uintp(stretches[k, 0]), np.uintp(stretches[k, 1]), stretches[k, 2]
                if winner == 0 or (winner > 0 and not ignoring):
                    if winner != value:
                        run = _change(first, value, start, run, starts, ends, values, parent)
                        start, value = first, np.uint8(winner)
                    continue
                colors = band[row - y]
                for x in range(first, end):
                    color = np.uint8(winner) if winner > 0 else colors[x]
                    if ignoring and ignored[row, x]:
                        color = np.uint8(0)
                    if color != value:
                        run = _change(x, value, start, run, starts, ends, values, parent)
                        start, value = x, color
            run = _change(columns, value, start, run, starts, ends, values, parent)
            row_ends[row] = run
            if row > 0:
                unite_rows(values, 1, starts, ends, parent, rows[row - 1], row_ends[row - 1], rows[row], run)
        y = y_end
    return run


def label_color_runs(
    maps: NDArray[np.float32], size: tuple[int, int], ignored: NDArray[np.bool_] | None = None
) -> tuple[Runs, NDArray[np.uint8]]:
    """Find the 8-connected components of what :func:`rtseg.ops.upsample_argmax` gives, channel 0 being background.

    Args:
        maps: (C, h, w) float32, at most 256 channels.
        size: (H, W) of the image.
        ignored: (H, W) bool, pixels that are background whatever the maps say.

    Returns:
        the runs, as of :func:`rtseg.ops.label_runs`, and (r,) uint8 the channel of each.

    Raises:
        GroupingError: if `maps` holds values that are not finite.
        ArgumentError: if `maps` does not fit, or `size` is not at least 1x1.
    """
    source, winners = source_winners(maps)
    height, width = check_size(size)
    left_out = np.empty((0, 0), np.bool_) if ignored is None else ignored.view()
    left_out.setflags(write=False)  # as masks are: Numba compiles a kernel for each of the two kinds
    # Room for a run a pixel, and for one that is written over: pages that are never written are never mapped.
    starts, ends, parent = (np.empty(height * width + 1, np.int32) for _ in range(3))
    values = np.empty(height * width + 1, np.uint8)
    rows, row_ends = np.empty(height + 1, np.int32), np.empty(height, np.int32)
    taps = upsampling_taps(source.shape[1:], (height, width))
    channels = len(source)
    buffers = (
        np.empty((3, channels), np.float32),
        np.empty(channels, np.uint8),
        np.empty(width + 1, np.int32),
        np.empty((width, 3), np.int32),
        np.empty((most_rows(taps[0]), width), np.uint8),
    )
    found = starts, ends, values, parent, rows, row_ends
    total = _find(source, winners, left_out, taps, buffers, found)
    rows[height] = total
    count = int(number_roots(rows, row_ends, np.array([0, height]), parent))
    return Runs(starts[:total], ends[:total], rows, parent[:total], count), values[:total]
