"""Union-find over affinities and merging by mean affinity, against dictionaries and against the CPU's GAEC."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping.affinity_union import affinity_union
from rtseg.grouping.gaec import gaec
from rtseg.lab.data.affinity_scenes import NOISE_LEVELS, label_affinities, street_scene
from rtseg.ops.cuda import status
from rtseg.ops.cuda.affinity import UnionPlan
from rtseg.ops.cuda.merging import AffinityUnionPlan
from rtseg.ops.cuda.status import check_status

GRID = ((0, 1), (1, 0))
OFFSETS = [
    GRID,
    ((0, 1), (1, 0), (1, 1), (1, -1)),
    ((0, -1), (-1, 0), (0, 1)),
    ((0, 1), (3, 0), (-2, 5), (0, -40)),
]
Pixel = tuple[int, int]
SEEDS = st.integers(0, 2**31)


def reference(
    affinity: NDArray[np.float32],
    offsets: Sequence[tuple[int, int]],
    superpixel_threshold: float | None,
    threshold: float | None,
    mask: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Unite pixels, then merge over the first edge again and again; regions are named by their first pixel."""
    height, width = mask.shape
    weights = np.rint(affinity * np.float32(2**24)).astype(int)
    name = {y * width + x: y * width + x for y, x in np.argwhere(mask)}
    edges = []
    for (k, (dy, dx)), y, x in itertools.product(enumerate(offsets), range(height), range(width)):
        qy, qx = y + dy, x + dx
        if 0 <= qy < height and 0 <= qx < width and mask[y, x] and mask[qy, qx]:
            edges.append((weights[k, y, x], y * width + x, qy * width + qx))

    def merge(a: int, b: int) -> None:
        low, high = sorted((a, b))
        name.update({pixel: low for pixel, old in name.items() if old == high})

    if superpixel_threshold is not None:
        for weight, a, b in edges:
            if weight >= np.rint(np.float32(superpixel_threshold) * 2**24) and name[a] != name[b]:
                merge(name[a], name[b])
    while threshold is not None:
        graph: dict[tuple[int, int], list[int]] = {}
        for weight, a, b in edges:
            if name[a] != name[b]:
                graph.setdefault(tuple(sorted((name[a], name[b]))), []).append(weight)  # type: ignore[arg-type]
        means = {pair: sum(values) / len(values) for pair, values in graph.items()}
        pair = max(means, key=lambda pair: (means[pair], pair), default=None)
        if pair is None or means[pair] < np.rint(np.float32(threshold) * 2**24):
            break
        merge(*pair)
    ids = {root: i + 1 for i, root in enumerate(sorted(set(name.values())))}
    labels = np.zeros((height, width), np.int32)
    for pixel, root in name.items():
        labels.flat[pixel] = ids[root]
    return labels


def random_affinity(channels: int, height: int, width: int, seed: int) -> NDArray[np.float32]:
    """Noise, or few values with many ties, or steps along the rows."""
    rng = np.random.default_rng(seed)
    affinity = rng.random((channels, height, width))
    kind = rng.integers(4)
    if kind < 2:
        affinity = np.rint(affinity * (2 + 2 * kind)) / (2 + 2 * kind)
    elif kind == 2:
        affinity = np.sort(affinity, axis=2)[:, :, :: rng.choice([-1, 1])]
    return affinity.astype(np.float32)


def merge(machine: Any, affinity: NDArray[np.float32], mask: Any = None, seed: int = 1, **arguments: Any) -> Any:
    plan = AffinityUnionPlan(affinity.shape, launcher=machine.launcher(seed, 1 + seed % 3), **arguments)
    out = machine.put(np.full(affinity.shape[1:], -5, np.int32))
    plan.run(machine.put(affinity), out, None if mask is None else machine.put(mask))
    return machine.get(out), plan


def _supported(
    affinity: NDArray[np.float32], mask: NDArray[np.bool_], pixel: Pixel, step: Pixel, support: float
) -> bool:
    """Say whether the mean of five edges side by side, of those inside the mask, is at least `support`."""
    weights = []
    for side in range(-2, 3):
        y, x = (pixel[0] + side, pixel[1]) if abs(step[1]) >= abs(step[0]) else (pixel[0], pixel[1] + side)
        ends = (y, x), (y + step[0], x + step[1])
        if all(0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and mask[v, u] for v, u in ends):
            weights.append(round(float(np.rint(affinity[y, x] * np.float32(2**24)))))
    return sum(weights) >= len(weights) * round(float(np.rint(np.float32(support) * np.float32(2**24))))


