"""Instance labels of a head map at the size of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError, GroupingError
from rtseg.ops import RegionStatistics, region_statistics
from rtseg.ops.bits import leading_zeros, set_bits, trailing_zeros
from rtseg.ops.cells import (
    WORD,
    all_of,
    color_cell,
    corners_of,
    fill,
    find_contenders,
    list_cells,
    most_rows,
    part_row,
    second_leads,
    write_bits,
)
from rtseg.ops.coloring import argmax_channels, bilinear_taps, check_maps

_FAR = np.iinfo(np.int32).max
_AT_POWER = np.array(  # bits of a word at places that have the power k of two
    [sum(1 << place for place in range(WORD) if place >> k & 1) for k in range(6)], np.uint64
)


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
    return upsample_and_measure(labels, guide, size, int(labels.max(initial=0)))[0]


def upsample_and_measure(
    labels: NDArray[np.int32], guide: NDArray[np.float32], size: tuple[int, int], count: int
) -> tuple[NDArray[np.int32], RegionStatistics]:
    """Enlarge as :func:`upsample_labels` and measure the labels 1..count on the way.

    Returns:
        (H, W) int32, and what :func:`rtseg.ops.region_statistics` gives for it.

    Raises:
        GroupingError: if the maps are not finite.
        ArgumentError: if they do not fit each other.
    """
    maps = check_maps(guide)
    if labels.shape != maps.shape[1:]:
        raise ArgumentError(f"expected a guide of the labels' size {labels.shape}, got {maps.shape[1:]}")
    kinds = np.empty(labels.shape, np.uint8)
    if not argmax_channels(maps, kinds):
        raise GroupingError("expected finite maps, got NaN or infinite values; check the network's input and weights")
    if labels.shape == tuple(size):
        same = np.array(labels, dtype=np.int32)
        return same, region_statistics(same, count)
    out = np.empty(size, dtype=np.int32)
    areas, boxes, sums = np.zeros(count, np.int64), np.empty((count, 4), np.int32), np.zeros((count, 2), np.int64)
    _enlarge(np.ascontiguousarray(labels, dtype=np.int32), kinds, maps, out, areas, boxes, sums)
    with np.errstate(invalid="ignore"):
        return out, RegionStatistics(areas, boxes, sums / areas[:, None])


@compiled
def _enlarge(labels, kinds, guide, out, areas, boxes, sums):  # type: ignore[no-untyped-def]
    channels, height, width = guide.shape
    rows, columns = out.shape
    y_taps, x_taps = bilinear_taps(height, rows), bilinear_taps(width, columns)
    cells, stretches = np.empty(columns + 1, np.int32), np.empty((columns, 3), np.int32)
    lines, contenders = np.empty((3, channels), np.float32), np.empty(channels, np.uint8)
    owners, leaders = np.empty(channels, np.int32), np.empty((most_rows(y_taps[0]), columns), np.uint8)
    names, shares = np.empty(4, np.int32), np.empty((4, 4), np.float32)
    buffers = cells, stretches, lines, contenders, owners, leaders, names, shares
    _enlarge_cells(labels, kinds, guide, y_taps, x_taps, buffers, out, areas, boxes, sums)


@compiled_in_place
def _enlarge_cells(labels, kinds, guide, y_taps, x_taps, buffers, out, areas, boxes, sums):  # type: ignore[no-untyped-def]
    """Row of cells by row of cells: stretches of one label are filled, cells of several looked at pixel by pixel."""
    height = len(labels)
    (y_low, y_weight), (x_low, x_weight), rows = y_taps, x_taps, len(out)
    cells, stretches = buffers[0], buffers[1]
    count = list_cells(x_low, cells)
    for i in range(areas.size):
        boxes[i, 0] = boxes[i, 1] = _FAR
        boxes[i, 2] = boxes[i, 3] = 0
    y = 0
    while y < rows:
        top = y_low[y]
        below = min(top + 1, height - 1)
        y_end = y + 1
        while y_end < rows and y_low[y_end] == top:
            y_end += 1
        for k in range(part_row(labels, top, below, x_low, cells, count, stretches)):
            begin, end, label = stretches[k, 0], stretches[k, 1], stretches[k, 2]
            if label >= 0:
                fill(out, y, y_end, begin, end, label)
                _measure(label, begin, end, y, y_end, areas, boxes, sums)
                continue
            corners = corners_of(guide, top, x_low[begin])
            ends = y, y_end, begin, end
            _enlarge_cell(labels, kinds, guide, corners, y_weight, x_weight, ends, buffers, out, areas, boxes, sums)
        y = y_end
    for i in range(areas.size):
        if areas[i] == 0:
            boxes[i, 0] = boxes[i, 1] = 0


@compiled_in_place
def _enlarge_cell(labels, kinds, guide, corners, y_weight, x_weight, ends, buffers, out, areas, boxes, sums):  # type: ignore[no-untyped-def]
    """Label and measure the pixels between four map pixels, whose rows and columns end at `ends`."""
    y, y_end, begin, end = ends
    _, _, lines, contenders, owners, leaders, names, shares = buffers
    rivals = find_contenders(guide, *corners, lines[0], contenders)
    for i in range(rivals):  # the only label of a kind; 0 where it has none, -1 where it has several
        kind = contenders[i]
        count = _list_names(labels, kinds, kind, corners, names) if kind > 0 else 0
        owners[kind] = names[0] if count == 1 else -min(count, 1)
    if rivals == 2 and min(owners[contenders[0]], owners[contenders[1]]) >= 0:  # nearly always
        pair = contenders[0], contenders[1]
        first, second = owners[pair[0]], owners[pair[1]]
        for row in range(y, y_end):
            for at in range(begin, end, WORD):
                stop = min(at + WORD, end)
                bits = second_leads(guide, pair, corners, y_weight[row], x_weight, at, stop)
                write_bits(bits, at, stop, first, second, out[row])
                _measure_bits(first, ~bits & all_of(stop - at), at, row, areas, boxes, sums)
                _measure_bits(second, bits, at, row, areas, boxes, sums)
        return
    color_cell(guide, contenders, rivals, corners, y_weight, x_weight, *ends, lines[1], lines[2], leaders, 0)
    for i in range(rivals):
        if owners[contenders[i]] < 0:
            _part_kind(labels, kinds, contenders[i], corners, y_weight, x_weight, ends, leaders, names, shares, out)
    for row in range(y, y_end):
        run, owner = begin, np.int32(0)
        for x in range(begin, end):
            label = owners[leaders[row - y, x]]
            if label < 0:
                label = out[row, x]
            else:
                out[row, x] = label
            if label != owner:
                _measure(owner, run, x, row, row + 1, areas, boxes, sums)
                run, owner = x, label
        _measure(owner, run, end, row, row + 1, areas, boxes, sums)


@compiled_in_place
def _part_kind(labels, kinds, kind, corners, y_weight, x_weight, ends, leaders, names, shares, out):  # type: ignore[no-untyped-def]
    """Write where a kind leads, of the labels that its map pixels have, the one that weighs most."""
    top, below, left, right = corners
    y, y_end, begin, end = ends
    count = _list_names(labels, kinds, kind, corners, names)
    for k in range(count):
        for i in range(4):
            row, column = below if i & 2 else top, right if i & 1 else left
            shares[k, i] = labels[row, column] == names[k] and kinds[row, column] == kind
    for row in range(y, y_end):
        v = y_weight[row]
        for x in range(begin, end):
            if leaders[row - y, x] != kind:
                continue
            u = x_weight[x]
            # products of doubles but for the last, as on a device
            a, b, c, d = np.float32((1 - v) * (1 - u)), np.float32((1 - v) * u), np.float32(v * (1 - u)), v * u
            best = np.float32(-1)
            for k in range(count):
                total = a * shares[k, 0] + b * shares[k, 1] + c * shares[k, 2] + d * shares[k, 3]
                if total > best:
                    best = total
                    out[row, x] = names[k]


@compiled_in_place
def _list_names(labels, kinds, kind, corners, names):  # type: ignore[no-untyped-def]
    """List the labels on map pixels of a kind, of four, in order, and count them."""
    top, below, left, right = corners
    count = 0
    for i in range(4):
        y, x = below if i & 2 else top, right if i & 1 else left
        label = labels[y, x]
        if label == 0 or kinds[y, x] != kind:
            continue
        at = count
        while at > 0 and names[at - 1] > label:
            at -= 1
        if at > 0 and names[at - 1] == label:
            continue
        for k in range(count, at, -1):
            names[k] = names[k - 1]
        names[at] = label
        count += 1
    return count


@compiled_in_place
def _measure(label, begin, end, y, y_end, areas, boxes, sums):  # type: ignore[no-untyped-def]
    """Add the columns begin..end of the rows y..y_end to a label, if it is one."""
    if label == 0:
        return
    i = label - 1
    width, height = np.int64(end - begin), np.int64(y_end - y)
    areas[i] += width * height
    sums[i, 0] += (begin + end - 1) * width // 2 * height
    sums[i, 1] += (y + y_end - 1) * height // 2 * width
    boxes[i, 0], boxes[i, 1] = min(boxes[i, 0], begin), min(boxes[i, 1], y)
    boxes[i, 2], boxes[i, 3] = max(boxes[i, 2], end), max(boxes[i, 3], y_end)


@compiled_in_place
def _measure_bits(label, bits, begin, y, areas, boxes, sums):  # type: ignore[no-untyped-def]
    """Add the columns begin + i of row y whose bit i is set to a label, if it is one."""
    if label == 0 or bits == 0:
        return
    i, count = label - 1, set_bits(bits)
    areas[i] += count
    places = np.int64(0)
    for k in range(6):  # the sum of what the places of bits have at the power k of two
        places += set_bits(bits & _AT_POWER[k]) << k
    sums[i, 0] += begin * count + places
    sums[i, 1] += y * count
    boxes[i, 0], boxes[i, 1] = min(boxes[i, 0], begin + trailing_zeros(bits)), min(boxes[i, 1], y)
    boxes[i, 2], boxes[i, 3] = max(boxes[i, 2], begin + WORD - leading_zeros(bits)), max(boxes[i, 3], y + 1)
