"""Contraction of a weighted graph in the one greedy order, through a queue: the kernel under plain linkage.

Mean linkage needs no order (`rtseg.grouping.chains`), and comes here with what is left around regions of very many
edges: a merge costs no more than the edges of the smaller region.

Nodes keep their edges in doubly linked lists of half-edges; contracting an edge moves the shorter list into the longer.
Keys only fall (a merged edge's key is never above the larger of its two parts), so the queue holds one entry an edge,
pushed with a key that can only be too high: an entry that turns out stale when it comes up is pushed again, and nothing
is done to the queue while edges merge. Edges below the threshold never enter it. Entries of the start are sorted once;
only those pushed again go through a heap.
"""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled, compiled_in_place
from rtseg.grouping.half_edges import (
    FROZEN,
    HUB,
    IS_HUB,
    add_edge,
    hub_table,
    is_open,
    link,
    mark_open,
    pair,
    slot,
    unlink,
)

_LONG_RUN = 24  # equal sorting keys beyond this go through the heap, which costs n log n at worst


@compiled_in_place
def _precedes(key_a, tie_a, key_b, tie_b):  # type: ignore[no-untyped-def]
    return key_a > key_b or (key_a == key_b and tie_a > tie_b)


@compiled_in_place
def _push(heap_key, heap_edge, tie, size, key, e):  # type: ignore[no-untyped-def]
    i = size
    name = tie[e]
    while i > 0:
        up = (i - 1) >> 1
        if not _precedes(key, name, heap_key[up], tie[heap_edge[up]]):
            break
        heap_key[i] = heap_key[up]
        heap_edge[i] = heap_edge[up]
        i = up
    heap_key[i] = key
    heap_edge[i] = e


@compiled_in_place
def _sift(heap_key, heap_edge, tie, size, i):  # type: ignore[no-untyped-def]
    key = heap_key[i]
    e = heap_edge[i]
    name = tie[e]
    while True:
        down = 2 * i + 1
        if down >= size:
            break
        other = down + 1
        if other < size and _precedes(heap_key[other], tie[heap_edge[other]], heap_key[down], tie[heap_edge[down]]):
            down = other
        if not _precedes(heap_key[down], tie[heap_edge[down]], key, name):
            break
        heap_key[i] = heap_key[down]
        heap_edge[i] = heap_edge[down]
        i = down
    heap_key[i] = key
    heap_edge[i] = e


@compiled
def _queue(edge, tie, edges, threshold, keys, order, scratch, heap_key, heap_edge):  # type: ignore[no-untyped-def]  # noqa: C901
    """Sort the entries of all edges of key >= threshold; give the order, its length and the size of the heap.

    A stable radix sort by the key's integer part, then short runs are put right by insertion. Long runs that are out of
    order (many equal keys) go to the heap.
    """
    n = 0
    for e in range(edges):
        if edge[4 * e + 2] >= 0.0:
            keys[e] = np.int32(2.0 * edge[4 * e + 2])
            order[n] = e
            n += 1
    count = np.empty(512, dtype=np.int32)
    for digit in range(3):
        shift = 9 * digit
        count[:] = 0
        for i in range(n):
            count[511 - ((keys[order[i]] >> shift) & 511)] += 1
        total = 0
        for i in range(512):
            here = count[i]
            count[i] = total
            total += here
        for i in range(n):
            e = order[i]
            d = 511 - ((keys[e] >> shift) & 511)
            scratch[count[d]] = e
            count[d] += 1
        order, scratch = scratch, order
    kept = 0
    queued = 0
    start = 0
    while start < n:
        stop = start + 1
        tidy = True
        while stop < n and keys[order[stop]] == keys[order[start]]:
            a = order[stop - 1]
            b = order[stop]
            tidy = tidy and not _precedes(edge[4 * b + 2], tie[b], edge[4 * a + 2], tie[a])
            stop += 1
        if tidy or stop - start <= _LONG_RUN:
            for i in range(start, stop):
                e = order[i]
                at = kept
                if not tidy:
                    while at > kept - (i - start) and _precedes(
                        edge[4 * e + 2], tie[e], edge[4 * order[at - 1] + 2], tie[order[at - 1]]
                    ):
                        order[at] = order[at - 1]
                        at -= 1
                order[at] = e
                kept += 1
        else:
            for i in range(start, stop):
                _push(heap_key, heap_edge, tie, queued, edge[4 * order[i] + 2], order[i])
                queued += 1
        start = stop
    return order, kept, queued


