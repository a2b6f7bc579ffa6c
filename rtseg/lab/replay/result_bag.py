"""Results as one MCAP file that Foxglove, RViz and rosbags open."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_typestore

from rtseg.errors import MediaError
from rtseg.files import Part
from rtseg.frame import Frame
from rtseg.media.overlay import color_of
from rtseg.results import Instances, Lanes

if TYPE_CHECKING:
    from rtseg.camera import Camera

VEHICLE_FRAME = "base_link"
MAX_DISTANCE = 80.0
"""Metres ahead up to which lanes are drawn on the ground: farther off, one pixel is several metres."""

STILL_PERIOD = 1_000_000_000 // 30
"""Nanoseconds between unrelated pictures."""

_TOPICS = {
    "/camera/image/compressed": "sensor_msgs/msg/CompressedImage",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/lanes/lane_mask": "sensor_msgs/msg/Image",
    "/lanes/lanes": "visualization_msgs/msg/MarkerArray",
    "/lanes/overlay/compressed": "sensor_msgs/msg/CompressedImage",
    "/instances/instance_mask": "sensor_msgs/msg/Image",
    "/instances/class_mask": "sensor_msgs/msg/Image",
    "/instances/overlay/compressed": "sensor_msgs/msg/CompressedImage",
    "/perception/overlay/compressed": "sensor_msgs/msg/CompressedImage",
}


class ResultBag:
    """Writes frames and what was found in them; the file appears under its name when it is complete.

    Topics: ``/camera/image/compressed``, ``/camera/camera_info``, ``/lanes/lane_mask`` (mono8, lane ids),
    ``/lanes/lanes`` (MarkerArray of line strips in the vehicle frame, where a calibrated camera is known),
    ``/lanes/overlay/compressed``; for instances ``/instances/instance_mask`` (16UC1, ids that stay with an object),
    ``/instances/class_mask`` (mono8, 1 + the index of the class) and ``/instances/overlay/compressed``; the overlay of
    both together is ``/perception/overlay/compressed``.
    Every header carries the frame's stamp, which is also the message's time in the file; stills, which have none,
    follow each other at 30 Hz.

    Args:
        path: ``.mcap`` to write; what was there is replaced at the end.
        camera: for the ground points of lanes, None without.
        jpeg_quality: of pictures and overlays.

    Raises:
        MediaError: the file cannot be written.
    """

    def __init__(self, path: str | Path, camera: Camera | None = None, jpeg_quality: int = 85) -> None:
        self.path = Path(path)
        self._camera = camera
        self._quality = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
        self._ground: Any = None
        self._stills = 0
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        self._connections: dict[str, Any] = {}
        # rosbags writes a folder with metadata beside the storage; the storage alone is a whole MCAP file.
        self._part = Part(self.path, folder=True)
        try:
            self._writer = Writer(self._part.path / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
            # Masks are mostly zeros; chunks compress them a hundredfold.
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except (OSError, WriterError) as error:
            self._part.discard()
            raise MediaError(f"expected to write {self.path}, got {error}; check the folder") from error

    def write(
        self,
        frame: Frame,
        result: Lanes | Instances | tuple[Lanes | Instances, ...],
        overlay: NDArray[np.uint8] | None = None,
    ) -> None:
        """Append one frame, what was found in it (lanes, instances, or a tuple of both), and its overlay.

        Raises:
            MediaError: the disk is full.
        """
        stamp = self._stills * STILL_PERIOD if frame.stamp is None else frame.stamp
        self._stills += frame.stamp is None
        header = self._header(stamp, frame.frame_id)
        self._add("/camera/image/compressed", stamp, self._jpeg(header, frame.image))
        if self._camera is not None:
            self._fit_camera(self._camera, frame)
            self._add("/camera/camera_info", stamp, self._camera_info(header, self._camera))
        for each in result if isinstance(result, tuple) else (result,):
            if isinstance(each, Lanes):
                self._add("/lanes/lane_mask", stamp, self._mask(header, each.mask))
                if self._camera is not None:
                    self._add("/lanes/lanes", stamp, self._markers(stamp, each))
            else:
                ids = np.concatenate([[0], each.ids]).astype("<u2")[each.labels]
                kinds = np.concatenate([[0], each.class_ids + 1]).astype(np.uint8)[each.labels]
                self._add("/instances/instance_mask", stamp, self._mask(header, ids))
                self._add("/instances/class_mask", stamp, self._mask(header, kinds))
        if overlay is not None:
            group = "perception" if isinstance(result, tuple) else "lanes" if isinstance(result, Lanes) else "instances"
            self._add(f"/{group}/overlay/compressed", stamp, self._jpeg(header, overlay))

    def close(self) -> None:
        """Write the index and give the file its name."""
        try:
            self._writer.close()
        except (OSError, WriterError) as error:
            self._part.discard()
            raise MediaError(f"expected to finish {self.path}, got {error}; check the disk") from error
        self._part.keep(Path("bag", "bag.mcap"))

    def abort(self) -> None:
        """Leave no file behind."""
        with suppress(Exception):  # on a full disk closing fails as writing did
            self._writer.abort()
        self._part.discard()

    def __enter__(self) -> ResultBag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()

    def _fit_camera(self, camera: Camera, frame: Frame) -> None:
        """Calibrations are kept for one image size; frames may come in another."""
        height, width = frame.size
        if self._ground is None or (camera.width, camera.height) != (width, height):
            from rtseg.lanes import GroundPlane

            self._camera = camera.scaled(width, height)
            self._ground = GroundPlane(self._camera)

    def _add(self, topic: str, stamp: int, message: Any) -> None:
        msgtype = _TOPICS[topic]
        try:
            if topic not in self._connections:
                self._connections[topic] = self._writer.add_connection(topic, msgtype, typestore=self._store)
            self._writer.write(self._connections[topic], max(stamp, 0), self._store.serialize_cdr(message, msgtype))
        except (OSError, WriterError) as error:
            raise MediaError(f"expected to write {self.path}, got {error}; check the disk") from error

    def _header(self, stamp: int, frame_id: str) -> Any:
        types = self._store.types
        seconds, nanoseconds = divmod(max(stamp, 0), 10**9)
        time = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
        return types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)

    def _jpeg(self, header: Any, image: NDArray[np.uint8]) -> Any:
        done, data = cv2.imencode(".jpg", image, self._quality)
        if not done:
            raise MediaError(f"expected a picture for {self.path.name}, got one that does not encode; drop the frame")
        return self._store.types["sensor_msgs/msg/CompressedImage"](header=header, format="jpeg", data=data.reshape(-1))

    def _mask(self, header: Any, mask: NDArray[Any]) -> Any:
        return self._store.types["sensor_msgs/msg/Image"](
            header=header,
            height=mask.shape[0],
            width=mask.shape[1],
            encoding="mono8" if mask.itemsize == 1 else "16UC1",
            is_bigendian=0,
            step=mask.shape[1] * mask.itemsize,
            data=np.ascontiguousarray(mask).reshape(-1).view(np.uint8),
        )

    def _camera_info(self, header: Any, camera: Camera) -> Any:
        types = self._store.types
        matrix = np.asarray(camera.K, dtype=np.float64)
        roi = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        return types["sensor_msgs/msg/CameraInfo"](
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.asarray(camera.distortion, dtype=np.float64),
            k=matrix.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([matrix, np.zeros((3, 1))]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def _markers(self, stamp: int, lanes: Lanes) -> Any:
        """Line strips on the ground; each array first clears what the one before drew."""
        types = self._store.types
        header = self._header(stamp, VEHICLE_FRAME)
        markers = [self._marker(header, action=3)]
        for identity, line in zip(lanes.ids.tolist(), lanes.polylines, strict=True):
            ground = np.asarray(self._ground.project(line), dtype=np.float64)
            ground = ground[np.isfinite(ground).all(axis=1)]
            ground = ground[(ground[:, 0] > 0) & (ground[:, 0] < MAX_DISTANCE)]
            if len(ground) < 2:
                continue
            points = [types["geometry_msgs/msg/Point"](x=x, y=y, z=z) for x, y, z in ground.tolist()]
            markers.append(self._marker(header, identity=identity, points=points))
        return types["visualization_msgs/msg/MarkerArray"](markers=markers)

    def _marker(self, header: Any, action: int = 0, identity: int = 0, points: list[Any] | None = None) -> Any:
        types = self._store.types
        blue, green, red = (c / 255 for c in color_of(identity))
        zero = types["builtin_interfaces/msg/Duration"](sec=0, nanosec=0)
        pose = types["geometry_msgs/msg/Pose"](
            position=types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0),
            orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
        )
        no_time = types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
        return types["visualization_msgs/msg/Marker"](
            header=header,
            ns="lanes",
            id=identity,
            type=4,  # LINE_STRIP
            action=action,
            pose=pose,
            scale=types["geometry_msgs/msg/Vector3"](x=0.12, y=0.0, z=0.0),
            color=types["std_msgs/msg/ColorRGBA"](r=red, g=green, b=blue, a=1.0),
            lifetime=zero,
            frame_locked=False,
            points=points or [],
            colors=[],
            texture_resource="",
            texture=types["sensor_msgs/msg/CompressedImage"](
                header=types["std_msgs/msg/Header"](stamp=no_time, frame_id=""), format="", data=np.zeros(0, np.uint8)
            ),
            uv_coordinates=[],
            mesh_resource="",
            mesh_file=types["visualization_msgs/msg/MeshFile"](filename="", data=np.zeros(0, np.uint8)),
            mesh_use_embedded_materials=False,
            text="",
        )
