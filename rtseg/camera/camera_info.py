"""Calibrations as cameras publish them: ``sensor_msgs/CameraInfo`` of either ROS generation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.camera.lens import COEFFICIENTS, PLUMB_BOB, lens_of
from rtseg.camera.model import Camera, Mount
from rtseg.errors import CalibrationError

ASPECT_TOLERANCE = 0.02
"""Share by which the aspect of a picture may differ from that of its calibration: sizes are rounded to whole pixels."""


def is_rectified(topic: str) -> bool:
    """Whether an image topic holds rectified pictures, by REP 104: its last part starts with ``image_rect``."""
    parts = [part for part in topic.split("/") if part]
    if parts and parts[-1] in ("compressed", "ffmpeg"):  # image_transport's own part
        parts.pop()
    return bool(parts) and parts[-1].startswith("image_rect")


def camera_info_topic(topic: str) -> str:
    """The camera_info topic that belongs to an image topic: the one beside it."""
    parts = topic.split("/")
    if parts[-1] in ("compressed", "ffmpeg"):
        parts.pop()
    return "/".join([*parts[:-1], "camera_info"])


def camera_of(info: Any, rectified: bool = False, mount: Mount | None = None) -> Camera | None:
    """Turn a CameraInfo message into the camera of the pictures that it came with.

    Args:
        info: the message; its matrices are read by their names of ROS 2 (``k``) or of ROS 1 (``K``).
        rectified: its pictures have been rectified, so P holds and there is no distortion (:func:`is_rectified`).
        mount: where the camera sits.

    Returns:
        A camera of the size of the region of interest before binning, which :meth:`Camera.scaled` fits to the picture;
        None if the driver says that it is not calibrated (zeros, or an identity in place of a matrix).

    Raises:
        CalibrationError: a distortion model that is not known, or numbers that do not fit.
    """
    matrix = _projection(info) if rectified else _values(info, "k", 9).reshape(3, 3)
    if matrix[0, 0] in (0.0, 1.0) or matrix[1, 1] in (0.0, 1.0):
        return None
    width, height, left, top = _region(info)
    cropped = matrix.copy()
    cropped[0, 2] -= left
    cropped[1, 2] -= top
    model, distortion = PLUMB_BOB, np.zeros(COEFFICIENTS[PLUMB_BOB])
    if not rectified:
        model, distortion = lens_of(str(info.distortion_model), _values(info, "d", None))
    return Camera(width, height, cropped, distortion, mount or Mount(), distortion_model=model)


def check_aspect(camera: Camera, width: int, height: int) -> None:
    """Check that a picture can be the camera's, scaled.

    Args:
        camera: as calibrated.
        width: of the picture in pixels.
        height: of the picture in pixels.

    Raises:
        CalibrationError: it is wider or higher than that: another camera's, or cut without saying so.
    """
    across, down = width / camera.width, height / camera.height
    if abs(across - down) > ASPECT_TOLERANCE * max(across, down):
        raise CalibrationError(
            f"expected a picture of the shape of its calibration, {camera.width}x{camera.height}, got "
            f"{width}x{height}; it is another camera's, or the region of interest is not in camera_info"
        )


def _projection(info: Any) -> NDArray[np.float64]:
    return _values(info, "p", 12).reshape(3, 4)[:, :3]


def _values(info: Any, name: str, size: int | None) -> NDArray[np.float64]:
    array = np.asarray(getattr(info, name if hasattr(info, name) else name.upper()), dtype=np.float64).ravel()
    if size is not None and array.size != size:
        raise CalibrationError(f"expected {size} numbers in {name.upper()} of camera_info, got {array.size}")
    return array


def _region(info: Any) -> tuple[int, int, int, int]:
    """Width, height, left and top of the pictures on the full sensor, which K and P are given for."""
    width, height, roi = int(info.width), int(info.height), info.roi
    left, top = int(roi.x_offset), int(roi.y_offset)
    region = (int(roi.width) or width - left, int(roi.height) or height - top)
    if left + region[0] > width or top + region[1] > height or min(region) < 1:
        raise CalibrationError(
            f"expected a region of interest within {width}x{height}, got {region[0]}x{region[1]} at ({left}, {top}); "
            "width and height of camera_info are to be those of the whole sensor"
        )
    return *region, left, top
