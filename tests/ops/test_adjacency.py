"""Fixed-point affinities and the region graph against dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ArgumentError, GroupingError
from rtseg.ops import region_adjacency
from rtseg.ops.adjacency import collect_edges
from rtseg.ops.affinities import FIXED_POINT_ONE, LARGEST, forward_weights, quantize_affinity, quantize_threshold

OFFSETS = ((0, 1), (1, 0), (1, -2), (-1, 0))


def edges_by_dictionary(labels, weights, offsets):
    edges = {}
    for k, (dy, dx) in enumerate(offsets):
        for (y, x), a in np.ndenumerate(labels):
            if 0 <= y + dy < labels.shape[0] and 0 <= x + dx < labels.shape[1]:
                b = labels[y + dy, x + dx]
                if a != b and a and b:
                    total, count = edges.get((min(a, b), max(a, b)), (0, 0))
                    edges[min(a, b), max(a, b)] = (total + int(weights[k, y, x]), count + 1)
    return edges


@given(st.integers(0, 2**32 - 1))
def test_region_graph_equals_dictionaries(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 12, 2))
    count = int(rng.integers(1, 40))
    labels = rng.integers(0, count + 1, size).astype(np.int32)
    affinity = rng.random((4, *size)).astype(np.float32)
    graph = region_adjacency(labels, count, affinity, OFFSETS)
    weights, steps = quantize_affinity(affinity, OFFSETS)
    expected = sorted(edges_by_dictionary(labels, weights, OFFSETS).items())
    assert [tuple(edge) for edge in graph.edges] == [pair for pair, _ in expected]
    assert list(zip(graph.sums, graph.counts, strict=True)) == [value for _, value in expected]
    parted = collect_edges(labels, count, weights, steps, threads=3)
    order = np.argsort(parted[0])
    np.testing.assert_array_equal(parted[1][order], graph.sums)
    np.testing.assert_array_equal(parted[2][order], graph.counts)


def test_table_grows_past_its_first_room():
    labels = np.arange(1, 10001, dtype=np.int32).reshape(100, 100)
    graph = region_adjacency(labels, 10000, np.full((4, 100, 100), 0.25, np.float32), ((0, 1), (1, 0), (1, 1), (1, -1)))
    assert len(graph.edges) == 2 * 99 * 100 + 2 * 99 * 99
    assert (graph.means == 0.25).all()


@given(st.integers(0, 10**6))
def test_both_directions_are_added_at_the_earlier_pixel(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 8, 2))
    offsets = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if dy or dx]
    chosen = rng.permutation(len(offsets))[: rng.integers(1, 7)]
    steps = np.array([offsets[i] for i in chosen], np.int64)
    weights = rng.integers(1, 100, (len(steps), height, width)).astype(np.int32)
    expected = {}
    for (k, y, x), weight in np.ndenumerate(weights):
        pair = sorted([(y, x), (y + int(steps[k][0]), x + int(steps[k][1]))])
        if all(0 <= y < height and 0 <= x < width for y, x in pair):
            expected[tuple(pair)] = expected.get(tuple(pair), 0) + weight
    merged, kinds, numbers = forward_weights(weights.astype(np.float32) / 2**24, steps)
    distances = [int(dy) * width + int(dx) for dy, dx in kinds]
    assert distances == sorted(distances)
    assert all((dy, dx) > (0, 0) for dy, dx in kinds.tolist())
    assert numbers.tolist() == [
        sum(step in ([dy, dx], [-dy, -dx]) for step in steps.tolist()) for dy, dx in kinds.tolist()
    ]
    found = {}
    for (j, y, x), weight in np.ndenumerate(merged):
        after = (y + int(kinds[j][0]), x + int(kinds[j][1]))
        if 0 <= after[0] < height and 0 <= after[1] < width:
            found[(y, x), after] = weight
    assert found == expected


def test_a_sigmoid_that_is_rounded_over_one_is_one():
    over = np.float32([[[1.0, 1.0000001, LARGEST]]])
    assert quantize_affinity(over, [(0, 1)])[0].tolist() == [[[FIXED_POINT_ONE] * 3]]
    for wrong in (np.nextafter(LARGEST, np.float32(2)), np.float32(-1e-9), np.float32("nan")):
        with pytest.raises(GroupingError, match="got 1 values that are NaN or outside"):
            quantize_affinity(np.float32([[[wrong, 1.0]]]), [(0, 1)])
        with pytest.raises(GroupingError, match="got 1 values that are NaN or outside"):
            forward_weights(np.float32([[[wrong, 1.0]]]), [(0, -1)])  # whose second pixel lies outside the image


@given(st.floats(0, 1, width=32))
def test_quantization_is_monotone_and_shared_by_thresholds(value):
    weights, _ = quantize_affinity(np.full((1, 1, 1), value, np.float32), [(0, 1)])
    assert weights[0, 0, 0] == quantize_threshold(value)
    assert abs(weights[0, 0, 0] / 2**24 - value) <= 2**-25


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full((2, 3), 3), r"0\.\.2"),
        (np.full((2, 3), -1), r"0\.\.2"),
        (np.zeros((3, 3), int), "shape"),
        (np.zeros((2, 3)), "integer"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, words):
    with pytest.raises(ArgumentError, match=words):
        region_adjacency(labels, 2, np.zeros((1, 2, 3), np.float32), [(0, 1)])
