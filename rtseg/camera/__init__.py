"""The camera: intrinsics, where it is mounted, and its calibration file."""

from __future__ import annotations

from rtseg.camera.model import Camera, Mount

__all__ = ["Camera", "Mount"]