@given(
    offsets=st.sampled_from(OFFSETS),
    height=st.integers(1, 40),
    width=st.integers(1, 70),
    threshold=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    support=st.sampled_from([0.0, 0.5, 0.7]),
    seed=SEEDS,
)
def test_union_joins_exactly_what_is_connected(
    machine: Any, offsets: Any, height: int, width: int, threshold: float, support: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    affinity = random_affinity(len(offsets), height, width, seed)
    mask = rng.random((height, width)) < rng.choice([0.6, 1.1])
    plan = UnionPlan(affinity.shape, offsets, threshold, machine.launcher(seed, 1 + seed % 3), support)
    out = machine.put(np.zeros((height, width), np.int32))
    plan.run(machine.put(affinity), out, machine.put(mask))
    check_status(plan.status)
    labels = machine.get(out)

    expected = np.zeros(mask.shape, np.int32)  # flood fill
    ends: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for (k, (dy, dx)), y, x in itertools.product(enumerate(offsets), range(height), range(width)):
        inside = 0 <= y + dy < height and 0 <= x + dx < width
        joins = inside and affinity[k, y, x] >= np.float32(threshold)
        if joins and _supported(affinity[k], mask, (y, x), (dy, dx), support):
            ends.setdefault((y, x), []).append((y + dy, x + dx))
            ends.setdefault((y + dy, x + dx), []).append((y, x))
    for start in map(tuple, np.argwhere(mask)):
        stack = [start] if not expected[start] else []
        if stack:
            expected[start] = expected.max() + 1
        while stack:
            pixel = stack.pop()
            for other in ends.get(pixel, ()):
                if mask[other] and not expected[other]:
                    expected[other] = expected[pixel]
                    stack.append(other)
    np.testing.assert_array_equal(labels, expected)
    assert int(plan.count[0]) == expected.max()


@given(
    offsets=st.sampled_from(OFFSETS),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    superpixel_threshold=st.sampled_from([None, 0.98, 0.75, 0.5]),
    threshold=st.sampled_from([0.0, 0.25, 0.5, 0.6, 1.0]),
    wide_rounds=st.integers(0, 3),
    seed=SEEDS,
)
def test_merging_is_greedy_contraction(
    machine: Any,
    offsets: Any,
    height: int,
    width: int,
    superpixel_threshold: float | None,
    threshold: float,
    wide_rounds: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    affinity = random_affinity(len(offsets), height, width, seed)
    mask = rng.random((height, width)) < rng.choice([0.7, 1.1])
    labels, plan = merge(
        machine,
        affinity,
        mask,
        seed,
        offsets=offsets,
        superpixel_threshold=superpixel_threshold,
        threshold=threshold,
        wide_rounds=wide_rounds,
    )
    check_status(plan.status)
    expected = reference(affinity, offsets, superpixel_threshold, threshold, mask)
    np.testing.assert_array_equal(labels, expected)
    assert int(plan.count[0]) == expected.max()
    before = reference(affinity, offsets, superpixel_threshold, None, mask)
    np.testing.assert_array_equal(machine.get(plan.superpixels), before)
    assert int(plan.superpixel_count[0]) == before.max()


@pytest.mark.parametrize("level", NOISE_LEVELS)
def test_without_superpixels_labels_are_those_of_gaec(machine: Any, level: str) -> None:
    affinity = label_affinities(street_scene(3, (40, 72)).labels, GRID, NOISE_LEVELS[level], 3)
    labels, plan = merge(machine, affinity, offsets=GRID, superpixel_threshold=None)
    check_status(plan.status)
    np.testing.assert_array_equal(labels, gaec(affinity, GRID))


@pytest.mark.parametrize("level", NOISE_LEVELS)
def test_labels_are_those_of_the_cpu(machine: Any, level: str) -> None:
    affinity = label_affinities(street_scene(4, (60, 100)).labels, GRID, NOISE_LEVELS[level], 4)
    labels, plan = merge(machine, affinity, offsets=GRID)
    check_status(plan.status)
    np.testing.assert_array_equal(labels, affinity_union(affinity, GRID))


def test_specks_on_a_road_do_not_take_a_round_each(machine: Any) -> None:
    rng = np.random.default_rng(0)
    affinity = np.ones((2, 40, 60), np.float32)
    for y, x in itertools.product(range(1, 39, 2), range(1, 59, 2)):
        for place in [(0, y, x), (0, y, x - 1), (1, y, x), (1, y - 1, x)]:
            affinity[place] = rng.uniform(0.6, 0.9)
    labels, plan = merge(machine, affinity, offsets=GRID, wide_rounds=3, tail_rounds=0)
    check_status(plan.status)
    assert int(plan.superpixel_count[0]) == 1 + 19 * 29
    assert (labels == 1).all()


@pytest.mark.parametrize("values", [np.linspace(0.55, 0.95, 29), np.linspace(0.95, 0.55, 29), np.full(29, 0.75)])
@pytest.mark.parametrize("wide_rounds", [0, 16])
def test_chains(machine: Any, values: NDArray[np.float64], wide_rounds: int) -> None:
    affinity = np.append(values, 0).astype(np.float32).reshape(1, 1, 30)
    labels, plan = merge(machine, affinity, offsets=[(0, 1)], wide_rounds=wide_rounds)
    check_status(plan.status)
    assert (labels == 1).all()


@pytest.mark.parametrize("superpixel_threshold", [None, 1.0])
def test_threshold_1_joins_what_is_certain(machine: Any, superpixel_threshold: float | None) -> None:
    affinity = np.array([[[1.0, 1.0, 0.99, 1.0, 0.0]]], np.float32)
    labels, plan = merge(machine, affinity, offsets=[(0, 1)], superpixel_threshold=superpixel_threshold, threshold=1.0)
    check_status(plan.status)
    np.testing.assert_array_equal(labels, [[1, 1, 1, 2, 2]])


def test_empty_mask_and_one_pixel(machine: Any) -> None:
    affinity = np.full((2, 5, 40), 0.7, np.float32)
    labels, plan = merge(machine, affinity, np.zeros((5, 40), np.bool_), offsets=GRID)
    check_status(plan.status)
    assert not labels.any()
    assert int(plan.count[0]) == 0
    labels, plan = merge(machine, affinity[:, :1, :1], offsets=GRID)
    check_status(plan.status)
    np.testing.assert_array_equal(labels, [[1]])


def test_plan_is_used_again_also_after_an_overflow(machine: Any) -> None:
    rng = np.random.default_rng(1)
    plan = AffinityUnionPlan((2, 20, 30), GRID, 0.9, regions=150, edges=400, launcher=machine.launcher())
    out = machine.put(np.zeros((20, 30), np.int32))
    everywhere = np.ones((20, 30), np.bool_)
    outcomes = []
    for strength in (0.3, 3.0, 0.3, 3.0, 0.4):  # the higher, the fewer and larger the super-pixels
        affinity = (rng.random((2, 20, 30)) ** (1 / strength / 4)).astype(np.float32)
        plan.run(machine.put(affinity), out)
        outcomes.append(int(plan.status[0]))
        if not outcomes[-1]:
            np.testing.assert_array_equal(machine.get(out), reference(affinity, GRID, 0.9, 0.5, everywhere))
    assert outcomes[0] & status.REGION_OVERFLOW
    assert outcomes[1] == outcomes[3] == 0


def test_more_edges_than_there_is_room_for(machine: Any) -> None:
    affinity = np.full((2, 20, 30), 0.7, np.float32)
    for edges in (1, 100, 1150):
        _, plan = merge(machine, affinity, offsets=GRID, superpixel_threshold=None, threshold=0.9, edges=edges)
        assert int(plan.status[0]) & status.EDGE_OVERFLOW == status.EDGE_OVERFLOW * (edges < 20 * 29 + 19 * 30)


def test_too_few_rounds(machine: Any) -> None:
    affinity = np.linspace(0.55, 0.95, 50, dtype=np.float32).reshape(1, 1, 50)
    _, plan = merge(machine, affinity, offsets=[(0, 1)], wide_rounds=2, tail_rounds=3)
    with pytest.raises(ArgumentError, match="within the plan's rounds"):
        check_status(plan.status)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-6, 1.0001])
