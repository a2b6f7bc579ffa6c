"""Contraction along chains of best neighbors: the kernel under mean linkage.

From any region a chain goes to its best neighbor, from there to that one's, and so on. Edges rank higher with every
step, so it ends in two regions that are each other's best. These merge, which by lemma 2 of `rtseg.grouping.gaec`
leaves what comes before them in the chain as it was, and the chain goes on from there. By the theorem the partition is
that of the greedy order, and no queue is kept. A chain that meets a region whose best edge leads out of this part of
the graph, or falls below the threshold, waits there for good: all its regions do.

Merging takes one walk over the edges of both regions, which finds the best edge of the union on the way. In pixel grids
the larger of two regions that merge has some ten edges on average; a region with very many waits as well, and what is
left of the graph is contracted through a queue (`rtseg.grouping.contraction`), where such a merge costs no more than
the smaller region's edges.

Records are flat arrays, so that what is used together lies in one cache line; unsigned, for a signed index may count
from the end. Edge e has the half-edges 4e and 4e + 1 in the lists of its two ends.

* ``edge[8 * e + 2 * i]`` uint32: node at the far end of half-edge 4e + i (`NONE`: contracted or merged away), and
  ``edge[8 * e + 2 * i + 1]`` the next half-edge in the list. ``value[4 * e + 2]`` float64, the same memory: key, sum.
* ``count[e]`` int32: pixel edges that e stands for.
* ``node[8 * i]`` uint32: first half-edge, number of edges, name, mark, best half-edge (`NONE`: not known, `_WAITS`),
  the name at its far end. ``node_key[4 * i + 3]`` float64, the same memory: its key.
"""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled, compiled_in_place
from rtseg.grouping.contraction import contract_in_order

NONE = np.uint32(0xFFFFFFFF)
_WAITS = np.uint32(0xFFFFFFFE)
_MANY = 256  # a region of more edges than this waits for the queue


@compiled_in_place
def start_node(node, i, name):  # type: ignore[no-untyped-def]
    """Make node i one without edges."""
    node[8 * i] = NONE
    node[8 * i + 1] = 0
    node[8 * i + 2] = name
    node[8 * i + 3] = NONE
    node[8 * i + 4] = NONE


@compiled_in_place
def add_edge(edge, value, count, node, e, a, b, total, number):  # type: ignore[no-untyped-def]
    """Add edge e between nodes a and b."""
    edge[8 * e] = b
    edge[8 * e + 1] = node[8 * a]
    edge[8 * e + 2] = a
    edge[8 * e + 3] = node[8 * b]
    node[8 * a] = 4 * e
    node[8 * b] = 4 * e + 1
    node[8 * a + 1] += np.uint32(1)
    node[8 * b + 1] += np.uint32(1)
    value[4 * e + 2] = total / number
    value[4 * e + 3] = total
    count[e] = number


@compiled_in_place
def _name_beyond(edge, node, h):  # type: ignore[no-untyped-def]
    return node[8 * np.int64(edge[2 * h]) + 2]


@compiled_in_place
def _better(edge, node, key, h, best_key, best):  # type: ignore[no-untyped-def]
    """Say whether half-edge h ranks before `best` of the same node (NONE: an edge of the threshold)."""
    if key != best_key:
        return key > best_key
    return best == NONE or _name_beyond(edge, node, h) > _name_beyond(edge, node, best)


@compiled_in_place
def _skip(edge, node, owner, before, after):  # type: ignore[no-untyped-def]
    """Take what lies between half-edges `before` (NONE: the list's start) and `after` out of a list."""
    if before == NONE:
        node[8 * owner] = after
    else:
        edge[2 * before + 1] = after


