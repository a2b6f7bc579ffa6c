from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import ArgumentError, GroupingError
from rtseg.instances import upsample_labels
from rtseg.instances.upsampling import upsample_and_measure
from rtseg.ops import region_statistics, upsample_argmax


def _shares(labels: np.ndarray, guide: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n + 1, H, W): how much of each pixel is each label, by OpenCV's bilinear filter over the pixels of its kind."""
    kinds, winners = upsample_argmax(guide, labels.shape), upsample_argmax(guide, size)

    def enlarged(mask: np.ndarray) -> np.ndarray:
        return cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR).reshape(size)

    shares = np.zeros((int(labels.max()) + 1, *size), np.float32)
    for name in range(1, len(shares)):
        for kind in range(1, len(guide)):
            share = enlarged((labels == name) & (kinds == kind))
            shares[name][winners == kind] = share[winners == kind]
        shares[name][_around(labels == name, size).all(axis=0)] = 1.0
    return shares


def _around(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(4, H, W): the four map pixels around each image pixel."""
    low, high = [], []
    for source, target in zip(mask.shape, size, strict=True):
        position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
        low.append(np.floor(position).astype(int))
        high.append(np.minimum(low[-1] + 1, source - 1))
    return np.stack([mask[np.ix_(y, x)] for y in (low[0], high[0]) for x in (low[1], high[1])])


@settings(max_examples=30)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 50), st.integers(1, 200)),
)
def test_it_equals_the_reference(seed: int, shape: tuple[int, int], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    kinds = int(rng.integers(2, 5))
    guide = rng.normal(size=(kinds, *shape)).astype(np.float32)
    if rng.random() < 0.5:  # smooth, as networks' maps are
        guide = np.stack([cv2.blur(m, (3, 3)) for m in guide])
    winners = guide.argmax(axis=0)
    labels = np.where(winners > 0, rng.integers(0, 4, shape), 0).astype(np.int32)
    got = upsample_labels(labels, guide, size)
    assert got.shape == size
    assert got.dtype == np.int32
    again, measured = upsample_and_measure(labels, guide, size, 3)
    np.testing.assert_array_equal(again, got)
    truth = region_statistics(got, 3)
    for name in ("areas", "boxes", "centers"):
        np.testing.assert_array_equal(getattr(measured, name), getattr(truth, name), err_msg=name)
        assert getattr(measured, name).dtype == getattr(truth, name).dtype
    if shape == size:
        np.testing.assert_array_equal(got, labels)
        return
    shares = _shares(labels, guide, size)
    taken = np.take_along_axis(shares, got[None], axis=0)[0]
    best = shares.max(axis=0)
    # Which of two labels that weigh the same to rounding it is, does not matter; a share of nothing is nothing.
    np.testing.assert_allclose(np.where(got > 0, taken, 0.0), best, atol=1e-5)


def test_outlines_follow_the_guide_and_not_the_map_pixels() -> None:
    y, x = np.mgrid[:40, :40].astype(np.float32)
    margin = 12.0 - np.hypot(y - 20, x - 20)
    guide = np.stack([np.zeros_like(margin), margin])
    labels = (margin > 0).astype(np.int32)
    y, x = (np.mgrid[:320, :320] + 0.5) / 8 - 0.5
    disc = np.hypot(y - 20, x - 20) < 12.0
    smooth = upsample_labels(labels, guide, (320, 320)) > 0
    nearest = np.kron(labels, np.ones((8, 8), np.int32)) > 0
    assert (smooth ^ disc).sum() < 0.25 * (nearest ^ disc).sum()


def test_labels_that_touch_are_parted_in_the_middle_and_none_is_invented() -> None:
    labels = np.zeros((4, 8), np.int32)
    labels[:, :4], labels[:, 4:] = 7, 9
    guide = np.stack([np.zeros((4, 8)), np.ones((4, 8))]).astype(np.float32)
    got = upsample_labels(labels, guide, (32, 64))
    np.testing.assert_array_equal(got, np.kron(labels, np.ones((8, 8), np.int32)))


def test_nothing_stays_nothing_and_misfits_are_refused() -> None:
    guide = np.stack([np.zeros((3, 5)), np.ones((3, 5))]).astype(np.float32)
    assert not upsample_labels(np.zeros((3, 5), np.int32), guide, (30, 50)).any()
    with pytest.raises(ArgumentError, match="size"):
        upsample_labels(np.zeros((3, 4), np.int32), guide, (30, 50))
    with pytest.raises(GroupingError, match="finite"):
        upsample_labels(np.zeros((3, 5), np.int32), guide * np.nan, (30, 50))
