"""Between pixels and metres on a flat ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.camera import Camera
from rtseg.camera.lens import EQUIDISTANT, distort, undistort
from rtseg.errors import CalibrationError

_ROUND_TRIP = 0.5  # pixels by which a point may miss itself after undistortion and distortion


class GroundPlane:
    """The ground as one camera sees it, taken to be flat: z = 0 in the vehicle frame (x forward, y left, z up).

    Attributes:
        camera: the camera whose pixels are meant.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self._rotation = camera.mount.rotation()
        self._eye = np.array([*camera.mount.position, camera.mount.height])
        self._distorted = camera.distortion_model == EQUIDISTANT or bool(camera.distortion.any())

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Take pixels to the ground.

        Args:
            points: (k, 2) pixels (x, y) of the camera's image.

        Returns:
            (k, 3) metres in the vehicle frame, z = 0; NaN for pixels at or above the horizon, where the lens model
            cannot be inverted, and for NaN pixels.

        Raises:
            CalibrationError: if `points` is not (k, 2).
        """
        pixels = _columns(points, 2)
        rays = np.column_stack([self._normalized(pixels), np.ones(len(pixels))]) @ self._rotation.T
        ground = np.full((len(pixels), 3), np.nan)
        with np.errstate(invalid="ignore"):
            below = rays[:, 2] < -1e-6
        distance = self._eye[2] / -rays[below, 2]
        ground[below] = self._eye + rays[below] * distance[:, None]
        ground[below, 2] = 0
        return ground

    def unproject(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Take points of the vehicle frame to pixels.

        Args:
            points: (k, 3) metres, or (k, 2) for points on the ground.

        Returns:
            (k, 2) pixels, which may lie outside the image; NaN for points beside or behind the camera.

        Raises:
            CalibrationError: if `points` is neither (k, 2) nor (k, 3).
        """
        given = np.asarray(points, np.float64)
        if given.ndim == 2 and given.shape[1] == 2:
            given = np.column_stack([given, np.zeros(len(given))])
        optical = (_columns(given, 3) - self._eye) @ self._rotation
        pixels = np.full((len(optical), 2), np.nan)
        with np.errstate(invalid="ignore"):
            ahead = optical[:, 2] > 1e-3
        pixels[ahead] = self._distort(optical[ahead, :2] / optical[ahead, 2:])
        return pixels

    def _normalized(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels to undistorted image coordinates at depth 1; NaN where the lens model folds over."""
        matrix = self.camera.K
        plain = (pixels - matrix[:2, 2]) / matrix[[0, 1], [0, 1]]
        if not self._distorted or not len(pixels):
            return plain
        finite = np.isfinite(pixels).all(axis=1)
        result = np.full_like(pixels, np.nan)
        if finite.any():
            found = undistort(pixels[finite], matrix, self.camera.distortion_model, self.camera.distortion)
            missed = np.abs(self._distort(found) - pixels[finite]).max(axis=1)
            found[~(missed < _ROUND_TRIP)] = np.nan
            result[finite] = found
        return result

    def _distort(self, normalized: NDArray[np.float64]) -> NDArray[np.float64]:
        bent = distort(normalized, self.camera.distortion_model, self.camera.distortion)
        return bent * self.camera.K[[0, 1], [0, 1]] + self.camera.K[:2, 2]


def _columns(points: NDArray[np.floating], columns: int) -> NDArray[np.float64]:
    array = np.asarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] != columns:
        raise CalibrationError(f"expected points of shape (k, {columns}), got {array.shape}")
    return array
