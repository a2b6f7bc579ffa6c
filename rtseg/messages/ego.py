"""The own lane: its middle as a path, and the vehicle's place in it as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.lanes.ego import EgoLane
from rtseg.results import Lanes

PATH_LENGTH = 30.0
"""Metres ahead to which the own lane's middle is told."""

EGO_TYPE = np.dtype(
    [
        ("left", "<u4"),
        ("right", "<u4"),
        *((name, "<f4") for name in ("confidence", "width", "offset", "heading", "curvature")),
        *((f"{name}_spread", "<f4") for name in ("width", "offset", "heading", "curvature")),
    ]
)
"""The point of ``ego_lane``: ids of the own lane's boundaries (0: none), confidence of the less sure of them, then as
:class:`rtseg.lanes.EgoLane` has them: metres, metres left of the middle, radians to the left, 1 / m; and the standard
deviation of each. NaN: not known."""

_STEP = 1.0  # metres


def ego_path(ego: EgoLane) -> NDArray[np.float64]:
    """``ego_path``: the middle of the own lane, from beside the vehicle's origin on.

    Returns:
        (k, 3) x and y in metres and direction in radians, in the vehicle frame, of points on the ground; (0, 3) unless
        both boundaries are known.
    """
    if not np.isfinite(ego.width):
        return np.empty((0, 3))
    ahead = np.arange(0.0, PATH_LENGTH + _STEP / 2, _STEP)
    direction = np.arctan(np.mean(ego.slopes) + ego.curvature * ahead)
    return np.stack([ahead, [ego.center(x) for x in ahead], direction], axis=1)


def ego_numbers(ego: EgoLane, lanes: Lanes) -> NDArray[np.void]:
    """``ego_lane``: one point of :data:`EGO_TYPE`, whether anything is known or not."""
    point = np.zeros(1, dtype=EGO_TYPE)
    for name in ("left", "right", "width", "offset", "heading", "curvature"):
        point[name] = getattr(ego, name)
    for name, spread in zip(("offset", "heading", "curvature", "width"), ego.spreads, strict=True):
        point[f"{name}_spread"] = spread
    bounds = np.isin(lanes.ids, [identity for identity in (ego.left, ego.right) if identity])
    point["confidence"] = lanes.confidence[bounds].min() if bounds.any() else np.nan
    return point
