"""Lanes on the ground, as line strips and as a cloud of points in the vehicle frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.lanes.ego import EgoLane
from rtseg.lanes.ground import GroundPlane
from rtseg.media.overlay import color_of
from rtseg.messages.ego import ego_path
from rtseg.results import Lanes

MAX_DISTANCE = 80.0
"""Metres ahead up to which lanes are drawn on the ground: farther off, one pixel is several metres."""

POINT_TYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("id", "<u4"), ("confidence", "<f4")])
"""A point of ``lane_points``: metres, and the id and confidence of its lane."""

_MAX_ASIDE = 1000.0  # metres
_WHITE = (1.0, 1.0, 1.0, 0.8)


@dataclass(frozen=True)
class LaneMarker:
    """A line strip of a visualization_msgs/MarkerArray whose first marker deletes all of the frame before.

    Attributes:
        id: of the lane.
        points: (k, 3) float64 metres in the vehicle frame, k > 1.
        color: red, green, blue and alpha, 0..1; the surer the lane the more opaque.
        width: metres.
        lifetime: whole seconds after which it vanishes where no other frame comes.
        namespace: of markers.
        text: what is told of it.
    """

    id: int
    points: NDArray[np.float64]
    color: tuple[float, float, float, float]
    width: float = 0.15
    lifetime: int = 1
    namespace: str = "lanes"
    text: str = ""


def ground_lines(lanes: Lanes, plane: GroundPlane) -> list[NDArray[np.float64]]:
    """Each lane as (k, 3) metres in the vehicle frame, without what is above the horizon, behind, or far off."""
    lines = [plane.project(line) for line in lanes.polylines]
    # NaN (above the horizon) compares false. Points far aside, of absurd intrinsics, are more than float32 holds.
    return [line[(line[:, 0] > 0) & (line[:, 0] < MAX_DISTANCE) & (np.abs(line[:, 1]) < _MAX_ASIDE)] for line in lines]


def lane_markers(lanes: Lanes, ground: Sequence[NDArray[np.float64]], ego: EgoLane) -> list[LaneMarker]:
    """``lanes``: a line strip for each lane that has one on the ground, and the own lane's middle.

    The text of a strip says which boundary of the own lane it is, ``left`` or ``right``, if it is one. The middle,
    under the name space ``own_lane``, begins at the vehicle's origin; its text tells width, offset and heading
    (:meth:`rtseg.lanes.EgoLane.describe`).
    """
    markers = []
    boundary = {ego.left: "left", ego.right: "right"}
    for identity, confidence, points in zip(lanes.ids.tolist(), lanes.confidence.tolist(), ground, strict=True):
        if len(points) > 1:
            blue, green, red = (channel / 255.0 for channel in color_of(identity))
            color = (red, green, blue, 0.3 + 0.7 * confidence)
            markers.append(LaneMarker(identity, points, color, text=boundary.get(identity, "")))
    middle = ego_path(ego)
    if len(middle):
        middle[:, 2] = 0
        markers.append(LaneMarker(0, middle, _WHITE, width=0.05, namespace="own_lane", text=ego.describe()))
    return markers


def lane_points(lanes: Lanes, ground: Sequence[NDArray[np.float64]]) -> NDArray[np.void]:
    """``lane_points``: all lanes' points as one cloud, (n,) of :data:`POINT_TYPE`, from left lane to right."""
    counts = [len(points) for points in ground]
    cloud = np.zeros(sum(counts), dtype=POINT_TYPE)
    if len(cloud):
        stacked = np.concatenate(list(ground))
        for axis, name in enumerate("xyz"):
            cloud[name] = stacked[:, axis]
        cloud["id"] = np.repeat(lanes.ids, counts)
        cloud["confidence"] = np.repeat(lanes.confidence, counts)
    return cloud
