"""SOLO decoding against a plain reading of its formulas, and where there is nothing, too much, or rubbish."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping.solo import SoloLevel, SoloMasks, SoloSettings, solo_instances, solo_masks
from rtseg.ops.mask_nms import fast_nms, matrix_nms

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported without touching the path

from solo_maps import random_maps, reference_masks


@pytest.mark.parametrize("nms", ["matrix", "fast"])
@pytest.mark.parametrize("seed", range(6))
def test_masks_are_those_of_the_formulas(seed: int, nms: Any) -> None:
    levels, features = random_maps(seed)
    settings = SoloSettings(nms=nms, candidates=12, keep_threshold=0.1)
    masks, scores = reference_masks(levels, features, settings)
    stacked, given = np.stack(masks), np.array(scores, np.float32)
    if nms == "matrix":
        lowered = matrix_nms(stacked, given)
    else:
        lowered = np.where(fast_nms(stacked, given, settings.overlap), given, 0)
    expected = sorted(
        (float(score), mask.tobytes()) for score, mask in zip(lowered, masks, strict=True) if score >= 0.1
    )
    found = solo_masks(levels, features, settings)
    assert (np.diff(found.scores) <= 0).all()
    got = sorted((float(score), mask.tobytes()) for score, mask in zip(found.scores, found.masks, strict=True))
    assert [mask for _, mask in got] == [mask for _, mask in expected]
    np.testing.assert_allclose([s for s, _ in got], [s for s, _ in expected], rtol=1e-4)


def test_a_disc_around_its_point() -> None:
    levels, features = random_maps(0, (96, 96), 2)
    levels = [SoloLevel(np.full_like(level.cate, -9), np.zeros_like(level.kernel), level.stride) for level in levels]
    levels[1].cate[2, 2] = 4.0
    levels[1].kernel[:5, 2, 2] = [2, 0, 0, -2, -2]
    found = solo_masks(levels, np.zeros_like(features))
    assert len(found) == 1
    y, x = np.nonzero(found.masks[0])
    assert ((y + 0.5) * 4).mean() == pytest.approx(40)
    assert ((x + 0.5) * 4).mean() == pytest.approx(40)
    assert found.masks[0].sum() * 16 == pytest.approx(np.pi * 32**2, rel=0.05)


def test_labels_show_the_best_mask_and_are_numbered_in_raster_order() -> None:
    for seed in range(6):
        levels, features = random_maps(seed)
        settings = SoloSettings(min_visible=0.0)
        found = solo_masks(levels, features, settings)
        grouped = solo_instances(found, settings)
        best = np.where(found.masks.any(0), found.masks.argmax(0), -1)
        shown = [value for value in dict.fromkeys(best.ravel().tolist()) if value >= 0]
        expected = np.zeros(best.shape, np.int32)
        for number, value in enumerate(shown, 1):
            expected[best == value] = number
        np.testing.assert_array_equal(grouped.labels, expected)
        np.testing.assert_array_equal(grouped.scores, found.scores[shown])
        assert not grouped.class_ids.any()


def test_mostly_hidden_masks_are_not_painted() -> None:
    masks = np.zeros((3, 4, 10), np.bool_)
    masks[0, :, :6] = True
    masks[1, :, 2:7] = True  # a fifth of it is free
    masks[2, :, 5:10] = True
    grouped = solo_instances(SoloMasks(masks, np.array([0.9, 0.8, 0.7], np.float32), 0), SoloSettings(min_visible=0.3))
    np.testing.assert_array_equal(grouped.labels[0], [1] * 6 + [2] * 4)
    np.testing.assert_array_equal(grouped.scores, np.array([0.9, 0.7], np.float32))


def test_nothing_to_find() -> None:
    levels, features = random_maps(1)
    silent = [dataclasses.replace(level, cate=np.full_like(level.cate, -20)) for level in levels]
    found = solo_masks(silent, features)
    assert len(found) == 0
    assert found.dropped == 0
    assert not solo_instances(found).labels.any()
    void = [SoloLevel(level.cate, np.zeros_like(level.kernel), level.stride) for level in levels]
    assert len(solo_masks(void, features)) == 0  # kernels that make empty masks


def test_identical_masks_leave_one() -> None:
    levels, features = random_maps(2)
    everywhere = [SoloLevel(level.cate, np.zeros_like(level.kernel), level.stride) for level in levels]
    for level in everywhere:
        level.kernel[0] = 3.0
    for nms in ("matrix", "fast"):
        found = solo_masks(everywhere, features, SoloSettings(nms=nms, keep_threshold=0.2))  # type: ignore[arg-type]
        assert len(found) == 1
        assert found.masks.all()


def test_ties_and_too_many_candidates_are_told() -> None:
    levels, features = random_maps(3)
    # A checkerboard of equal peaks, so that nothing but the order of points decides.
    cate = np.full((8, 12), -9, np.float32)
    cate[::2, ::2] = 1.0
    tied = [SoloLevel(cate, levels[0].kernel, 8), *(dataclasses.replace(v, cate=v.cate * 0 - 20) for v in levels[1:])]
    found = solo_masks(tied, features, SoloSettings(candidates=5))
    assert found.dropped == 24 - 5
    masks, _ = reference_masks(tied, features, SoloSettings(candidates=5))
    kept = {mask.tobytes() for mask in found.masks}
    assert kept <= {mask.tobytes() for mask in masks}
    plateau = [dataclasses.replace(tied[0], cate=np.ones((8, 12), np.float32)), *tied[1:]]
    assert len(solo_masks(plateau, features)) <= 1  # of equal neighbors only the first is a peak


@pytest.mark.parametrize("place", ["cate", "kernel", "features"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(place: str, value: float) -> None:
    levels, features = random_maps(4)
    target = features if place == "features" else getattr(levels[1], place)
    target.flat[-1] = value
    with pytest.raises(GroupingError, match="finite"):
        solo_masks(levels, features)


def test_what_does_not_fit_is_refused() -> None:
    levels, features = random_maps(5)
    for bad_levels, bad_features in [
        ([], features),
        (levels, features[0]),
        (levels, features[:, :-1]),
        (levels, features[:2]),
        ([dataclasses.replace(levels[0], stride=16)], features),
        ([dataclasses.replace(levels[0], kernel=levels[0].kernel[:-1])], features),
    ]:
        with pytest.raises(ArgumentError, match="expected mask features"):
            solo_masks(bad_levels, bad_features)
    for arguments in ({"candidates": 0}, {"score_threshold": 2.0}, {"min_pixels": 0}, {"nms": "soft"}, {"sigma": -1.0}):
        with pytest.raises(ArgumentError, match=next(iter(arguments))):
            SoloSettings(**arguments)
