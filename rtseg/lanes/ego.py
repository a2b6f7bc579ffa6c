"""The lane that the vehicle drives in: its boundaries, width, and where and how the vehicle stands in it, in metres."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtseg.lanes.ground import GroundPlane
from rtseg.results import Lanes

_REACH = 45.0  # metres ahead up to which boundaries are fitted: a pixel is a metre there
_LEAST_POINTS = 4
_LEAST_LENGTH = 4.0  # metres; a shorter stretch says no direction
_NEAR = 6.0  # metres; nearer points are as sure as those there
_ROBUST = 0.1  # metres off the curve from which a point loses weight
_STRAIGHT = 6.0  # weight of the prior that roads are straight, by the square of the curvature in 1 / m
_ROUNDS = 6
_ALIKE = 24.0  # times by which what draws a whole line aside is more than its points' scatter (`rtseg lab ego-lane`)
_LEAST_SCATTER = 0.001  # metres, of lines however smooth
_LEAST_CONFIDENCE = 0.1


@dataclass(frozen=True)
class EgoLane:
    """The own lane on a flat ground, in the vehicle frame (x forward, y left); what is not known is NaN.

    Boundaries are ``y(x) = c + t x + k x^2 / 2``, with one curvature k for both.

    Attributes:
        left: id of the line left of the vehicle, 0 if there is none.
        right: id of the line right of it, 0 if there is none.
        left_distance: metres from the vehicle's origin to the left boundary; NaN without one.
        right_distance: the same to the right.
        heading: radians by which the vehicle points left of the lane; NaN without boundaries.
        curvature: 1 / m, positive where the lane bends left; NaN without boundaries.
        slopes: (left, right) t of each boundary; NaN without it. On flat ground, with the camera's pitch as it was
            calibrated, they are alike.
        covariance: (4, 4) float64 of offset, heading, curvature and width; NaN for what is not known. From how the
            lines' points scatter about the curves and how sure the less sure line is. How far calibration and flat
            ground are off is not in it.
    """

    left: int = 0
    right: int = 0
    left_distance: float = float("nan")
    right_distance: float = float("nan")
    heading: float = float("nan")
    curvature: float = float("nan")
    slopes: tuple[float, float] = (float("nan"), float("nan"))
    covariance: NDArray[np.float64] = field(default_factory=lambda: np.full((4, 4), np.nan), compare=False)

    @property
    def width(self) -> float:
        """Metres from boundary to boundary; NaN unless both are known."""
        return self.left_distance + self.right_distance

    @property
    def offset(self) -> float:
        """Metres by which the vehicle's origin is left of the lane's middle; NaN unless both boundaries are known."""
        return (self.right_distance - self.left_distance) / 2

    @property
    def spreads(self) -> tuple[float, float, float, float]:
        """Standard deviations of offset (m), heading (rad), curvature (1 / m) and width (m); NaN where not known."""
        offset, heading, curvature, width = np.sqrt(np.diag(self.covariance)).tolist()
        return offset, heading, curvature, width

    def boundaries(self, ahead: float) -> tuple[float, float]:
        """Give the y of the left and the right boundary at x = `ahead` metres; NaN for one that is not known."""
        bend = self.curvature * ahead * ahead / 2
        left, right = (start + slope * ahead + bend for start, slope in zip(self._starts(), self.slopes, strict=True))
        return left, right

    def center(self, ahead: float) -> float:
        """Give the y of the lane's middle at x = `ahead` metres; NaN unless both boundaries are known."""
        left, right = self.boundaries(ahead)
        return (left + right) / 2

    def center_spread(self, ahead: float) -> float:
        """Give the standard deviation of :meth:`center`, in metres, at x = `ahead` metres."""
        slope = float(np.mean(self.slopes))
        along = np.array([-1.0, -(1 + slope * slope) * ahead, ahead * ahead / 2])
        return float(np.sqrt(along @ self.covariance[:3, :3] @ along))

    def describe(self) -> str:
        """One line for people, ``lane 3.6 m, 0.12 m left of its middle, heading 0.8 deg right``; "" if unknown."""
        if not np.isfinite(self.heading):
            return ""
        parts = []
        if np.isfinite(self.width):
            parts.append(f"lane {self.width:.1f} m, {_sided(self.offset, 'm', 2)} of its middle")
        else:
            side, distance = ("left", self.left_distance) if self.left else ("right", self.right_distance)
            parts.append(f"{distance:.2f} m to the {side} line")
        return f"{parts[0]}, heading {_sided(float(np.degrees(self.heading)), 'deg', 1)}"

    def _starts(self) -> tuple[float, float]:
        return self.left_distance, -self.right_distance


