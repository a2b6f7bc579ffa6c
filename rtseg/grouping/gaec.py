"""Greedy additive edge contraction (GAEC) of a pixel grid: DaffNet, section 2.2, algorithm 1.

Why tiles and threads give the identical partition
--------------------------------------------------
Let edges be ordered as `rtseg.ops.adjacency` says: by key (the mean affinity), then by the pair of names, larger first.
No two edges rank equal, for no two join the same pair of regions. Call an edge *reciprocal-best* when it is the first
of all edges at both its ends. GAEC always contracts the first edge of all, which is reciprocal-best.

*Lemma 1 (no edge moves forward).* Contract {a, b}. The edge from another region u to ab ranks no earlier than the
earlier of {u, a} and {u, b}. If both exist, the mean of the union lies between their means, and the key is a monotone
function of the mean, so the new key is at most the larger one; if one exists, the key stays. Where the key equals that
of the earlier edge, names decide: ab is named min(a, b), so both the smaller and the larger name of the pair are at
most what they were, and of equal keys the larger names go first. (This is where ties matter: with the smaller name
first, lemma 1 fails.)

*Lemma 2.* A reciprocal-best edge e = {u, v} stays so when another reciprocal-best edge f is contracted. f shares no end
with e, for at that end both would be first. So u and v stay as they are, and by lemma 1 every edge at u and v that has
changed ranks no earlier than one that ranked after e.

*Theorem.* Every maximal sequence of contractions of reciprocal-best edges with key >= threshold ends in the same
partition. Two such edges e and f are disjoint, and contracting e then f gives the same graph as f then e: sums and
counts are exact integers, so adding them is associative, and so is the minimum of names. By lemma 2 each is still
allowed after the other. A rewriting system whose steps commute like this has one normal form. It ends, as each step
removes a region; and when no reciprocal-best edge passes the threshold, no edge does, for the first of all edges is
reciprocal-best.

A tile that contracts only edges which are first at both ends *among all edges, also those that lead out of the tile*,
takes steps allowed in the whole graph. What other tiles have done meanwhile does not matter, since steps commute.
Inside, steps are found along chains of best neighbors (`rtseg.grouping.chains`). Plain linkage, (a + b) / 2 whatever
the two stand for, is not associative: the theorem does not hold, and the whole image is contracted in the one global
order.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.grouping.contraction import contract_in_order
from rtseg.grouping.tiles import contract_block, contract_tiles, name_pixels, pixel_edges
from rtseg.ops.affinities import Offsets, check_mask, forward_weights, quantize_threshold
from rtseg.ops.threads import run_strips, thread_count
from rtseg.ops.union_find import number_roots

Edges = tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]

# Sides of tiles and of blocks made of tiles, in pixels. A tile's graph fits the second cache; blocks are what threads
# work on, and what remains of them (some per cent of the regions) is joined by one.
_TILE = 128
_BLOCK = 512


def gaec(
    affinity: NDArray[np.floating],
    offsets: Offsets,
    threshold: float = 0.5,
    linkage: Literal["mean", "plain"] = "mean",
    mask: NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> NDArray[np.int32]:
    """Merge pixels along their strongest edge, again and again, until no edge reaches the threshold.

    Exact and deterministic: the result is that of contracting the first edge in the total order of
    `rtseg.ops.adjacency`, one at a time. An edge whose value equals the threshold is contracted.

    Args:
        affinity: (K, H, W) floats in [0, 1]; ``affinity[k, y, x]`` joins pixel (y, x) to
            ``(y + offsets[k][0], x + offsets[k][1])``. Values that lead out of the image are ignored.
        offsets: K pairs (dy, dx), any direction and length. Where both d and -d are given, their values are averaged.
        threshold: in [0, 1].
        linkage: "mean" gives merged parallel edges the mean over all pixel edges they stand for; "plain" averages the
            two values, as algorithm 1 has it.
        mask: (H, W) bool; pixels where it is False take no part.
        threads: for "mean"; all cores by default. The result does not depend on it.

    Returns:
        (H, W) int32 labels, 1..n in raster order of their first pixels, 0 outside the mask.

    Raises:
        GroupingError: on affinities that are not finite in [0, 1].
        ArgumentError: on shapes and parameters that do not fit.

    Example:
        >>> labels = gaec(np.array([[[0.9, 0.2, 0.0]]]), [(0, 1)])
        >>> labels.tolist()
        [[1, 1, 2]]
    """
    if linkage not in ("mean", "plain"):
        raise ArgumentError(f'expected linkage "mean" or "plain", got {linkage!r}')
    workers = thread_count(threads)
    limit = float(quantize_threshold(threshold))
    weights, steps, numbers = forward_weights(affinity, offsets)
    height, width = weights.shape[1:]
    inside = check_mask(mask, (height, width))
    if linkage == "plain":
        first, second, means = pixel_edges(weights, numbers, steps, inside)
        root = np.arange(height * width, dtype=np.int32)
        bound, ones = np.full(root.size, -1.0), np.ones(first.size, dtype=np.int32)
        parent, names, *_ = contract_in_order(root.copy(), bound, first, second, means, ones, limit, True, root.copy())
        name_pixels(parent, names, root)
    else:
        root = np.empty(height * width, dtype=np.int32)
        _contract_in_tiles(weights, numbers, steps, inside, limit, root, workers)
    return number_roots(root, inside)[0]


def _contract_in_tiles(
    weights: NDArray[np.int32],
    numbers: NDArray[np.int64],
    steps: NDArray[np.int64],
    mask: NDArray[np.bool_],
    limit: float,
    root: NDArray[np.int32],
    workers: int,
) -> None:
    height, width = mask.shape
    slot = np.empty(root.size, dtype=np.int32)
    far = int(np.abs(steps).max())
    tile, side = (_TILE, _BLOCK) if far <= _TILE // 2 else (max(height, width),) * 2
    blocks = _cut(height, width, side)
    remaining: list[Edges | None] = [None] * len(blocks)
    waiting = iter(range(len(blocks)))  # shared by the threads; next() on it is atomic

    def work(_: int) -> None:
        for i in waiting:
            edges = contract_tiles(weights, numbers, steps, mask, blocks[i], tile, limit, root)
            if len(edges[0]) or tile < side:
                edges = contract_block(weights, numbers, steps, mask, blocks[i], tile, *edges, limit, root, slot)
            remaining[i] = edges

    run_strips(work, min(workers, len(blocks)))
    if len(blocks) > 1:
        parts = [part for part in remaining if part is not None]
        edges = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        contract_block(weights, numbers, steps, mask, (0, height, 0, width), side, *edges, limit, root, slot)


def _cut(height: int, width: int, side: int) -> list[tuple[int, int, int, int]]:
    return [
        (y, min(y + side, height), x, min(x + side, width))
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]
