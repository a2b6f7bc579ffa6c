"""CULane F1: drawing, matching and counting."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise, permutations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.lab.scores.lanes.culane import CulaneScore, lane_ious, score_image

SIZE = (590, 1640)


def line(x: float, slope: float = 0.0) -> np.ndarray:
    y = np.arange(250, 590, 10.0)
    return np.stack([x + slope * (y - 250), y], axis=1)


@given(st.lists(st.integers(0, 20), max_size=4), st.lists(st.integers(0, 20), max_size=4))
def test_pairs_are_the_best_of_all(found: list[int], true: list[int]) -> None:
    predicted, truth = [line(300 + 9 * x) for x in found], [line(300 + 9 * x) for x in true]
    ious = lane_ious(predicted, truth, SIZE)
    wide = ious if ious.shape[0] <= ious.shape[1] else ious.T
    pairings = list(permutations(range(wide.shape[1]), wide.shape[0]))
    best = max(sum(wide[i, j] for i, j in enumerate(p)) for p in pairings)
    hits = {sum(wide[i, j] > 0.5 for i, j in enumerate(p)) for p in pairings if _total(wide, p) > best - 1e-9}
    assert score_image(predicted, truth, SIZE).true_positives in hits


def _total(gains: np.ndarray, pairing: tuple[int, ...]) -> float:
    return sum(gains[i, j] for i, j in enumerate(pairing))


def test_iou_of_shifted_upright_bands() -> None:
    # Two upright bands of width w, d apart, share (w - d) / (w + d); OpenCV draws 30 as 31 pixels wide.
    for d in (0, 5, 10, 20, 40):
        expected = max(0, 31 - d) / (31 + min(d, 31))
        assert lane_ious([line(800)], [line(800 + d)], SIZE)[0, 0] == pytest.approx(expected, abs=0.02)


def test_counts() -> None:
    truth = [line(300), line(800), line(1200)]
    assert score_image([line(305), line(1000), line(800)], truth, SIZE) == CulaneScore(2, 1, 1)
    assert score_image([], truth, SIZE) == CulaneScore(0, 0, 3)
    assert score_image(truth, [], SIZE) == CulaneScore(0, 3, 0)
    assert score_image([], [], SIZE) == CulaneScore()
    assert score_image([line(300), line(301)], [line(300)], SIZE) == CulaneScore(1, 1, 0), "one to one"


def test_scores_come_from_the_sums() -> None:
    total = CulaneScore(8, 2, 0) + CulaneScore(0, 0, 8)
    assert (total.precision, total.recall) == (0.8, 0.5)
    assert total.f1 == pytest.approx(2 * 0.8 * 0.5 / 1.3)
    assert CulaneScore().f1 == 0


def test_smaller_images_are_scaled() -> None:
    near = [line(800)], [line(812)]
    half = [p / 2 for p in near[0]], [p / 2 for p in near[1]]
    assert lane_ious(*half, (295, 820))[0, 0] == pytest.approx(lane_ious(*near, SIZE)[0, 0], abs=0.02)


def test_short_and_wild_lines_do_no_harm() -> None:
    wild = np.array([[-1e9, 0.0], [1e9, 500.0]])
    assert score_image([np.zeros((0, 2)), np.ones((1, 2)), wild], [line(300)], SIZE).true_positives == 0


@pytest.mark.parametrize("bend", [0.0, 4e-4, 1.5e-3])
def test_straight_pieces_stand_for_the_benchmarks_spline(bend: float) -> None:
    from scipy.interpolate import CubicSpline

    y = np.arange(250, 590, 20.0)
    curve = np.stack([700 + bend * (y - 250) ** 2, y], axis=1)
    fine = np.arange(250, 570.1, 1.0)
    spline = np.stack([CubicSpline(y, curve[:, 0])(fine), fine], axis=1)
    assert lane_ious([curve], [spline], SIZE)[0, 0] > 0.97


def test_masks_are_what_opencv_draws() -> None:
    a, b = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    for canvas, points in ((a, line(700, 0.3)), (b, line(709, 0.28))):
        for p, q in pairwise(points):
            cv2.line(canvas, tuple(map(int, np.rint(p))), tuple(map(int, np.rint(q))), 1, 30)
    expected = (a & b).sum() / (a | b).sum()
    assert lane_ious([line(700, 0.3)], [line(709, 0.28)], SIZE)[0, 0] == pytest.approx(expected, abs=1e-3)


def test_true_lines_without_number_are_drawn_by_turns() -> None:
    truth = [line(100 + 10 * i) for i in range(60)]
    tracemalloc.start()
    try:
        ious = lane_ious([line(300)], truth, SIZE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert int(ious.argmax()) == 20
    assert peak < 10 * SIZE[0] * SIZE[1]
