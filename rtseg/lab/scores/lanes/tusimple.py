"""The TuSimple lane benchmark's scores: accuracy, false positives, false negatives.

The rules are the challenge's, oddities included, so that figures can stand beside published ones:

- a point is right if its x is nearer than 20 px / cos(angle), the angle being that of a straight fit to the true lane;
- rows on which both lanes are absent count as right, and the denominator is the number of rows of the image;
- a true lane takes its best prediction's accuracy, and is matched from 0.85 on; one prediction may match several;
- of five true lanes the worst is forgiven, once in the accuracy and once in the misses; the benchmark has no more than
  five, and where there are more, all but the best four are forgiven, lest the accuracy exceed 1;
- an image with more than two predictions too many, or taking more than 200 ms, scores (0, 0, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtseg.errors import DatasetError

PIXEL_THRESHOLD = 20.0
MATCHED = 0.85
MAX_MILLISECONDS = 200.0
ABSENT = -2.0
_FAR = -100.0  # where absent points are put: two absent ones agree, one absent and one present never do


@dataclass(frozen=True)
class TusimpleScore:
    """Scores of one image, or their means over many.

    Attributes:
        accuracy: share of right points, averaged over lanes (at most four in the denominator).
        false_positive: predicted lanes that match no true lane, as a share of the predicted.
        false_negative: true lanes that were missed, as a share of the true.
        recall: equation 9 of the L2C paper: right points as a share of the true lane's own points, averaged over lanes.
    """

    accuracy: float
    false_positive: float
    false_negative: float
    recall: float


def score_image(
    predicted: ArrayLike, truth: ArrayLike, h_samples: ArrayLike, milliseconds: float = 0.0
) -> TusimpleScore:
    """Score the lanes of one image.

    Args:
        predicted: (p, m) x in pixels at each row; negative or NaN where a lane is absent.
        truth: (n, m) x in pixels at each row; negative where a lane is absent.
        h_samples: (m,) rows in pixels.
        milliseconds: time the image took.

    Raises:
        DatasetError: the lanes do not fit the rows.
    """
    rows = np.asarray(h_samples, dtype=np.float64)
    found, true = _points(predicted, rows), _points(truth, rows)
    recall = _recall(found, true)
    if milliseconds > MAX_MILLISECONDS or len(found) > len(true) + 2:
        return TusimpleScore(0.0, 0.0, 1.0, recall)
    thresholds = np.array([PIXEL_THRESHOLD / np.cos(_angle(lane, rows)) for lane in true])
    right = np.abs(found[None] - true[:, None]) < thresholds[:, None, None]  # (n, p, m)
    best = right.mean(axis=2).max(axis=1, initial=0.0)
    matched = int(np.count_nonzero(best >= MATCHED))
    forgiven = max(0, len(true) - 4)
    missed = max(0, len(true) - matched - forgiven)
    total = float(np.sort(best)[forgiven:].sum())
    return TusimpleScore(
        accuracy=total / max(min(4, len(true)), 1),
        false_positive=(len(found) - matched) / len(found) if len(found) else 0.0,
        false_negative=missed / max(len(true), 1),
        recall=recall,
    )


def mean_score(scores: Sequence[TusimpleScore]) -> TusimpleScore:
    """Average over images, as the benchmark does."""
    if not scores:
        return TusimpleScore(0.0, 0.0, 0.0, 0.0)
    table = np.array([(s.accuracy, s.false_positive, s.false_negative, s.recall) for s in scores])
    return TusimpleScore(*table.mean(axis=0).tolist())


def _points(lanes: ArrayLike, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        points = np.asarray(lanes, dtype=np.float64)
    except ValueError:  # ragged
        points = np.full((1, 0), np.nan)
    if points.size == 0 and not points.shape[0]:
        points = np.zeros((0, rows.size))
    if points.ndim != 2 or points.shape[1] != rows.size:
        raise DatasetError(f"expected lanes with one point for each of {rows.size} rows, got others; sample them anew")
    return np.where(points >= 0, points, _FAR)  # NaN compares false


def _angle(lane: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    """Angle of the least-squares line x = k y + c through the lane's points, zero with fewer than two."""
    seen = lane >= 0
    if np.count_nonzero(seen) < 2:
        return 0.0
    y, x = rows[seen] - rows[seen].mean(), lane[seen] - lane[seen].mean()
    return float(np.arctan((y @ x) / (y @ y)))


def _recall(found: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    present = [lane >= 0 for lane in true]
    shares = [
        (np.abs(found[:, seen] - lane[seen]) < PIXEL_THRESHOLD).mean(axis=1).max(initial=0.0)
        for lane, seen in zip(true, present, strict=True)
        if seen.any()
    ]
    return float(np.mean(shares)) if shares else 1.0