@pytest.mark.parametrize("superpixel_threshold", [None, 0.98])
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 19, 39)])  # the second edge leaves the image
def test_values_that_are_no_affinities(
    machine: Any, value: float, superpixel_threshold: float | None, place: tuple[int, int, int]
) -> None:
    affinity = np.full((2, 20, 40), 0.7, np.float32)
    affinity[place] = value
    _, plan = merge(machine, affinity, offsets=GRID, superpixel_threshold=superpixel_threshold, threshold=0.9)
    with pytest.raises(GroupingError, match=r"affinities in \[0, 1\]"):
        check_status(plan.status)


def test_merging_refuses_what_does_not_fit(machine: Any) -> None:
    launcher = machine.launcher()
    with pytest.raises(ArgumentError, match="one offset a channel"):
        AffinityUnionPlan((3, 4, 4), GRID, launcher=launcher)
    with pytest.raises(ArgumentError, match="threshold"):
        AffinityUnionPlan((2, 4, 4), GRID, threshold=np.nan, launcher=launcher)
    with pytest.raises(ArgumentError, match="threshold"):
        AffinityUnionPlan((2, 4, 4), GRID, superpixel_threshold=1.5, launcher=launcher)
    with pytest.raises(ArgumentError, match=r"2\*\*29 pixel edges"):
        AffinityUnionPlan((2, 2**15, 2**15), GRID, launcher=launcher)
    with pytest.raises(ArgumentError, match="at least one region"):
        AffinityUnionPlan((2, 4, 4), GRID, regions=0, launcher=launcher)
    plan = AffinityUnionPlan((2, 4, 4), GRID, launcher=launcher)
    good, out = machine.put(np.zeros((2, 4, 4), np.float32)), machine.put(np.zeros((4, 4), np.int32))
    for affinity, target, mask in [
        (np.zeros((2, 4, 5), np.float32), out, None),
        (np.zeros((2, 4, 4), np.float64), out, None),
        (good, machine.put(np.zeros((4, 4), np.int64)), None),
        (good, out, machine.put(np.ones((4, 4), np.uint8))),
    ]:
        with pytest.raises(ArgumentError, match="make a new plan"):
            plan.run(affinity, target, mask)
