"""Grouping written for the reader: dictionaries, one contraction at a time."""

from __future__ import annotations

import itertools

import numpy as np


def pixel_edges(weights, offsets, mask=None):
    """All pixel edges as {(lower, higher): [weights]}; `weights` (K, H, W) ints."""
    _, height, width = weights.shape
    edges = {}
    for (dy, dx), (y, x) in itertools.product(offsets, itertools.product(range(height), range(width))):
        qy, qx = y + dy, x + dx
        if 0 <= qy < height and 0 <= qx < width and (mask is None or (mask[y, x] and mask[qy, qx])):
            k = list(map(tuple, offsets)).index((dy, dx))
            pair = tuple(sorted((y * width + x, qy * width + qx)))
            edges.setdefault(pair, []).append(int(weights[k, y, x]))
    return edges


def contract_greedily(edges, threshold, linkage="mean"):
    """{(a, b): (sum, count)} -> {node: region's smallest node}, contracting the first edge again and again."""
    edges = dict(edges)
    names = {}
    while edges:
        (a, b), (total, count) = max(edges.items(), key=lambda item: (item[1][0] / item[1][1], item[0]))
        if total / count < threshold:
            break
        names[b] = a
        del edges[a, b]
        for pair in [pair for pair in edges if b in pair]:
            total, count = edges.pop(pair)
            other = pair[0] if pair[1] == b else pair[1]
            new = (min(a, other), max(a, other))
            if new in edges:
                old = edges[new]
                edges[new] = (old[0] + total, old[1] + count) if linkage == "mean" else ((old[0] + total) * 0.5, 1)
            else:
                edges[new] = (total, count)
    return names


def number(names, shape, mask=None):
    labels = np.zeros(shape, np.int32)
    seen = {}
    for p in range(labels.size):
        if mask is not None and not mask.flat[p]:
            continue
        root = p
        while root in names:
            root = names[root]
        labels.flat[p] = seen.setdefault(root, len(seen) + 1)
    return labels


def gaec(affinity, offsets, threshold=0.5, linkage="mean", mask=None):
    weights = np.rint(np.asarray(affinity, np.float32) * np.float32(2**24)).astype(np.int64)
    edges = {
        pair: (sum(values), len(values)) if linkage == "mean" else (sum(values) / len(values), 1)
        for pair, values in pixel_edges(weights, offsets, mask).items()
    }
    limit = int(np.rint(np.float32(threshold) * np.float32(2**24)))
    return number(contract_greedily(edges, limit, linkage), affinity.shape[1:], mask)
