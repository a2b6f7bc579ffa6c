"""Targets of labels of every kind: what is not known is neither line nor background."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtseg.lab.training.augment import AugmentConfig, augment_geometry
from rtseg.lab.training.lanes.targets import SampleShape, TargetPainter

SHAPE = SampleShape(size=(128, 224), mean=(0.0,) * 3, std=(1.0,) * 3, lanes=6, near_width=4.0, far_width=2.5)
SIZE = (128, 224)
LEFT, RIGHT, FAR_RIGHT = ((x0, 50.0, x1, 120.0) for x0, x1 in ((108.0, 40.0), (116.0, 190.0), (118.0, 300.0)))


def line(x0: float, y0: float, x1: float, y1: float, points: int = 16) -> np.ndarray:
    return np.stack([np.linspace(x0, x1, points), np.linspace(y0, y1, points)], 1).astype(np.float32)


def test_full_labels_know_every_pixel() -> None:
    ids = TargetPainter(SHAPE, SIZE).lines([line(*LEFT), line(*RIGHT)])
    assert set(np.unique(ids)) == {0, 1, 2}


@given(st.integers(0, 2**31))
def test_own_lane_labels_say_nothing_of_what_full_labels_would_add(seed: int) -> None:
    """Wherever the camera is turned: a line that is not labelled is not taught to be background."""
    config = AugmentConfig(stretch=(0.7, 1.4))  # type: ignore[call-arg]
    image = np.zeros((*SIZE, 3), np.uint8)
    lanes = [line(*LEFT), line(*RIGHT), line(*FAR_RIGHT)]
    _, lanes, _ = augment_geometry(image, lanes, config, np.random.default_rng(seed))
    painter = TargetPainter(SHAPE, SIZE)
    partial, full = painter.ego(lanes[:2]), painter.lines(lanes)
    unlabelled = full == _id_of(painter, lanes, 2)
    # Close by the labelled line it may lie in its strip; where lines meet far ahead all are one.
    beside = painter._draw(lanes[:2], 3.5) > 0
    assert not (unlabelled & ~beside & (partial == 0)).any()
    assert ((partial > 0) & (partial < 255)).sum() <= ((full > 0) & (full < 255)).sum() + 4


def _id_of(painter: TargetPainter, lanes: list[np.ndarray], which: int) -> int:
    only = painter.lines(lanes[which : which + 1]) > 0
    values = painter.lines(lanes)[only]
    values = values[(values > 0) & (values < 255)]
    return int(np.bincount(values).argmax()) if len(values) else -1


def test_between_the_boundaries_is_background_and_beyond_them_nothing_is_known() -> None:
    ids = TargetPainter(SHAPE, SIZE).ego([line(*LEFT), line(*RIGHT)])
    assert (ids[70:118, 105:120] == 0).all()
    assert (ids[100, :20] == 255).all()
    assert (ids[60:100, 200:] == 255).all()
    assert (ids[:30] == 0).all()  # far above where the two cross is no road


def test_one_boundary_tells_of_itself_alone() -> None:
    ids = TargetPainter(SHAPE, SIZE).ego([line(*LEFT)])
    assert set(np.unique(ids)) == {0, 1, 255}
    assert (ids == 255).mean() > 0.9


def test_paint_of_no_traced_line_is_a_line_without_number() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[50:120, 60:64] = 1  # traced
    mask[80:100, 160:165] = 1  # a dash that is not
    mask[105:110, 80:140] = 2  # a stop line
    mask[122:, :] = 255
    ids = TargetPainter(SHAPE, SIZE).mask([line(61.5, 50, 61.5, 119)], mask)
    assert (ids[60:110, 61:63] == 1).all()
    assert (ids[82:98, 161:164] == 254).all()
    assert (ids[106:109, 90:130] == 0).all()
    assert (ids[124:] == 255).all()
    assert (ids[65:75, 161:164] == 255).all()  # where the next dash may be
    assert (ids[60:110, 100:140] == 0).all()


@given(st.integers(0, 2**31))
def test_a_mask_moves_with_its_picture(seed: int) -> None:
    mask = np.zeros((180, 320), np.uint8)
    mask[90:150, 100:180] = 1
    image = np.repeat(mask[..., None] * 200, 3, axis=2)
    config = AugmentConfig(stretch=(0.6, 1.5))  # type: ignore[call-arg]
    warped, _, moved = augment_geometry(image, [], config, np.random.default_rng(seed), mask)
    assert moved is not None
    seen = moved != 255
    assert ((warped[..., 0] > 100) == (moved == 1))[seen].mean() > 0.98
