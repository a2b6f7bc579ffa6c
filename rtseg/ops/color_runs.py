"""Colored components of upsampled maps as runs, without an image of them: lane lines are thin, most is background.

What :func:`rtseg.ops.upsample_argmax` gives and :func:`rtseg.ops.label_runs` finds in that, in one pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.ops.bits import trailing_zeros
from rtseg.ops.cells import WORD, color_cell, corners_of, find_contenders, list_cells, most_rows, part_row, second_leads
from rtseg.ops.coloring import check_size, source_winners, upsampling_taps
from rtseg.ops.components import Runs, number_roots, unite_rows


@compiled_in_place
def _change(x, value, begin, run, starts, ends, values, parent):  # type: ignore[no-untyped-def]
    """End the stretch of a color that began at `begin`, a run unless it is background; give the next run's number."""
    # Without a branch: what is written of background the next run is written over.
    starts[run], ends[run], values[run], parent[run] = begin, x, value, run
    return run + np.uintp(value != 0)


@compiled_in_place
def _change_at_bits(bits, pair, begin, end, value, start, run, found):  # type: ignore[no-untyped-def]
    """Go through the columns begin..end, where bits tell which of two colors each has.

    Gives the number of the next run, and where the last stretch began and of which color it is.
    """
    starts, ends, values, parent = found[:4]
    x = np.uintp(begin)
    while True:
        second = bits & np.uint64(1)
        color = np.uint8(pair[1] if second else pair[0])
        if color != value:
            run = _change(x, value, start, run, starts, ends, values, parent)
            start, value = x, color
        others = ~bits if second else bits
        if others == 0:
            return run, start, value
        step = np.uintp(trailing_zeros(others))
        x += step
        if x >= end:
            return run, start, value
        bits >>= step


@compiled_in_place
def _look_at_cells(maps, stretches, top, y, y_end, y_weight, x_low, x_weight, buffers, ignoring):  # type: ignore[no-untyped-def]
    """Note the pair of colors of those of a row of cells in which two meet; color others in `band`, from its row 0 on.

    A cell in which pixels are ignored is colored, too.
    """
    lines, contenders, _, _, band, pairs, words = buffers
    for k in range(len(stretches)):
        if stretches[k, 2] < 0:
            begin, end = stretches[k, 0], stretches[k, 1]
            corners = corners_of(maps, top, x_low[begin])
            count = find_contenders(maps, *corners, lines[0], contenders)
            pairs[k, 0] = pairs[k, 1] = 0
            if count == 2 and end - begin <= WORD and not ignoring:  # nearly always
                pair = contenders[0], contenders[1]
                pairs[k, 0], pairs[k, 1] = pair
                for row in range(y, y_end):
                    words[row - y, k] = second_leads(maps, pair, corners, y_weight[row], x_weight, begin, end)
                continue
            ends = y, y_end, begin, end
            color_cell(maps, contenders, count, corners, y_weight, x_weight, *ends, lines[1], lines[2], band, 0)


@compiled_in_place
def _find(maps, winners, ignored, taps, buffers, found):  # type: ignore[no-untyped-def]
    """Write the runs to the arrays of `found`, and give how many there are."""
    y_low, y_weight, x_low, x_weight = taps
    starts, ends, values, parent, rows, row_ends = found
    columns = len(x_low)
    _, _, cells, stretches, band, pairs, words = buffers
    count = list_cells(x_low, cells)
    ignoring = ignored.size > 0
    run = np.uintp(0)
    y = 0
    while y < len(y_low):
        top = y_low[y]
        y_end = y + 1
        while y_end < len(y_low) and y_low[y_end] == top:
            y_end += 1
        used = part_row(winners, top, min(top + 1, len(winners) - 1), x_low, cells, count, stretches)
        _look_at_cells(maps, stretches[:used], top, y, y_end, y_weight, x_low, x_weight, buffers, ignoring)
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
                pair = pairs[k, 0], pairs[k, 1]
                if winner < 0 and pair[1] > 0:
                    run, start, value = _change_at_bits(words[row - y, k], pair, first, end, value, start, run, found)
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
    channels, most = len(source), most_rows(taps[0])
    buffers = (
        np.empty((3, channels), np.float32),
        np.empty(channels, np.uint8),
        np.empty(width + 1, np.int32),
        np.empty((width, 3), np.int32),
        np.empty((most, width), np.uint8),
        np.empty((width, 2), np.uint8),
        np.empty((most, width), np.uint64),
    )
    found = starts, ends, values, parent, rows, row_ends
    total = _find(source, winners, left_out, taps, buffers, found)
    rows[height] = total
    count = int(number_roots(rows, row_ends, np.array([0, height]), parent))
    return Runs(starts[:total], ends[:total], rows, parent[:total], count), values[:total]
