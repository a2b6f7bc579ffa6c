"""Union-find over affinities: which pixels hang together through edges of at least a threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.ops.affinities import Offsets, check_mask, quantize_affinity, quantize_threshold
from rtseg.ops.threads import run_strips, strip_bounds, thread_count

_SIDES = 2  # edges on each side that speak for one


@compiled_in_place
def find_root(parent, i):  # type: ignore[no-untyped-def]
    """Give the root of i, halving the path on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled_in_place
def _unite(parent, p, q):  # type: ignore[no-untyped-def]
    a = find_root(parent, p)
    b = find_root(parent, q)
    if a < b:
        parent[b] = a
    elif b < a:
        parent[a] = b


@compiled_in_place
def _unite_strip(weights, steps, mask, limit, y0, y1, parent):  # type: ignore[no-untyped-def]
    channels, _, width = weights.shape
    right = -1  # the channel of right neighbors, if there is one: its edges make runs, whose pixels point to the first
    for j in range(channels):
        if steps[j, 0] == 0 and steps[j, 1] == 1:
            right = j
    for y in range(y0, y1):
        for x in range(width):
            p = y * width + x
            parent[p] = p
            if right >= 0 and x > 0 and weights[right, y, x - 1] >= limit and mask[y, x] and mask[y, x - 1]:
                parent[p] = parent[p - 1]
    for y in range(y0, y1):
        for j in range(channels):
            dy = steps[j, 0]
            dx = steps[j, 1]
            if j == right or y + dy < y0 or y + dy >= y1:
                continue
            last_p = np.int32(-1)
            last_q = np.int32(-1)
            for x in range(max(0, -dx), min(width, width - dx)):
                if weights[j, y, x] >= limit and mask[y, x] and mask[y + dy, x + dx]:
                    p = y * width + x
                    q = p + dy * width + dx
                    if parent[p] == last_p and parent[q] == last_q:
                        continue  # the same two runs as just before
                    last_p = parent[p]
                    last_q = parent[q]
                    _unite(parent, last_p, last_q)


@compiled_in_place
def _unite_seam(weights, steps, mask, limit, seam, parent):  # type: ignore[no-untyped-def]
    channels, height, width = weights.shape
    for j in range(channels):
        dy = steps[j, 0]
        dx = steps[j, 1]
        for y in range(max(0, -dy, seam - abs(dy)), min(height, height - dy, seam + abs(dy))):
            if (y < seam) == (y + dy < seam):
                continue
            for x in range(max(0, -dx), min(width, width - dx)):
                if weights[j, y, x] >= limit and mask[y, x] and mask[y + dy, x + dx]:
                    _unite(parent, y * width + x, (y + dy) * width + x + dx)


@compiled_in_place
def _number_roots(root, mask, labels):  # type: ignore[no-untyped-def]
    count = 0
    for p in range(root.size):
        if not mask[p]:
            labels[p] = 0
            continue
        r = find_root(root, p)
        if r == p:
            count += 1
            labels[p] = count
        else:
            labels[p] = labels[r]
    return count


