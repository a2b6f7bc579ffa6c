"""The node `lanes`: camera frames in; lane masks, lane lines on the ground, overlays and diagnostics out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
from nav_msgs.msg import OccupancyGrid, Path
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from rtseg.frame import Frame
from rtseg.lanes import EgoLane, GroundPlane, MountingWatch, ego_lane
from rtseg.lanes.mounting import WRONG, MountingSettings
from rtseg.media.overlay import draw_lanes
from rtseg.messages import (
    Grid,
    ego_numbers,
    ego_path,
    ground_lines,
    ground_points,
    lane_grid,
    lane_labels,
    lane_markers,
    lane_mask,
    lane_pixels,
    lane_points,
    line_confidence,
    line_labels,
    line_mask,
)
from rtseg.results import Lanes, lanes_at
from rtseg_ros import lifecycle, messages
from rtseg_ros.camera_input import CameraMessage
from rtseg_ros.help import answer_help
from rtseg_ros.layer_output import LayerOutput
from rtseg_ros.mask_output import MaskOutput
from rtseg_ros.node import FrameNode
from rtseg_ros.overlays import OverlayOutput
from rtseg_ros.parameters import LaneParameters
from rtseg_ros.task import Task

if TYPE_CHECKING:
    from rtseg.runtime import Pipeline


class LaneOutputs:
    """Publishes lane masks with one id per lane line, and what follows from them.

    Args:
        node: to publish with; its parameters are :class:`rtseg_ros.parameters.LaneOutputParameters`.
        model_parameter: which of them names the model.
        prefix: of the topics.

    Attributes:
        grid_apart: whether ``lane_grid`` is left to :meth:`publish_grid`, for whoever knows what is free.
    """

    name = "lanes"

    def __init__(self, node: FrameNode, model_parameter: str = "model", prefix: str = "~/") -> None:
        self.model_parameter = model_parameter
        self._node = node
        self._prefix = prefix
        self.grid_apart = False
        self._cloud_of: GroundPlane | None = None
        self._road: _Road | None = None  # of the frame that was published last
        self._watch = MountingWatch()  # of the roads that are told when it opens

    def open(self, pipeline: Pipeline) -> None:
        """Create the lane topics and tell what the mask's values mean."""
        self._mask = MaskOutput(self._node, f"{self._prefix}lane_mask")
        self._markers = self._node.endpoints.publisher(MarkerArray, f"{self._prefix}lanes")
        self._points = self._node.endpoints.publisher(PointCloud2, f"{self._prefix}lane_points")
        self._pixels = self._node.endpoints.publisher(PointCloud2, f"{self._prefix}lane_pixels")
        self._grid = self._node.endpoints.publisher(OccupancyGrid, f"{self._prefix}lane_grid")
        self._path = self._node.endpoints.publisher(Path, f"{self._prefix}ego_path")
        self._ego = self._node.endpoints.publisher(PointCloud2, f"{self._prefix}ego_lane")
        self._layer = LayerOutput(self._node, f"{self._prefix}ground", line_labels(), "min_confidence")
        self._overlay = OverlayOutput(self._node, self._prefix)
        self._node.publish_label_info(f"{self._prefix}label_info", lane_labels(), "min_confidence")

    def begin(self) -> None:
        """Watch the mounting anew."""
        self._watch = MountingWatch(MountingSettings(lane_width=self._node.parameters.lane_width))
        self._node.mounting = None

    def wants_ground(self) -> bool:
        """Whether anything in metres is listened to."""
        outputs = (self._markers, self._points, self._grid, self._path, self._ego, self._layer)
        return any(output.get_subscription_count() for output in outputs)

    def publish(self, message: CameraMessage, frame: Frame, result: Lanes) -> None:
        """Publish the mask first, then what is drawn or computed from it."""
        lanes = confident_lanes(result, self._node.parameters.min_confidence)
        self._mask.publish(message.header, lambda: lane_mask(lanes))
        if self._pixels.get_subscription_count():
            self._pixels.publish(messages.to_points(lane_pixels(lanes), message.header))
        self._road = road = _Road(lanes, self._node.plane)
        self._publish_ground(message.header, lanes, road)
        self._overlay.publish(message.header, lambda: draw_lanes(frame.image, lanes, note=road.own_lane.describe()))
        self._watch_mounting(road.plane, result)

    def _watch_mounting(self, plane: GroundPlane | None, lanes: Lanes) -> None:
        """See whether the camera is mounted as configured, where that is known; the diagnostics tell it."""
        if plane is None:
            self._node.mounting = None
            return
        before = self._node.mounting
        self._watch.update(lanes, plane.camera)
        self._node.mounting = now = self._watch.mounting
        if now is not None and now.verdict == WRONG and (before is None or before.verdict != WRONG):
            self._node.get_logger().warning(now.describe())

    def _publish_ground(self, header: Header, lanes: Lanes, road: _Road) -> None:
        """Publish what is in metres, to who listens."""
        vehicle = messages.with_frame(header, self._node.parameters.vehicle_frame)
        if self._path.get_subscription_count():  # also of nothing, so that nobody goes on along an old one
            self._path.publish(messages.to_path(ego_path(road.own_lane), vehicle))
        if self._ego.get_subscription_count():
            self._ego.publish(messages.to_points(ego_numbers(road.own_lane, lanes), vehicle))
        plane = road.plane
        if plane is None:
            return
        if self._markers.get_subscription_count():
            self._markers.publish(messages.to_markers(lane_markers(lanes, road.lines, road.own_lane), vehicle))
        if not self.grid_apart:
            self.publish_grid(header)
        if self._points.get_subscription_count():
            self._points.publish(messages.to_points(lane_points(lanes, road.lines), vehicle))
        self._layer.publish(
            header,
            vehicle,
            lambda: line_mask(lanes, road.own_lane),
            lambda: line_confidence(lanes),
            lambda: self._cloud_on(plane),
        )

    def publish_grid(self, header: Header, free: Callable[[], Grid | None] = lambda: None) -> None:
        """Publish ``lane_grid`` of the frame that was published last, if somebody listens to it.

        Args:
            header: of the camera's picture.
            free: gives the free space of the same frame, over which the lanes are drawn.
        """
        road = self._road
        if road is not None and road.plane is not None and self._grid.get_subscription_count():
            vehicle = messages.with_frame(header, self._node.parameters.vehicle_frame)
            self._grid.publish(messages.to_grid(lane_grid(road.lines, free()), vehicle))

    def _cloud_on(self, plane: GroundPlane) -> NDArray[np.void]:
        if plane is not self._cloud_of:  # it changes with the camera alone
            self._cloud, self._cloud_of = ground_points(plane), plane
        return self._cloud


