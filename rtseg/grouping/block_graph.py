"""The graph of the blocks of a graph merge: edges between the same regions added up, then contracted stage by stage."""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled
from rtseg.grouping.chains import contract_graph
from rtseg.ops.union_find import find_root

_TILE = 32  # blocks on each side, whose regions and edges fit a core's second cache


@compiled
def unite_certain(parent, keys, sums, counts, limit):  # type: ignore[no-untyped-def]
    """Join blocks over edges of a mean of at least `limit`, the first block naming their region."""
    for e in range(keys.size):
        if sums[e] >= limit * counts[e]:
            a = find_root(parent, keys[e] >> 32)
            b = find_root(parent, keys[e] & 0xFFFFFFFF)
            parent[max(a, b)] = min(a, b)


@compiled
def order_by_tiles(shape, order):  # type: ignore[no-untyped-def]
    """List blocks tile by tile, so that what is contracted one after the other lies close in memory."""
    rows, columns = shape
    at = 0
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            for y in range(top, min(top + _TILE, rows)):
                for x in range(left, min(left + _TILE, columns)):
                    order[at] = y * columns + x
                    at += 1


@compiled
def contract_stage(parent, tiles, keys, sums, counts, threshold, within):  # type: ignore[no-untyped-def]
    """Contract the graph of current regions; `parent` maps each block to the first block of its region.

    Args:
        parent: (n,) int32; changed in place.
        tiles: (n,) int32 blocks in the order of their records in memory.
        keys: (m,) int64 as of `collect_block_edges`; on return, at the start, those of edges between regions as they
            were before.
        sums: (m,) float64 likewise.
        counts: (m,) int32 likewise.
        threshold: fixed-point key.
        within: (2, n) float64 sums and counts of edges inside regions, by any block of theirs; others are added.

    Returns:
        How many edges there were between regions.
    """
    m = _sum_between(parent, tiles, keys, sums, counts, within)
    slot = np.full(parent.size, -1, dtype=np.int32)
    for e in range(m):
        slot[keys[e] >> 32] = 0
        slot[keys[e] & 0xFFFFFFFF] = 0
    names = np.empty(min(2 * m, parent.size), dtype=np.int32)
    n = 0
    for i in range(tiles.size):
        node = tiles[i]
        if slot[node] == 0:
            slot[node] = n
            names[n] = node
            n += 1
    first = np.empty(m, dtype=np.int32)
    second = np.empty(m, dtype=np.int32)
    for e in range(m):
        first[e] = slot[keys[e] >> 32]
        second[e] = slot[keys[e] & 0xFFFFFFFF]
    merged, new_names, _, _, _, _ = contract_graph(
        names[:n], np.full(n, -1.0), first, second, sums[:m], counts[:m], threshold
    )
    for i in range(n):
        parent[names[i]] = new_names[find_root(merged, i)]
    return m


@compiled
def _sum_between(parent, tiles, keys, sums, counts, within):  # type: ignore[no-untyped-def]
    """Add up the edges between the same two regions, at the start of the arrays and in the order of `tiles`."""
    start = np.zeros(parent.size, dtype=np.int32)
    used = 0
    for e in range(keys.size):
        a = find_root(parent, keys[e] >> 32)
        b = find_root(parent, keys[e] & 0xFFFFFFFF)
        if a == b:
            within[0, a] += sums[e]
            within[1, a] += counts[e]
            continue
        keys[used] = (np.int64(min(a, b)) << 32) | np.int64(max(a, b))
        sums[used] = sums[e]
        counts[used] = counts[e]
        start[min(a, b)] += 1
        used += 1
    at = 0
    for i in range(tiles.size):
        here = start[tiles[i]]
        start[tiles[i]] = at
        at += here
    sorted_keys = np.empty(used, dtype=np.int64)
    sorted_sums = np.empty(used, dtype=np.float64)
    sorted_counts = np.empty(used, dtype=np.int32)
    for e in range(used):
        at = start[keys[e] >> 32]
        start[keys[e] >> 32] += 1
        sorted_keys[at] = keys[e]
        sorted_sums[at] = sums[e]
        sorted_counts[at] = counts[e]
    place = np.full(parent.size, -1, dtype=np.int32)  # of the last edge to each region
    node = np.int64(-1)
    begin = 0
    m = 0
    for e in range(used):
        if sorted_keys[e] >> 32 != node:
            node = sorted_keys[e] >> 32
            begin = m
        at = place[sorted_keys[e] & 0xFFFFFFFF]
        if at >= begin:
            sums[at] += sorted_sums[e]
            counts[at] += sorted_counts[e]
            continue
        place[sorted_keys[e] & 0xFFFFFFFF] = m
        keys[m] = sorted_keys[e]
        sums[m] = sorted_sums[e]
        counts[m] = sorted_counts[e]
        m += 1
    return m
