"""The CULane benchmark's F1: lanes as curves 30 px wide, matched one to one by IoU.

Drawn on 1640x590 images; other sizes are scaled to that width, so that 30 px mean the same share of the road. The
benchmark interpolates sparse points with a cubic spline before drawing; lanes here have a point every few rows, between
which a straight line differs by less than a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.ops.assignment import assign

WIDTH = 1640
LANE_WIDTH = 30
IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class CulaneScore:
    """Counts over one image or many; scores are computed from the sums, as the benchmark does."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def __add__(self, other: CulaneScore) -> CulaneScore:
        return CulaneScore(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def precision(self) -> float:
        """Share of the predicted lanes that are right."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the true lanes that were found."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _share(2 * self.precision * self.recall, self.precision + self.recall)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def score_image(
    predicted: Sequence[NDArray[np.floating]],
    truth: Sequence[NDArray[np.floating]],
    size: tuple[int, int],
    iou_threshold: float = IOU_THRESHOLD,
) -> CulaneScore:
    """Count the lanes of one image.

    Args:
        predicted: polylines (k, 2) of (x, y) in pixels; those with fewer than two points are ignored.
        truth: likewise.
        size: (height, width) of the image.
        iou_threshold: a pair counts when its IoU is greater.
    """
    return count_matches(match_lanes(predicted, truth, size, iou_threshold), predicted, truth)


def count_matches(
    matches: NDArray[np.int64], predicted: Sequence[NDArray[np.floating]], truth: Sequence[NDArray[np.floating]]
) -> CulaneScore:
    """Count what `match_lanes` gave for the same lanes."""
    found, true = (sum(len(line) >= 2 for line in lines) for lines in (predicted, truth))
    matched = int((matches >= 0).sum())
    return CulaneScore(matched, found - matched, true - matched)


def match_lanes(
    predicted: Sequence[NDArray[np.floating]],
    truth: Sequence[NDArray[np.floating]],
    size: tuple[int, int],
    iou_threshold: float = IOU_THRESHOLD,
) -> NDArray[np.int64]:
    """Give the true lane that each predicted one matches, (len(predicted),) int64, -1 where none.

    The arguments are those of `score_image`.
    """
    found = [i for i, line in enumerate(predicted) if len(line) >= 2]
    true = [j for j, line in enumerate(truth) if len(line) >= 2]
    overlaps = lane_ious([predicted[i] for i in found], [truth[j] for j in true], size)
    matches = np.full(len(predicted), -1, dtype=np.int64)
    # The benchmark pairs for the largest sum of IoUs first and compares with the threshold after; a large limit makes
    # every pair worth having.
    for i, j in enumerate(assign(1.0 - overlaps, limit=1e3)):
        if j >= 0 and overlaps[i, j] > iou_threshold:
            matches[found[i]] = true[j]
    return matches


def lane_ious(
    first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]], size: tuple[int, int]
) -> NDArray[np.float64]:
    """IoU of every pair of lanes drawn 30 px wide, (len(first), len(second)) float64; `first` is held in memory."""
    height, width = size
    scale = WIDTH / width
    shape = (round(height * scale), WIDTH)
    ours = [_draw(line * scale, shape) for line in first]
    ious = np.zeros((len(first), len(second)))
    for j, line in enumerate(second):  # drawn by turns: labels may have lines without number, of 1 MB each
        theirs = _draw(line * scale, shape)
        for i, a in enumerate(ours):
            union = np.count_nonzero(a | theirs)
            ious[i, j] = np.count_nonzero(a & theirs) / union if union else 0.0
    return ious


def _draw(line: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.bool_]:
    canvas = np.zeros(shape, dtype=np.uint8)
    points = np.rint(np.clip(line, -(2**14), 2**14)).astype(np.int32)[:, None]
    cv2.polylines(canvas, [points], False, 1, LANE_WIDTH)
    return canvas.astype(bool)
