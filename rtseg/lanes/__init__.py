"""Lane masks to polylines, tracked ids and points on the ground."""

from __future__ import annotations

from rtseg.lanes.decode import DetectedLanes, LaneDecoder, LaneDecoderSettings
from rtseg.lanes.ego import EgoLane, ego_lane
from rtseg.lanes.ground import GroundPlane
from rtseg.lanes.mounting import Mounting, MountingSettings, MountingWatch
from rtseg.lanes.tracking import LaneTracker, LaneTrackerSettings, TrackedLanes

__all__ = [
    "DetectedLanes",
    "EgoLane",
    "GroundPlane",
    "LaneDecoder",
    "LaneDecoderSettings",
    "LaneTracker",
    "LaneTrackerSettings",
    "Mounting",
    "MountingSettings",
    "MountingWatch",
    "TrackedLanes",
    "ego_lane",
]
