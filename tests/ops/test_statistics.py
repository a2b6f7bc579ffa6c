from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.ops import region_means, region_statistics

images = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=20).flatmap(
    lambda shape: hnp.arrays(np.int32, shape, elements=st.integers(0, 5))
)


@given(images)
def test_statistics_equal_their_definition(labels: NDArray[np.int32]) -> None:
    found = region_statistics(labels, 6)
    for i in range(6):
        ys, xs = np.nonzero(labels == i + 1)
        assert found.areas[i] == len(ys)
        if len(ys):
            assert found.boxes[i].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_allclose(found.centers[i], [xs.mean(), ys.mean()])
        else:
            assert not found.boxes[i].any()
            assert np.isnan(found.centers[i]).all()


@given(images, st.integers(1, 3))
def test_means_equal_their_definition(labels: NDArray[np.int32], channels: int) -> None:
    maps = np.random.default_rng(labels.size).normal(size=(channels, *labels.shape)).astype(np.float32)
    found = region_means(labels, 6, maps)
    assert found.shape == (6, channels)
    for i in range(6):
        inside = maps[:, labels == i + 1]
        expected = inside.mean(axis=1) if inside.size else np.full(channels, np.nan)
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-5)


def test_takes_other_types_and_layouts() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (30, 40))
    expected = region_statistics(labels.astype(np.int32), 3)
    for other in (
        labels.astype(np.uint8),
        labels.astype(np.uint16),
        np.asfortranarray(labels),
        labels.astype(np.uint64),
    ):
        np.testing.assert_array_equal(region_statistics(other, 3).boxes, expected.boxes)
    maps = np.random.default_rng(1).normal(size=(40, 2, 30)).transpose(1, 2, 0)
    np.testing.assert_allclose(region_means(labels, 3, maps), region_means(labels, 3, maps.copy()))


def test_no_regions() -> None:
    found = region_statistics(np.zeros((3, 4), np.int32), 0)
    assert found.areas.shape == (0,)
    assert found.boxes.shape == (0, 4)
    assert found.centers.shape == (0, 2)


@pytest.mark.parametrize("label", [-1, 3, 2**32 + 1])
def test_refuses_labels_outside_the_count(label: int) -> None:
    labels = np.array([[0, label]])
    with pytest.raises(ArgumentError, match="0 to 2"):
        region_statistics(labels, 2)
    with pytest.raises(ArgumentError, match="0 to 2"):
        region_means(labels, 2, np.zeros((1, 1, 2), np.float32))


def test_refuses_maps_of_another_size() -> None:
    with pytest.raises(ArgumentError, match=r"\(C, 2, 3\)"):
        region_means(np.zeros((2, 3), np.int32), 1, np.zeros((1, 3, 2), np.float32))
    with pytest.raises(ArgumentError, match="integer"):
        region_statistics(np.zeros((2, 3)), 1)
