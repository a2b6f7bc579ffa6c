"""GAEC against a few lines of dictionaries, on graphs made to tie."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping import gaec
from rtseg.grouping.contraction import contract_in_order
from rtseg.grouping.tiles import name_pixels, pixel_edges
from rtseg.lab.data.affinity_scenes import GRID_OFFSETS, NOISE_LEVELS, Corruption, label_affinities, street_scene
from rtseg.ops.affinities import forward_weights, quantize_threshold
from rtseg.ops.union_find import number_roots
from tests.grouping.affinity_reference import gaec as reference_gaec
from tests.ops.test_components import spiral

module = import_module("rtseg.grouping.gaec")
EIGHT = ((0, 1), (1, 0), (1, 1), (1, -1), (0, -1), (-1, 0))


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 2 and blocks of 4 pixels, so that images a reference can do have many of each."""
    monkeypatch.setattr(module, "_TILE", 2)
    monkeypatch.setattr(module, "_BLOCK", 4)


def in_order(affinity, threshold=0.5):
    """The pixels' whole graph contracted through one queue, in the greedy order."""
    weights, steps, numbers = forward_weights(affinity, GRID_OFFSETS)
    mask = np.ones(affinity.shape[1:], bool)
    first, second, means = pixel_edges(weights, numbers, steps, mask)
    names = np.arange(mask.size, dtype=np.int32)
    parent, names, *_ = contract_in_order(
        names, np.full(mask.size, -1.0), first, second, means, np.ones(first.size, np.int32),
        float(quantize_threshold(threshold)), False, names.copy(),
    )  # fmt: skip
    root = np.empty_like(names)
    name_pixels(parent, names, root)
    return number_roots(root, mask)[0]


def random_case(rng, most=7, offsets=GRID_OFFSETS):
    size = tuple(rng.integers(1, most + 1, 2))
    levels = int(rng.choice([1, 2, 4, 16]))  # few levels: nearly every choice is a tie
    affinity = (rng.integers(0, levels + 1, (len(offsets), *size)) / levels).astype(np.float32)
    return affinity, float(rng.choice([0.25, 0.5, 0.75, 1.0]))


@pytest.mark.slow
@pytest.mark.parametrize("linkage", ["mean", "plain"])
def test_thousands_of_tied_graphs_equal_the_reference(linkage):
    rng = np.random.default_rng(4)
    for _ in range(1500):
        affinity, threshold = random_case(rng)
        expected = reference_gaec(affinity, GRID_OFFSETS, threshold, linkage)
        np.testing.assert_array_equal(gaec(affinity, GRID_OFFSETS, threshold, linkage), expected)


@pytest.mark.parametrize("count", range(1, 7))
def test_any_offsets_and_masks_equal_the_reference(count):
    rng = np.random.default_rng(count)
    for _ in range(60):
        offsets = [EIGHT[i] for i in rng.permutation(6)[:count]]
        affinity, threshold = random_case(rng, 6, offsets)
        mask = rng.random(affinity.shape[1:]) < 0.8
        for linkage in ("mean", "plain"):
            expected = reference_gaec(affinity, offsets, threshold, linkage, mask)
            np.testing.assert_array_equal(gaec(affinity, offsets, threshold, linkage, mask), expected)


@pytest.mark.usefixtures("small_tiles")
def test_tiles_and_threads_leave_no_trace_on_tied_graphs():
    rng = np.random.default_rng(5)
    for i in range(150):
        offsets = GRID_OFFSETS if i % 2 else [(0, 1), (1, -1), (-1, 0), (1, 1)]
        affinity, threshold = random_case(rng, 15, offsets)
        mask = rng.random(affinity.shape[1:]) < 0.9 if i % 3 == 0 else None
        expected = reference_gaec(affinity, offsets, threshold, mask=mask)
        np.testing.assert_array_equal(gaec(affinity, offsets, threshold, mask=mask, threads=1 + i % 3), expected)


@pytest.mark.parametrize("noise", ["low", "high"])
@pytest.mark.parametrize("size", [(129, 257), (300, 530)])
def test_chains_tiles_and_threads_leave_no_trace_on_streets(noise, size, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 128)
    affinity = label_affinities(street_scene(1, size).labels, corruption=NOISE_LEVELS[noise], seed=2)
    np.testing.assert_array_equal(gaec(affinity, GRID_OFFSETS, threads=3), in_order(affinity))


def speckles(rng, width, share):
    """A few regions that each touch many single pixels."""
    labels = np.repeat(np.arange(1, 7), 4)[:, None].repeat(width, 1).astype(np.int32)
    speckled = labels.copy()
    speckled[2::4][rng.random((6, width)) < share] = 0
    affinity = np.zeros((2, *labels.shape), np.float32)
    affinity[0, :, :-1] = np.where(speckled[:, 1:] == speckled[:, :-1], 0.9, 0.3)
    affinity[1, :-1] = np.where(speckled[1:] == speckled[:-1], 0.9, 0.3)
    affinity[affinity > 0] += rng.random(np.count_nonzero(affinity)).astype(np.float32) * 0.1
    return affinity


@pytest.mark.usefixtures("small_tiles")
@given(st.integers(0, 2**32 - 1))
def test_hubs_with_many_shared_neighbors(seed):
    rng = np.random.default_rng(seed)
    affinity = speckles(rng, 60, 0.9)
    parted = gaec(affinity, GRID_OFFSETS, 0.31)
    if seed % 10 == 0:
        np.testing.assert_array_equal(parted, reference_gaec(affinity, GRID_OFFSETS, 0.31))
    np.testing.assert_array_equal(parted, in_order(affinity, 0.31))


