"""The masks of many objects as runs of grid points, and how they overlap a label image."""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled, compiled_in_place


@compiled
def mask_runs(labels, step, count):  # type: ignore[no-untyped-def]
    """Sample a label image and list the runs of each label.

    Args:
        labels: (H, W) int32, 0..count.
        step: pixels from point to point; the middle of each step is taken, or of a side shorter than one.
        count: number of labels.

    Returns:
        The samples (h, w) int32; (count + 1,) int32 starts, and (m, 3) int32 runs (y, begin, end): the mask of label
        i + 1 is the runs starts[i] to starts[i + 1], row by row; and (count,) int32 points of each.
    """
    top, left = min(step, labels.shape[0]) // 2, min(step, labels.shape[1]) // 2
    height, width = (labels.shape[0] - top + step - 1) // step, (labels.shape[1] - left + step - 1) // step
    grid, found = np.empty((height, width), np.int32), np.empty((height * width, 4), np.int32)
    starts, sizes = np.zeros(count + 1, np.int32), np.zeros(count, np.int32)
    used = 0
    for y in range(height):
        row, line = labels[top + y * step], grid[y]
        at = np.uintp(left)  # unsigned indices need no check for negative ones
        for x in range(np.uintp(width)):
            line[x] = row[at]
            at += np.uintp(step)
        x = np.uintp(0)
        while x < np.uintp(width):
            label, begin = line[x], x
            x += np.uintp(1)
            while x < np.uintp(width) and line[x] == label:
                x += np.uintp(1)
            if label > 0:
                found[used, 0], found[used, 1], found[used, 2], found[used, 3] = y, begin, x, label
                starts[label] += 1
                sizes[label - 1] += x - begin
                used += 1
    for i in range(count):
        starts[i + 1] += starts[i]
    runs, following = np.empty((used, 3), np.int32), starts.copy()
    for r in range(used):
        i = found[r, 3] - 1
        for k in range(3):
            runs[following[i], k] = found[r, k]
        following[i] += 1
    return grid, starts, runs, sizes


@compiled_in_place
def lay_over(runs, before, after, step, grid, counts):  # type: ignore[no-untyped-def]
    """Count the points of a mask on each label of a grid, when it is moved and stretched from one box into another.

    Args:
        runs: (m, 3) int32 of the mask.
        before: (4,) box (x0, y0, x1, y1) in pixels in which the mask is.
        after: (4,) box into which it is laid.
        step: pixels from point to point of the grid.
        grid: (h, w) int32 labels.
        counts: (labels + 1,) int32, written; what falls outside the grid does not count.

    Returns:
        How many points of the grid each of them covers.
    """
    for label in range(counts.size):
        counts[label] = 0
    x_before, y_before, x_after, y_after = before[0] / step, before[1] / step, after[0] / step, after[1] / step
    x_scale = (after[2] / step - x_after) / max(before[2] / step - x_before, 1e-9)
    y_scale = (after[3] / step - y_after) / max(before[3] / step - y_before, 1e-9)
    height, width = grid.shape
    for r in range(len(runs)):
        y = int(np.floor(y_after + (runs[r, 0] + 0.5 - y_before) * y_scale))
        if 0 <= y < height:
            for place in range(runs[r, 1], runs[r, 2]):
                x = int(np.floor(x_after + (place + 0.5 - x_before) * x_scale))
                if 0 <= x < width:
                    counts[grid[y, x]] += 1
    return x_scale * y_scale


@compiled
def choose_masks(starts, runs, new_starts, new_runs, source):  # type: ignore[no-untyped-def]
    """Put masks together: ``source[k]`` i >= 0 is mask i of the new ones, -1 - i is mask i of the others."""
    out_starts = np.zeros(source.size + 1, np.int32)
    for i in range(source.size):
        j = source[i]
        size = new_starts[j + 1] - new_starts[j] if j >= 0 else starts[-j] - starts[-1 - j]
        out_starts[i + 1] = out_starts[i] + size
    out = np.empty((out_starts[-1], 3), np.int32)
    for i in range(source.size):
        j = source[i]
        begin = new_starts[j] if j >= 0 else starts[-1 - j]
        for r in range(out_starts[i], out_starts[i + 1]):
            at = begin + r - out_starts[i]
            for k in range(3):
                out[r, k] = new_runs[at, k] if j >= 0 else runs[at, k]
    return out_starts, out
