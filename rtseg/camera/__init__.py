"""The camera: intrinsics, where it is mounted, and its calibration file."""

from __future__ import annotations

from rtseg.camera.camera_info import camera_info_topic, camera_of, check_aspect, is_rectified
from rtseg.camera.model import Camera, Mount

__all__ = ["Camera", "Mount", "camera_info_topic", "camera_of", "check_aspect", "is_rectified"]
