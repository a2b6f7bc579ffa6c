"""Lane lines as x at some rows of the picture, and how far two of them lie apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.errors import ArgumentError

_BEYOND = 0.15  # weight of a row to which a line had to be drawn out

Sampled = tuple[NDArray[np.float64], NDArray[np.float64]]
"""x at the rows compared, and its weight there."""


@compiled_in_place
def slopes(x, rows, out):  # type: ignore[no-untyped-def]
    """Write the slopes of x (m,) at the rows (m,), two or more, to `out`: ``np.gradient(x, rows)`` to the last bit."""
    last = len(rows) - 1
    step = rows[1] - rows[0]
    even = True
    for i in range(1, last):
        even = even and rows[i + 1] - rows[i] == step
    out[0] = (x[1] - x[0]) / step
    out[last] = (x[last] - x[last - 1]) / (rows[last] - rows[last - 1])
    for i in range(1, last):
        if even:
            out[i] = (x[i + 1] - x[i - 1]) / (2 * step)
        else:
            up, down = rows[i] - rows[i - 1], rows[i + 1] - rows[i]
            a, b, c = -down / (up * (up + down)), (down - up) / (up * down), up / (down * (up + down))
            out[i] = a * x[i - 1] + b * x[i] + c * x[i + 1]


def sample(polyline: NDArray[np.float32], rows: NDArray[np.float64]) -> Sampled:
    """Give x at `rows`, drawn out straight beyond the ends, and weights that favour near rows and those in sight."""
    if not len(polyline):
        raise ArgumentError("expected lines of at least one point, got an empty one; leave it out")
    sampled, weight = np.empty(len(rows)), np.empty(len(rows))
    sample_rows(polyline, rows, sampled, weight)
    return sampled, weight


@compiled_in_place
def sample_rows(polyline, rows, sampled, weight):  # type: ignore[no-untyped-def]
    """Write what :func:`sample` gives of a polyline of one point at least."""
    count = len(polyline)
    reach = max(1, count // 4)
    top, bottom = np.float64(polyline[0, 1]), np.float64(polyline[count - 1, 1])
    upper = lower = 0.0
    if count > 1:
        upper = (np.float64(polyline[reach, 0]) - np.float64(polyline[0, 0])) / (np.float64(polyline[reach, 1]) - top)
        before = count - 1 - reach
        lower = (np.float64(polyline[count - 1, 0]) - np.float64(polyline[before, 0])) / (
            bottom - np.float64(polyline[before, 1])
        )
    at = 0
    for i in range(len(rows)):
        y = rows[i]
        near = (y / rows[-1]) * (y / rows[-1])
        weight[i] = near if top <= y <= bottom else _BEYOND * near
        if y <= top or count == 1:
            sampled[i] = polyline[0, 0]
            if y < top and count > 1:
                sampled[i] += upper * (y - top)
        elif y >= bottom:
            sampled[i] = polyline[count - 1, 0]
            if y > bottom:
                sampled[i] += lower * (y - bottom)
        else:
            while polyline[at + 1, 1] <= y:
                at += 1
            x0, y0 = np.float64(polyline[at, 0]), np.float64(polyline[at, 1])
            sampled[i] = x0
            if y != y0:
                slope = (np.float64(polyline[at + 1, 0]) - x0) / (np.float64(polyline[at + 1, 1]) - y0)
                sampled[i] += slope * (y - y0)


@compiled_in_place
def interpolated(at, rows, values):  # type: ignore[no-untyped-def]
    """Like ``np.interp(at, rows, values)`` of one number, to the last bit; float32 counts as float64."""
    last = len(rows) - 1
    if at >= rows[last]:
        return np.float64(values[last])
    if at <= rows[0]:
        return np.float64(values[0])
    low, high = 0, last
    # Rows mostly lie evenly, and then need not be searched.
    guess = min(max(int((at - rows[0]) / (rows[last] - rows[0]) * last + 1e-6), 0), last - 1)
    if rows[guess] <= at < rows[guess + 1]:
        low, high = guess, guess + 1
    while high - low > 1:
        middle = (low + high) // 2
        if rows[middle] <= at:
            low = middle
        else:
            high = middle
    x0, y0 = np.float64(values[low]), np.float64(rows[low])
    if y0 == at:
        return x0
    return (np.float64(values[high]) - x0) / (np.float64(rows[high]) - y0) * (at - y0) + x0


@compiled_in_place
def _sum(values, part):  # type: ignore[no-untyped-def]
    """In the order of NumPy's sums of up to 128 numbers, so that they are the same to the last bit; `part` is (8,)."""
    whole = len(values) - len(values) % 8
    total = 0.0
    if whole:
        for k in range(8):
            part[k] = values[k]
        for i in range(8, whole, 8):
            for k in range(8):
                part[k] += values[i + k]
        total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))
    for i in range(whole, len(values)):
        total += values[i]
    return total


@compiled_in_place
def _compare_two(a, a_weight, b, b_weight, rows, line, slope, weight, both, part):  # type: ignore[no-untyped-def]
    """Give the mean distance of two lines (m,) across them, and the share of weight that one lacks."""
    for r in range(len(rows)):
        line[r] = a[r] + b[r]
    slopes(line, rows, slope)
    for r in range(len(rows)):
        half = 0.5 * slope[r]
        weight[r] = a_weight[r] * b_weight[r]
        line[r] = weight[r] * abs(a[r] - b[r]) / np.sqrt(1 + half * half)
    distance = _sum(line, part) / _sum(weight, part)
    for r in range(len(rows)):
        both[r] = min(a_weight[r], b_weight[r])
        weight[r] = max(a_weight[r], b_weight[r])
    return distance, 1 - _sum(both, part) / _sum(weight, part)


@compiled_in_place
def _compare(a, a_weight, b, b_weight, rows, line, slope, weight, both, part, distance, unshared):  # type: ignore[no-untyped-def]
    """Write what `_compare_two` gives for lines a (n, m) and b (k, m)."""
    for i in range(len(a)):
        for j in range(len(b)):
            distance[i, j], unshared[i, j] = _compare_two(
                a[i], a_weight[i], b[j], b_weight[j], rows, line, slope, weight, both, part
            )


def compared(
    lines: Sequence[Sampled], others: Sequence[Sampled], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, k) mean distance of each line from each of the others, across them, and the share of weight one lacks."""
    (a, a_weight), (b, b_weight) = (
        (np.array([x for x, _ in part]), np.array([weight for _, weight in part])) for part in (lines, others)
    )
    distance, unshared = np.empty((len(a), len(b))), np.empty((len(a), len(b)))
    _compare(a, a_weight, b, b_weight, rows, *np.empty((4, len(rows))), np.empty(8), distance, unshared)
    return distance, unshared
