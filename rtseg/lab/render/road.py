"""The shape of the road: a centerline in the vehicle frame, and the way between pixels and road coordinates.

Road coordinates are (s, u): metres along the centerline from the vehicle, and metres to the left of it. The ground's
height depends on the distance forward alone, so a pixel's ray meets the ground where one monotone table says, crests
included, and picture and truth share the same formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled

BACK, REACH, STEP = 20.0, 320.0, 0.5  # metres behind and ahead of the vehicle that are traced, and the tables' step
FAR = 4000.0
SLOPES = 8192


@dataclass(frozen=True)
class RoadShape:
    """Centerline samples, each (m,) float64: arc length s, position x, y, heading; and height z over x."""

    s: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    heading: NDArray[np.float64]
    ground_x: NDArray[np.float64]
    ground_z: NDArray[np.float64]

    def height(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ground height in metres at forward distance x."""
        return np.interp(x, self.ground_x, self.ground_z)

    def points(
        self, s: NDArray[np.float64] | float, u: NDArray[np.float64] | float, up: float = 0.0
    ) -> NDArray[np.float64]:
        """(k, 3) vehicle-frame points at road coordinates (s, u), `up` metres above the ground."""
        s = np.atleast_1d(np.asarray(s, np.float64))
        heading = np.interp(s, self.s, self.heading)
        beyond = np.maximum(s - self.s[-1], 0.0)
        x = np.interp(s, self.s, self.x) + beyond * np.cos(heading) - u * np.sin(heading)
        y = np.interp(s, self.s, self.y) + beyond * np.sin(heading) + u * np.cos(heading)
        return np.stack([x, y, self.height(x) + up], axis=1)


def trace(curvature: NDArray[np.float64], vertical: NDArray[np.float64], offset: float, heading: float) -> RoadShape:
    """Integrate the road as the vehicle sees it.

    Args:
        curvature: 1/m, positive to the left, at `grid()`.
        vertical: change of slope per metre at `grid()`, positive where the road bends upwards.
        offset: the vehicle's u in metres.
        heading: the vehicle's heading against the road in radians, positive to the left.
    """
    s = grid()
    origin = round(BACK / STEP)

    def integrate(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) * (STEP / 2))])
        return total - total[origin]

    angle = integrate(curvature) - heading
    x = integrate(np.cos(angle)) + offset * np.sin(angle[origin])
    y = integrate(np.sin(angle)) - offset * np.cos(angle[origin])
    z = integrate(integrate(vertical))
    # The tables are read by x: keep the stretch where x grows briskly, go on straight from there.
    steep = np.abs(angle) > 1.15
    last = int(np.argmax(steep[origin:])) + origin if steep[origin:].any() else len(s)
    first = len(s[:origin]) - int(np.argmax(steep[:origin][::-1])) if steep[:origin].any() else 0
    keep = slice(first, max(last, origin + 8))
    return RoadShape(s[keep], x[keep], y[keep], angle[keep], x[keep], z[keep])


def grid() -> NDArray[np.float64]:
    """Arc lengths at which `trace` wants the curvatures."""
    return np.arange(-BACK, REACH + STEP / 2, STEP)


@dataclass(frozen=True)
class GroundMaps:
    """What every pixel sees of the ground; arrays (H, W) float32, x = inf where it sees none.

    `s` and `u` road coordinates, `x` and `y` vehicle frame, `ds` and `du` the pixel's footprint along s and u, metres.
    """

    s: NDArray[np.float32]
    u: NDArray[np.float32]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    ds: NDArray[np.float32]
    du: NDArray[np.float32]


def slope_table(shape: RoadShape, eye: float) -> tuple[NDArray[np.float64], float, float]:
    """Table of 1/x by the ray's slope dz/dx: the first ground met, so that a crest hides what lies behind it."""
    ahead = shape.ground_x > 0.3
    x, z = shape.ground_x[ahead], shape.ground_z[ahead]
    grade = (z[-1] - z[-5]) / (x[-1] - x[-5])
    far = np.geomspace(x[-1] + 1, FAR, 60)
    x, z = np.append(x, far), np.append(z, z[-1] + grade * (far - x[-1]) * np.exp(-(far - x[-1]) / 400))
    slope = np.maximum.accumulate((z - eye) / x)
    rising = np.append(True, np.diff(slope) > 1e-9)
    slopes = np.linspace(slope[0], slope[rising][-1], SLOPES)
    return np.interp(slopes, slope[rising], 1 / x[rising]), float(slopes[0]), float(slopes[-1])


@compiled
def _ground(
    rays: np.ndarray,
    inverse: np.ndarray,
    low: float,
    high: float,
    table: np.ndarray,
    x_first: float,
    step: float,
    eye: float,
    focal: float,
) -> np.ndarray:
    height, width = rays.shape[:2]
    out = np.empty((6, height, width), np.float32)
    count = table.shape[1]
    scale = (inverse.size - 1) / (high - low)
    for v in range(height):
        for w in range(width):
            dx, dy, dz = rays[v, w, 0], rays[v, w, 1], rays[v, w, 2]
            r = dz / dx if dx > 1e-6 else 1e9
            if r >= high:
                out[:, v, w] = np.inf
                continue
            if r <= low:
                x = -eye / r
            else:
                t = (r - low) * scale
                i = min(int(t), inverse.size - 2)
                x = 1.0 / (inverse[i] + (inverse[i + 1] - inverse[i]) * (t - i))
            y = x * dy / dx
            # Foot of the perpendicular on the centerline, by two steps along its tangent.
            foot = x
            s = u = sn = 0.0
            c = 1.0
            for _ in range(3):
                t = (foot - x_first) / step
                i = min(max(int(t), 0), count - 2)
                f = t - i
                s = table[0, i] + (table[0, i + 1] - table[0, i]) * f
                yc = table[1, i] + (table[1, i + 1] - table[1, i]) * f
                g = min(max(f, 0.0), 1.0)
                c = table[2, i] + (table[2, i + 1] - table[2, i]) * g
                sn = table[3, i] + (table[3, i + 1] - table[3, i]) * g
                along = (x - foot) * c + (y - yc) * sn
                u = -(x - foot) * sn + (y - yc) * c
                s += along
                foot += along * c
                if abs(along) < 0.005:
                    break
            c, sn = abs(c), abs(sn)
            across = x / focal
            forward = min(x * x / (eye * focal), 30.0)
            out[0, v, w], out[1, v, w], out[2, v, w], out[3, v, w] = s, u, x, y
            out[4, v, w] = forward * c + across * sn
            out[5, v, w] = across * c + forward * sn
    return out


def ground_maps(shape: RoadShape, rays: NDArray[np.float32], eye: float, focal: float) -> GroundMaps:
    """Road coordinates of every pixel.

    Args:
        shape: the road.
        rays: (H, W, 3) float32 directions in the vehicle frame.
        eye: camera height in metres.
        focal: focal length in pixels.
    """
    inverse, low, high = slope_table(shape, eye)
    x = np.arange(shape.x[0], shape.x[-1], STEP / 2)
    heading = np.interp(x, shape.x, shape.heading)
    table = np.stack([np.interp(x, shape.x, shape.s), np.interp(x, shape.x, shape.y), np.cos(heading), np.sin(heading)])
    return GroundMaps(*_ground(rays, inverse, low, high, table, float(x[0]), STEP / 2, eye, focal))
