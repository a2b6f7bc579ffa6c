"""Connected components pixel by pixel: for pictures of stripes and specks, of runs of a few pixels.

Every pixel takes a provisional number from an equal neighbor that comes before it, or a new one; numbers that meet are
united. Only the pixels at which that may happen, or that begin a region, are looked at one by one: the decision tree of
Wu, Otoo and Suzuki tells which, on equal labels instead of foreground. The root of a component is the number of its
first pixel, so ids come out as those of `rtseg.ops.components`, and strips are joined as there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.ops.bits import trailing_zeros
from rtseg.ops.threads import run_strips, strip_bounds

_THIN = 0.05  # edges a pixel from which on pixels are cheaper than runs


@compiled_in_place
def _count_edges(labels):  # type: ignore[no-untyped-def]
    """Count the changes along some rows, one in 8 to 20 at uneven steps, which no pattern follows; and those rows."""
    count = 0
    rows = 0
    y = 0
    while y < labels.shape[0]:
        row = labels[y]
        for x in range(1, row.size):
            count += row[x] != row[x - 1]
        rows += 1
        y += 8 + (y * y) % 13
    return count, rows


def is_thin(labels: NDArray[np.integer]) -> bool:
    """Say whether the labels of (H, W) change so often along rows that pixels are labelled faster than runs."""
    count, rows = _count_edges(labels)
    return bool(count > _THIN * rows * labels.shape[1])


@compiled_in_place
def _find(parent, number):  # type: ignore[no-untyped-def]
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = np.int64(parent[number])
    return number


@compiled_in_place
def _unite(parent, a, b):  # type: ignore[no-untyped-def]
    """Unite two numbers and give the smaller root."""
    a = _find(parent, np.int64(a))
    b = _find(parent, np.int64(b))
    low, high = min(a, b), max(a, b)
    parent[high] = low
    return low


@compiled_in_place
def _number_row(line, above, corners, row, over, parent, fresh, alone, words):  # type: ignore[no-untyped-def]
    """Number the pixels of a row below another; give the next fresh number.

    Most pixels take the number of a neighbor in the row above and unite nothing: these are numbered many at once.
    `alone` is a buffer of one byte a pixel, 1 at the others and at both ends of the row, which are looked at one by
    one; `words` is the same memory as 8-byte words.
    """
    one = np.uint64(1)
    last = np.uint64(line.size - 1)
    for x in range(one, last):
        value = line[x]
        before, after = over[x - one], over[x + one]
        up, left = value == above[x], value == line[x - one]
        up_left, up_right = value == above[x - one], value == above[x + one]
        if corners:
            row[x] = over[x] if up else (after if up_right else (before if up_left else np.int32(0)))
            meet = (up_right & (left | (up_left & (before != after)))) | ((not up_right) & (not up_left))
            alone[x] = (value != 0) & (not up) & meet
        else:
            row[x] = over[x] if up else np.int32(0)
            alone[x] = (value != 0) & ((not up) | (left & (not up_left)))
    row[0], row[last] = 0, 0
    alone[0], alone[last] = line[0] != 0, line[last] != 0
    for word in range(np.uint64(words.size)):
        bits = words[word]
        while bits != 0:
            x = np.uint64(8) * word + np.uint64(trailing_zeros(bits) >> 3)
            bits &= bits - one
            value = line[x]
            # Numbers of the neighbors that belong to it, 0 for the others.
            up = over[x] if value == above[x] else np.int32(0)
            right = over[x + one] if corners and x < last and value == above[x + one] else np.int32(0)
            before = over[x - one] if corners and x > 0 and value == above[x - one] else np.int32(0)
            left = row[x - one] if x > 0 and value == line[x - one] else np.int32(0)
            number = max(up, right, before, left)
            if number == 0:
                parent[fresh] = fresh
                number = np.int32(fresh)
                fresh += 1
            for other in (up, right, before, left):
                if other != 0 and other != number:
                    number = np.int32(_unite(parent, number, other))
            row[x] = number
    return fresh


@compiled_in_place
def _number_first_row(line, row, parent, fresh):  # type: ignore[no-untyped-def]
    left = line[0] ^ line[0]
    for x in range(line.size):
        row[x] = 0
        if line[x] != 0:
            if line[x] == left:
                row[x] = row[x - 1]
            else:
                parent[fresh] = fresh
                row[x] = fresh
                fresh += 1
        left = line[x]
    return fresh


@compiled_in_place
def _number_strip(labels, y0, y1, corners, numbers, parent, alone, words):  # type: ignore[no-untyped-def]
    """Number the pixels of rows y0..y1, from y0 * width + 1 on, and give the number after the last one."""
    fresh = y0 * labels.shape[1] + 1
    if y0 < y1:
        fresh = _number_first_row(labels[y0], numbers[y0], parent, fresh)
    for y in range(y0 + 1, y1):
        fresh = _number_row(labels[y], labels[y - 1], corners, numbers[y], numbers[y - 1], parent, fresh, alone, words)
    return fresh


@compiled_in_place
def _unite_seam(labels, y, corners, numbers, parent):  # type: ignore[no-untyped-def]
    width = labels.shape[1]
    for x in range(width):
        value = labels[y, x]
        if value == 0:
            continue
        for other in range(max(x - 1, 0) if corners else x, min(x + 2, width) if corners else x + 1):
            if labels[y - 1, other] == value:
                _unite(parent, numbers[y, x], numbers[y - 1, other])


@compiled_in_place
def _name_roots(parent, begins, ends):  # type: ignore[no-untyped-def]
    """Turn parents into ids 1..count in place; a parent comes before its children.

    Returns:
        The count, and the first strip whose numbers are not its ids.
    """
    count = 0
    first = begins.size
    for i in range(begins.size):
        if begins[i] != count + 1 and begins[i] < ends[i]:
            first = min(first, i)
        for number in range(begins[i], ends[i]):
            if parent[number] == number:
                count += 1
                parent[number] = count
            else:
                parent[number] = parent[parent[number]]
                first = min(first, i)
    return count, first


@compiled_in_place
def _rename(numbers, parent):  # type: ignore[no-untyped-def]
    for y in range(numbers.shape[0]):
        row = numbers[y]
        for x in range(row.size):
            row[x] = parent[row[x]]


def label_pixels(labels: NDArray[np.integer], connectivity: int, bounds: list[int]) -> tuple[NDArray[np.int32], int]:
    """Label components as :func:`rtseg.ops.label_components`, in strips of rows ``bounds[i]`` to ``bounds[i + 1]``."""
    width = labels.shape[1]
    numbers = np.empty(labels.shape, np.int32)
    parent = np.empty(labels.size + 1, np.int32)  # pages that are never written are never mapped
    parent[0] = 0
    begins, ends = np.array(bounds[:-1]) * width + 1, np.zeros(len(bounds) - 1, np.int64)

    def number(i: int) -> None:
        alone = np.zeros(-(-width // 8) * 8, np.uint8)
        buffers = numbers, parent, alone, alone.view(np.uint64)
        ends[i] = _number_strip(labels, bounds[i], bounds[i + 1], connectivity == 8, *buffers)

    run_strips(number, len(ends))
    for seam in bounds[1:-1]:
        _unite_seam(labels, seam, connectivity == 8, numbers, parent)
    count, first = _name_roots(parent, begins, ends)
    others = numbers[bounds[first] :]  # of strips before it, in which no two numbers met, numbers are ids
    if len(others):
        parts = strip_bounds(len(others), len(ends))
        run_strips(lambda i: _rename(others[parts[i] : parts[i + 1]], parent), len(ends))
    return numbers, int(count)