@pytest.mark.parametrize("tile", [64, 512])
@pytest.mark.parametrize("threshold", [0.31, 0.4])
def test_regions_of_more_edges_than_chains_take(tile, threshold, monkeypatch):
    monkeypatch.setattr(module, "_TILE", tile)
    affinity = speckles(np.random.default_rng(tile), 1500, 0.5)
    np.testing.assert_array_equal(gaec(affinity, GRID_OFFSETS, threshold), in_order(affinity, threshold))


@pytest.mark.parametrize("rising", [False, True])
def test_long_chains(rising):
    """Affinities that rise or fall all along a spiral: one chain as long as the path."""
    path = spiral(150) > 0
    affinity = np.full((2, *path.shape), 0.1, np.float32)
    order = np.cumsum(path.reshape(-1)).reshape(path.shape) / path.sum()
    strength = 0.5 + 0.5 * (order if rising else 1 - order)
    affinity[0, :, :-1][path[:, 1:] & path[:, :-1]] = strength[:, :-1][path[:, 1:] & path[:, :-1]]
    affinity[1, :-1][path[1:] & path[:-1]] = strength[:-1][path[1:] & path[:-1]]
    labels = gaec(affinity, GRID_OFFSETS)
    np.testing.assert_array_equal(labels, in_order(affinity))
    assert len(np.unique(labels[path])) < path.sum()


def test_clean_affinities_give_back_the_labels():
    scene = street_scene(7, (120, 200))
    labels = gaec(label_affinities(scene.labels, corruption=Corruption()), GRID_OFFSETS)
    pairs = {(int(a), int(b)) for a, b in zip(labels.flat, scene.labels.flat, strict=True)}
    assert len(pairs) == labels.max()  # every label lies in one region: regions only split where they are disjoint


def test_labels_are_consecutive_in_raster_order_and_zero_outside_the_mask():
    rng = np.random.default_rng(0)
    mask = rng.random((40, 50)) < 0.7
    labels = gaec(rng.random((2, 40, 50)).astype(np.float32), GRID_OFFSETS, mask=mask)
    assert labels.dtype == np.int32
    assert np.array_equal(labels == 0, ~mask)
    values, first = np.unique(labels[labels > 0], return_index=True)
    np.testing.assert_array_equal(values, np.arange(1, labels.max() + 1))
    assert (np.diff(first) > 0).all()


def test_extremes():
    one = np.zeros((2, 1, 1), np.float32)
    assert gaec(one, GRID_OFFSETS).tolist() == [[1]]
    assert gaec(one, GRID_OFFSETS, mask=np.zeros((1, 1), bool)).tolist() == [[0]]
    assert gaec(np.ones((2, 70, 70), np.float32), GRID_OFFSETS).max() == 1
    assert gaec(np.zeros((2, 70, 70), np.float32), GRID_OFFSETS).max() == 4900
    assert gaec(np.zeros((2, 3, 3), np.float32), GRID_OFFSETS, threshold=0.0).max() == 1
    assert gaec(np.ones((1, 2, 2), np.float64), [(5, 5)]).tolist() == [[1, 2], [3, 4]]
    assert not gaec(np.ones((2, 300, 300), np.float32), GRID_OFFSETS, mask=np.zeros((300, 300), bool)).any()


def test_strided_input_equals_its_copy():
    affinity = np.random.default_rng(1).random((40, 50, 2)).astype(np.float64).transpose(2, 0, 1)
    np.testing.assert_array_equal(gaec(affinity, GRID_OFFSETS), gaec(affinity.copy(), GRID_OFFSETS))


GOOD = np.full((2, 4, 5), 0.5, np.float32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"affinity": GOOD.astype(np.uint8)}, "floats"),
        ({"affinity": GOOD[0]}, r"\(K, H, W\)"),
        ({"affinity": GOOD[:, :0]}, "at least one pixel"),
        ({"offsets": [(0, 1)]}, "one offset a channel"),
        ({"offsets": [(0, 1), (0, 0)]}, r"\(0, 0\)"),
        ({"offsets": [(0, 1), (0, 1)]}, "repeated"),
        ({"offsets": [(0, 1), (0.5, 1)]}, "integers"),
        ({"offsets": [(0, 1, 2), (1, 0, 2)]}, "integers"),
        ({"offsets": "ab"}, "integers"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"linkage": "median"}, "linkage"),
        ({"mask": np.ones((4, 4), bool)}, "mask of shape"),
        ({"mask": np.ones((4, 5))}, "type bool"),
        ({"threads": 0}, "thread"),
        ({"affinity": np.broadcast_to(np.float32(0.5), (2, 1 << 15, 1 << 15))}, "2\\*\\*29"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        gaec(**{"affinity": GOOD, "offsets": GRID_OFFSETS, **arguments})


@pytest.mark.parametrize("affinity", [np.full((2, 4, 5), np.nan, np.float32), GOOD * 3, GOOD - 1])
def test_affinities_that_no_sound_network_gives_are_refused(affinity):
    with pytest.raises(GroupingError, match="NaN or outside"):
        gaec(affinity, GRID_OFFSETS)
