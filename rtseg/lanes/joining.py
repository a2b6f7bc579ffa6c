"""Which fragments belong to one lane line: parts that continue each other, and strokes that lie on each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled_in_place
from rtseg.lanes.fragments import Fragments


@compiled_in_place
def _fit_end(centers, widths, row, step, limit, ends):  # type: ignore[no-untyped-def]
    """Fit x = x0 + slope (y - row) over up to `limit` rows from an end inwards; write (x0, slope, rows used)."""
    n = 0
    sy = sx = syy = sxy = 0.0
    y = row
    for _ in range(limit):
        if y < 0 or y >= len(widths):
            break
        if widths[y] > 0:
            d = float(y - row)
            n += 1
            sy += d
            sx += centers[y]
            syy += d * d
            sxy += d * centers[y]
        y += step
    spread = n * syy - sy * sy
    slope = (n * sxy - sy * sx) / spread if spread > 0 else 0.0
    ends[0] = (sx - slope * sy) / n
    ends[1] = slope
    ends[2] = n


@compiled_in_place
def _spans(widths, tops, bottoms):  # type: ignore[no-untyped-def]
    for i in range(len(widths)):
        tops[i] = -1
        for y in range(widths.shape[1]):
            if widths[i, y] > 0:
                if tops[i] < 0:
                    tops[i] = y
                bottoms[i] = y


@compiled_in_place
def _lateral(upper_end, upper_row, lower_end, lower_row, reliable):  # type: ignore[no-untyped-def]
    """Distance in pixels, square to the line, by which two ends miss each other when one is drawn out to the other."""
    gap = lower_row - upper_row
    down = abs(upper_end[0] + upper_end[1] * gap - lower_end[0])
    up = abs(lower_end[0] - lower_end[1] * gap - upper_end[0])
    # The direction of a short fragment says little: then the longer one's word counts alone.
    if upper_end[2] < reliable <= lower_end[2]:
        miss, slope = up, lower_end[1]
    elif lower_end[2] < reliable <= upper_end[2]:
        miss, slope = down, upper_end[1]
    else:
        miss, slope = max(down, up), 0.5 * (upper_end[1] + lower_end[1])
    return miss / np.sqrt(1 + slope * slope)


@compiled_in_place
def _best_continuation(tops, bottoms, top_ends, bottom_ends, colors, alive, tolerance, growth, gap_limit, reliable):  # type: ignore[no-untyped-def]
    """Find the pair (upper, lower) that continue each other best; (-1, -1) if none does."""
    best = 1.0
    found = (-1, -1)
    for upper in range(len(tops)):
        for lower in range(len(tops)):
            if upper == lower or not alive[upper] or not alive[lower] or tops[upper] > tops[lower]:
                continue
            if bottoms[upper] >= bottoms[lower]:
                continue
            gap = tops[lower] - bottoms[upper]
            shorter = min(bottoms[upper] - tops[upper], bottoms[lower] - tops[lower]) + 1
            if gap > gap_limit or -gap > 0.5 * shorter:
                continue
            miss = _lateral(bottom_ends[upper], bottoms[upper], top_ends[lower], tops[lower], reliable)
            allowed = tolerance + growth * max(gap, 0)
            if colors[upper] != colors[lower]:
                # Two colors speak for two lines: believe otherwise only where both are long enough to agree.
                turn = abs(np.arctan(bottom_ends[upper, 1]) - np.arctan(top_ends[lower, 1]))
                if bottom_ends[upper, 2] < reliable or top_ends[lower, 2] < reliable or turn > 0.15:
                    continue
                allowed *= 0.5
            cost = miss / allowed
            if cost < best:
                best = cost
                found = (upper, lower)
    return found


@compiled_in_place
def _find_double(widths, sums, tops, bottoms, alive, nearness, share, stroke):  # type: ignore[no-untyped-def]
    """Find two strokes that touch over most of the shorter one and are together as narrow as one; (-1, -1) if none."""
    for a in range(len(tops)):
        for b in range(a + 1, len(tops)):
            if not alive[a] or not alive[b]:
                continue
            close = 0
            rows_a = rows_b = 0
            total = first = last = 0.0
            begin = end = 0
            for y in range(min(tops[a], tops[b]), max(bottoms[a], bottoms[b]) + 1):
                rows_a += widths[a, y] > 0
                rows_b += widths[b, y] > 0
                if widths[a, y] > 0 and widths[b, y] > 0:
                    both = widths[a, y] + widths[b, y]
                    apart = abs(sums[a, y] / widths[a, y] - sums[b, y] / widths[b, y])
                    if apart <= nearness * 0.5 * both:
                        center = (sums[a, y] + sums[b, y]) / both
                        if close == 0:
                            first, begin = center, y
                        last, end = center, y
                        close += 1
                        total += both
            if close > share * min(rows_a, rows_b):
                slope = (last - first) / max(end - begin, 1)
                if total / close <= stroke * np.sqrt(1 + slope * slope):
                    return a, b
    return -1, -1


@compiled_in_place
def _fit_ends(widths, sums, line, top, bottom, limit, centers, top_ends, bottom_ends):  # type: ignore[no-untyped-def]
    for y in range(len(centers)):
        centers[y] = sums[line, y] / max(widths[line, y], np.float32(1))
    _fit_end(centers, widths[line], top, 1, limit, top_ends[line])
    _fit_end(centers, widths[line], bottom, -1, limit, bottom_ends[line])


@compiled_in_place
def _total(values):  # type: ignore[no-untyped-def]
    # With Numba's sum(), as with its arange(), SciPy is imported wherever the kernel is loaded.
    total = np.float32(0.0)
    for value in values:
        total += value
    return total


@compiled_in_place
def _join(widths, sums, left, right, colors, tolerance, growth, gap, stroke, spans, ends, centers, alive, line):  # type: ignore[no-untyped-def]
    """Write to `line`; what is worked in comes from the caller too, since arrays made here take long to compile."""
    count, height = widths.shape
    limit, reliable = max(8, height // 10), max(4, height // 30)
    tops, bottoms = spans
    top_ends, bottom_ends = ends
    _spans(widths, tops, bottoms)
    for i in range(count):
        _fit_ends(widths, sums, i, tops[i], bottoms[i], limit, centers, top_ends, bottom_ends)
        alive[i], line[i] = True, i
    while True:
        keep, drop = _find_double(widths, sums, tops, bottoms, alive, 1.1, 0.6, stroke)
        if keep < 0:
            keep, drop = _best_continuation(
                tops, bottoms, top_ends, bottom_ends, colors, alive, tolerance, growth, gap, reliable
            )
        if keep < 0:
            return
        # The line takes the color of the part with more pixels.
        if _total(widths[keep]) < _total(widths[drop]):
            keep, drop = drop, keep
        for y in range(height):
            widths[keep, y] += widths[drop, y]
            sums[keep, y] += sums[drop, y]
            left[keep, y] = min(left[keep, y], left[drop, y])
            right[keep, y] = max(right[keep, y], right[drop, y])
        alive[drop] = False
        for i in range(count):
            if line[i] == drop:
                line[i] = keep
        tops[keep], bottoms[keep] = min(tops[keep], tops[drop]), max(bottoms[keep], bottoms[drop])
        _fit_ends(widths, sums, keep, tops[keep], bottoms[keep], limit, centers, top_ends, bottom_ends)


def join_fragments(
    fragments: Fragments,
    colors: NDArray[np.uint8],
    size: tuple[int, int],
    tolerance: float,
    growth: float,
    gap: float,
    stroke: float,
) -> NDArray[np.int32]:
    """Add up, in place, the fragments that make one line, and say which line each fragment went to.

    Two fragments are one line if the nearer end of each, drawn out straight, meets the other's (perspective keeps
    straight lines straight), or if they are one stroke in two colors side by side: they touch over most of the
    shorter one, and are together no wider than a stroke is. Flat lines at the side of a picture touch too, and are two.
    Fragments of one color that do neither are two lines; fragments of two colors are one only if they clearly
    continue each other.

    Args:
        fragments: at least one.
        colors: (F,) color of each.
        size: (H, W) of the image.
        tolerance: pixels by which ends may miss each other, square to the line.
        growth: pixels more for each row of the gap between them.
        gap: most rows between them.
        stroke: width of a stroke in pixels, square to the line.

    Returns:
        (F,) int32, the fragment whose rows now hold the line that fragment i belongs to.
    """
    parts = fragments.widths, fragments.sums, fragments.left, fragments.right
    count, height = fragments.widths.shape
    spans = np.zeros(count, np.int32), np.zeros(count, np.int32)
    ends = np.empty((count, 3)), np.empty((count, 3))
    line = np.empty(count, np.int32)
    room = np.empty(height), np.empty(count, np.bool_)
    _join(*parts, colors, tolerance, growth, gap, stroke, spans, ends, *room, line)
    return line
