"""Lane lines in pixels as a cloud of points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtseg.messages import PIXEL_TYPE, POINT_TYPE, lane_pixels, point_fields
from rtseg.results import Lanes


@pytest.mark.parametrize("lengths", [[], [5], [3, 0, 7]])
def test_every_point_of_every_line_with_its_id_and_confidence(lengths: list[int]) -> None:
    rng = np.random.default_rng(3)
    lines = tuple(rng.uniform(0, 500, (length, 2)).astype(np.float32) for length in lengths)
    ids = np.array([7, 2, 9][: len(lines)], dtype=np.int32)
    confidence = np.array([0.9, 0.4, 0.7][: len(lines)], dtype=np.float32)
    lanes = Lanes(np.zeros((4, 4), np.uint8), ids, confidence, lines)
    assert np.isnan(lane_pixels(lanes)["solid"]).all()
    solid = np.array([0.95, np.nan, 0.1][: len(lines)], np.float32)
    cloud = lane_pixels(replace(lanes, solid=solid))
    assert replace(lanes, solid=solid).markings == ("solid", "", "dashed")[: len(lines)]
    assert len(cloud) == sum(lengths)
    for identity, sure, even, line in zip(ids, confidence, solid, lines, strict=True):
        mine = cloud[cloud["id"] == identity]
        np.testing.assert_array_equal(np.stack([mine["u"], mine["v"]], axis=1), line)
        assert (mine["confidence"] == sure).all()
        np.testing.assert_array_equal(mine["solid"], even)


def test_fields_are_those_of_point_field() -> None:
    assert point_fields(PIXEL_TYPE) == [("u", 0, 7), ("v", 4, 7), ("id", 8, 6), ("confidence", 12, 7), ("solid", 16, 7)]
    names = [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("id", 12, 6), ("confidence", 16, 7)]
    assert point_fields(POINT_TYPE) == names
