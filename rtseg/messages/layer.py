"""What the semantic segmentation layer of Nav2 reads, of lanes and of objects: organized cloud, classes, confidences.

The layer takes these from a depth camera; here the ground, taken to be flat, is where each pixel lies. All three are of
one size: every n-th pixel of the frame's, so that they are at most :data:`MAX_WIDTH` wide.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rtseg.camera import Camera
from rtseg.label_image import look_up
from rtseg.lanes.ego import EgoLane
from rtseg.lanes.ground import GroundPlane
from rtseg.messages.grid import AHEAD
from rtseg.messages.masks import Mask
from rtseg.results import Instances, Lanes

Kind = TypeVar("Kind", bound=np.generic)

MAX_WIDTH = 640
"""Pixels."""

GROUND_TYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
"""A point of ``ground/points``: metres in the vehicle frame."""

_LINE, _OWN_LINE = 1, 2


def line_labels() -> dict[int, str]:
    """Of ``ground/mask``, by value."""
    return {0: "background", _LINE: "lane line", _OWN_LINE: "own lane line"}


def ground_points(plane: GroundPlane) -> NDArray[np.void]:
    """``ground/points``: where each pixel of ``ground/mask`` lies on the ground; the same for all frames of a camera.

    Args:
        plane: of a camera of the frame's size.

    Returns:
        (h, w) of :data:`GROUND_TYPE`, as large as the mask; NaN for pixels at or above the horizon, behind the
        vehicle's origin, or over 30 m from it.
    """
    pixels = np.stack(np.meshgrid(sampled_columns(plane.camera), sampled_rows(plane.camera)), axis=-1)
    ground = plane.project(pixels.reshape(-1, 2).astype(np.float64))
    near = (ground[:, 0] > 0) & (np.hypot(ground[:, 0], ground[:, 1]) < AHEAD)  # NaN compares false
    ground[~near] = np.nan
    return ground.astype("<f4").view(GROUND_TYPE).reshape(pixels.shape[:2])


def line_mask(lanes: Lanes, ego: EgoLane) -> Mask:
    """``ground/mask``: mono8, the class of each pixel, which :func:`line_labels` names."""
    table = np.zeros(256, np.uint8)
    table[lanes.ids] = _LINE
    table[[identity for identity in (ego.left, ego.right) if identity]] = _OWN_LINE
    return _looked_up(table, lanes)


def line_confidence(lanes: Lanes) -> Mask:
    """``ground/confidence``: mono8, of the lane line at each pixel, 1..255.

    0 where there is none: a cell of the costmap takes the surest of its pixels, and a line is thinner than a cell.
    """
    table = np.zeros(256, np.uint8)
    table[lanes.ids] = np.rint(1 + 254 * lanes.confidence)
    return _looked_up(table, lanes)


def surface_mask(instances: Instances) -> Mask:
    """``ground/mask`` of objects and surfaces: mono8, 1 + the index of the class of each pixel, as ``class_mask``."""
    return Mask(look_up(sampled(instances.labels), instances.class_ids + 1, np.uint8), "mono8")


def surface_confidence(instances: Instances) -> Mask:
    """``ground/confidence`` of objects and surfaces: mono8, 1..255, 0 where there is none."""
    return Mask(look_up(sampled(instances.labels), np.rint(1 + 254 * instances.scores), np.uint8), "mono8")


def sampled(picture: NDArray[Kind]) -> NDArray[Kind]:
    """Every n-th row and column of (H, W), a copy."""
    step = _step(picture.shape[1])
    return np.ascontiguousarray(picture[step // 2 :: step, step // 2 :: step])


def sampled_box(box: NDArray[np.floating], width: int) -> tuple[slice, slice]:
    """Rows and columns of :func:`sampled` that show a box.

    Args:
        box: (x0, y0, x1, y1) in pixels of the picture, not negative, x1 and y1 exclusive.
        width: of the picture.
    """
    step = _step(width)
    x0, y0, x1, y1 = (max(0, -((step // 2 - int(side)) // step)) for side in box)
    return slice(y0, y1), slice(x0, x1)


def sampled_rows(camera: Camera) -> NDArray[np.intp]:
    """Rows of a camera's pictures that :func:`sampled` takes."""
    step = _step(camera.width)
    return np.arange(step // 2, camera.height, step)


def sampled_columns(camera: Camera) -> NDArray[np.intp]:
    """Columns likewise."""
    step = _step(camera.width)
    return np.arange(step // 2, camera.width, step)


def _looked_up(table: NDArray[np.uint8], lanes: Lanes) -> Mask:
    return Mask(table[sampled(lanes.mask)], "mono8")


def _step(width: int) -> int:
    return -(-width // MAX_WIDTH)
