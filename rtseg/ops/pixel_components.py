"""Connected components pixel by pixel: for pictures of thin stripes and specks, of runs hardly longer than a pixel.

Every pixel takes a provisional number from an equal neighbor that comes before it, or a new one; numbers that meet are
united (Wu, Otoo and Suzuki's decision tree, on equal labels instead of foreground). The root of a component is the
number of its first pixel, so ids come out as those of `rtseg.ops.components`, and strips are joined as there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.ops.threads import run_strips

_THIN = 0.15  # edges a pixel from which on pixels are cheaper than runs


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
def _number_strip(labels, y0, y1, corners, above, here, numbers, parent):  # type: ignore[no-untyped-def]  # noqa: C901
    """Number the pixels of rows y0..y1, from y0 * width + 1 on, and give the number after the last one.

    `above` and `here` are buffers of width + 2 zeros: rows with nothing on either side.
    """
    width = labels.shape[1]
    fresh = y0 * width + 1
    for y in range(y0, y1):
        for x in range(width):
            here[x + 1] = labels[y, x]
        row = numbers[y]
        over = numbers[max(y - 1, 0)]
        for x in range(width):
            value = here[x + 1]
            if value == 0:
                row[x] = 0
            elif above[x + 1] == value:
                number = over[x]
                if not corners and here[x] == value and row[x - 1] != number:
                    number = _unite(parent, number, row[x - 1])
                row[x] = number
            elif corners and above[x + 2] == value:
                number = over[x + 1]
                if above[x] == value:
                    if over[x - 1] != number:
                        number = _unite(parent, number, over[x - 1])
                elif here[x] == value and row[x - 1] != number:
                    number = _unite(parent, number, row[x - 1])
                row[x] = number
            elif corners and above[x] == value:
                row[x] = over[x - 1]
            elif here[x] == value:
                row[x] = row[x - 1]
            else:
                parent[fresh] = fresh
                row[x] = fresh
                fresh += 1
        above, here = here, above
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
    """Turn parents into ids 1..count in place; give count. A parent comes before its children."""
    count = 0
    for i in range(begins.size):
        for number in range(begins[i], ends[i]):
            if parent[number] == number:
                count += 1
                parent[number] = count
            else:
                parent[number] = parent[parent[number]]
    return count


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
        above, here = np.zeros((2, width + 2), labels.dtype)
        ends[i] = _number_strip(labels, bounds[i], bounds[i + 1], connectivity == 8, above, here, numbers, parent)

    run_strips(number, len(ends))
    for seam in bounds[1:-1]:
        _unite_seam(labels, seam, connectivity == 8, numbers, parent)
    count = int(_name_roots(parent, begins, ends))
    if len(ends) > 1 or count < ends[0] - 1:  # else no two numbers met
        run_strips(lambda i: _rename(numbers[bounds[i] : bounds[i + 1]], parent), len(ends))
    return numbers, count
