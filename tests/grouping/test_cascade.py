"""PA-GAEC, greedy association and the cascade against their algorithms written out, and against each other."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping import CascadeLevel, cascade_gaec, gaec, pa_gaec, segment_affinity
from rtseg.grouping.association import follow_strongest
from rtseg.grouping.cascade import FOUR_NEIGHBORS, foreground, reopen
from rtseg.ops.affinities import quantize_affinity, quantize_threshold

seeds = st.integers(0, 2**32 - 1)


def nearness(a, b, beta):
    factor = 1.0
    for lo, hi in ((0, 2), (1, 3)):
        size = max(a[hi] - a[lo], b[hi] - b[lo])
        apart = abs((a[lo] + a[hi]) / 2 - (b[lo] + b[hi]) / 2)
        factor *= min(1.0, 0.5 * size / apart) ** beta if apart else 1.0
    return factor


def pa_gaec_by_dictionary(affinity, boxes, threshold, beta):
    a = {(i, j): affinity[i, j] for i in range(len(boxes)) for j in range(i + 1, len(boxes))}
    box = {i: tuple(b) for i, b in enumerate(boxes)}
    into = {}
    while a:
        (u, v), best = min(
            ((pair, a[pair] * nearness(box[pair[0]], box[pair[1]], beta)) for pair in a),
            key=lambda item: (-item[1], item[0]),
        )
        if best < threshold:
            break
        into[v] = u
        p, q = box[u], box.pop(v)
        box[u] = (min(p[0], q[0]), min(p[1], q[1]), max(p[2], q[2]), max(p[3], q[3]))
        del a[u, v]
        for k in box:
            if k != u:
                a[min(u, k), max(u, k)] = (a[min(u, k), max(u, k)] + a.pop((min(v, k), max(v, k)))) * 0.5
    seen = {}
    groups = []
    for i in range(len(boxes)):
        while i in into:
            i = into[i]
        groups.append(seen.setdefault(i, len(seen) + 1))
    return groups


@given(seeds)
def test_pa_gaec_equals_the_dictionary(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 12))
    affinity = rng.integers(0, 9, (n, n)) / 8
    affinity = np.maximum(affinity, affinity.T)
    corner = rng.integers(0, 20, (n, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 16, (n, 2))])
    beta = float(rng.choice([0.0, 1.0]))  # powers of the reference are then exact
    assert pa_gaec(affinity, boxes, 0.4, beta).tolist() == pa_gaec_by_dictionary(affinity, boxes, 0.4, beta)


def test_far_segments_stay_apart():
    affinity = np.full((2, 2), 0.9)
    assert pa_gaec(affinity, [[0, 0, 10, 10], [12, 0, 22, 10]]).tolist() == [1, 1]
    assert pa_gaec(affinity, [[0, 0, 10, 10], [90, 0, 100, 10]]).tolist() == [1, 2]
    assert pa_gaec(affinity, [[0, 0, 10, 10], [90, 0, 100, 10]], beta=0.0).tolist() == [1, 1]


def test_segment_affinity_is_phi_times_agreement():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    p = np.array([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7]])
    affinity = segment_affinity(x, p)
    assert affinity[0, 1] == pytest.approx(0.5)  # squared distance 1, the same classes
    mixed, shannon = (p[0] + p[2]) / 2, lambda q: -(q * np.log2(q)).sum()
    assert affinity[0, 2] == pytest.approx(1 - (shannon(mixed) - (shannon(p[0]) + shannon(p[2])) / 2))
    opposite = segment_affinity(np.zeros((2, 1)), np.eye(2))
    assert opposite[0, 1] == pytest.approx(0.0)


def association_by_loops(labels, affinity, threshold):
    labels = labels.copy()
    limit = np.rint(np.float32(threshold) * 2**24)
    order = list(np.ndindex(labels.shape))
    while True:
        before = labels.copy()
        for y, x in order:
            if labels[y, x]:
                continue
            found = (limit - 1, 0)
            for k, (dy, dx) in enumerate(((0, 1), (1, 0))):
                for sign in (1, -1):
                    q = (y + sign * dy, x + sign * dx)
                    if 0 <= q[0] < labels.shape[0] and 0 <= q[1] < labels.shape[1] and labels[q]:
                        weight = np.rint(affinity[k][(y, x) if sign > 0 else q] * np.float32(2**24))
                        if weight > found[0]:
                            found = (weight, labels[q])
            labels[y, x] = found[1]
        if (before == labels).all():
            return labels
        order.reverse()


@given(seeds)
def test_association_equals_loops(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 9, 2))
    labels = (rng.integers(1, 5, size) * (rng.random(size) < 0.2)).astype(np.int32)
    affinity = (rng.integers(0, 5, (2, *size)) / 4).astype(np.float32)
    expected = association_by_loops(labels, affinity, 0.5)
    weights, steps = quantize_affinity(affinity, ((0, 1), (1, 0)))
    follow_strongest(labels, weights, steps, np.ones(size, np.bool_), quantize_threshold(0.5))
    np.testing.assert_array_equal(labels, expected)


@given(seeds)
def test_reopened_pixels_are_those_beside_another_label(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, tuple(rng.integers(1, 6, 2))).astype(np.int32)
    factor = int(rng.integers(1, 4))
    whole = np.kron(labels, np.ones((factor, factor), np.int32))
    inside = rng.random(whole.shape) < 0.9
    padded = np.pad(whole, 1, mode="edge")
    same = np.ones(whole.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        same &= padded[dy : dy + whole.shape[0], dx : dx + whole.shape[1]] == whole
    np.testing.assert_array_equal(reopen(labels, factor, inside), np.where(same & inside, whole, 0))


@given(seeds)
def test_foreground_is_the_best_class(seed):
    rng = np.random.default_rng(seed)
    semantic = rng.integers(0, 4, (5, *rng.integers(1, 8, 2))).astype(np.float32)
    background = rng.random(5) < 0.5
    np.testing.assert_array_equal(foreground(semantic, background), ~background[semantic.argmax(axis=0)])


def pyramid(labels, classes, strides=(8, 4, 2), spread=6.0, seed=0):
    """Maps that know the truth, with a little noise: labels (H, W), classes (n + 1,) of each label."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(labels.max() + 1, 4)) * spread
    levels = []
    for stride in strides:
        coarse = labels[stride // 2 :: stride, stride // 2 :: stride]
        padded = np.pad(coarse, 1, constant_values=-1)
        affinity = []
        for dy, dx in FOUR_NEIGHBORS:
            other = padded[1 + dy : 1 + dy + coarse.shape[0], 1 + dx : 1 + dx + coarse.shape[1]]
            affinity.append(np.where(other == coarse, 0.95, 0.05) + rng.uniform(-0.04, 0.04, coarse.shape))
        semantic = np.eye(max(classes) + 1)[np.asarray(classes)[coarse]].transpose(2, 0, 1) * 0.8 + 0.05
        embedding = codes[coarse].transpose(2, 0, 1) + rng.normal(size=(4, *coarse.shape)) * 0.05
        a, s, e = (np.asarray(maps, np.float32) for maps in (affinity, semantic, embedding))
        levels.append(CascadeLevel(a, s, e, stride))
    return levels


@pytest.fixture
def street():
    labels = np.zeros((64, 128), np.int32)
    labels[20:60, 10:60] = 1  # a car that a pole cuts in two
    labels[8:60, 28:44] = 0
    labels[24:56, 70:90] = 2
    labels[24:56, 90:110] = 3  # touches 2
    labels[4:10, 112:118] = 4  # too small for the coarse levels
    return labels, [0, 1, 1, 2, 2]


@pytest.mark.parametrize("background", ["exclude", "reopen"])
def test_cascade_finds_what_is_there(street, background):
    labels, classes = street
    found = cascade_gaec(pyramid(labels, classes), background, min_pixels=3, min_area=16)
    truth = labels[1::2, 1::2]
    assert len(found) == 4
    pairs = {(int(a), int(b)) for a, b in zip(found.labels[truth > 0], truth[truth > 0], strict=True)}
    assert len(pairs) == 4
    assert (found.labels[truth == 0] == 0).all()
    for mine, its in pairs:
        assert found.class_ids[mine - 1] == classes[its]
    assert ((found.scores > 0.5) & (found.scores <= 1)).all()


def test_halves_stay_apart_without_embeddings(street):
    labels, classes = street
    levels = [dataclasses.replace(level, embedding=None) for level in pyramid(labels, classes)]
    assert len(cascade_gaec(levels, "exclude", min_pixels=3, min_area=16)) == 5


def test_a_coarser_embedding_joins_as_the_same_one_repeated(street):
    labels, classes = street
    levels = pyramid(labels, classes, (8, 4, 2))
    coarse = levels[1].embedding
    shared = dataclasses.replace(levels[2], embedding=coarse, embedding_stride=4)
    repeated = dataclasses.replace(levels[2], embedding=coarse.repeat(2, 1).repeat(2, 2))
    found, expected = (
        cascade_gaec([levels[0], levels[1], last], "exclude", min_pixels=3, min_area=16) for last in (shared, repeated)
    )
    assert len(found) == 4
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_association_at_the_last_level_follows_the_coarse_labels(street):
    labels, classes = street
    found = cascade_gaec(pyramid(labels, classes), "exclude", min_pixels=3, min_area=16, final="association")
    assert len(found) == 3  # what no coarse level has seen is background
    assert (found.labels[labels[1::2, 1::2] == 4] == 0).all()


def test_one_level_without_background_is_gaec(street):
    labels, classes = street
    level = dataclasses.replace(pyramid(labels, classes, (2,))[0], embedding=None)
    only_things = dataclasses.replace(level, semantic=np.ones_like(level.semantic) * [[[0.0]], [[0.6]], [[0.4]]])
    found = cascade_gaec([only_things], "exclude", min_pixels=1, min_area=0)
    np.testing.assert_array_equal(found.labels, gaec(level.affinity, FOUR_NEIGHBORS))


def test_nothing_there():
    found = cascade_gaec(pyramid(np.zeros((32, 32), np.int32), [0, 1], (8, 4)), "exclude")
    assert len(found) == 0
    assert not found.labels.any()
    assert found.class_ids.shape == found.scores.shape == (0,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"affinity": np.zeros((3, 8, 16), np.float32)}, "2 or 4"),
        ({"semantic": np.zeros((3, 8, 15), np.float32)}, "semantic"),
        ({"stride": 3}, "strides"),
        ({"stride": 16}, "strides"),
        ({"stride": 0}, "stride"),
        ({"embedding_stride": 4}, "embedding stride"),
        ({"embedding_stride": 12}, "embedding stride"),
        ({"embedding_stride": 16}, "embedding maps"),
    ],
)
def test_levels_that_do_not_fit_are_refused(street, change, words):
    levels = pyramid(*street)
    levels[0] = dataclasses.replace(levels[0], **change)
    with pytest.raises(ArgumentError, match=words):
        cascade_gaec(levels, "exclude")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"affinity": np.full((4, 8, 16), np.nan, np.float32)}, "NaN"),
        ({"semantic": np.full((3, 8, 16), -1, np.float32)}, "semantic"),
        ({"embedding": np.full((4, 8, 16), np.inf, np.float32)}, "embedding"),
    ],
)
def test_maps_that_no_sound_network_gives_are_refused(street, change, words):
    levels = pyramid(*street)
    levels[0] = dataclasses.replace(levels[0], **change)
    with pytest.raises(GroupingError, match=words):
        cascade_gaec(levels, "exclude")


@pytest.mark.parametrize(
    "arguments",
    [
        {"background": "maybe"},
        {"final": "gas"},
        {"background_classes": (0, 1, 2)},
        {"background_classes": (3,)},
        {"min_pixels": 0},
        {"threshold": math.nan},
    ],
)
def test_parameters_that_do_not_fit_are_refused(street, arguments):
    with pytest.raises(ArgumentError):
        cascade_gaec(pyramid(*street), **{"background": "exclude", **arguments})
    with pytest.raises(ArgumentError):
        cascade_gaec([], "exclude")
