"""Results as one MCAP file that Foxglove, RViz and rosbags open."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from rtseg.errors import MediaError
from rtseg.files import Part
from rtseg.frame import Frame
from rtseg.lab.replay.bag_messages import BagMessages
from rtseg.lanes import GroundPlane, ego_lane
from rtseg.messages import (
    VEHICLE_FRAME,
    Grid,
    Ground,
    Surfaces,
    class_labels,
    class_mask,
    detections,
    ego_numbers,
    ego_path,
    ground_lines,
    instance_mask,
    jpeg_bytes,
    label_text,
    lane_grid,
    lane_labels,
    lane_markers,
    lane_mask,
    lane_pixels,
    lane_points,
    surface_kinds,
)
from rtseg.results import Instances, Lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtseg.camera import Camera

STILL_PERIOD = 1_000_000_000 // 30
"""Nanoseconds between unrelated pictures."""


class ResultBag:
    """Writes frames and what was found in them; the file appears under its name when it is complete.

    Topics and messages are those of the nodes `lanes`, `instances` and `perception`, field by field, since both are
    made by :mod:`rtseg.messages`: ``/camera/image/compressed``, ``/camera/camera_info``; ``/lanes/lane_mask``,
    ``/lanes/lane_pixels``, ``/lanes/label_info``, ``/lanes/overlay/compressed``, and where a calibrated camera is known
    ``/lanes/lanes``, ``/lanes/lane_points``, ``/lanes/lane_grid``, ``/lanes/ego_path`` and ``/lanes/ego_lane``;
    ``/instances/instance_mask``, ``/instances/class_mask``, ``/instances/detections``, ``/instances/label_info``,
    ``/instances/overlay/compressed``, and with that camera ``/instances/free_space``; the overlay of both together is
    ``/perception/overlay/compressed``.
    Every header carries the frame's stamp, which is also the message's time in the file; stills, which have none,
    follow each other at 30 Hz.

    Args:
        path: ``.mcap`` to write; what was there is replaced at the end.
        camera: for the ground points of lanes, None without.
        jpeg_quality: of pictures and overlays.
        classes: names of the model's classes; with them the file also tells what the masks' values mean.
        surfaces: which of them lie on the ground; with them the file also tells where it is free.

    Raises:
        MediaError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        camera: Camera | None = None,
        jpeg_quality: int = 85,
        classes: Sequence[str] | None = None,
        surfaces: Surfaces | None = None,
    ) -> None:
        self.path = Path(path)
        self._camera = camera
        self._quality = jpeg_quality
        self._classes, self._surfaces = classes, surfaces
        self._plane: GroundPlane | None = None
        self._ground: Ground | None = None
        self._stills = 0
        self._messages = BagMessages()
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
        header = self._messages.header(stamp, frame.frame_id)
        self._add("/camera/image/compressed", stamp, self._jpeg(header, frame.image))
        if self._camera is not None:
            self._fit_camera(self._camera, frame)
            self._add("/camera/camera_info", stamp, self._messages.camera_info(header, self._camera))
        results = result if isinstance(result, tuple) else (result,)
        free = next((self._free_space(each) for each in results if isinstance(each, Instances)), None)
        for each in results:
            if isinstance(each, Lanes):
                self._write_lanes(stamp, header, each, free)
            else:
                self._write_instances(stamp, header, each, free)
        if overlay is not None:
            group = "perception" if isinstance(result, tuple) else "lanes" if isinstance(result, Lanes) else "instances"
            self._add(f"/{group}/overlay/compressed", stamp, self._jpeg(header, overlay))

    def _write_lanes(self, stamp: int, header: Any, lanes: Lanes, free: Grid | None) -> None:
        self._label("/lanes/label_info", stamp, lane_labels())
        self._add("/lanes/lane_mask", stamp, self._messages.mask(header, lane_mask(lanes)))
        self._add("/lanes/lane_pixels", stamp, self._messages.points(header, lane_pixels(lanes)))
        if self._plane is not None:
            vehicle = self._messages.header(stamp, VEHICLE_FRAME)
            ground, ego = ground_lines(lanes, self._plane), ego_lane(lanes, self._plane)
            free = free if self._surfaces is not None and self._surfaces.tell_free else None
            self._add("/lanes/lanes", stamp, self._messages.markers(vehicle, lane_markers(lanes, ground, ego)))
            self._add("/lanes/lane_points", stamp, self._messages.points(vehicle, lane_points(lanes, ground)))
            self._add("/lanes/ego_path", stamp, self._messages.path(vehicle, ego_path(ego)))
            self._add("/lanes/lane_grid", stamp, self._messages.grid(vehicle, lane_grid(ground, free)))
            self._add("/lanes/ego_lane", stamp, self._messages.points(vehicle, ego_numbers(ego, lanes)))

    def _write_instances(self, stamp: int, header: Any, instances: Instances, free: Grid | None) -> None:
        self._label("/instances/label_info", stamp, class_labels(self._classes or ()))
        self._add("/instances/instance_mask", stamp, self._messages.mask(header, instance_mask(instances)))
        self._add("/instances/class_mask", stamp, self._messages.mask(header, class_mask(instances)))
        self._add("/instances/detections", stamp, self._messages.detections(header, detections(instances)))
        if free is not None:
            vehicle = self._messages.header(stamp, VEHICLE_FRAME)
            self._add("/instances/free_space", stamp, self._messages.grid(vehicle, free))

    def _free_space(self, instances: Instances) -> Grid | None:
        if self._plane is None or self._surfaces is None:
            return None
        self._ground = self._ground or Ground(self._plane)
        return self._ground.free_space(surface_kinds(instances, self._surfaces, self._ground))

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
        if self._plane is None or (camera.width, camera.height) != (width, height):
            self._camera = camera.scaled(width, height)
            self._plane, self._ground = GroundPlane(self._camera), None

    def _jpeg(self, header: Any, image: NDArray[np.uint8]) -> Any:
        return self._messages.jpeg(header, jpeg_bytes(image, self._quality))

    def _label(self, topic: str, stamp: int, labels: dict[int, str]) -> None:
        """Tell once what the values of a mask mean."""
        if self._classes is not None and topic not in self._connections:
            self._add(topic, stamp, self._messages.text(label_text(labels, 0.0)))

    def _add(self, topic: str, stamp: int, message: Any) -> None:
        try:
            if topic not in self._connections:
                msgtype, store = message.__msgtype__, self._messages.store
                self._connections[topic] = self._writer.add_connection(topic, msgtype, typestore=store)
            self._writer.write(self._connections[topic], max(stamp, 0), self._messages.serialize(message))
        except (OSError, WriterError) as error:
            raise MediaError(f"expected to write {self.path}, got {error}; check the disk") from error
