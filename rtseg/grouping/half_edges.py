"""A graph as flat arrays of edges and doubly linked lists of half-edges, for a contraction that goes from node to node.

Records are flat arrays, so that what is used together lies in one cache line:

* ``half[4 * h + i]`` int32: node at the far end, next and previous half-edge in the owner's list, unused. Edge e has
  the half-edges 2e and 2e + 1.
* ``edge[4 * e + i]`` float64: sum, count (0: contracted away), key when pushed (-1: not in the queue), unused.
* ``node[4 * n + i]`` int32: first half-edge, number of edges, name, flags (frozen, hub).
"""

from __future__ import annotations

import numpy as np

from rtseg.compiled import compiled, compiled_in_place

HUB = 48  # edges between two nodes of more than this are found in a hash table, others by walking the shorter list
FROZEN = 1
IS_HUB = 2


@compiled_in_place
def unlink(half, node, owner, h):  # type: ignore[no-untyped-def]
    """Take half-edge h out of the list of its owner."""
    after = half[4 * h + 1]
    before = half[4 * h + 2]
    if before >= 0:
        half[4 * before + 1] = after
    else:
        node[4 * owner] = after
    if after >= 0:
        half[4 * after + 2] = before


@compiled_in_place
def link(half, node, owner, h):  # type: ignore[no-untyped-def]
    """Put half-edge h first in the list of its owner."""
    first = node[4 * owner]
    half[4 * h + 1] = first
    half[4 * h + 2] = -1
    if first >= 0:
        half[4 * first + 2] = h
    node[4 * owner] = h


@compiled_in_place
def add_edge(half, edge, tie, node, e, a, b, total, count, threshold):  # type: ignore[no-untyped-def]
    """Add edge e between nodes a and b; its queue entry is filled in, but not queued."""
    half[8 * e] = b
    half[8 * e + 4] = a
    link(half, node, a, 2 * e)
    link(half, node, b, 2 * e + 1)
    node[4 * a + 1] += 1
    node[4 * b + 1] += 1
    edge[4 * e] = total
    edge[4 * e + 1] = count
    key = total / count
    edge[4 * e + 2] = key if key >= threshold else -1.0
    low = node[4 * a + 2]
    high = node[4 * b + 2]
    if low > high:
        low, high = high, low
    tie[e] = (np.int64(low) << 32) | np.int64(high)


@compiled_in_place
def slot(table_key, key):  # type: ignore[no-untyped-def]
    """Give the place of a key in a hash table, or the free one where it belongs."""
    last = table_key.size - 1
    at = ((key * np.int64(-7046029254386353131)) >> 20) & last
    while table_key[at] != -1 and table_key[at] != key:
        at = (at + 1) & last
    return at


@compiled_in_place
def pair(a, b):  # type: ignore[no-untyped-def]
    """Give the key of an edge between two nodes: ``smaller << 32 | larger``."""
    return (np.int64(min(a, b)) << 32) | np.int64(max(a, b))


@compiled
def hub_table(half, edge, node, edges):  # type: ignore[no-untyped-def]
    """Hash all live edges between two hubs: key (smaller, larger node), value edge."""
    used = 0
    for e in range(edges):
        if edge[4 * e + 1] > 0.0 and node[4 * half[8 * e] + 3] & node[4 * half[8 * e + 4] + 3] & IS_HUB:
            used += 1
    size = 256
    while size < 4 * used or size < edges // 8:
        size *= 2
    table_key = np.full(size, -1, dtype=np.int64)
    table_edge = np.empty(size, dtype=np.int32)
    for e in range(edges):
        if edge[4 * e + 1] > 0.0 and node[4 * half[8 * e] + 3] & node[4 * half[8 * e + 4] + 3] & IS_HUB:
            key = pair(half[8 * e], half[8 * e + 4])
            at = slot(table_key, key)
            table_key[at] = key
            table_edge[at] = e
    return table_key, table_edge, used


@compiled_in_place
def mark_open(half, edge, edges, node, bound, threshold):  # type: ignore[no-untyped-def]
    """Flag the nodes that still have an edge of key >= threshold, and count the edges between two of them.

    No other node can ever be merged again, since keys only fall; its edges are of no more use to anyone.
    """
    for i in range(bound.size):
        node[4 * i + 3] = 1 if bound[i] >= threshold else 0
    for e in range(edges):
        if edge[4 * e + 1] > 0.0 and edge[4 * e] / edge[4 * e + 1] >= threshold:
            node[4 * half[8 * e] + 3] = 1
            node[4 * half[8 * e + 4] + 3] = 1
    kept = 0
    for e in range(edges):
        kept += is_open(half, edge, node, e)
    return kept


@compiled_in_place
def is_open(half, edge, node, e):  # type: ignore[no-untyped-def]
    """Say whether edge e lives and joins two nodes flagged by `mark_open`."""
    return edge[4 * e + 1] > 0.0 and (node[4 * half[8 * e] + 3] & node[4 * half[8 * e + 4] + 3]) == 1