def number_roots(root: NDArray[np.int32], mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Turn a forest over pixels, every root the first pixel of its region, into labels in raster order.

    Args:
        root: (H * W,) int32 parents.
        mask: (H, W) bool, labels are 0 where it is False.

    Returns:
        (H, W) int32 labels 1..n in raster order of first pixels, and n.
    """
    labels = np.empty(mask.shape, dtype=np.int32)
    count = _number_roots(root, mask.reshape(-1), labels.reshape(-1))
    return labels, int(count)


@compiled_in_place
def _add_side(weights, here, there, totals, numbers):  # type: ignore[no-untyped-def]
    for i in range(weights.size):
        counts = here[i] & there[i]
        totals[i] += weights[i] if counts else np.int32(0)
        numbers[i] += np.int32(counts)


@compiled_in_place
def _keep(weights, totals, numbers, limit, out):  # type: ignore[no-untyped-def]
    for i in range(weights.size):
        out[i] = weights[i] if totals[i] >= limit * numbers[i] else np.int32(-1)


@compiled
def _supported(weights, steps, mask, limit, y0, y1, out):  # type: ignore[no-untyped-def]
    """Write weights of the rows y0..y1 to `out`, and -1 for those without support."""
    channels, height, width = weights.shape
    totals = np.empty(width, dtype=np.int32)
    numbers = np.empty(width, dtype=np.int32)
    for y in range(y0, y1):
        for j in range(channels):
            dy, dx = steps[j, 0], steps[j, 1]
            if y + dy < 0 or y + dy >= height:
                continue
            flat = abs(dx) >= abs(dy)
            left, right = max(0, -dx), min(width, width - dx)
            totals[:] = 0
            numbers[:] = 0
            for side in range(-_SIDES, _SIDES + 1):
                row = y + side if flat else y
                shift = 0 if flat else side
                begin, end = max(left, left - shift), min(right, right - shift)
                if row < 0 or row >= height or row + dy < 0 or row + dy >= height or begin >= end:
                    continue
                _add_side(
                    weights[j, row, begin + shift : end + shift],
                    mask[row, begin + shift : end + shift],
                    mask[row + dy, begin + shift + dx : end + shift + dx],
                    totals[begin:end],
                    numbers[begin:end],
                )
            if left < right:
                _keep(weights[j, y, left:right], totals[left:right], numbers[left:right], limit, out[j, y, left:right])


def supported_weights(
    weights: NDArray[np.int32], steps: NDArray[np.int64], mask: NDArray[np.bool_], limit: int, threads: int
) -> NDArray[np.int32]:
    """Give weights with -1 for edges without support of at least `limit`; inputs as from `quantize_affinity`."""
    if limit == 0:
        return weights
    out = np.empty_like(weights)
    bounds = strip_bounds(weights.shape[1], threads)
    run_strips(lambda i: _supported(weights, steps, mask, np.int32(limit), bounds[i], bounds[i + 1], out), threads)
    return out


def unite_grid(
    weights: NDArray[np.int32], steps: NDArray[np.int64], mask: NDArray[np.bool_], limit: int, threads: int
) -> NDArray[np.int32]:
    """Give the forest of pixels joined by weights of at least `limit`; inputs as from `quantize_affinity`."""
    _, height, width = weights.shape
    parent = np.empty(height * width, dtype=np.int32)
    bounds = strip_bounds(height, min(threads, height))

    def unite(i: int) -> None:
        _unite_strip(weights, steps, mask, limit, bounds[i], bounds[i + 1], parent)

    run_strips(unite, len(bounds) - 1)
    for seam in bounds[1:-1]:
        _unite_seam(weights, steps, mask, limit, seam, parent)
    return parent


def union_affinities(
    affinity: NDArray[np.floating],
    offsets: Offsets,
    threshold: float,
    mask: NDArray[np.bool_] | None = None,
    threads: int | None = None,
    support: float = 0.0,
) -> NDArray[np.int32]:
    """Label the pixels that hang together through affinities of at least `threshold`.

    Args:
        affinity: (K, H, W) floats in [0, 1]; ``affinity[k, y, x]`` joins pixel (y, x) to
            ``(y + offsets[k][0], x + offsets[k][1])``.
        offsets: K pairs (dy, dx).
        threshold: in [0, 1], compared as `rtseg.ops.adjacency` says.
        mask: (H, W) bool; pixels where it is False get 0.
        threads: all cores by default; the result does not depend on it.
        support: in [0, 1]; an edge joins only where the mean of five affinities side by side, its own and two of its
            channel on either side, is at least this. Those that leave the image or the mask do not count.

    Returns:
        (H, W) int32 labels, 1..n in raster order of their first pixels.

    Raises:
        GroupingError: on affinities that are not finite in [0, 1].
        ArgumentError: on shapes that do not fit.
    """
    workers = thread_count(threads)
    limit = quantize_threshold(threshold)
    weights, steps = quantize_affinity(affinity, offsets)
    inside = check_mask(mask, (weights.shape[1], weights.shape[2]))
    weights = supported_weights(weights, steps, inside, quantize_threshold(support), workers)
    return number_roots(unite_grid(weights, steps, inside, limit, workers), inside)[0]
