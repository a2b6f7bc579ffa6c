"""Prototype masks against the plain way: a mask of the frame's size for every object."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping.prototypes import Detections, PrototypeMasks, suppressed

STRIDE = 4


def random_objects(seed: int, count: int, size: tuple[int, int]) -> tuple[Detections, np.ndarray]:
    """Boxes anywhere, also beyond the map and turned inside out; prototypes without any order."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-0.2, 1.2, (count, 4)) * np.array([size[1], size[0]] * 2)
    if count > 2:
        corners[:-1] = np.concatenate(
            [np.minimum(corners[:-1, :2], corners[:-1, 2:]), np.maximum(corners[:-1, :2], corners[:-1, 2:])], axis=1
        )
    prototypes = rng.normal(0, 1, (5, size[0] // STRIDE, size[1] // STRIDE)).astype(np.float32)
    prototypes = np.stack([cv2.GaussianBlur(each, (0, 0), 1.5) for each in prototypes])
    found = Detections(
        corners.astype(np.float32),
        rng.integers(0, 3, count).astype(np.int32),
        np.sort(rng.random(count))[::-1].astype(np.float32),
        rng.normal(0, 2, (count, 5)).astype(np.float32),
    )
    return found, prototypes


def reference(
    found: Detections, prototypes: np.ndarray, size: tuple[int, int], window: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the pixels where the logit of no object is within rounding of 0."""
    top, left, height, width = window
    y = (top + (np.arange(size[0]) + 0.5) * height / size[0]) / STRIDE - 0.5
    x = (left + (np.arange(size[1]) + 0.5) * width / size[1]) / STRIDE - 0.5
    labels, sure = np.zeros(size, np.int32), np.ones(size, bool)
    for i in reversed(range(len(found))):
        mask = np.tensordot(found.coefficients[i].astype(np.float64), prototypes.astype(np.float64), 1)
        ys, xs = np.clip(y, 0, mask.shape[0] - 1), np.clip(x, 0, mask.shape[1] - 1)
        y0, x0 = ys.astype(int), xs.astype(int)
        y1, x1 = np.minimum(y0 + 1, mask.shape[0] - 1), np.minimum(x0 + 1, mask.shape[1] - 1)
        v, u = (ys - y0)[:, None], (xs - x0)[None]
        enlarged = (mask[y0][:, x0] * (1 - u) + mask[y0][:, x1] * u) * (1 - v) + (
            mask[y1][:, x0] * (1 - u) + mask[y1][:, x1] * u
        ) * v
        across = left + (np.arange(size[1]) + 0.5) * width / size[1]
        down = top + (np.arange(size[0]) + 0.5) * height / size[0]
        x_low, y_low, x_high, y_high = found.boxes[i].astype(np.float64)
        inside = ((down >= y_low) & (down < y_high))[:, None] & ((across >= x_low) & (across < x_high))[None]
        labels[(enlarged > 0) & inside] = i + 1
        sure &= ~inside | (np.abs(enlarged) > 1e-4)
        for edge, places in (
            (x_low, across[None]),
            (x_high, across[None]),
            (y_low, down[:, None]),
            (y_high, down[:, None]),
        ):
            sure &= np.abs(places - edge) > 1e-3
    return labels, sure


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 12),
    size=st.tuples(st.integers(2, 90), st.integers(2, 90)),
    window=st.sampled_from([(0, 0, 48, 64), (8, 0, 32, 64), (0, 16, 48, 40), (40, 56, 8, 8)]),
)
def test_labels_are_those_of_masks_resized_one_by_one(seed, count, size, window):
    found, prototypes = random_objects(seed, count, (48, 64))
    labels = PrototypeMasks(found, prototypes, STRIDE).paint(size, window)
    expected, sure = reference(found, prototypes, size, window)
    np.testing.assert_array_equal(labels[sure], expected[sure])
    assert sure.mean() > 0.9 or labels.size < 500


def test_the_first_lies_in_front_and_some_may_be_left_out():
    ones = np.ones((1, 8, 8), np.float32)
    boxes = np.array([[0, 0, 16, 16], [8, 8, 32, 32]], np.float32)
    found = Detections(boxes, np.zeros(2, np.int32), np.ones(2, np.float32), np.ones((2, 1), np.float32))
    masks = PrototypeMasks(found, ones, 4)
    labels = masks.paint((32, 32), (0, 0, 32, 32))
    assert labels[12, 12] == 1
    assert labels[20, 20] == 2
    assert masks.areas().tolist() == [16, 36]
    alone = masks.paint((32, 32), (0, 0, 32, 32), np.array([1]))
    assert alone[12, 12] == 1
    assert alone[4, 4] == 0


@pytest.mark.parametrize(
    "box", [(5, 5, 5, 5), (10, 10, 2, 2), (-90, -90, -10, -10), (900, 900, 950, 950), (0, 0, 1e9, 1e9)]
)
def test_boxes_without_pixels_and_endless_ones_do_no_harm(box):
    found = Detections(
        np.array([box], np.float32), np.zeros(1, np.int32), np.ones(1, np.float32), np.ones((1, 1), np.float32)
    )
    labels = PrototypeMasks(found, np.ones((1, 8, 8), np.float32), 4).paint((32, 32), (0, 0, 32, 32))
    assert labels.any() == (box[2] == 1e9)


def test_bad_maps_are_told():
    found, prototypes = random_objects(0, 3, (48, 64))
    with pytest.raises(GroupingError, match="finite"):
        PrototypeMasks(found, prototypes * np.nan, 4)
    with pytest.raises(ArgumentError, match="coefficient"):
        PrototypeMasks(found, prototypes[:2], 4)


def plain_suppression(found: Detections, overlap: float, most: int) -> list[int]:
    kept: list[int] = []
    for i in range(len(found)):
        a = found.boxes[i].astype(np.float64)
        clear = True
        for j in kept:
            b = found.boxes[j].astype(np.float64)
            shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
            areas = np.prod(np.clip(a[2:] - a[:2], 0, None)) + np.prod(np.clip(b[2:] - b[:2], 0, None))
            clear &= not (found.class_ids[i] == found.class_ids[j] and shared > overlap * (areas - shared))
        if clear:
            kept.append(i)
    return kept[:most]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(3, 30), overlap=st.floats(0, 1), most=st.integers(1, 30))
def test_suppression_is_the_plain_greedy_one(seed, count, overlap, most):
    found, _ = random_objects(seed, count, (48, 64))
    found = found.chosen(np.arange(count - 1))
    numbered = Detections(found.boxes, found.class_ids, np.arange(count - 1).astype(np.float32), found.coefficients)
    kept = suppressed(numbered, overlap, most).scores.astype(int).tolist()
    assert kept == plain_suppression(found, overlap, most)
