"""Means over instances: near the true ones, and the same to the last bit on CPUs of every make."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg.grouping.grouped import channel_means, repeated_channel_means


def run_sum(run: NDArray[np.float32]) -> np.float32:
    """In the order that channel_means promises: every eighth pixel, the eight, then what is left over."""
    whole = len(run) - len(run) % 8
    a = np.add.accumulate(np.vstack([np.zeros(8, np.float32), run[:whole].reshape(-1, 8)]), axis=0)[-1]
    total = ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    for value in run[whole:]:
        total += value
    return np.float32(total)


@given(
    runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 70)), max_size=30),
    channels=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_means_are_those_of_sums_in_one_order(runs: list[tuple[int, int]], channels: int, seed: int) -> None:
    labels = np.array([label for label, length in runs for _ in range(length)], dtype=np.int32)
    maps = np.random.default_rng(seed).normal(size=(channels, len(labels))).astype(np.float32)
    means, sizes = channel_means(labels, 3, maps)
    sums, at = np.zeros((3, channels)), 0
    for label, pixels in groupby(labels.tolist()):
        after = at + len(list(pixels))
        if label:
            sums[label - 1] += [run_sum(channel[at:after]) for channel in maps]
        at = after
    assert sizes.tolist() == [np.count_nonzero(labels == label) for label in (1, 2, 3)]
    assert np.array_equal(means, sums / np.maximum(sizes, 1)[:, None])
    for label in (1, 2, 3):
        if sizes[label - 1]:
            assert means[label - 1] == pytest.approx(maps[:, labels == label].mean(1, np.float64), abs=1e-5)


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 20),
    factor=st.integers(1, 4),
    most=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_means_of_coarse_maps_are_those_of_the_maps_repeated(
    height: int, width: int, factor: int, most: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grain = int(rng.integers(1, 6))
    labels = np.kron(rng.integers(0, most + 1, (height, width)), np.ones((grain, grain), int))[:height, :width]
    labels = labels.astype(np.int32)
    coarse = rng.normal(size=(2, -(-height // factor), -(-width // factor))).astype(np.float32)
    means, sizes = repeated_channel_means(labels, 3, coarse, factor)
    whole = np.ascontiguousarray(coarse.repeat(factor, 1).repeat(factor, 2)[:, :height, :width])
    expected, counts = channel_means(labels.reshape(-1), 3, whole.reshape(2, -1))
    assert sizes.tolist() == counts.tolist()
    assert means == pytest.approx(expected, abs=1e-5)
