"""Boxes for a second look."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.errors import GroupingError
from rtseg.grouping import GMIS_OFFSETS, GraphMergeSettings
from rtseg.grouping.regions_of_interest import graph_merge_regions, regions_of_interest


def test_boxes_are_cells_grown_and_clipped():
    mask = np.zeros((200, 400), bool)
    mask[5, 40] = True  # cell rows 0..32, columns 32..64
    mask[100:140, 300:302] = True
    first, second = regions_of_interest(mask)
    assert first.box == (16, 0, 80, 48)
    assert second.box == (272, 80, 336, 176)
    assert first.scale < 4.0
    assert first.scale == pytest.approx(4.0)
    assert regions_of_interest(mask, height=192)[1].scale == 2.0
    assert regions_of_interest(np.zeros((20, 20), bool)) == ()


def test_every_foreground_pixel_is_in_a_box():
    mask = np.random.default_rng(0).random((333, 555)) < 0.002
    covered = np.zeros_like(mask)
    for region in regions_of_interest(mask):
        x0, y0, x1, y1 = region.box
        covered[y0:y1, x0:x1] = True
        assert 1.0 <= region.scale < 4.0
    assert covered[mask].all()


def test_objects_found_in_enlarged_crops_land_where_they_are():
    ids = np.zeros((96, 160), np.uint8)  # the image shows the truth: blue = instance, green = class
    ids[40:50, 20:30], ids[40:50, 30:38], ids[10:30, 120:140] = 1, 2, 3
    image = np.stack([ids * 40, np.select([ids == 3, ids > 0], [2, 1]).astype(np.uint8) * 100, ids * 0], axis=-1)

    def predict(crop):
        instance, kind = np.rint(crop[..., 0] / 40), np.rint(crop[..., 1] / 100)
        affinity = np.zeros((56, *instance.shape), np.float32)
        for k, (dy, dx) in enumerate(GMIS_OFFSETS):
            affinity[k] = np.where(np.roll(instance, (-dy, -dx), (0, 1)) == instance, 0.99, 0.02)
        return affinity, np.stack([kind == 0, kind == 1, kind == 2]).astype(np.float32)

    settings = GraphMergeSettings(super_classes=((1,), (2,)), min_pixels=30)
    semantic = np.stack([ids == 0, (ids == 1) | (ids == 2), ids == 3]).astype(np.float32)
    found = graph_merge_regions(predict, image, semantic, settings)
    assert sorted(found.class_ids.tolist()) == [1, 1, 2]
    for truth in (1, 2, 3):
        mask = ids == truth
        label = np.bincount(found.labels[mask]).argmax()
        assert label > 0
        overlap = (found.labels == label) & mask
        assert overlap.sum() / ((found.labels == label) | mask).sum() > 0.75


def test_bad_input_is_refused():
    with pytest.raises(GroupingError, match="mask"):
        regions_of_interest(np.zeros((3, 3), np.uint8))
    with pytest.raises(GroupingError, match="cell"):
        regions_of_interest(np.zeros((3, 3), bool), cell=0)
