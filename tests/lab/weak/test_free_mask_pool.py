"""Free masks of several thresholds and scales in one pool, in the whole picture's place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.lab.scores.instances.boxes import paired_overlaps
from rtseg.lab.weak.free_mask_pool import MaskPool, choose_masks, pool_masks, views
from rtseg.lab.weak.free_masks import FreeMaskFeatures, FreeMaskSettings

SETTINGS = FreeMaskSettings(width=256, height=128, least_area=0.002)


@pytest.fixture(scope="module")
def pool() -> MaskPool:
    """Of a gray street with a red disc, as large as two cells of the whole picture's features."""
    image = np.full((256, 512, 3), 110, np.uint8)
    cv2.circle(image, (200, 128), 36, (30, 30, 220), -1)
    noise = np.random.default_rng(0).normal(0, 6, image.shape)
    return pool_masks(np.clip(image + noise, 0, 255).astype(np.uint8), FreeMaskFeatures(), SETTINGS)


def disc() -> NDArray[np.bool_]:
    mask = np.zeros((64, 128), np.uint8)
    cv2.circle(mask, (50, 32), 9, 1, -1)
    return mask > 0


def paint(pool: MaskPool, index: int) -> NDArray[np.bool_]:
    mask = np.zeros(pool.size, np.bool_)
    top, left, bottom, right = pool.boxes[index]
    mask[top:bottom, left:right] = pool.parts[index]
    return mask


def test_masks_of_all_maps_lie_where_they_are_in_the_picture(pool: MaskPool) -> None:
    masks = [paint(pool, i) for i in range(len(pool))]
    overlaps = [float((mask & disc()).sum() / (mask | disc()).sum()) for mask in masks]
    best = int(np.argmax(overlaps))
    assert overlaps[best] > 0.6
    # Found at more thresholds and scales than what else there is.
    assert pool.found[best] > np.median(pool.found)
    assert (pool.found > 0).all()
    assert (pool.found <= 1).all()
    for mask, (top, left, bottom, right) in zip(masks, pool.boxes.tolist(), strict=True):
        assert np.flatnonzero(mask.any(1))[[0, -1]].tolist() == [top, bottom - 1]
        assert np.flatnonzero(mask.any(0))[[0, -1]].tolist() == [left, right - 1]


def test_the_better_of_masks_that_overlap_is_chosen(pool: MaskPool) -> None:
    order, masks = choose_masks(pool, pool.found, SETTINGS.replaced(most=5))
    assert len(order) == len(masks) <= 5
    assert (np.diff(pool.found[order]) <= 0).all()
    for i, a in enumerate(masks):
        assert all((a & b).sum() / (a | b).sum() <= SETTINGS.overlap for b in masks[:i])
    none, empty = choose_masks(pool, np.zeros(len(pool), np.float32), SETTINGS)
    assert len(none) == 0
    assert empty.shape == (0, 64, 128)


def test_a_picture_without_masks_of_the_size_asked_for() -> None:
    settings = SETTINGS.replaced(least_area=0.9, most_area=1.0, most_side=1.0, crops=1)
    pool = pool_masks(np.full((64, 128, 3), 90, np.uint8), FreeMaskFeatures(), settings)
    assert len(pool) == 0
    assert pool.boxes.shape == (0, 4)
    assert len(choose_masks(pool, pool.found, SETTINGS)[0]) == 0


@pytest.mark.parametrize("crops", [0, 1, 2, 3, 5])
def test_crops_lie_evenly_in_the_middle(crops: int) -> None:
    whole, *parts = views((64, 130), crops)
    assert whole == (0, 0, 64, 130)
    assert len(parts) == crops
    assert all((y, height, width) == (16, 32, 65) and 0 <= x <= 65 for y, x, height, width in parts)
    starts = [x for _, x, _, _ in parts]
    assert [65 - x for x in reversed(starts)] == pytest.approx(starts, abs=1)


def test_box_overlaps_are_those_of_painted_boxes() -> None:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 10, (6, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 8, (6, 2))], axis=1).astype(np.int32)
    painted = np.zeros((6, 20, 20), np.bool_)
    for mask, (top, left, bottom, right) in zip(painted, boxes.tolist(), strict=True):
        mask[top:bottom, left:right] = True
    expected = [[(a & b).sum() / (a | b).sum() for b in painted] for a in painted]
    np.testing.assert_allclose(paired_overlaps(boxes[:, None], boxes[None]), expected, rtol=1e-6)
