"""The node `lanes`: camera frames in; lane masks, lane lines on the ground, overlays and diagnostics out."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from nav_msgs.msg import Path as PathMessage
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from rtseg.camera import Camera, Mount, camera_of, check_aspect, is_rectified
from rtseg.errors import CalibrationError
from rtseg.frame import Frame
from rtseg.lanes import EgoLane, GroundPlane, MountingWatch, ego_lane
from rtseg.lanes.mounting import WRONG
from rtseg.media.overlay import draw_lanes
from rtseg.messages import (
    ego_numbers,
    ego_path,
    ground_lines,
    lane_labels,
    lane_markers,
    lane_mask,
    lane_pixels,
    lane_points,
)
from rtseg.results import Lanes, lanes_at
from rtseg.runtime import Pipeline
from rtseg_ros import lifecycle, messages
from rtseg_ros.camera_input import CameraMessage
from rtseg_ros.endpoints import LATCHED_QOS
from rtseg_ros.mask_output import MaskOutput
from rtseg_ros.node import FrameNode, Task
from rtseg_ros.overlays import OverlayOutput
from rtseg_ros.parameters import LaneParameters
from rtseg_ros.topics import camera_topic

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


class LaneOutputs:
    """Publishes lane masks with one id per lane line, and what follows from them.

    Args:
        node: to publish with; its parameters are :class:`rtseg_ros.parameters.LaneOutputParameters`.
        model_parameter: which of them names the model.
        prefix: of the topics.
    """

    name = "lanes"

    def __init__(self, node: FrameNode, model_parameter: str = "model", prefix: str = "~/") -> None:
        self.model_parameter = model_parameter
        self._node = node
        self._prefix = prefix
        self._calibration: Camera | None = None
        self._camera_info: CameraInfo | None = None
        self._ground: GroundPlane | None = None
        self._ground_of: tuple[int, int, CameraInfo | None] = (0, 0, None)
        self._watch = MountingWatch()

    def open(self, pipeline: Pipeline) -> None:
        """Create the lane topics, read the camera's calibration and tell what the mask's values mean."""
        parameters = self._node.parameters
        self._calibration = Camera.load(Path(parameters.camera).expanduser()) if parameters.camera else None
        self._ground = None
        self._mask = MaskOutput(self._node, f"{self._prefix}lane_mask")
        self._markers = self._node.endpoints.publisher(MarkerArray, f"{self._prefix}lanes")
        self._points = self._node.endpoints.publisher(PointCloud2, f"{self._prefix}lane_points")
        self._pixels = self._node.endpoints.publisher(PointCloud2, f"{self._prefix}lane_pixels")
        self._path = self._node.endpoints.publisher(PathMessage, f"{self._prefix}ego_path")
        self._ego = self._node.endpoints.publisher(PointCloud2, f"{self._prefix}ego_lane")
        self._overlay = OverlayOutput(self._node, self._prefix)
        self._node.publish_label_info(f"{self._prefix}label_info", lane_labels(), "min_confidence")

    def open_inputs(self) -> list[Subscription]:
        """Listen to camera_info where no calibration file was given."""
        self._camera_info = None
        self._watch = MountingWatch()
        self._node.mounting = None
        if self._calibration is not None:
            return []
        topic = camera_topic(self._node, "info")
        # A driver may publish its calibration once, for whoever comes later, and only a subscription of the same kind
        # is given that; most publish it with every picture.
        unheard = SubscriptionEventCallbacks(use_default_callbacks=False)
        latched = self._node.create_subscription(
            CameraInfo, topic, self._take_camera_info, LATCHED_QOS, event_callbacks=unheard
        )
        return [self._node.endpoints.subscription(CameraInfo, topic, self._take_camera_info), latched]

    def publish(self, message: CameraMessage, frame: Frame, result: Lanes) -> None:
        """Publish the mask first, then what is drawn or computed from it."""
        lanes = confident_lanes(result, self._node.parameters.min_confidence)
        self._mask.publish(message.header, lambda: lane_mask(lanes))
        if self._pixels.get_subscription_count():
            self._pixels.publish(messages.to_points(lane_pixels(lanes), message.header))
        self._publish_ground(message.header, frame, lanes)
        self._overlay.publish(message.header, lambda: draw_lanes(frame.image, lanes, note=self._told(frame, lanes)))
        self._watch_mounting(frame, result)

    def _watch_mounting(self, frame: Frame, lanes: Lanes) -> None:
        """See whether the camera is mounted as configured, where that is known; the diagnostics tell it."""
        plane = self._ground_plane(frame) if self._is_camera_known() else None
        if plane is None:
            self._node.mounting = None
            return
        before = self._node.mounting
        self._watch.update(lanes, plane.camera)
        self._node.mounting = now = self._watch.mounting
        if now is not None and now.verdict == WRONG and (before is None or before.verdict != WRONG):
            self._node.get_logger().warning(now.describe())

    def _told(self, frame: Frame, lanes: Lanes) -> str:
        """What the picture's legend says of the own lane, where the camera is known."""
        plane = self._ground_plane(frame) if self._is_camera_known() else None
        return ego_lane(lanes, plane).describe() if plane is not None else ""

    def _publish_ground(self, header: Header, frame: Frame, lanes: Lanes) -> None:
        outputs = (self._markers, self._points, self._path, self._ego)
        drawn, points, path, numbers = (output.get_subscription_count() for output in outputs)
        wanted = drawn or points or path or numbers
        if not wanted and not self._is_camera_known():
            self._node.hints.pop("camera", None)
            return
        plane = self._ground_plane(frame)  # and a calibration that does not fit is told in any case
        vehicle = messages.with_frame(header, self._node.parameters.vehicle_frame)
        ego = ego_lane(lanes, plane) if plane is not None and (drawn or path or numbers) else EgoLane()
        if path:  # also where nothing is known, so that nobody goes on along an old one
            self._path.publish(messages.to_path(ego_path(ego), vehicle))
        if numbers:
            self._ego.publish(messages.to_points(ego_numbers(ego, lanes), vehicle))
        if plane is None or not (drawn or points):
            return
        ground = ground_lines(lanes, plane)
        if drawn:
            self._markers.publish(messages.to_markers(lane_markers(lanes, ground, ego), vehicle))
        if points:
            self._points.publish(messages.to_points(lane_points(lanes, ground), vehicle))

    def _is_camera_known(self) -> bool:
        return self._calibration is not None or (
            self._camera_info is not None and bool(self._node.parameters.mount_height)
        )

    def _ground_plane(self, frame: Frame) -> GroundPlane | None:
        """The plane for frames of this size, made anew when size or calibration change; None while it is unknown."""
        height, width = frame.size
        info = self._camera_info  # which the executor's thread may change meanwhile
        if self._ground is not None and self._ground_of[:2] == (width, height) and self._ground_of[2] is info:
            return self._ground
        camera, self._ground = self._known_camera(info), None
        if camera is None:
            return None
        try:
            check_aspect(camera, width, height)
        except CalibrationError as error:
            self._node.hints["camera"] = str(error)
            return None
        self._node.hints.pop("camera", None)
        self._ground, self._ground_of = GroundPlane(camera.scaled(width, height)), (width, height, info)
        return self._ground

    def _known_camera(self, info: CameraInfo | None) -> Camera | None:
        if self._calibration is not None:
            return self._calibration
        where = camera_topic(self._node, "info")
        if not self._node.parameters.mount_height:
            self._node.hints["camera"] = (
                "lanes in metres need the camera's mounting: set parameter camera to a calibration file, or "
                f"mount_height and mount_pitch beside {where}"
            )
            return None
        if info is None:
            self._node.hints["camera"] = f"lanes in metres wait for {where}; or set parameter camera"
            return None
        mount = Mount(height=self._node.parameters.mount_height, pitch=math.radians(self._node.parameters.mount_pitch))
        try:
            camera = camera_of(info, self._rectified, mount)
        except CalibrationError as error:
            self._node.hints["camera"] = f"{where} cannot be used: {error}"
            return None
        if camera is None:
            self._node.hints["camera"] = f"{where} says that the camera is not calibrated"
        return camera

    def _take_camera_info(self, message: CameraInfo) -> None:
        """Keep the latest calibration that can be used; until there is one, whatever came, so that it is told."""
        last = self._camera_info
        if last is not None and (_same_geometry(last, message) or (self._is_usable(last) > self._is_usable(message))):
            return
        self._camera_info = message

    def _is_usable(self, info: CameraInfo) -> bool:
        try:
            return camera_of(info, self._rectified) is not None
        except CalibrationError:
            return False

    @property
    def _rectified(self) -> bool:
        return is_rectified(camera_topic(self._node, "raw"))


def _same_geometry(one: CameraInfo, other: CameraInfo) -> bool:
    fields = ("width", "height", "k", "d", "p", "roi")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)


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

    def __init__(self) -> None:
        super().__init__("lanes", LaneParameters)

    def open_tasks(self) -> list[Task]:
        """Lanes alone."""
        return [LaneOutputs(self)]


def main() -> None:
    """Run the node until SIGINT or SIGTERM."""
    sys.exit(lifecycle.run(LanesNode))


if __name__ == "__main__":
    main()