@compiled_in_place
def _best(edge, value, node, node_key, x, threshold):  # type: ignore[no-untyped-def]
    """Find the best half-edge of node x, NONE if no key reaches the threshold, and remember it."""
    best = np.int64(node[8 * x + 4])
    # Ranks only fall: an edge whose rank is what it was is still the best.
    known = best != NONE and edge[2 * best] != NONE and value[(best | 1) + 1] == node_key[4 * x + 3]
    if known and _name_beyond(edge, node, best) == node[8 * x + 5]:
        return best
    best = np.int64(NONE)
    best_key = threshold
    before = np.int64(NONE)
    h = np.int64(node[8 * x])
    while h != NONE:
        after = np.int64(edge[2 * h + 1])
        if edge[2 * h] == NONE:
            _skip(edge, node, x, before, after)
        else:
            key = value[(h | 1) + 1]
            if _better(edge, node, key, h, best_key, best):
                best_key = key
                best = h
            before = h
        h = after
    _remember(edge, node, node_key, x, best, best_key)
    return best


@compiled_in_place
def _remember(edge, node, node_key, x, best, best_key):  # type: ignore[no-untyped-def]
    node[8 * x + 4] = best
    if best != NONE:
        node[8 * x + 5] = _name_beyond(edge, node, best)
        node_key[4 * x + 3] = best_key


@compiled_in_place
def _merge(edge, value, count, node, node_key, u, v, threshold):  # type: ignore[no-untyped-def]
    """Merge node u into v, the edge between them being dead, and remember the best half-edge of the two."""
    h = np.int64(node[8 * u])
    while h != NONE:
        if edge[2 * h] != NONE:
            node[8 * np.int64(edge[2 * h]) + 3] = h
        h = np.int64(edge[2 * h + 1])
    node[8 * v + 2] = min(node[8 * u + 2], node[8 * v + 2])
    degree = np.int64(node[8 * u + 1]) + np.int64(node[8 * v + 1]) - 2
    best = np.int64(NONE)
    best_key = threshold
    before = np.int64(NONE)
    h = np.int64(node[8 * v])
    while h != NONE:
        far = np.int64(edge[2 * h])
        after = np.int64(edge[2 * h + 1])
        if far == NONE:
            _skip(edge, node, v, before, after)
        else:
            e = h >> 2
            key = value[4 * e + 2]
            other = np.int64(node[8 * far + 3])
            if other != NONE:  # a neighbor of both
                node[8 * far + 3] = NONE
                node[8 * far + 1] -= np.uint32(1)
                degree -= 1
                value[4 * e + 3] += value[4 * (other >> 2) + 3]
                count[e] += count[other >> 2]
                key = value[4 * e + 3] / count[e]
                value[4 * e + 2] = key
                edge[2 * other] = NONE
                edge[2 * (other ^ 1)] = NONE
            if _better(edge, node, key, h, best_key, best):
                best_key = key
                best = h
            before = h
        h = after
    h = np.int64(node[8 * u])
    while h != NONE:
        far = np.int64(edge[2 * h])
        after = np.int64(edge[2 * h + 1])
        if far != NONE:
            node[8 * far + 3] = NONE
            edge[2 * (h ^ 1)] = v
            key = value[(h | 1) + 1]
            if _better(edge, node, key, h, best_key, best):
                best_key = key
                best = h
            edge[2 * h + 1] = node[8 * v]
            node[8 * v] = h
        h = after
    node[8 * v + 1] = degree
    _remember(edge, node, node_key, v, best, best_key)


@compiled_in_place
def follow_chains(edge, value, count, node, node_key, bound, threshold, parent, chain):  # type: ignore[no-untyped-def]
    """Contract reciprocal-best edges of key >= threshold until none is left but those of regions of very many edges.

    Args:
        edge: of the graph, see the module.
        value: see the module.
        count: see the module.
        node: see the module.
        node_key: see the module.
        bound: (n,) float64, the highest key of an edge that leads out of this part of the graph, -1 for none; a node
            does not take part once its best edge inside is not above it.
        threshold: fixed-point key.
        parent: (n,) int32, own index; on return the node that each was merged into.
        chain: (n + 1,) uint32 scratch.

    Returns:
        Whether some regions wait because of the number of their edges.
    """
    many = False
    for start in range(parent.size):
        if parent[start] != start:
            continue
        length = 1
        chain[0] = start
        while length > 0:
            x = np.int64(chain[length - 1])
            waits = node[8 * x + 4] == _WAITS
            best = np.int64(NONE)
            if not waits and node[8 * x + 1] > _MANY:
                waits = True
                many = True
            if not waits:
                best = _best(edge, value, node, node_key, x, threshold)
                waits = best == NONE or node_key[4 * x + 3] <= bound[x]
            if waits:
                for i in range(length):
                    node[8 * np.int64(chain[i]) + 4] = _WAITS
                break
            y = np.int64(edge[2 * best])
            if length < 2 or y != chain[length - 2]:
                chain[length] = y
                length += 1
                continue
            length -= 2
            edge[2 * best] = NONE
            edge[2 * (best ^ 1)] = NONE
            if node[8 * x + 1] > node[8 * y + 1]:
                x, y = y, x
            _merge(edge, value, count, node, node_key, x, y, threshold)
            parent[x] = y
            bound[y] = max(bound[x], bound[y])
            if length == 0:
                chain[0] = y
                length = 1
    return many


