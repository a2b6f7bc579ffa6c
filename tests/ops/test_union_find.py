"""Union-find over affinities against flood fill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import GroupingError
from rtseg.ops import union_affinities

OFFSETS = ((0, 1), (1, 0), (-1, 1), (0, -2), (3, 0), (-1, 0))


def fixed(value):
    return int(np.rint(np.float32(value) * np.float32(2**24)))


def is_supported(affinity, k, step, pixel, joined, support):
    """Whether the mean of five edges side by side, of those inside the mask, is at least `support`."""
    weights = []
    for side in range(-2, 3):
        y, x = (pixel[0] + side, pixel[1]) if abs(step[1]) >= abs(step[0]) else (pixel[0], pixel[1] + side)
        if (y, x) in joined and (y + step[0], x + step[1]) in joined:
            weights.append(fixed(affinity[k, y, x]))
    return sum(weights) >= fixed(support) * len(weights)


def flood(affinity, offsets, threshold, mask, support=0.0):
    _, height, width = affinity.shape
    limit = fixed(threshold)
    joined = {(y, x): [] for y in range(height) for x in range(width) if mask[y, x]}
    for k, (dy, dx) in enumerate(offsets):
        for y, x in list(joined):
            if (
                (y + dy, x + dx) in joined
                and fixed(affinity[k, y, x]) >= limit
                and is_supported(affinity, k, (dy, dx), (y, x), joined, support)
            ):
                joined[y, x].append((y + dy, x + dx))
                joined[y + dy, x + dx].append((y, x))
    labels = np.zeros((height, width), np.int32)
    count = 0
    for start in sorted(joined):
        if labels[start]:
            continue
        count += 1
        labels[start] = count
        todo = [start]
        while todo:
            for other in joined[todo.pop()]:
                if not labels[other]:
                    labels[other] = count
                    todo.append(other)
    return labels


@given(st.integers(0, 2**32 - 1))
def test_equals_flood_fill(seed):
    rng = np.random.default_rng(seed)
    offsets = [OFFSETS[i] for i in rng.permutation(len(OFFSETS))[: rng.integers(1, 5)]]
    size = tuple(rng.integers(1, 12, 2))
    affinity = rng.integers(0, 5, (len(offsets), *size)).astype(np.float32) / 4
    mask = rng.random(size) < 0.9
    threshold = float(rng.choice([0.25, 0.5, 0.9, 1.0]))
    support = float(rng.choice([0.0, 0.5, 0.7]))
    expected = flood(affinity, offsets, threshold, mask, support)
    for threads in (1, 2, 5):
        found = union_affinities(affinity, offsets, threshold, mask, threads, support)
        np.testing.assert_array_equal(found, expected)


def test_a_chance_edge_over_a_boundary_joins_only_without_support():
    affinity = np.ones((2, 9, 6), np.float32)
    affinity[0, :, 2] = 0.1
    affinity[0, 4, 2] = 1.0
    assert union_affinities(affinity, [(0, 1), (1, 0)], 0.98).max() == 1
    labels = union_affinities(affinity, [(0, 1), (1, 0)], 0.98, support=0.9)
    assert (labels == ([1] * 3 + [2] * 3)).all()


def test_spiral_is_one_region():
    path = np.zeros((21, 21), bool)
    y, x, dy, dx = 0, 0, 0, 1
    path[0, 0] = True
    for length in [20, 20, *[n for k in range(20, 1, -2) for n in (k, k - 2)]]:
        for _ in range(length):
            y, x = y + dy, x + dx
            path[y, x] = True
        dy, dx = dx, -dy
    labels = union_affinities(np.ones((2, 21, 21), np.float32), [(0, 1), (1, 0)], 0.5, path, threads=4)
    np.testing.assert_array_equal(labels, path.astype(np.int32))


def test_threshold_itself_joins():
    affinity = np.full((1, 1, 2), 0.7, np.float32)
    assert union_affinities(affinity, [(0, 1)], 0.7).tolist() == [[1, 1]]
    assert union_affinities(affinity, [(0, 1)], 0.7000001).tolist() == [[1, 2]]


def test_nan_is_refused():
    with pytest.raises(GroupingError, match="NaN"):
        union_affinities(np.full((1, 3, 3), np.nan, np.float32), [(0, 1)], 0.5)