@compiled
def contract(  # type: ignore[no-untyped-def]  # noqa: C901
    half, edge, tie, node, edges, bound, parent, order, ordered, heap_key, heap_edge, queued, threshold, plain
):
    """Contract reciprocal-best edges of key >= threshold until none is left.

    Args:
        half: of the graph, see the module.
        edge: see the module.
        tie: see the module.
        node: see the module.
        edges: number of edges.
        bound: (n,) float64, the highest key of an edge that leads out of this part of the graph, -1 for none; a node
            does not take part once its best edge inside is not above it.
        parent: (n,) int32, own index; on return the node that each was merged into.
        order: edges in the order of their entries.
        ordered: how many.
        heap_key: keys of a heap of further entries, heapified.
        heap_edge: their edges.
        queued: how many.
        threshold: fixed-point key.
        plain: average merged edges' values instead of weighting them by their counts (counts are then 1).

    Returns:
        Number of contractions.
    """
    position = 0
    merged = 0
    table_key = np.empty(0, dtype=np.int64)
    table_edge = np.empty(0, dtype=np.int32)
    used = 0
    mark = np.zeros(parent.size, dtype=np.int32)
    while True:
        from_heap = queued > 0
        if position < ordered:
            e = order[position]
            if from_heap:
                from_heap = _precedes(heap_key[0], tie[heap_edge[0]], edge[4 * e + 2], tie[e])
        elif not from_heap:
            break
        if from_heap:
            e = heap_edge[0]
            queued -= 1
            if queued > 0:
                heap_key[0] = heap_key[queued]
                heap_edge[0] = heap_edge[queued]
                _sift(heap_key, heap_edge, tie, queued, 0)
        else:
            position += 1
        count = edge[4 * e + 1]
        if count == 0.0:
            continue
        u = half[8 * e + 4]
        v = half[8 * e]
        if node[4 * u + 3] & node[4 * v + 3] & FROZEN:
            continue
        key = edge[4 * e] / count
        low = node[4 * u + 2]
        high = node[4 * v + 2]
        if low > high:
            low, high = high, low
        name = (np.int64(low) << 32) | np.int64(high)
        if key != edge[4 * e + 2]:
            edge[4 * e + 2] = -1.0
            if key >= threshold:
                edge[4 * e + 2] = key
                tie[e] = name
                _push(heap_key, heap_edge, tie, queued, key, e)
                queued += 1
            continue
        if name != tie[e]:  # names have fallen: let edges of the same key that now come first go first
            tie[e] = name
            if (queued > 0 and heap_key[0] == key) or (position < ordered and edge[4 * order[position] + 2] == key):
                _push(heap_key, heap_edge, tie, queued, key, e)
                queued += 1
                continue
        if (node[4 * u + 3] | node[4 * v + 3]) & FROZEN or key <= bound[u] or key <= bound[v]:
            node[4 * u + 3] |= FROZEN
            node[4 * v + 3] |= FROZEN
            continue

        merged += 1
        unlink(half, node, u, 2 * e)
        unlink(half, node, v, 2 * e + 1)
        if node[4 * u + 1] > node[4 * v + 1]:
            u, v = v, u
        edge[4 * e + 1] = 0.0
        node[4 * v + 1] -= 1
        # dense graphs: mark v's neighbors once instead of walking a list for each of u's
        marked = node[4 * u + 1] > 6 and node[4 * v + 1] <= 8 * node[4 * u + 1]
        if marked:
            i = node[4 * v]
            while i >= 0:
                mark[half[4 * i]] = i
                i = half[4 * i + 1]
        h = node[4 * u]
        while h >= 0:
            following = half[4 * h + 1]
            k = half[4 * h]
            back = h ^ 1
            g = -1
            at = -1
            if node[4 * k + 3] & node[4 * v + 3] & IS_HUB:
                if table_key.size == 0:
                    table_key, table_edge, used = hub_table(half, edge, node, edges)
                at = slot(table_key, pair(k, v))
                if table_key[at] >= 0 and edge[4 * table_edge[at] + 1] > 0.0:
                    g = 2 * table_edge[at]
                    if half[4 * g] != k:
                        g += 1
            elif marked:  # a mark may be old: it holds if it names a live edge of v and k
                i = mark[k]
                if half[4 * i] == k and half[4 * (i ^ 1)] == v and edge[4 * (i >> 1) + 1] > 0.0:
                    g = i
            elif node[4 * k + 1] <= node[4 * v + 1]:
                i = node[4 * k]
                while i >= 0:
                    if half[4 * i] == v:
                        g = i ^ 1
                        break
                    i = half[4 * i + 1]
            else:
                i = node[4 * v]
                while i >= 0:
                    if half[4 * i] == k:
                        g = i
                        break
                    i = half[4 * i + 1]
            if g < 0:
                half[4 * back] = v
                link(half, node, v, h)
                node[4 * v + 1] += 1
                if at >= 0:
                    used += table_key[at] < 0
                    table_key[at] = pair(k, v)
                    table_edge[at] = h >> 1
                    if 2 * used > table_key.size:
                        table_key, table_edge, used = hub_table(half, edge, node, edges)
            else:
                d = h >> 1
                f = g >> 1
                if plain:
                    total = (edge[4 * d] + edge[4 * f]) * 0.5
                    number = 1.0
                else:
                    total = edge[4 * d] + edge[4 * f]
                    number = edge[4 * d + 1] + edge[4 * f + 1]
                node[4 * k + 1] -= 1
                if _precedes(edge[4 * d + 2], tie[d], edge[4 * f + 2], tie[f]):  # keep the entry that comes up first
                    unlink(half, node, v, g)
                    unlink(half, node, k, g ^ 1)
                    edge[4 * f + 1] = 0.0
                    half[4 * back] = v
                    link(half, node, v, h)
                    f = d
                    if at >= 0:
                        table_edge[at] = d
                else:
                    unlink(half, node, k, back)
                    edge[4 * d + 1] = 0.0
                edge[4 * f] = total
                edge[4 * f + 1] = number
            h = following
        node[4 * u] = -1
        parent[u] = v
        node[4 * v + 2] = min(node[4 * u + 2], node[4 * v + 2])
        bound[v] = max(bound[u], bound[v])
        if node[4 * v + 1] > HUB and not node[4 * v + 3] & IS_HUB:
            node[4 * v + 3] |= IS_HUB
            if table_key.size == 0:
                table_key, table_edge, used = hub_table(half, edge, node, edges)
            h = node[4 * v]
            while h >= 0:
                k = half[4 * h]
                if node[4 * k + 3] & IS_HUB:
                    if 4 * used > table_key.size:
                        table_key, table_edge, used = hub_table(half, edge, node, edges)
                    at = slot(table_key, pair(k, v))
                    used += table_key[at] < 0
                    table_key[at] = pair(k, v)
                    table_edge[at] = h >> 1
                h = half[4 * h + 1]
    return merged


