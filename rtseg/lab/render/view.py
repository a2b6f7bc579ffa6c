"""The camera that looks at the rendered road: rays, projection and polygons cut at the near plane.

Everything stands in the vehicle frame of `rtseg.camera.Mount`, with the camera above its origin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.camera import Camera
from rtseg.compiled import compiled

NEAR = 0.4  # metres in front of the camera at which geometry is cut


@compiled
def _rays(height: int, width: int, k: np.ndarray, d: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    rays = np.empty((height, width, 3), np.float32)
    for v in range(height):
        for w in range(width):
            xd = (w - k[0, 2]) / k[0, 0]
            yd = (v - k[1, 2]) / k[1, 1]
            x, y = xd, yd
            for _ in range(8):
                before = x
                r2 = min(x * x + y * y, 4.0)
                radial = 1 + r2 * (d[0] + r2 * (d[1] + r2 * d[4]))
                x = (xd - 2 * d[2] * x * y - d[3] * (r2 + 2 * x * x)) / radial
                y = (yd - d[2] * (r2 + 2 * y * y) - 2 * d[3] * x * y) / radial
                if abs(x - before) < 1e-7:
                    break
            for i in range(3):
                rays[v, w, i] = rotation[i, 0] * x + rotation[i, 1] * y + rotation[i, 2]
    return rays


class View:
    """A camera made ready: rotation, rays and projection in the vehicle frame."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.width, self.height = camera.width, camera.height
        self.rotation = camera.mount.rotation()
        self.eye = np.array([0.0, 0.0, camera.mount.height])
        self.focal = float(camera.K[0, 0])
        self.rays = _rays(
            camera.height,
            camera.width,
            camera.K.astype(np.float64),
            camera.distortion.astype(np.float64),
            self.rotation,
        )

    def optical(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take (k, 3) vehicle points to optical axes; column 2 is the depth in metres."""
        return (np.asarray(points, np.float64) - self.eye) @ self.rotation

    def pixels(self, optical: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project (k, 3) optical points with positive depth to (k, 2) pixels."""
        k, d = self.camera.K, self.camera.distortion
        depth = np.maximum(optical[:, 2], 1e-6)
        x, y = optical[:, 0] / depth, optical[:, 1] / depth
        r2 = np.minimum(x * x + y * y, 4.0)
        radial = 1 + r2 * (d[0] + r2 * (d[1] + r2 * d[4]))
        xd = x * radial + 2 * d[2] * x * y + d[3] * (r2 + 2 * x * x)
        yd = y * radial + d[2] * (r2 + 2 * y * y) + 2 * d[3] * x * y
        return np.stack([k[0, 0] * xd + k[0, 2], k[1, 1] * yd + k[1, 2]], axis=1)

    def project(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Project (k, 3) vehicle points: (k, 2) pixels, NaN behind the near plane, and (k,) depths in metres."""
        optical = self.optical(points)
        depth = optical[:, 2]
        with np.errstate(invalid="ignore"):
            pixels = self.pixels(optical)
        pixels[depth < NEAR] = np.nan
        return pixels, depth

    def polygon(self, points: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Project a (k, 3) vehicle polygon cut at the near plane; (m, 2) pixels or None where nothing is left."""
        optical = self.optical(points)
        depth = optical[:, 2]
        if (depth >= NEAR).all():
            return self.pixels(optical)
        if (depth < NEAR).all():
            return None
        kept = []
        for i in range(len(optical)):
            here, following = optical[i], optical[(i + 1) % len(optical)]
            if here[2] >= NEAR:
                kept.append(here)
            if (here[2] >= NEAR) != (following[2] >= NEAR):
                kept.append(here + (following - here) * ((NEAR - here[2]) / (following[2] - here[2])))
        return self.pixels(np.array(kept)) if len(kept) >= 3 else None
