"""The camera as it sees the road: intrinsics of a file or of camera_info, mounting of that file, parameters or TF."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from rtseg.camera import Camera, Mount, camera_of, check_aspect, is_rectified
from rtseg.camera.transforms import StaticTransforms, describe, differ
from rtseg.errors import CalibrationError
from rtseg.frame import Frame
from rtseg.lanes import GroundPlane
from rtseg_ros.endpoints import LATCHED_QOS, Endpoints
from rtseg_ros.parameters import NodeParameters
from rtseg_ros.topics import camera_topic

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None
try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

# Each broadcaster keeps its own for latecomers.
TF_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class RoadCamera:
    """Knows a node's camera, and tells in the node's hints what is missing or does not fit.

    Args:
        node: whose topics and log count.
        endpoints: of the node.
        hints: of the node, by what they are about.
        parameters: gives the node's parameters as they are now.
    """

    def __init__(
        self, node: Node, endpoints: Endpoints, hints: dict[str, str], parameters: Callable[[], NodeParameters]
    ) -> None:
        self._node, self._endpoints, self._hints, self._parameters = node, endpoints, hints, parameters
        self._calibration: Camera | None = None
        self._info: CameraInfo | None = None
        self._transforms = StaticTransforms()
        self._plane: GroundPlane | None = None
        self._plane_of: tuple[Any, ...] = ()
        self._by_transforms: Mount | None = None

    def open(self) -> None:
        """Read the calibration file, if one is given."""
        path = self._parameters().camera
        self._calibration = Camera.load(Path(path).expanduser()) if path else None
        self._plane_of = ()

    def open_inputs(self) -> list[Subscription]:
        """Listen to camera_info where no calibration file was given, and to the static transforms."""
        self._info, self._transforms = None, StaticTransforms()
        # Drivers and broadcasters may tell theirs once, for whoever comes later, and only a subscription of the same
        # kind is given that.
        unheard = SubscriptionEventCallbacks(use_default_callbacks=False)
        opened: list[Subscription] = []
        if TFMessage is not None:
            opened.append(
                self._node.create_subscription(
                    TFMessage, "/tf_static", self._take_transforms, TF_QOS, event_callbacks=unheard
                )
            )
        if self._calibration is None:
            topic = camera_topic(self._node, "info")
            opened.append(self._endpoints.subscription(CameraInfo, topic, self._take_info))
            opened.append(
                self._node.create_subscription(CameraInfo, topic, self._take_info, LATCHED_QOS, event_callbacks=unheard)
            )
        return opened

    def plane(self, frame: Frame, wanted: bool) -> GroundPlane | None:
        """The road for frames like this one, made anew when anything of it changes; None while it is unknown.

        Args:
            frame: of the camera.
            wanted: whether somebody asks for what is in metres, and so has to be told what is missing. What is there
                but does not fit is told in any case.
        """
        if not wanted and not self._is_known(frame):
            self._hints.pop("camera", None)
            self._hints.pop("mounting", None)
            return None
        height, width = frame.size
        # The executor's thread may change them meanwhile.
        info, transforms = self._info, self._transforms
        of = (width, height, info, transforms, frame.frame_id, self._parameters().vehicle_frame)
        if self._plane is not None and len(self._plane_of) == len(of) and all(map(_same, self._plane_of, of)):
            return self._plane
        self._plane = None
        camera = self._camera(frame)
        if camera is None:
            return None
        try:
            check_aspect(camera, width, height)
        except CalibrationError as error:
            self._hints["camera"] = str(error)
            return None
        self._hints.pop("camera", None)
        self._plane, self._plane_of = GroundPlane(camera.scaled(width, height)), of
        return self._plane

    def _is_known(self, frame: Frame) -> bool:
        """Whether intrinsics and a mounting were given, right or wrong."""
        if self._calibration is not None:
            return True
        return self._info is not None and (self._configured_mount() is not None or self._told(frame)[0] is not None)

    def _camera(self, frame: Frame) -> Camera | None:
        mount = self._mount(frame)
        if self._calibration is not None:
            return self._calibration if mount is None else replace(self._calibration, mount=mount)
        info, where = self._info, camera_topic(self._node, "info")
        if mount is None:
            way = f"{self._parameters().vehicle_frame} <- {frame.frame_id or 'the frame_id of the pictures'}"
            self._hints["camera"] = self._told(frame)[1] or (
                "results in metres need the camera's mounting: set parameter camera to a calibration file, or "
                f"mount_height and mount_pitch beside {where}"
                + (f", or tell {way} on /tf_static" if TFMessage is not None else "")
            )
            return None
        if info is None:
            self._hints["camera"] = f"results in metres wait for {where}; or set parameter camera"
            return None
        try:
            camera = camera_of(info, self._rectified, mount)
        except CalibrationError as error:
            self._hints["camera"] = f"{where} cannot be used: {error}"
            return None
        if camera is None:
            self._hints["camera"] = f"{where} says that the camera is not calibrated"
        return camera

    def _mount(self, frame: Frame) -> Mount | None:
        """The mounting that is configured, else that of TF; where both are there and differ, that is told."""
        configured, (told, fault) = self._configured_mount(), self._told(frame)
        self._hints.pop("mounting", None)
        if configured is None:
            if told is not None and told != self._by_transforms:
                self._node.get_logger().info(f"the camera's mounting by TF: {describe(told)}")
            self._by_transforms = told
            return told
        if fault:
            self._hints["mounting"] = fault
        elif told is not None and differ(configured, told):
            self._hints["mounting"] = (
                f"the camera's mounting is configured as {describe(configured)}, and by TF it is {describe(told)}: "
                "the configured one is used; take it away, or mend the one that is wrong"
            )
        return configured

    def _configured_mount(self) -> Mount | None:
        if self._calibration is not None:
            # Of a file that tells none; without TF it is as good as any.
            return None if self._calibration.mount == Mount() else self._calibration.mount
        parameters = self._parameters()
        if not parameters.mount_height:
            return None
        return Mount(height=parameters.mount_height, pitch=math.radians(parameters.mount_pitch))

    def _told(self, frame: Frame) -> tuple[Mount | None, str]:
        """The mounting by TF, or what is wrong with it."""
        try:
            return self._transforms.mount(self._parameters().vehicle_frame, frame.frame_id), ""
        except CalibrationError as error:
            return None, str(error)

    def _take_transforms(self, message: Any) -> None:
        self._transforms = self._transforms.with_added(message.transforms)

    def _take_info(self, message: CameraInfo) -> None:
        """Keep the latest calibration that can be used; until there is one, whatever came, so that it is told."""
        last = self._info
        if last is not None and (_same_geometry(last, message) or (self._is_usable(last) > self._is_usable(message))):
            return
        self._info = message

    def _is_usable(self, info: CameraInfo) -> bool:
        try:
            return camera_of(info, self._rectified) is not None
        except CalibrationError:
            return False

    @property
    def _rectified(self) -> bool:
        return is_rectified(camera_topic(self._node, "raw"))


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, int | str) and one == other)


def _same_geometry(one: CameraInfo, other: CameraInfo) -> bool:
    fields = ("width", "height", "k", "d", "p", "roi")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)