class _Road:
    """A frame's lanes in metres, of which each part is computed once, for the first who asks.

    Args:
        lanes: of the frame.
        plane: the road in it, None while the camera is unknown.
    """

    def __init__(self, lanes: Lanes, plane: GroundPlane | None) -> None:
        self.plane = plane
        self._lanes = lanes

    @cached_property
    def own_lane(self) -> EgoLane:
        """Nothing is known of it while the camera is unknown."""
        return ego_lane(self._lanes, self.plane) if self.plane is not None else EgoLane()

    @cached_property
    def lines(self) -> list[NDArray[np.float64]]:
        """Each lane as points; none while the camera is unknown."""
        return ground_lines(self._lanes, self.plane) if self.plane is not None else []


def confident_lanes(lanes: Lanes, min_confidence: float) -> Lanes:
    """Leave out lanes under a confidence, from the mask too."""
    keep = lanes.confidence >= min_confidence
    if keep.all():
        return lanes
    table = np.zeros(256, dtype=np.uint8)
    table[lanes.ids[keep]] = lanes.ids[keep]
    mask = np.asarray(cv2.LUT(lanes.mask, table), dtype=np.uint8)
    return replace(lanes_at(lanes, keep), mask=mask)


class LanesNode(FrameNode):
    """Lane masks from a camera topic."""

    def __init__(self, namespace: str = "") -> None:
        super().__init__("lanes", LaneParameters, namespace)

    def open_tasks(self) -> list[Task]:
        """Lanes alone."""
        return [LaneOutputs(self)]


def main() -> None:
    """Run the node until SIGINT or SIGTERM, or say what it is where --help asks."""
    answer_help("lanes", __doc__, LaneParameters)
    lifecycle.run(LanesNode)


if __name__ == "__main__":
    main()
