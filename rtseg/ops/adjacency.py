"""The region adjacency graph that fixed-point affinities make, and the contract of all that merges by them.

Everything that merges by mean affinity in rtseg, on any number of tiles and threads and on the GPU, agrees bit for bit,
because it follows one contract:

* **Weights.** An affinity is taken as float32 and becomes ``w = rint(a * 2**24)``, an int32 in ``0..2**24`` (ties to
  even). Up to `LARGEST` it counts as 1: a sigmoid in float32 may be rounded to a little more. float32 values of 0.5 and
  above are multiples of 2**-24, so nothing of them is lost; below, the error is at most 2**-25. A threshold is
  quantized the same way, and an edge passes when ``w >= threshold``.
* **Edges.** An edge between two regions keeps the *sum* of its pixel edges' weights (int64, or float64 holding the same
  integer) and their *count*. Both are exact while a graph has fewer than 2**29 pixel edges (2**24 * 2**29 = 2**53), so
  sums do not depend on the order they are taken in. Larger inputs are refused.
* **Keys.** An edge's key is ``float64(sum) / float64(count)``, one IEEE division: a monotone function of the exact
  mean, so a merged edge's key is never above the larger of its two parts.
* **Names and ties.** A region is named by its smallest pixel index ``y * W + x``; the name of a merged region is the
  smaller of the two. Of two edges with equal keys the one whose pair (smaller name, larger name) is lexicographically
  *larger* goes first; seen from one region: among neighbors of equal key, the **larger name wins**. Names only ever
  fall while regions merge, so a tie never moves an edge forward. (With the smaller name first, a merge elsewhere could
  push a tied edge ahead, and the result would depend on the order of merges.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError
from rtseg.ops.affinities import FIXED_POINT_ONE, Offsets, quantize_affinity
from rtseg.ops.threads import run_strips, strip_bounds

_BLOCK = 16  # pixels compared at once while labels agree; the compiler makes vector compares of it


@dataclass(frozen=True)
class RegionGraph:
    """Which regions touch, and how strongly.

    Attributes:
        count: number of regions; regions are numbered 1..count.
        edges: (m, 2) int32 pairs of regions, the smaller first, in lexicographic order.
        sums: (m,) int64 sums of fixed-point weights over the pixel edges between the two.
        counts: (m,) int64 numbers of pixel edges.
    """

    count: int
    edges: NDArray[np.int32]
    sums: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean affinity of each edge, in [0, 1]."""
        return self.sums / self.counts / FIXED_POINT_ONE


@compiled_in_place
def _find_key(table, keys, key):  # type: ignore[no-untyped-def]
    last = table.size - 1
    at = ((key * np.int64(-7046029254386353131)) >> 20) & last
    while table[at] >= 0 and keys[table[at]] != key:
        at = (at + 1) & last
    return at


@compiled
def _grow(table, keys, sums, counts, used):  # type: ignore[no-untyped-def]
    room = 4 * keys.size
    more_keys = np.empty(room, dtype=np.int64)
    more_sums = np.empty(room, dtype=np.int64)
    more_counts = np.empty(room, dtype=np.int64)
    for i in range(used):  # assigning slices takes longer to compile
        more_keys[i] = keys[i]
        more_sums[i] = sums[i]
        more_counts[i] = counts[i]
    table = np.full(2 * room, -1, dtype=np.int32)
    _enter(table, more_keys, used)
    return table, more_keys, more_sums, more_counts


@compiled_in_place
def _enter(table, keys, used):  # type: ignore[no-untyped-def]
    for i in range(used):
        table[_find_key(table, keys, keys[i])] = i


@compiled_in_place
def _collect(labels, weights, steps, numbers, at, y1, table, keys, sums, counts, used):  # type: ignore[no-untyped-def]
    """Sum edges from `at` (row, channel, column) on up to row y1, or until a further key has no room; count the keys.

    `at` is then where to go on.
    """
    channels, height, width = weights.shape
    from_channel, from_column = at[1], at[2]
    for y in range(at[0], y1):
        for j in range(from_channel, channels):
            dy = steps[j, 0]
            dx = steps[j, 1]
            begin = max(0, -dx, from_column)
            from_column = 0
            if y + dy < 0 or y + dy >= height:
                continue
            last_key = np.int64(-1)
            i = 0
            end = min(width, width - dx)
            for start in range(begin, end, _BLOCK):
                stop = min(start + _BLOCK, end)
                differs = 0
                for x in range(start, stop):
                    differs |= labels[y, x] ^ labels[y + dy, x + dx]
                if differs == 0:
                    continue
                for x in range(start, stop):
                    a = labels[y, x]
                    b = labels[y + dy, x + dx]
                    if a == b or a == 0 or b == 0:
                        continue
                    key = (np.int64(min(a, b)) << 32) | np.int64(max(a, b))
                    if key != last_key:
                        last_key = key
                        place = _find_key(table, keys, key)
                        if table[place] < 0:
                            if used == keys.size:
                                at[0], at[1], at[2] = y, j, x
                                return used
                            table[place] = used
                            keys[used] = key
                            sums[used] = 0
                            counts[used] = 0
                            used += 1
                        i = table[place]
                    sums[i] += weights[j, y, x]
                    counts[i] += numbers[j]
        from_channel = 0
    at[0] = y1
    return used


