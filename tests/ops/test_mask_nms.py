"""Suppression of masks against a few obvious lines, also where masks are equal, empty or tie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.ops.logistic import exp_negative, sigmoid
from rtseg.ops.mask_nms import fast_nms, mask_overlaps, matrix_nms


def random_masks(count: int, height: int, width: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Boxes, some of them equal or empty, with scores of which many tie."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), np.bool_)
    for i in range(count):
        if i and rng.random() < 0.3:
            masks[i] = masks[rng.integers(i)]
        elif rng.random() < 0.85:
            (y0, y1), (x0, x1) = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
            masks[i, y0:y1, x0:x1] = True
    return masks, (rng.integers(0, 5, count) / 4).astype(np.float32)


def better(scores: NDArray[np.float32], i: int, j: int) -> bool:
    return bool(scores[i] > scores[j] or (scores[i] == scores[j] and i < j))


def iou(masks: NDArray[np.bool_], i: int, j: int) -> float:
    either = (masks[i] | masks[j]).sum()
    return (masks[i] & masks[j]).sum() / either if either else 0.0


def reference_matrix(masks: NDArray[np.bool_], scores: NDArray[np.float32], kernel: str, sigma: float) -> list[float]:
    def f(overlap: float) -> float:
        return float(np.exp(-sigma * overlap**2)) if kernel == "gaussian" else 1.0 - overlap

    n = range(len(masks))
    lowered = []
    for j in n:
        weight = 1.0
        for i in (i for i in n if better(scores, i, j)):
            covered = max((iou(masks, k, i) for k in n if better(scores, k, i)), default=0.0)
            if f(covered) > 0:
                weight = min(weight, f(iou(masks, i, j)) / f(covered))
        lowered.append(float(scores[j]) * weight)
    return lowered


CASES = {
    "count": st.integers(0, 12),
    "height": st.integers(1, 9),
    "width": st.integers(1, 20),
    "seed": st.integers(0, 2**31),
}


@given(**CASES, kernel=st.sampled_from(["gaussian", "linear"]), sigma=st.sampled_from([0.5, 2.0]))
def test_matrix_nms_is_its_formula(count: int, height: int, width: int, seed: int, kernel: str, sigma: float) -> None:
    masks, scores = random_masks(count, height, width, seed)
    lowered = matrix_nms(masks, scores, kernel, sigma)  # type: ignore[arg-type]
    np.testing.assert_allclose(lowered, reference_matrix(masks, scores, kernel, sigma), rtol=2e-5, atol=1e-6)


@given(**CASES, threshold=st.sampled_from([0.0, 0.5, 1.0]))
def test_fast_nms_is_its_definition(count: int, height: int, width: int, seed: int, threshold: float) -> None:
    masks, scores = random_masks(count, height, width, seed)
    kept = fast_nms(masks, scores, threshold)
    for j in range(count):
        covered = any(better(scores, i, j) and iou(masks, i, j) > threshold for i in range(count))
        assert kept[j] == (not covered)


@given(**CASES)
def test_overlaps_count_shared_pixels(count: int, height: int, width: int, seed: int) -> None:
    masks, _ = random_masks(count, height, width, seed)
    flat = masks.reshape(count, height * width).astype(np.int64)
    np.testing.assert_array_equal(mask_overlaps(masks), flat @ flat.T)


def test_equal_masks_leave_the_first_of_the_best() -> None:
    masks = np.ones((5, 3, 70), np.bool_)
    scores = np.array([0.5, 0.9, 0.9, 0.2, 0.9], np.float32)
    np.testing.assert_array_equal(fast_nms(masks, scores), [False, True, False, False, False])
    np.testing.assert_array_equal(matrix_nms(masks, scores, "linear"), [0, np.float32(0.9), 0, 0, 0])
    lowered = matrix_nms(masks, scores)
    assert lowered[1] == np.float32(0.9)
    assert lowered[2] == pytest.approx(0.9 * np.exp(-2), rel=1e-5)


def test_disjoint_and_empty_masks_are_left_alone() -> None:
    masks = np.zeros((6, 4, 8), np.bool_)
    for i in range(4):
        masks[i, i] = True
    scores = np.linspace(0.1, 1, 6).astype(np.float32)
    for kernel in ("gaussian", "linear"):
        np.testing.assert_array_equal(matrix_nms(masks, scores, kernel), scores)  # type: ignore[arg-type]
    assert fast_nms(masks, scores).all()


def test_strided_masks_and_float64_scores() -> None:
    masks, scores = random_masks(8, 10, 40, 3)
    found = matrix_nms(masks[:, ::2, ::-2], scores.astype(np.float64))
    np.testing.assert_array_equal(found, matrix_nms(masks[:, ::2, ::-2].copy(), scores))


def test_exponential_and_logistic() -> None:
    x = np.linspace(0, 86, 20001).astype(np.float32)
    found = np.array([exp_negative(value) for value in x])
    np.testing.assert_allclose(found, np.exp(-x.astype(np.float64)), rtol=4e-7)
    assert exp_negative(np.float32(1000.0)) == 0 == exp_negative(np.float32(np.inf))
    signed = np.concatenate([-x, x])
    np.testing.assert_allclose(
        [sigmoid(value) for value in signed], 1 / (1 + np.exp(-signed.astype(np.float64))), rtol=5e-7
    )


@pytest.mark.parametrize(
    ("masks", "scores"),
    [
        (np.zeros((2, 3, 4), np.uint8), np.zeros(2)),
        (np.zeros((2, 3), np.bool_), np.zeros(2)),
        (np.zeros((2, 3, 4), np.bool_), np.zeros(3)),
        (np.zeros((2, 3, 4), np.bool_), np.array([0.5, np.nan])),
        (np.zeros((2, 3, 4), np.bool_), np.array([0.5, -0.1])),
        ([1, 2], np.zeros(2)),
    ],
)
def test_what_does_not_fit_is_refused(masks: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
    with pytest.raises(ArgumentError, match="expected masks"):
        matrix_nms(masks, scores)
    with pytest.raises(ArgumentError, match="expected masks"):
        fast_nms(masks, scores)


def test_bad_parameters_are_refused() -> None:
    masks, scores = np.zeros((1, 2, 2), np.bool_), np.zeros(1)
    for call in (
        lambda: matrix_nms(masks, scores, "cosine"),  # type: ignore[arg-type]
        lambda: matrix_nms(masks, scores, sigma=0.0),
        lambda: fast_nms(masks, scores, 1.5),
    ):
        with pytest.raises(ArgumentError, match="threshold"):
            call()
