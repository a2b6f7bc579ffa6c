"""Where a camera is mounted, by the static transforms that a robot tells (tf2)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.camera.model import Mount
from rtseg.errors import CalibrationError

VEHICLE_FRAME = "base_link"
"""Name of the vehicle frame (x forward, y left, z up) unless another is set."""

_STEEPEST = math.radians(85)
_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical axes in those of a body that looks forward


class StaticTransforms:
    """Transforms between coordinate frames that do not change; an added one replaces that of the same child.

    Attributes:
        parents: by child, the parent and the (4, 4) float64 matrix that takes points of the child to the parent.
    """

    def __init__(self, parents: dict[str, tuple[str, NDArray[np.float64]]] | None = None) -> None:
        self.parents = parents or {}

    def with_added(self, transforms: Iterable[Any]) -> StaticTransforms:
        """Give these and others, geometry_msgs/TransformStamped messages; those that are no rotation are left out."""
        parents = dict(self.parents)
        for each in transforms:
            matrix = _matrix(each.transform)
            if matrix is not None:
                parents[_plain(each.child_frame_id)] = (_plain(each.header.frame_id), matrix)
        return StaticTransforms(parents)

    def mount(self, vehicle: str, optical: str) -> Mount | None:
        """Where the camera sits whose optical frame (x right, y down, z forward) is given, as the vehicle frame has it.

        Args:
            vehicle: x forward, y left, z up, its origin on the ground.
            optical: the frame of the camera's pictures.

        Returns:
            The mount; None where no static transforms lead from one to the other.

        Raises:
            CalibrationError: the camera would look straight up or down, or sit in the ground.
        """
        seen, own = self._to_root(_plain(optical)), self._to_root(_plain(vehicle))
        common = next((frame for frame in seen if frame in own), None)
        if common is None or not optical or not vehicle:
            return None
        taken = np.linalg.inv(own[common]) @ seen[common]
        # Camera.rotation is yaw pitch roll, and then from optical axes to those of a body.
        body = taken[:3, :3] @ _OPTICAL.T
        pitch = math.asin(float(np.clip(-body[2, 0], -1, 1)))
        if abs(pitch) > _STEEPEST:
            raise CalibrationError(
                f"expected {optical} to look at the road, got by TF one that looks straight "
                f"{'down' if pitch > 0 else 'up'} from {vehicle}; is it an optical frame (z forward)?"
            )
        height = float(taken[2, 3])
        if height <= 0:
            raise CalibrationError(
                f"expected {optical} above {vehicle}, got by TF a height of {height:.2f} m; "
                "vehicle_frame has its origin on the ground (base_footprint, say)"
            )
        return Mount(
            height=height,
            pitch=pitch,
            roll=math.atan2(body[2, 1], body[2, 2]),
            yaw=math.atan2(body[1, 0], body[0, 0]),
            position=(float(taken[0, 3]), float(taken[1, 3])),
        )

    def _to_root(self, frame: str) -> dict[str, NDArray[np.float64]]:
        """The frame and those above it, in order, each with what takes points of the frame to it."""
        matrix, found = np.eye(4), {frame: np.eye(4)}
        while frame in self.parents:
            frame, step = self.parents[frame]
            if frame in found:  # a loop has no root
                break
            matrix = step @ matrix
            found[frame] = matrix
        return found


def differ(one: Mount, other: Mount) -> bool:
    """Whether two mounts of a camera are told apart by what they make of a road: 5 cm, or half a degree."""
    lengths = np.subtract((one.height, *one.position), (other.height, *other.position))
    angles = np.subtract((one.pitch, one.roll, one.yaw), (other.pitch, other.roll, other.yaw))
    turned = (angles + math.pi) % (2 * math.pi) - math.pi
    return bool(np.abs(lengths).max() > 0.05 or np.abs(turned).max() > math.radians(0.5))


def describe(mount: Mount) -> str:
    """A mount for people, in metres and degrees."""
    angles = (("pitch", mount.pitch), ("roll", mount.roll), ("yaw", mount.yaw))
    words = [f"{name} {math.degrees(angle):.1f}" for name, angle in angles]
    forward, left = mount.position
    return f"height {mount.height:.2f} m, {', '.join(words)} deg, {forward:.2f} m forward, {left:.2f} m left"


def _plain(frame: str) -> str:
    return str(frame).removeprefix("/")


def _matrix(transform: Any) -> NDArray[np.float64] | None:
    turn, place = transform.rotation, transform.translation
    x, y, z, w = quaternion = np.array([turn.x, turn.y, turn.z, turn.w], np.float64)
    norm = float(np.linalg.norm(quaternion))
    shift = np.array([place.x, place.y, place.z], np.float64)
    if not (np.isfinite(quaternion).all() and np.isfinite(shift).all() and 0.9 < norm < 1.1):
        return None
    x, y, z, w = quaternion / norm
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = shift
    return matrix
