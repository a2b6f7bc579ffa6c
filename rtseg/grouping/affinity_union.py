"""Union-find super-pixels, then reciprocal-best merging of their region graph: grouping at camera rate.

Pixels joined by affinities of at least a high threshold are united without asking further; that leaves a region graph
of some per cent of the pixels. There every region joins its best neighbor when the choice is mutual and the mean
affinity reaches the threshold, until nothing moves. By the theorem in `rtseg.grouping.gaec` the rounds end in the one
partition that greedy contraction of that graph ends in, which is how the CPU computes it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.grouping.chains import contract_graph
from rtseg.grouping.gaec import gaec
from rtseg.ops.adjacency import collect_edges
from rtseg.ops.affinities import Offsets, check_mask, quantize_affinity, quantize_threshold
from rtseg.ops.threads import thread_count
from rtseg.ops.union_find import find_root, number_roots, supported_weights, unite_grid


def affinity_union(
    affinity: NDArray[np.floating],
    offsets: Offsets,
    superpixel_threshold: float | None = 0.98,
    threshold: float = 0.5,
    mask: NDArray[np.bool_] | None = None,
    threads: int | None = None,
    support: float = 0.0,
) -> NDArray[np.int32]:
    """Group pixels by mean affinity after joining what is almost certain.

    Args:
        affinity: (K, H, W) floats in [0, 1]; ``affinity[k, y, x]`` joins pixel (y, x) to
            ``(y + offsets[k][0], x + offsets[k][1])``.
        offsets: K pairs (dy, dx).
        superpixel_threshold: affinities of at least this join pixels beforehand. At 1 or None nothing is joined
            beforehand, and the result is that of ``gaec(linkage="mean")``, label for label.
        threshold: regions merge while their mean affinity is at least this.
        mask: (H, W) bool; pixels where it is False take no part and get 0.
        threads: all cores by default; the result does not depend on it.
        support: in [0, 1]; an affinity joins pixels beforehand only where the mean of five side by side, its own and
            two of its channel on either side, is at least this. Where affinities are noisy one over a boundary may be
            high by chance, but not five: 0.95 keeps objects apart, and takes longer.

    Returns:
        (H, W) int32 labels, 1..n in raster order of their first pixels.

    Raises:
        GroupingError: on affinities that are not finite in [0, 1].
        ArgumentError: on shapes and parameters that do not fit.

    Example:
        >>> affinity_union(np.array([[[1.0, 0.2, 0.0]]]), [(0, 1)]).tolist()
        [[1, 1, 2]]
    """
    limit = quantize_threshold(threshold)
    joined = None if superpixel_threshold is None else quantize_threshold(superpixel_threshold)
    if superpixel_threshold is not None and superpixel_threshold >= 1.0:
        superpixel_threshold = None
    if superpixel_threshold is None or joined is None:
        return gaec(affinity, offsets, threshold, "mean", mask, threads)
    workers = thread_count(threads)
    weights, steps = quantize_affinity(affinity, offsets)
    inside = check_mask(mask, (weights.shape[1], weights.shape[2]))
    certain = supported_weights(weights, steps, inside, quantize_threshold(support), workers)
    superpixels, count = number_roots(unite_grid(certain, steps, inside, joined, workers), inside)
    keys, sums, counts = collect_edges(superpixels, count, weights, steps, threads=workers)
    labels = np.empty_like(superpixels)
    merge_regions(superpixels.reshape(-1), count, keys, sums, counts, float(limit), labels.reshape(-1))
    return labels


@compiled
def merge_regions(superpixels, count, keys, sums, counts, limit, labels):  # type: ignore[no-untyped-def]
    """Merge super-pixels 1..count by mean affinity, write the labels of the pixels and give their number.

    Super-pixels are numbered in raster order of their first pixels; keys, sums, counts are from `collect_edges`.
    """
    first = ((keys >> 32) - 1).astype(np.int32)
    second = ((keys & 0xFFFFFFFF) - 1).astype(np.int32)
    names = np.arange(count).astype(np.int32)  # super-pixels are numbered by their first pixels: the order of names
    parent, new_names, _, _, _, _ = contract_graph(
        names, np.full(count, -1.0), first, second, sums.astype(np.float64), counts.astype(np.int32), limit
    )
    ids = np.empty(count + 1, dtype=np.int32)
    ids[0] = 0
    used = 0
    for i in range(count):
        r = find_root(parent, i)
        name = new_names[r]
        if name == i:
            used += 1
            ids[i + 1] = used
        else:
            ids[i + 1] = ids[name + 1]
    for p in range(superpixels.size):
        labels[p] = ids[superpixels[p]]
    return used