@compiled
def contract_in_order(names, bound, first, second, sums, counts, threshold, plain, parent):  # type: ignore[no-untyped-def]
    """Contract a graph given as a list of edges, at most one for each pair of nodes.

    Args:
        names: (n,) int32 names of the nodes, see `rtseg.ops.adjacency`.
        bound: (n,) float64 as in `contract`; changed in place.
        first: (m,) int32, one node of each edge.
        second: (m,) int32, the other.
        sums: (m,) float64 of the values of the pixel edges that each stands for.
        counts: (m,) int32 of them; 1 for plain linkage.
        threshold: fixed-point key.
        plain: linkage, as in `contract`.
        parent: (n,) int32, own index of every node that has edges; on return also those that were merged here.

    Returns:
        ``parent``; names (n,), right for roots; and the edges that may still matter to a larger graph, as first, second
        (roots), sums, counts.
    """
    n = names.size
    m = first.size
    half = np.empty(8 * m, dtype=np.int32)
    edge = np.empty(4 * m, dtype=np.float64)
    tie = np.empty(m, dtype=np.int64)
    node = np.empty(4 * n, dtype=np.int32)
    for i in range(n):
        node[4 * i] = -1
        node[4 * i + 1] = 0
        node[4 * i + 2] = names[i]
        node[4 * i + 3] = 0
    for e in range(m):
        add_edge(half, edge, tie, node, e, first[e], second[e], sums[e], counts[e], threshold)
    for i in range(n):
        if node[4 * i + 1] > HUB:
            node[4 * i + 3] = IS_HUB
    keys = np.empty(m, dtype=np.int32)
    order = np.empty(m, dtype=np.int32)
    scratch = np.empty(m, dtype=np.int32)
    heap_key = np.empty(m, dtype=np.float64)
    heap_edge = np.empty(m, dtype=np.int32)
    order, ordered, queued = _queue(edge, tie, m, threshold, keys, order, scratch, heap_key, heap_edge)
    contract(half, edge, tie, node, m, bound, parent, order, ordered, heap_key, heap_edge, queued, threshold, plain)
    kept = mark_open(half, edge, m, node, bound, threshold)
    out_first = np.empty(kept, dtype=np.int32)
    out_second = np.empty(kept, dtype=np.int32)
    out_sums = np.empty(kept, dtype=np.float64)
    out_counts = np.empty(kept, dtype=np.int32)
    at = 0
    for e in range(m):
        if is_open(half, edge, node, e):
            out_first[at] = half[8 * e + 4]
            out_second[at] = half[8 * e]
            out_sums[at] = edge[4 * e]
            out_counts[at] = edge[4 * e + 1]
            at += 1
    out_names = np.empty(n, dtype=np.int32)
    for i in range(n):
        out_names[i] = node[4 * i + 2]
    return parent, out_names, out_first, out_second, out_sums, out_counts
