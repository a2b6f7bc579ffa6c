"""How lenses bend rays: the models of ROS' ``camera_info``, there and back."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import CalibrationError

PLUMB_BOB, RATIONAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
COEFFICIENTS = {PLUMB_BOB: 5, RATIONAL: 8, EQUIDISTANT: 4}
"""By model: k1, k2, p1, p2, k3; those and k4, k5, k6 of the denominator; k1 to k4 of the angle (a fisheye's)."""

_UNDISTORT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-10)
_NEWTON_STEPS = 20
_WIDEST = np.deg2rad(89.0)  # from the axis: beyond, a ray has no place in a plane before the camera


def lens_of(model: str, values: NDArray[np.float64]) -> tuple[str, NDArray[np.float64]]:
    """Settle which of the models is meant, and fill up its coefficients.

    Args:
        model: as in ``distortion_model``; empty or ``none`` without coefficients is no distortion, ``fisheye`` is
            another word for equidistant.
        values: the coefficients given; those missing at the end are 0. Zeros beyond the model's own are left out.

    Returns:
        The model, the simplest that the coefficients allow, and as many of them as it has.

    Raises:
        CalibrationError: another model, or coefficients that it does not have.
    """
    name = EQUIDISTANT if model == "fisheye" else model
    if name == "" or (name == "none" and not values.any()):
        name = PLUMB_BOB
    count = COEFFICIENTS.get(name, 0)
    if not count or values[count:].any():
        more = f" with {values.size} coefficients" if count else ""
        raise CalibrationError(
            f"expected distortion of one of the models {', '.join(COEFFICIENTS)}, got {model!r:.80}{more}; calibrate "
            "with rtseg calibrate camera, or rectify the pictures first (image_rect)"
        )
    if name == RATIONAL and not values[COEFFICIENTS[PLUMB_BOB] :].any():
        name, count = PLUMB_BOB, COEFFICIENTS[PLUMB_BOB]
    filled = np.zeros(count)
    filled[: values.size] = values[:count]
    return name, filled


def distort(points: NDArray[np.float64], model: str, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where rays through (k, 2) points of the plane at depth 1 seem to pass through it, (k, 2)."""
    x, y = points.T
    with np.errstate(over="ignore", invalid="ignore"):
        r2 = x * x + y * y
        if model == EQUIDISTANT:
            radius = np.sqrt(r2)
            angle = np.arctan(radius)
            scale = np.where(radius > 0, _bent(angle, coefficients) / np.where(radius > 0, radius, 1.0), 1.0)
            return points * scale[:, None]
        k1, k2, p1, p2, k3 = coefficients[:5]
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        if model == RATIONAL:
            k4, k5, k6 = coefficients[5:]
            radial = radial / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([xd, yd], axis=1)


def undistort(
    pixels: NDArray[np.float64], matrix: NDArray[np.float64], model: str, coefficients: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The points (k, 2) of the plane at depth 1 that finite pixels (k, 2) show.

    Beyond some radius a model may fold over, and the iteration ends anywhere: whoever asks checks by :func:`distort`.
    What a fisheye sees at a right angle to its axis or beyond is NaN.
    """
    if model == EQUIDISTANT:
        return _undistort_equidistant((pixels - matrix[:2, 2]) / matrix[[0, 1], [0, 1]], coefficients)
    if hasattr(cv2, "undistortPointsIter"):  # OpenCV 4, which stops after 5 rounds if it is not told otherwise
        found = cv2.undistortPointsIter(pixels[:, None], matrix, coefficients, None, None, _UNDISTORT)
    else:
        found = cv2.undistortPoints(pixels[:, None], matrix, coefficients, criteria=_UNDISTORT)
    return np.asarray(found, np.float64).reshape(-1, 2)


def _bent(angle: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    k1, k2, k3, k4 = coefficients
    a2 = angle * angle
    return angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))


def _undistort_equidistant(plain: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Newton's steps from the bent angle to the true one."""
    k1, k2, k3, k4 = coefficients
    bent = np.hypot(*plain.T)
    angle = np.minimum(bent, _WIDEST)
    for _ in range(_NEWTON_STEPS):
        a2 = angle * angle
        slope = 1 + a2 * (3 * k1 + a2 * (5 * k2 + a2 * (7 * k3 + a2 * 9 * k4)))
        step = (_bent(angle, coefficients) - bent) / np.where(np.abs(slope) > 1e-6, slope, 1e-6)
        angle = np.clip(angle - step, 0.0, np.pi / 2)
    scale = np.where(bent > 0, np.tan(np.minimum(angle, _WIDEST)) / np.where(bent > 0, bent, 1.0), 1.0)
    found = plain * scale[:, None]
    found[angle > _WIDEST] = np.nan
    return found
