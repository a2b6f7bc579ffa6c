"""The confidence of a lane line: how often a line of which the same was measured is right."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtseg.errors import ArgumentError

_LEAST = 1e-3  # of a probability, and of what it lacks of 1, in its logarithm
_LARGEST = 700.0  # whose exponential is a number
_STEPS = 100

Calibration = tuple[float, float, float]


def share_of_right(evidence: float, slenderness: float, calibration: Calibration) -> float:
    """Give the share of right lines among those of which this was measured.

    It is ``1 / (1 + exp(-(offset + a logit(evidence) + b log(slenderness))))``: lines grow surer with the probability
    along them, and with their length in widths of their stroke, for what is made up is short and smeared.

    Args:
        evidence: in [0, 1], as :class:`rtseg.lanes.DetectedLanes` has it among its measures.
        slenderness: likewise.
        calibration: (offset, a, b).

    Returns:
        in [0, 1].
    """
    offset, a, b = calibration
    logit, log = _terms(evidence, slenderness)
    return 1 / (1 + math.exp(min(-(offset + a * logit + b * log), _LARGEST)))


def fit_calibration(measures: ArrayLike, right: ArrayLike, weight: ArrayLike, penalty: float = 1e-4) -> Calibration:
    """Fit a calibration to lines that are known to be right or wrong, by logistic regression (Newton's method).

    Args:
        measures: (n, 2) evidence and slenderness, as in :func:`share_of_right`.
        right: (n,) bool.
        weight: (n,) how much each line counts; only their ratios matter.
        penalty: on the squares of a and b, against perfect separation.

    Raises:
        ArgumentError: there are not both right and wrong lines, or the confidence would fall with the evidence or the
            slenderness.
    """
    truth = np.asarray(right, dtype=np.float64)
    lines: list[list[float]] = np.asarray(measures, dtype=np.float64).reshape(-1, 2).tolist()
    terms = np.array([(1.0, *_terms(evidence, slenderness)) for evidence, slenderness in lines])
    share = np.asarray(weight, dtype=np.float64) / max(float(np.sum(weight)), 1e-12)
    if len(np.unique(truth[share > 0])) < 2:  # their share of the whole would be 1 but for rounding
        raise ArgumentError("expected right and wrong lines to fit a calibration to, got one kind only; add frames")
    found = fit_logistic(terms, truth, share, penalty)
    offset, a, b = (round(float(value), 3) for value in found)
    if not (a >= 0 and b >= 0):
        raise ArgumentError(
            f"expected lines to be right more often the surer and the longer they are, got slopes {a} and {b}; "
            "add frames, or leave the confidence as it is"
        )
    return offset, a, b


def fit_logistic(
    features: NDArray[np.float64], truth: NDArray[np.float64], share: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """Logistic regression on three features by Newton's method.

    Args:
        features: (n, 3), the first of them 1.
        truth: (n,) in [0, 1].
        share: (n,) of each in the whole, which is 1.
        penalty: on the squares of the last two weights, against perfect separation.

    Returns:
        (3,) weights of the features, whose sum is the log-odds.
    """
    middle, ridge = features.mean(axis=0) * [0, 1, 1], np.diag([0.0, penalty, penalty])
    shifted, found = features - middle, np.zeros(3)  # shifted, the three hardly depend on each other
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-shifted @ found))
        gradient = shifted.T @ (share * (probability - truth)) + ridge @ found
        curvature = (shifted * (share * probability * (1 - probability))[:, None]).T @ shifted + ridge
        step = np.linalg.solve(curvature + 1e-9 * np.eye(3), gradient)
        found -= step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    found[0] -= middle @ found
    return found


def check_calibration(calibration: Calibration | None) -> None:
    """Refuse what is no calibration.

    Raises:
        ArgumentError: it is not None and not three finite numbers of which the slopes are 0 or more.
    """
    if calibration is None:
        return
    numbers = len(calibration) == 3 and all(isinstance(value, int | float) for value in calibration)
    if not (numbers and np.isfinite(calibration).all() and min(calibration[1:]) >= 0):
        raise ArgumentError(
            f"expected a calibration of three finite numbers, the last two of them 0 or more, got {calibration}"
        )


def _terms(evidence: float, slenderness: float) -> tuple[float, float]:
    evidence = min(max(evidence, _LEAST), 1 - _LEAST)
    return math.log(evidence / (1 - evidence)), math.log(max(slenderness, _LEAST))
