"""Mask suppression and SOLO decoding: the kernels against their CPU form, bit for bit."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping.solo import SoloLevel, SoloSettings, solo_instances, solo_masks
from rtseg.ops.cuda.mask_nms import MaskNmsPlan
from rtseg.ops.cuda.solo import SoloPlan
from rtseg.ops.cuda.status import check_status
from rtseg.ops.mask_nms import fast_nms, matrix_nms, score_order

sys.path.insert(0, str(Path(__file__).parents[2] / "grouping"))  # tests are imported without touching the path

from solo_maps import random_maps


def boxes(count: int, height: int, width: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), np.bool_)
    for i in range(count):
        if i and rng.random() < 0.3:
            masks[i] = masks[rng.integers(i)]
        elif rng.random() < 0.85:
            (y0, y1), (x0, x1) = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
            masks[i, y0:y1, x0:x1] = True
    return masks, (rng.integers(0, 5, count) / 4).astype(np.float32)


@pytest.mark.parametrize("method", ["gaussian", "linear", "fast"])
@pytest.mark.parametrize(
    ("count", "room", "height", "width"), [(0, 4, 3, 5), (1, 1, 1, 1), (7, 20, 9, 13), (40, 40, 8, 150)]
)
def test_suppression_equals_the_cpu(machine: Any, method: Any, count: int, room: int, height: int, width: int) -> None:
    masks, scores = boxes(count, height, width, count)
    plan = MaskNmsPlan(room, height * width, method, 2.0, 0.5, machine.launcher(3, 2))
    for _ in range(2):  # what an earlier frame left does not matter
        plan.pack(machine.put(masks.astype(np.uint8)))
        plan.scores[:count] = machine.put(scores)
        plan.run(machine.put(np.array([count], np.int32)))
        if method == "fast":
            expected = np.where(fast_nms(masks, scores), scores, 0)
        else:
            expected = matrix_nms(masks, scores, method)
        np.testing.assert_array_equal(machine.get(plan.scores)[:count], expected)
        np.testing.assert_array_equal(machine.get(plan.order)[:count], score_order(expected))


def decode(machine: Any, levels: list[SoloLevel], features: NDArray, settings: SoloSettings, seed: int = 1) -> Any:
    shapes = [(*level.cate.shape, level.stride) for level in levels]
    plan = SoloPlan(shapes, features.shape, **settings.model_dump(), launcher=machine.launcher(seed, 1 + seed % 2))
    out = machine.put(np.full(features.shape[1:], -3, np.int32))
    maps = [(machine.put(level.cate), machine.put(level.kernel)) for level in levels]
    plan.run(maps, machine.put(features), out)
    return plan, machine.get(out)


def check(machine: Any, levels: list[SoloLevel], features: NDArray, settings: SoloSettings, seed: int = 1) -> int:
    plan, labels = decode(machine, levels, features, settings, seed)
    check_status(plan.status)
    found = solo_masks(levels, features, settings)
    grouped = solo_instances(found, settings)
    np.testing.assert_array_equal(labels, grouped.labels)
    count = int(plan.count[0])
    assert count == len(grouped)
    np.testing.assert_array_equal(machine.get(plan.scores)[:count], grouped.scores)
    assert int(plan.dropped[0]) == found.dropped
    return count


@pytest.mark.parametrize("nms", ["matrix", "fast"])
@pytest.mark.parametrize("seed", range(3))
def test_labels_and_scores_equal_the_cpu(machine: Any, seed: int, nms: Any) -> None:
    levels, features = random_maps(seed, (64, 96))
    for visible in (0.0, 0.5):
        settings = SoloSettings(nms=nms, keep_threshold=0.05, min_visible=visible, candidates=24)
        assert check(machine, levels, features, settings, seed + 1) > 0


def test_too_many_candidates_and_ties(machine: Any) -> None:
    levels, features = random_maps(7, (64, 64))
    cate = np.full((8, 8), -9, np.float32)
    cate[::2, ::2] = 1.0
    tied = [dataclasses.replace(levels[0], cate=cate), *levels[1:]]
    for candidates in (1, 5):
        check(machine, tied, features, SoloSettings(candidates=candidates))


def test_nothing_empty_and_identical_masks(machine: Any) -> None:
    levels, features = random_maps(8, (64, 64))
    silent = [dataclasses.replace(level, cate=np.full_like(level.cate, -20)) for level in levels]
    assert check(machine, silent, features, SoloSettings(candidates=8)) == 0
    void = [dataclasses.replace(level, kernel=np.zeros_like(level.kernel)) for level in levels]
    assert check(machine, void, features, SoloSettings(candidates=8)) == 0
    for level in void:
        level.kernel[0] = 3.0
    assert check(machine, void, features, SoloSettings(candidates=8)) == 1


@pytest.mark.parametrize("place", ["cate", "kernel", "features"])
def test_values_that_are_not_finite(machine: Any, place: str) -> None:
    levels, features = random_maps(9, (32, 32))
    target = features if place == "features" else getattr(levels[0], place)
    target.flat[-1] = np.nan
    plan, _ = decode(machine, levels, features, SoloSettings(candidates=4))
    with pytest.raises(GroupingError, match="finite"):
        check_status(plan.status)


def test_what_does_not_fit_is_refused(machine: Any) -> None:
    launcher = machine.launcher()
    with pytest.raises(ArgumentError, match="levels that fit"):
        SoloPlan([(8, 8, 16)], (3, 16, 16), launcher=launcher)
    with pytest.raises(ArgumentError, match="masks of"):
        MaskNmsPlan(0, 5, launcher=launcher)
    with pytest.raises(ArgumentError, match="threshold"):
        MaskNmsPlan(4, 5, threshold=2.0, launcher=launcher)
    plan = SoloPlan([(8, 8, 8)], (3, 16, 16), candidates=4, launcher=launcher)
    maps = [(machine.put(np.zeros((8, 8), np.float32)), machine.put(np.zeros((8, 8, 8), np.float32)))]
    features, out = machine.put(np.zeros((3, 16, 16), np.float32)), machine.put(np.zeros((16, 16), np.int32))
    plan.run(maps, features, out)
    for bad in [([], features, out), (maps, features[:2], out), ([(maps[0][1], maps[0][0])], features, out)]:
        with pytest.raises(ArgumentError, match="make a new plan"):
            plan.run(*bad)
