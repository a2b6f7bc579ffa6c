"""The camera: intrinsics, where it is mounted, its calibration file, and calibration from chessboards."""

from __future__ import annotations

from rtseg.camera.chessboard import CalibrationResult, calibrate_chessboard
from rtseg.camera.model import Camera, Mount

__all__ = ["CalibrationResult", "Camera", "Mount", "calibrate_chessboard"]
