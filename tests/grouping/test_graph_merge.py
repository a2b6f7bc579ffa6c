"""Graph merge against its section of the paper written out with dictionaries."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping import GMIS_OFFSETS, GraphMergeSettings, graph_merge
from rtseg.grouping.graph_merge import GMIS_DISTANCES, partition
from rtseg.ops.affinities import LARGEST
from tests.grouping.affinity_reference import contract_greedily

SETTINGS = GraphMergeSettings(super_classes=((1, 2), (3,)), min_pixels=2, cell=4)


def reference(affinity, semantic, settings):
    """Labels and confidences for windows, stages and refinement; parts are taken from `partition`, tested by itself."""
    _, height, width = affinity.shape
    parts, groups = partition(semantic, settings)
    m = settings.window
    things = sorted(c for group in settings.super_classes for c in group)
    block_of, wins = {}, {}
    for y, x in np.ndindex(height, width):
        if parts[y, x]:
            wins.setdefault((y // m, x // m), []).append(int(parts[y, x]))
    for y, x in np.ndindex(height, width):
        inside = wins.get((y // m, x // m), [])
        if inside and parts[y, x] == max(inside, key=inside.count):
            block_of[y, x] = (y // m) * -(-width // m) + x // m
    edges = []
    for k, (dy, dx) in enumerate(GMIS_OFFSETS):
        if (dy, dx) < (0, 0):
            continue
        opposite = GMIS_OFFSETS.index((-dy, -dx))
        for y, x in block_of:
            q = (y + dy, x + dx)
            if q not in block_of or parts[q] != parts[y, x]:
                continue
            value = np.float32(0.5) * (affinity[k, y, x] + affinity[opposite][q])
            if settings.refine:
                agreement = sum(float(semantic[c, y, x]) * float(semantic[c][q]) for c in things)
                agreement *= groups[y, x] == groups[q]
                value *= 2 / (1 + np.exp(-settings.alpha * agreement)) - 1
            edges.append((max(abs(dy), abs(dx)), block_of[y, x], block_of[q], float(value)))
    into, distances = {}, set()

    def root(b):
        while b in into:
            b = into[b]
        return b

    for stage, threshold in settings.stages:
        distances |= set(stage)
        graph = {}
        for distance, a, b, value in edges:
            a, b = sorted((root(a), root(b)))
            if distance in distances and a != b:
                total, count = graph.get((a, b), (0, 0))
                graph[a, b] = (total + value, count + 1)
        into |= contract_greedily(graph, threshold)
    labels, seen = np.zeros((height, width), np.int32), {}
    sizes = {}
    for at in block_of:
        sizes[root(block_of[at])] = sizes.get(root(block_of[at]), 0) + 1
    for at in np.ndindex(height, width):
        if at in block_of and sizes[root(block_of[at])] >= settings.min_pixels:
            labels[at] = seen.setdefault(root(block_of[at]), len(seen) + 1)
    scores = []
    for kept in seen:
        inner = [value for distance, a, b, value in edges if distance in distances and root(a) == root(b) == kept]
        scores.append(np.mean(inner) if inner else 0.0)
    return labels, scores


def maps(rng, size):
    affinity = rng.random((56, *size)).astype(np.float32) ** 0.3
    semantic = rng.random((4, *size)).astype(np.float32) ** 3
    return affinity, semantic / semantic.sum(axis=0)


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("refine", [True, False])
@pytest.mark.parametrize(
    "switches", [{}, {"partition": False}, {"areas": False}, {"partition": False, "exclude_background": False}]
)
def test_equals_the_paper_written_out(window, refine, switches):
    rng = np.random.default_rng(window)
    stages = (((1, 2, 4), 0.9 if not refine else 0.6), ((8, 16), 0.5), ((32,), 0.3))
    settings = SETTINGS.replaced(window=window, refine=refine, stages=stages, **switches)
    for _ in range(3):
        affinity, semantic = maps(rng, tuple(rng.integers(3, 14, 2)))
        labels, scores = reference(affinity, semantic, settings)
        found = graph_merge(affinity, semantic, settings)
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_allclose(found.scores, scores, atol=2e-6)


def test_equals_the_paper_written_out_where_blocks_lie_in_several_tiles():
    affinity, semantic = maps(np.random.default_rng(1), (38, 39))
    semantic[0, :26] = semantic[0, :, :26] = 9  # background, but where four tiles meet
    semantic /= semantic.sum(axis=0)
    settings = SETTINGS.replaced(window=1, refine=False, stages=(((1,), 0.9), ((2,), 0.8)), areas=False)
    labels, scores = reference(affinity, semantic, settings)
    found = graph_merge(affinity, semantic, settings)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.scores, scores, atol=2e-6)


def test_offsets_are_the_papers_neighborhood():
    expected = {(d * a, d * b) for d in GMIS_DISTANCES for a in (-1, 0, 1) for b in (-1, 0, 1)} - {(0, 0)}
    assert set(GMIS_OFFSETS) == expected
    assert len(GMIS_OFFSETS) == 56


def test_long_edges_join_what_a_pole_cuts():
    labels = np.ones((40, 60), np.int32)
    labels[:, 28:32] = 0
    semantic = np.stack([labels == 0, labels == 1]).astype(np.float32)
    affinity = np.zeros((56, 40, 60), np.float32)
    for k, (dy, dx) in enumerate(GMIS_OFFSETS):
        for y, x in np.ndindex(40, 60):
            if 0 <= y + dy < 40 and 0 <= x + dx < 60:
                affinity[k, y, x] = 0.99 if labels[y, x] == labels[y + dy, x + dx] else 0.01
    settings = GraphMergeSettings(super_classes=((1,),), refine=False)
    assert graph_merge(affinity, semantic, settings).labels.max() == 1
    short = settings.replaced(stages=(((1, 2), 0.97),))
    found = graph_merge(affinity, semantic, short)
    assert found.labels.max() == 2
    assert found.class_ids.tolist() == [1, 1]
    np.testing.assert_allclose(found.scores, 0.99, atol=1e-6)


def test_partition_separates_classes_and_areas():
    semantic = np.zeros((4, 8, 24), np.float32)
    semantic[0] = 1
    for c, columns in ((1, slice(0, 3)), (2, slice(3, 4)), (3, slice(4, 6)), (1, slice(20, 24))):
        semantic[:, :, columns] = 0
        semantic[c, :, columns] = 1
    parts, groups = partition(semantic, SETTINGS)
    assert [len(set(row)) for row in parts] == [4] * 8  # background, two areas of the first group, one of the second
    assert groups[0, [0, 3, 4, 10, 21]].tolist() == [1, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("affinity", "semantic"),
    [
        (np.zeros((55, 4, 4), np.float32), np.zeros((4, 4, 4), np.float32)),
        (np.zeros((56, 4, 4), np.float32), np.zeros((4, 4, 5), np.float32)),
        (np.zeros((56, 4, 4), np.float32), np.zeros((3, 4, 4), np.float32)),
        (np.zeros((56, 0, 4), np.float32), np.zeros((4, 0, 4), np.float32)),
    ],
)
def test_maps_that_do_not_fit_are_refused(affinity, semantic):
    with pytest.raises(ArgumentError):
        graph_merge(affinity, semantic, SETTINGS)


@pytest.mark.parametrize(("affinity", "semantic"), [(np.nan, 0), (2, 0), (0, np.nan)])
def test_maps_that_no_sound_network_gives_are_refused(affinity, semantic):
    with pytest.raises(GroupingError):
        graph_merge(np.full((56, 4, 4), affinity, np.float32), np.full((4, 4, 4), semantic, np.float32), SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"super_classes": ((0, 1),)},
        {"super_classes": ((1,), (1,))},
        {"super_classes": ()},
        {"stages": (((3,), 0.5),)},
        {"stages": (((1,), 1.5),)},
        {"window": 0},
        {"alpha": float("nan")},
        {"exclude_background": False},
    ],
)
def test_settings_that_do_not_fit_are_refused(change):
    with pytest.raises(ArgumentError):
        SETTINGS.replaced(**change)


@pytest.mark.parametrize("window", [1, 2])
def test_what_is_certain_is_joined_whatever_else_is_said(window: int) -> None:
    """One certain edge between two halves that every other edge parts; none certain changes nothing."""
    affinity = np.ones((56, 8, 16), np.float32)
    semantic = np.stack([np.zeros((8, 16)), np.ones((8, 16))]).astype(np.float32)
    for k, (_, dx) in enumerate(GMIS_OFFSETS):
        for x in range(16):
            if (x < 8) != (x + dx < 8):
                affinity[k, :, x] = 0.0
    settings = {"super_classes": ((1,),), "window": window, "areas": False, "refine": False, "min_pixels": 1}
    apart = graph_merge(affinity, semantic, GraphMergeSettings(**settings))
    same = graph_merge(affinity, semantic, GraphMergeSettings(**settings, certain=1.0))
    np.testing.assert_array_equal(same.labels, apart.labels)
    assert len(apart) == 2
    for there, back in (((0, 1), 7), ((0, -1), 8)):
        affinity[GMIS_OFFSETS.index(there), :4, back] = 1.0
    joined = graph_merge(affinity, semantic, GraphMergeSettings(**settings, certain=0.95))
    assert len(graph_merge(affinity, semantic, GraphMergeSettings(**settings))) == 2
    assert len(joined) == 1


def test_zeros_may_be_negative_and_sigmoids_rounded_over_one():
    affinity, semantic = maps(np.random.default_rng(3), (9, 8))
    affinity[:, 2:4], affinity[:, 5] = 0.0, 1.0
    labels = graph_merge(affinity, semantic, SETTINGS).labels
    affinity[:, 2:4] = -0.0
    np.testing.assert_array_equal(graph_merge(affinity, semantic, SETTINGS).labels, labels)
    affinity[:, 5] = LARGEST
    graph_merge(affinity, semantic, SETTINGS)
    affinity[55, 8, 7] = np.nextafter(LARGEST, np.float32(2))
    with pytest.raises(GroupingError, match="affinities in"):
        graph_merge(affinity, semantic, SETTINGS)