def ego_lane(lanes: Lanes, plane: GroundPlane) -> EgoLane:
    """Find the own lane among the lines of a frame, and the vehicle's place in it.

    The line nearest to the vehicle's origin at each side bounds the own lane, told on the ground, so that a camera that
    looks aside or sits off the middle is allowed for. Both are fitted at once, robustly, near points counting most.

    Args:
        lanes: of one frame.
        plane: of the camera, for frames of the size of the lanes' mask.

    Returns:
        The own lane; without boundaries if no line is long and near enough.
    """
    curves = {
        int(identity): points
        for identity, line in zip(lanes.ids, lanes.polylines, strict=True)
        if len(points := _on_ground(line, plane)) >= _LEAST_POINTS and np.ptp(points[:, 0]) >= _LEAST_LENGTH
    }
    starts = {identity: _fit([points])[0][0] for identity, points in curves.items()}
    lefts = [identity for identity, start in starts.items() if start >= 0]
    rights = [identity for identity, start in starts.items() if start < 0]
    left = min(lefts, key=lambda identity: starts[identity], default=0)
    right = max(rights, key=lambda identity: starts[identity], default=0)
    bounds = [identity for identity in (left, right) if identity]
    if not bounds:
        return EgoLane()
    found, covariance = _fit([curves[identity] for identity in bounds])
    confidence = float(lanes.confidence[np.isin(lanes.ids, bounds)].min())
    count = len(bounds)
    distance = dict(zip(bounds, found[:count].tolist(), strict=True))
    slope = dict(zip(bounds, found[count : 2 * count].tolist(), strict=True))
    unknown = float("nan")
    return EgoLane(
        left=left,
        right=right,
        left_distance=distance.get(left, unknown),
        right_distance=-distance.get(right, unknown),
        heading=-float(np.arctan(np.mean(list(slope.values())))),
        curvature=float(found[-1]),
        slopes=(slope.get(left, unknown), slope.get(right, unknown)),
        covariance=_of_the_lane(covariance, float(np.mean(list(slope.values()))))
        * (_ALIKE / max(confidence, _LEAST_CONFIDENCE)) ** 2,
    )


def _on_ground(line: NDArray[np.float32], plane: GroundPlane) -> NDArray[np.float64]:
    ground = plane.project(line)[:, :2]
    with np.errstate(invalid="ignore"):
        return ground[(ground[:, 0] > 0.5) & (ground[:, 0] < _REACH)]


def _of_the_lane(covariance: NDArray[np.float64], slope: float) -> NDArray[np.float64]:
    """From that of the curves' starts, slopes and curvature to that of offset, heading, curvature and width."""
    count = len(covariance) // 2
    parts = np.zeros((4, len(covariance)))
    parts[1, count : 2 * count] = -1 / (count * (1 + slope * slope))
    parts[2, -1] = 1
    if count == 2:
        parts[0, :2] = -0.5
        parts[3, :2] = (1, -1)
    made = parts @ covariance @ parts.T
    if count < 2:
        made[[0, 3]] = made[:, [0, 3]] = np.nan
    return np.asarray(made)


def _fit(curves: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit n curves at once: (2 n + 1,) starts, slopes and their common curvature, with their covariance.

    The covariance is that of points which scatter each for itself.
    """
    count = len(curves)
    x = np.concatenate([points[:, 0] for points in curves])
    y = np.concatenate([points[:, 1] for points in curves])
    which = np.repeat(np.arange(count), [len(points) for points in curves])
    terms = np.zeros((len(x), 2 * count + 1))
    terms[np.arange(len(x)), which] = 1
    terms[np.arange(len(x)), count + which] = x
    terms[:, -1] = x * x / 2
    # A pixel to the side is wider the farther it is.
    sure = 1 / np.square(np.maximum(x, _NEAR) / _NEAR)
    prior = np.full(2 * count + 1, 1e-12)
    prior[-1] = _STRAIGHT
    weight, found = sure, np.zeros(2 * count + 1)
    for _ in range(_ROUNDS):
        normal = terms.T @ (terms * weight[:, None]) + np.diag(prior)
        found = np.linalg.solve(normal, terms.T @ (weight * y))
        off = np.abs(y - terms @ found) / (_ROBUST * np.maximum(x, _NEAR) / _NEAR)
        weight = sure / np.square(np.maximum(1.0, off))
    scatter = float(weight @ np.square(y - terms @ found)) / max(len(x) - len(found), 1)
    return np.asarray(found), max(scatter, _LEAST_SCATTER**2) * np.linalg.inv(normal)


def _sided(value: float, unit: str, digits: int) -> str:
    return f"{abs(value):.{digits}f} {unit} {'left' if value >= 0 else 'right'}"
