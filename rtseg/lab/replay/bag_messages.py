"""What :mod:`rtseg.messages` says, as messages that rosbags writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from rtseg.camera import Camera
from rtseg.messages import DETECTIONS, JPEG_FORMAT, Detection, Grid, LaneMarker, Mask, point_fields

_LINE_STRIP, _DELETE_ALL = 4, 3
# As rclpy makes them; rosbags knows no defaults of its own.
_DEFAULTS = {("geometry_msgs/msg/Quaternion", "w"): 1.0}
# Of vision_msgs, which rosbags does not know; the field lists are those of ROS 2 Humble and later.
_VISION = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y\n",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox2D bbox\n"
        "string id\n"
    ),
    DETECTIONS: "std_msgs/Header header\nvision_msgs/Detection2D[] detections\n",
}


class BagMessages:
    """Makes messages; fields that are not given have their defaults.

    Attributes:
        store: of the types.
    """

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_HUMBLE)
        for name, definition in _VISION.items():
            self.store.register(get_types_from_msg(definition, name))

    def serialize(self, message: Any) -> bytes:
        """A message as it is stored, CDR."""
        return bytes(self.store.serialize_cdr(message, message.__msgtype__))

    def header(self, stamp: int, frame_id: str) -> Any:
        """A header of nanoseconds."""
        seconds, nanoseconds = divmod(max(stamp, 0), 10**9)
        time = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._make("std_msgs/msg/Header", stamp=time, frame_id=frame_id)

    def jpeg(self, header: Any, data: NDArray[np.uint8]) -> Any:
        """A picture of :func:`rtseg.messages.jpeg_bytes`."""
        return self._make("sensor_msgs/msg/CompressedImage", header=header, format=JPEG_FORMAT, data=data)

    def mask(self, header: Any, mask: Mask) -> Any:
        """A mask as an image."""
        pixels = np.ascontiguousarray(mask.pixels)
        height, width = pixels.shape
        return self._make(
            "sensor_msgs/msg/Image",
            header=header,
            height=height,
            width=width,
            encoding=mask.encoding,
            step=width * pixels.itemsize,
            data=pixels.reshape(-1).view(np.uint8),
        )

    def camera_info(self, header: Any, camera: Camera) -> Any:
        """Intrinsics and distortion."""
        matrix = np.asarray(camera.K, dtype=np.float64)
        return self._make(
            "sensor_msgs/msg/CameraInfo",
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model=camera.distortion_model,
            d=np.asarray(camera.distortion, dtype=np.float64),
            k=matrix.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([matrix, np.zeros((3, 1))]).reshape(-1),
        )

    def markers(self, header: Any, markers: Sequence[LaneMarker]) -> Any:
        """Line strips, after the one marker that deletes those of the frame before."""
        made = [self._make("visualization_msgs/msg/Marker", header=header, ns="lanes", action=_DELETE_ALL)]
        for marker in markers:
            red, green, blue, alpha = marker.color
            made.append(
                self._make(
                    "visualization_msgs/msg/Marker",
                    header=header,
                    ns=marker.namespace,
                    id=marker.id,
                    type=_LINE_STRIP,
                    scale=self._make("geometry_msgs/msg/Vector3", x=marker.width),
                    color=self._make("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=alpha),
                    lifetime=self._make("builtin_interfaces/msg/Duration", sec=marker.lifetime),
                    points=[self._make("geometry_msgs/msg/Point", x=x, y=y, z=z) for x, y, z in marker.points.tolist()],
                    text=marker.text,
                )
            )
        return self._make("visualization_msgs/msg/MarkerArray", markers=made)

    def points(self, header: Any, cloud: NDArray[np.void]) -> Any:
        """A cloud of a type of :mod:`rtseg.messages`."""
        fields = [
            self._make("sensor_msgs/msg/PointField", name=name, offset=offset, datatype=datatype, count=1)
            for name, offset, datatype in point_fields(cloud.dtype)
        ]
        return self._make(
            "sensor_msgs/msg/PointCloud2",
            header=header,
            height=1,
            width=len(cloud),
            fields=fields,
            point_step=cloud.dtype.itemsize,
            row_step=cloud.nbytes,
            data=np.frombuffer(cloud.tobytes(), dtype=np.uint8),
            is_dense=True,
        )

    def path(self, header: Any, path: NDArray[np.float64]) -> Any:
        """A path on the ground of (k, 3) x, y and direction."""
        poses = []
        for x, y, direction in path.tolist():
            turned = {"z": np.sin(direction / 2), "w": np.cos(direction / 2)}
            pose = self._make(
                "geometry_msgs/msg/Pose",
                position=self._make("geometry_msgs/msg/Point", x=x, y=y),
                orientation=self._make("geometry_msgs/msg/Quaternion", **turned),
            )
            poses.append(self._make("geometry_msgs/msg/PoseStamped", header=header, pose=pose))
        return self._make("nav_msgs/msg/Path", header=header, poses=poses)

    def grid(self, header: Any, grid: Grid) -> Any:
        """A grid on the ground."""
        height, width = grid.cells.shape
        x, y = grid.origin
        info = self._make(
            "nav_msgs/msg/MapMetaData",
            map_load_time=header.stamp,
            resolution=grid.resolution,
            width=width,
            height=height,
            origin=self._make("geometry_msgs/msg/Pose", position=self._make("geometry_msgs/msg/Point", x=x, y=y)),
        )
        return self._make("nav_msgs/msg/OccupancyGrid", header=header, info=info, data=grid.cells.reshape(-1))

    def detections(self, header: Any, detections: Sequence[Detection]) -> Any:
        """Objects as boxes."""
        made = []
        for each in detections:
            hypothesis = self._make("vision_msgs/msg/ObjectHypothesis", class_id=each.class_id, score=each.score)
            x, y = each.center
            position = self._make("vision_msgs/msg/Point2D", x=x, y=y)
            center = self._make("vision_msgs/msg/Pose2D", position=position)
            width, height = each.size
            made.append(
                self._make(
                    "vision_msgs/msg/Detection2D",
                    header=header,
                    id=each.id,
                    results=[self._make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis)],
                    bbox=self._make("vision_msgs/msg/BoundingBox2D", center=center, size_x=width, size_y=height),
                )
            )
        return self._make(DETECTIONS, header=header, detections=made)

    def text(self, text: str) -> Any:
        """A string."""
        return self._make("std_msgs/msg/String", data=text)

    def _make(self, kind: str, /, **given: Any) -> Any:
        _, fields = self.store.fielddefs[kind]
        for field, (node, argument) in fields:
            if field not in given:
                given[field] = _DEFAULTS[kind, field] if (kind, field) in _DEFAULTS else self._default(node, argument)
        return self.store.types[kind](**given)

    def _default(self, kind: Nodetype, argument: Any) -> Any:
        if kind == Nodetype.NAME:
            return self._make(argument)
        if kind == Nodetype.BASE:
            name = argument[0]
            return "" if name == "string" else False if name == "bool" else 0.0 if name.startswith("float") else 0
        (element, of), count = argument
        if element == Nodetype.BASE and of[0] != "string":
            return np.zeros(count, dtype=of[0])
        return []