@compiled
def _collect_edges(labels, weights, steps, numbers, y0, y1, room):  # type: ignore[no-untyped-def]
    """Sum the edges of pixel pairs of different labels whose first pixel lies in rows y0..y1."""
    table = np.full(2 * room, -1, dtype=np.int32)
    keys = np.empty(room, dtype=np.int64)
    sums = np.empty(room, dtype=np.int64)
    counts = np.empty(room, dtype=np.int64)
    at = np.zeros(3, dtype=np.int64)
    at[0] = y0
    used = 0
    while True:
        used = _collect(labels, weights, steps, numbers, at, y1, table, keys, sums, counts, used)
        if at[0] == y1:
            return keys[:used], sums[:used], counts[:used]
        table, keys, sums, counts = _grow(table, keys, sums, counts, used)


@compiled
def sum_by_key(all_keys, all_sums, all_counts):  # type: ignore[no-untyped-def]
    """Add up the entries of equal keys in place, in order of first appearance, and give how many are left."""
    size = 256
    while size < 2 * all_keys.size:
        size *= 2
    return _sum_in(np.full(size, -1, dtype=np.int32), all_keys, all_sums, all_counts)


@compiled_in_place
def _sum_in(table, all_keys, all_sums, all_counts):  # type: ignore[no-untyped-def]
    used = 0
    for e in range(all_keys.size):
        at = _find_key(table, all_keys, all_keys[e])
        if table[at] < 0:
            table[at] = used
            all_keys[used] = all_keys[e]
            all_sums[used] = all_sums[e]
            all_counts[used] = all_counts[e]
            used += 1
        else:
            all_sums[table[at]] += all_sums[e]
            all_counts[table[at]] += all_counts[e]
    return used


def collect_edges(
    labels: NDArray[np.int32],
    count: int,
    weights: NDArray[np.int32],
    steps: NDArray[np.int64],
    numbers: NDArray[np.int64] | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sum weights by pairs of different, non-zero labels 1..count.

    Args:
        labels: (H, W) int32.
        count: number of labels.
        weights: (J, H, W) int32.
        steps: (J, 2) int64.
        numbers: (J,) how many edges each weight stands for, as from `forward_weights`; one by default.
        threads: strips to work on at once.

    Returns:
        keys (m,) int64, ``smaller << 32 | larger``, each once, in no particular order; sums and counts (m,) int64.
    """
    each = np.ones(len(steps), dtype=np.int64) if numbers is None else numbers
    bounds = strip_bounds(labels.shape[0], min(threads, labels.shape[0]))
    room = 1 << max(10, (4 * count // (len(bounds) - 1)).bit_length())
    parts: list[Any] = [None] * (len(bounds) - 1)

    def collect(i: int) -> None:
        parts[i] = _collect_edges(labels, weights, steps, each, bounds[i], bounds[i + 1], room)

    run_strips(collect, len(parts))
    keys, sums, counts = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    used = keys.size if len(parts) == 1 else sum_by_key(keys, sums, counts)
    return keys[:used], sums[:used], counts[:used]


def region_adjacency(
    labels: NDArray[np.integer], count: int, affinity: NDArray[np.floating], offsets: Offsets
) -> RegionGraph:
    """Build the graph of regions that are joined by at least one affinity.

    Args:
        labels: (H, W) integers 0..count; 0 is nothing and has no edges.
        count: number of regions.
        affinity: (K, H, W) floats in [0, 1].
        offsets: K pairs (dy, dx).

    Raises:
        GroupingError: on affinities outside [0, 1].
        ArgumentError: on labels outside 0..count, or shapes that do not fit.
    """
    weights, steps = quantize_affinity(affinity, offsets)
    ids = np.asarray(labels)
    if ids.shape != weights.shape[1:] or ids.dtype.kind not in "iu":
        raise ArgumentError(
            f"expected integer labels of shape {weights.shape[1:]}, got {ids.dtype} of shape {ids.shape}: "
            "use the affinities' size"
        )
    if ids.min() < 0 or ids.max() > count:
        raise ArgumentError(f"expected labels in 0..{count}, got {ids.min()}..{ids.max()}: pass the number of regions")
    keys, sums, counts = collect_edges(np.ascontiguousarray(ids, dtype=np.int32), int(count), weights, steps)
    order = np.argsort(keys)
    keys = keys[order]
    edges = np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1).astype(np.int32)
    return RegionGraph(int(count), edges, sums[order], counts[order])
