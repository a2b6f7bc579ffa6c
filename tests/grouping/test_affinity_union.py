"""affinity_union against its definition in dictionaries, and against gaec."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping import affinity_union, gaec
from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, label_affinities, street_scene
from rtseg.ops import region_adjacency, union_affinities
from tests.grouping.affinity_reference import contract_greedily


@given(st.integers(0, 2**32 - 1))
def test_equals_greedy_contraction_of_superpixels(seed):
    rng = np.random.default_rng(seed)
    offsets = GRID_OFFSETS if seed % 2 else [(0, 1), (1, 0), (-1, 0), (1, 1)]
    size = tuple(rng.integers(1, 14, 2))
    affinity = (rng.integers(0, 9, (len(offsets), *size)) / 8).astype(np.float32)
    mask = rng.random(size) < 0.9
    superpixels = union_affinities(affinity, offsets, 0.8, mask)
    graph = region_adjacency(superpixels, int(superpixels.max()), affinity, offsets)
    edges = {
        (int(a), int(b)): (int(total), int(count))
        for (a, b), total, count in zip(graph.edges, graph.sums, graph.counts, strict=True)
    }
    joined = contract_greedily(edges, 2**23)
    expected = np.zeros_like(superpixels)
    seen = {}
    for at, label in np.ndenumerate(superpixels):
        root = int(label)
        while root in joined:
            root = joined[root]
        expected[at] = seen.setdefault(root, len(seen) + 1) if root else 0
    for threads in (1, 3):
        np.testing.assert_array_equal(affinity_union(affinity, offsets, 0.8, 0.5, mask, threads), expected)


@pytest.mark.parametrize("none", [1, 1.0, None])
def test_without_superpixels_it_is_gaec(none):
    affinity = label_affinities(street_scene(2, (90, 140)).labels, seed=3)
    affinity[:, 20:40] = 1.0
    np.testing.assert_array_equal(affinity_union(affinity, GRID_OFFSETS, none), gaec(affinity, GRID_OFFSETS))


def test_bad_parameters_are_refused():
    affinity = np.zeros((2, 3, 3), np.float32)
    with pytest.raises(ArgumentError, match="threshold"):
        affinity_union(affinity, GRID_OFFSETS, superpixel_threshold=2.0)
    with pytest.raises(GroupingError, match="NaN"):
        affinity_union(affinity * np.nan, GRID_OFFSETS)