@compiled_in_place
def mark_open(edge, value, edges, node, bound, threshold):  # type: ignore[no-untyped-def]
    """Mark the nodes that still have an edge of key >= threshold, and count the edges between two of them.

    No other node can ever be merged again, since keys only fall; its edges are of no more use to anyone.
    """
    for i in range(bound.size):
        node[8 * i + 3] = bound[i] >= threshold
    for e in range(edges):
        if edge[8 * e] != NONE and value[4 * e + 2] >= threshold:
            node[8 * np.int64(edge[8 * e]) + 3] = 1
            node[8 * np.int64(edge[8 * e + 2]) + 3] = 1
    kept = 0
    for e in range(edges):
        kept += is_open(edge, node, e)
    return kept


@compiled_in_place
def is_open(edge, node, e):  # type: ignore[no-untyped-def]
    """Say whether edge e lives and joins two nodes marked by `mark_open`."""
    if edge[8 * e] == NONE:
        return False
    return node[8 * np.int64(edge[8 * e]) + 3] == 1 and node[8 * np.int64(edge[8 * e + 2]) + 3] == 1


@compiled
def contract_graph(names, bound, first, second, sums, counts, threshold):  # type: ignore[no-untyped-def]
    """Contract a graph given as a list of edges, at most one for each pair of nodes, by mean linkage.

    Args:
        names: (n,) int32 names of the nodes, see `rtseg.ops.adjacency`.
        bound: (n,) float64 as in `follow_chains`; changed in place.
        first: (m,) int32, one node of each edge.
        second: (m,) int32, the other.
        sums: (m,) float64 of the values of the pixel edges that each stands for.
        counts: (m,) int32 of them.
        threshold: fixed-point key.

    Returns:
        ``parent`` (n,) int32; names (n,), right for roots; and the edges that may still matter to a larger graph, as
        first, second (roots), sums, counts.
    """
    n = names.size
    m = first.size
    edge = np.empty(8 * m, dtype=np.uint32)
    value = edge.view(np.float64)
    count = np.empty(m, dtype=np.int32)
    node = np.empty(8 * n, dtype=np.uint32)
    parent = np.arange(n).astype(np.int32)
    for i in range(n):
        start_node(node, i, names[i])
    for e in range(m):
        add_edge(edge, value, count, node, e, first[e], second[e], sums[e], counts[e])
    chain = np.empty(n + 1, dtype=np.uint32)
    many = follow_chains(edge, value, count, node, node.view(np.float64), bound, threshold, parent, chain)
    kept = mark_open(edge, value, m, node, bound, threshold)
    out_first = np.empty(kept, dtype=np.int32)
    out_second = np.empty(kept, dtype=np.int32)
    out_sums = np.empty(kept, dtype=np.float64)
    out_counts = np.empty(kept, dtype=np.int32)
    at = 0
    for e in range(m):
        if is_open(edge, node, e):
            out_first[at] = edge[8 * e]
            out_second[at] = edge[8 * e + 2]
            out_sums[at] = value[4 * e + 3]
            out_counts[at] = count[e]
            at += 1
    out_names = np.empty(n, dtype=np.int32)
    for i in range(n):
        out_names[i] = node[8 * i + 2]
    if not many:
        return parent, out_names, out_first, out_second, out_sums, out_counts
    return contract_in_order(out_names, bound, out_first, out_second, out_sums, out_counts, threshold, False, parent)
