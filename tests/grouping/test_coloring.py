"""Colors to instances: components, rejoined by their predicted centers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping import color_components
from rtseg.ops import label_components


def reference(ids, centers, distance, min_area):
    components, count = label_components(ids)
    means = [centers[:, components == i + 1].mean(axis=1) for i in range(count)]
    group = list(range(count))
    for i in range(count):
        for j in range(i):
            if np.hypot(*(means[i] - means[j])) <= distance:
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    labels = np.zeros(ids.shape, np.int32)
    seen = {}
    for at, component in np.ndenumerate(components):
        if component:
            area = sum(int((components == i + 1).sum()) for i in range(count) if group[i] == group[component - 1])
            if area >= min_area:
                labels[at] = seen.setdefault(group[component - 1], len(seen) + 1)
    return labels


@given(st.integers(0, 2**32 - 1))
def test_equals_the_reference(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 10, 2))
    ids = rng.integers(0, 4, size).astype(np.int32)
    centers = rng.random((2, *size)) * 100
    labels = color_components(ids, centers, 15.0, min_area=2)
    np.testing.assert_array_equal(labels, reference(ids, centers.astype(np.float32), 15.0, 2))


def test_without_centers_it_is_connected_components():
    ids = np.random.default_rng(0).integers(0, 3, (30, 40)).astype(np.uint8)
    np.testing.assert_array_equal(color_components(ids), label_components(ids)[0])


def test_halves_behind_a_pole_are_one():
    ids = np.ones((10, 21), np.uint8)
    ids[:, 10] = 0
    centers = np.broadcast_to(np.array([10.0, 5.0])[:, None, None], (2, 10, 21))
    assert color_components(ids).max() == 2
    assert color_components(ids, centers).max() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"centers": np.zeros((2, 3, 4))},
        {"merge_distance": float("nan")},
        {"min_area": -1},
        {"ids": np.ones((3, 3))},
    ],
)
def test_bad_input_is_refused(arguments):
    with pytest.raises(ArgumentError):
        color_components(**{"ids": np.ones((3, 3), np.uint8), **arguments})


def test_centers_that_are_not_finite_are_refused():
    with pytest.raises(GroupingError, match="finite centers"):
        color_components(np.ones((3, 3), np.uint8), np.full((2, 3, 3), np.nan))
