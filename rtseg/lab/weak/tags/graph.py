"""The similarity graph over all salient instances of a training set (section 4.1, eq 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtseg.compiled import compiled
from rtseg.errors import WeakSupervisionError

_BLOCK_BYTES = 1 << 25  # similarities held at once: blocks of rows, never the n x n matrix


@compiled
def _keep_nearest(similarity, first, nearest, values):  # type: ignore[no-untyped-def]
    """For each row of the block, the indices of its k largest similarities, ties to the lower index, self left out."""
    rows, n = similarity.shape
    k = nearest.shape[1]
    for row in range(rows):
        i = first + row
        held = 0
        for j in range(n):
            s = similarity[row, j]
            if held == k and not s > values[i, k - 1]:
                continue
            if j == i:
                continue
            at = held if held < k else k - 1
            while at > 0 and values[i, at - 1] < s:
                values[i, at] = values[i, at - 1]
                nearest[i, at] = nearest[i, at - 1]
                at -= 1
            values[i, at] = s
            nearest[i, at] = j
            if held < k:
                held += 1


def similarity_graph(features: ArrayLike, k: int = 3) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Join every instance to its k most similar ones by the cosine of their features (eq 5).

    The whole set is compared, block by block, in memory linear in n. The graph is undirected: an edge is kept when
    either end counts it among its k largest, and is listed once.

    Args:
        features: (n, d) finite float features, no row zero; computed in float32.
        k: edges that each instance retains (the paper: 3); fewer where there are not k others.

    Returns:
        edges (m, 2) int32, ``edges[e, 0] < edges[e, 1]``, in lexicographic order, and weights (m,) float64,
        cosine + 1, in [0, 2].

    Raises:
        WeakSupervisionError: features that are not two-dimensional, not finite or zero, or k below 1.
    """
    vectors = np.array(features, dtype=np.float32, order="C")
    if vectors.ndim != 2 or vectors.shape[0] == 0 or vectors.shape[1] == 0:
        raise WeakSupervisionError(
            f"expected features of shape (instances, channels) with at least one of each, got {vectors.shape}; "
            "pass one feature vector for each salient instance"
        )
    if k < 1:
        raise WeakSupervisionError(f"expected k >= 1 retained edges for each instance, got {k}; the paper uses 3")
    n = vectors.shape[0]
    # Scaling by the largest entry first keeps the squares of huge or tiny features inside float32.
    largest = np.abs(vectors).max(axis=1)
    bad = np.flatnonzero(~(np.isfinite(largest) & (largest > 0)))
    if bad.size:
        raise WeakSupervisionError(
            f"expected finite, non-zero features, but {bad.size} of {n} rows (the first is {bad[0]}) are not; "
            "leave out instances without a feature"
        )
    vectors /= largest[:, None]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    k = min(k, n - 1)
    if k == 0:
        return np.empty((0, 2), np.int32), np.empty(0, np.float64)

    nearest = np.empty((n, k), np.int32)
    values = np.empty((n, k), np.float32)
    rows = max(1, min(n, _BLOCK_BYTES // (4 * n)))
    block = np.empty((rows, n), np.float32)
    for first in range(0, n, rows):
        part = vectors[first : first + rows]
        np.matmul(part, vectors.T, out=block[: len(part)])
        _keep_nearest(block[: len(part)], first, nearest, values)

    ends = np.stack([np.repeat(np.arange(n, dtype=np.int32), k), nearest.reshape(-1)], axis=1)
    ends.sort(axis=1)
    keys, index = np.unique(ends[:, 0].astype(np.int64) * n + ends[:, 1], return_index=True)
    weights = np.clip(values.reshape(-1)[index].astype(np.float64) + 1.0, 0.0, 2.0)
    edges = np.stack([keys // n, keys % n], axis=1).astype(np.int32)
    return edges, weights
