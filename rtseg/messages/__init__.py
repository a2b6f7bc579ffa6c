"""What messages about results hold, without ROS: the node publishes it, result bags store it."""

from __future__ import annotations

from rtseg.camera.transforms import VEHICLE_FRAME
from rtseg.messages.clouds import PIXEL_TYPE, lane_pixels, point_fields
from rtseg.messages.detections import DETECTIONS, Detection, detections
from rtseg.messages.ego import EGO_TYPE, PATH_LENGTH, ego_numbers, ego_path
from rtseg.messages.free_space import Ground, Surfaces, surface_kinds, surfaces_of
from rtseg.messages.grid import Grid, lane_grid
from rtseg.messages.ground import (
    MAX_DISTANCE,
    POINT_TYPE,
    LaneMarker,
    ground_lines,
    lane_markers,
    lane_points,
)
from rtseg.messages.labels import class_labels, label_text, lane_labels
from rtseg.messages.layer import (
    GROUND_TYPE,
    ground_points,
    line_confidence,
    line_labels,
    line_mask,
    surface_confidence,
    surface_mask,
)
from rtseg.messages.masks import JPEG_FORMAT, Mask, class_mask, instance_mask, jpeg_bytes, lane_mask

__all__ = [
    "DETECTIONS",
    "EGO_TYPE",
    "GROUND_TYPE",
    "JPEG_FORMAT",
    "MAX_DISTANCE",
    "PATH_LENGTH",
    "PIXEL_TYPE",
    "POINT_TYPE",
    "VEHICLE_FRAME",
    "Detection",
    "Grid",
    "Ground",
    "LaneMarker",
    "Mask",
    "Surfaces",
    "class_labels",
    "class_mask",
    "detections",
    "ego_numbers",
    "ego_path",
    "ground_lines",
    "ground_points",
    "instance_mask",
    "jpeg_bytes",
    "label_text",
    "lane_grid",
    "lane_labels",
    "lane_markers",
    "lane_mask",
    "lane_pixels",
    "lane_points",
    "line_confidence",
    "line_labels",
    "line_mask",
    "point_fields",
    "surface_confidence",
    "surface_kinds",
    "surface_mask",
    "surfaces_of",
]
