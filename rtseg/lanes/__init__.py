"""Lane masks to polylines, tracked ids and points on the ground."""

from __future__ import annotations

from rtseg.lanes.decode import DetectedLanes, LaneDecoder, LaneDecoderSettings
from rtseg.lanes.ground import GroundPlane
from rtseg.lanes.tracking import LaneTracker, LaneTrackerSettings, TrackedLanes

__all__ = [
    "DetectedLanes",
    "GroundPlane",
    "LaneDecoder",
    "LaneDecoderSettings",
    "LaneTracker",
    "LaneTrackerSettings",
    "TrackedLanes",
]
