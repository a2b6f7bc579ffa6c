"""Lane masks to polylines, tracked ids and points on the ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtseg.lazy import lazily

if TYPE_CHECKING:
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

# Who puts lanes on the ground needs none of the compiled loops that find them.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "decode": ("DetectedLanes", "LaneDecoder", "LaneDecoderSettings"),
        "ego": ("EgoLane", "ego_lane"),
        "ground": ("GroundPlane",),
        "mounting": ("Mounting", "MountingSettings", "MountingWatch"),
        "tracking": ("LaneTracker", "LaneTrackerSettings", "TrackedLanes"),
    },
)
