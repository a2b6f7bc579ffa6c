"""PA-GAEC: merging disconnected segments by what they look like and where they are (DaffNet, 3.3, 3.5, algorithm 2)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled, compiled_in_place
from rtseg.errors import ArgumentError, GroupingError

_ALPHA = math.log(2.0)  # makes a squared distance of 1 an affinity of one half


def segment_affinity(
    embeddings: NDArray[np.floating], semantics: NDArray[np.floating], alpha: float = _ALPHA
) -> NDArray[np.float64]:
    """Give the affinity of every pair of segments: Phi of equation 2 times semantic similarity.

    Phi = exp(-alpha |x_a - x_b|^2) on mean embeddings; the similarity is 1 minus the Jensen-Shannon divergence (in
    bits, so in [0, 1]) of the mean class distributions.

    Args:
        embeddings: (n, k) mean embedding of each segment.
        semantics: (n, C) mean class probabilities of each segment; rows are normalized here.
        alpha: ln 2 makes a squared distance of 1 an affinity of one half.

    Returns:
        (n, n) float64 in [0, 1], symmetric.

    Raises:
        GroupingError: on values that are not finite, or negative probabilities.
        ArgumentError: on shapes that do not fit.
    """
    x = np.ascontiguousarray(embeddings, dtype=np.float64)
    p = np.ascontiguousarray(semantics, dtype=np.float64)
    if x.ndim != 2 or p.ndim != 2 or len(x) != len(p):
        raise ArgumentError(f"expected embeddings (n, k) and semantics (n, C) of one n, got {x.shape} and {p.shape}")
    if not (np.isfinite(x).all() and np.isfinite(p).all()) or (p < 0).any():
        raise GroupingError("expected finite embeddings and class probabilities of 0 or more: apply the softmax first")
    return _segment_affinity(x, p, float(alpha))  # type: ignore[no-any-return]


@compiled
def _segment_affinity(x, p, alpha):  # type: ignore[no-untyped-def]
    n, classes = p.shape
    q = np.zeros((n, classes))
    entropy = np.zeros(n)
    for i in range(n):
        total = 0.0
        for c in range(classes):
            total += p[i, c]
        for c in range(classes):
            q[i, c] = p[i, c] / total if total > 0.0 else 1.0 / classes
            if q[i, c] > 0.0:
                entropy[i] -= q[i, c] * math.log2(q[i, c])
    affinity = np.ones((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            square = 0.0
            for k in range(x.shape[1]):
                square += (x[i, k] - x[j, k]) ** 2
            phi = math.exp(-alpha * square)
            divergence = 0.0
            if phi > 1e-6:  # below, the product is as good as zero whatever the classes are
                mixed = 0.0
                for c in range(classes):
                    m = 0.5 * (q[i, c] + q[j, c])
                    if m > 0.0:
                        mixed -= m * math.log2(m)
                divergence = min(1.0, max(0.0, mixed - 0.5 * (entropy[i] + entropy[j])))
            affinity[i, j] = phi * (1.0 - divergence)
            affinity[j, i] = affinity[i, j]
    return affinity


def pa_gaec(
    affinity: NDArray[np.floating], boxes: NDArray[np.floating], threshold: float = 0.5, beta: float = 0.5
) -> NDArray[np.int32]:
    """Merge segments greedily by affinity times position factor (algorithm 2).

    The factor d_uv = min(1, h / 2|dy|)^beta * min(1, w / 2|dx|)^beta, with h and w the larger height and width of the
    two and dx, dy the distance of their boxes' centers, weighs down segments that lie far apart for their size. As
    segments merge, their affinities to others are averaged (algorithm 1), and boxes and factors follow; so a factor may
    also rise. Of equal priorities the pair with the smaller numbers goes first, a merged segment having the smaller of
    the two.

    Args:
        affinity: (n, n) symmetric, in [0, 1]; see `segment_affinity`.
        boxes: (n, 4) as (x0, y0, x1, y1), x1 and y1 exclusive.
        threshold: merge while the best priority is at least this.
        beta: how strongly position counts; 0 not at all.

    Returns:
        (n,) int32 group of each segment, 1..m in the order of their first segments.

    Raises:
        ArgumentError: on shapes that do not fit or values outside their range.
    """
    a = np.array(affinity, dtype=np.float64)
    b = np.array(boxes, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or b.shape != (len(a), 4):
        raise ArgumentError(f"expected affinities (n, n) and boxes (n, 4) of one n, got {a.shape} and {b.shape}")
    if not ((a >= 0) & (a <= 1)).all() or not (a == a.T).all():
        raise ArgumentError("expected symmetric segment affinities in [0, 1], got others: see segment_affinity")
    if not np.isfinite(b).all() or not (b[:, 2:] > b[:, :2]).all():
        raise ArgumentError("expected boxes (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got others")
    if not 0.0 <= threshold <= 1.0 or not beta >= 0.0:
        raise ArgumentError(f"expected a threshold in [0, 1] and beta of 0 or more, got {threshold} and {beta}")
    return _pa_gaec(a, b, float(threshold), float(beta))  # type: ignore[no-any-return]


@compiled
def join_segments(embeddings, semantics, boxes, threshold, beta):  # type: ignore[no-untyped-def]
    """Give the groups that :func:`pa_gaec` makes of the segments' :func:`segment_affinity`, unchecked.

    Args:
        embeddings: (n, k) float64, finite.
        semantics: (n, C) float64, finite and not negative.
        boxes: (n, 4) float64; changed in place.
        threshold: as there.
        beta: as there.
    """
    return _pa_gaec(_segment_affinity(embeddings, semantics, _ALPHA), boxes, threshold, beta)


@compiled_in_place
def _nearness(boxes, u, v, beta):  # type: ignore[no-untyped-def]
    factor = 1.0
    for axis in range(2):
        size = max(boxes[u, axis + 2] - boxes[u, axis], boxes[v, axis + 2] - boxes[v, axis])
        apart = 0.5 * abs(boxes[u, axis] + boxes[u, axis + 2] - boxes[v, axis] - boxes[v, axis + 2])
        if 0.5 * size < apart:
            factor *= (0.5 * size / apart) ** beta
    return factor


@compiled
def _pa_gaec(affinity, boxes, threshold, beta):  # type: ignore[no-untyped-def]  # noqa: C901
    n = affinity.shape[0]
    group = np.arange(n).astype(np.int32)
    alive = np.ones(n, dtype=np.bool_)
    priority = np.full((n, n), -1.0)
    best = np.full(n, -1)  # of each row i the best j > i
    for i in range(n):
        for j in range(i + 1, n):
            priority[i, j] = affinity[i, j] * _nearness(boxes, i, j, beta)
            if best[i] < 0 or priority[i, j] > priority[i, best[i]]:
                best[i] = j
    while True:
        u = -1
        for i in range(n):
            if alive[i] and best[i] >= 0 and (u < 0 or priority[i, best[i]] > priority[u, best[u]]):
                u = i
        if u < 0 or priority[u, best[u]] < threshold:
            break
        v = best[u]
        group[v] = u
        alive[v] = False
        for axis in range(2):
            boxes[u, axis] = min(boxes[u, axis], boxes[v, axis])
            boxes[u, axis + 2] = max(boxes[u, axis + 2], boxes[v, axis + 2])
        for k in range(n):
            if alive[k] and k != u:
                affinity[u, k] = 0.5 * (affinity[u, k] + affinity[v, k])
                affinity[k, u] = affinity[u, k]
                priority[min(u, k), max(u, k)] = affinity[u, k] * _nearness(boxes, u, k, beta)
                priority[min(v, k), max(v, k)] = -1.0
        for k in range(v):
            if not alive[k]:
                continue
            if k == u or best[k] == u or best[k] == v:
                best[k] = -1
                for j in range(k + 1, n):
                    if alive[j] and (best[k] < 0 or priority[k, j] > priority[k, best[k]]):
                        best[k] = j
            elif k < u:
                ahead = priority[k, u] - priority[k, best[k]]
                if ahead > 0.0 or (ahead == 0.0 and u < best[k]):
                    best[k] = u
    labels = np.zeros(n, dtype=np.int32)
    count = 0
    for i in range(n):
        root = group[i]
        if root == i:
            count += 1
            labels[i] = count
        else:
            while group[root] != root:
                root = group[root]
            labels[i] = labels[root]
    return labels
