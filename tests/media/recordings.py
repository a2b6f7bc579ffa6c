"""Small real recordings for the tests, written with the libraries that people record with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

RAW = "/camera/front/image_raw"
COMPRESSED = "/camera/front/image_raw/compressed"
INFO = "/camera/front/camera_info"
START = 1_700_000_000 * 10**9
PERIOD = 100_000_000
K = (100.0, 0.0, 32.0, 0.0, 110.0, 24.0, 0.0, 0.0, 1.0)


def picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(index).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


class Messages:
    """Makes the messages of one ROS generation."""

    def __init__(self, ros1: bool) -> None:
        self.store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
        if ros1:
            self.store.register(
                get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage")
            )
        self.ros1 = ros1

    def header(self, stamp: int):
        types = self.store.types
        time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
        more = {"seq": 0} if self.ros1 else {}
        return types["std_msgs/msg/Header"](stamp=time, frame_id="camera_front", **more)

    def image(self, index: int, stamp: int, **changes: object):
        image = picture(index)
        fields = {
            "height": 48,
            "width": 64,
            "encoding": "bgr8",
            "is_bigendian": 0,
            "step": 192,
            "data": image.reshape(-1),
        }
        return self.store.types["sensor_msgs/msg/Image"](header=self.header(stamp), **(fields | changes))

    def compressed(self, index: int, stamp: int, cut: int | None = None):
        data = cv2.imencode(".jpg", picture(index))[1].reshape(-1)[:cut]
        return self.store.types["sensor_msgs/msg/CompressedImage"](
            header=self.header(stamp), format="bgr8; jpeg compressed bgr8", data=data
        )

    def camera_info(self, stamp: int, model: str = "plumb_bob", distortion: tuple = (0.1, 0.2, 0.0, 0.0, 0.3)):
        types = self.store.types
        roi = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        values = {"d": np.array(distortion), "k": np.array(K), "r": np.eye(3).ravel(), "p": np.eye(3, 4).ravel()}
        if self.ros1:
            values = {name.upper(): value for name, value in values.items()}
        return types["sensor_msgs/msg/CameraInfo"](
            header=self.header(stamp),
            height=48,
            width=64,
            distortion_model=model,
            binning_x=0,
            binning_y=0,
            roi=roi,
            **values,
        )

    def transforms(self, stamp: int, of: list[Any]):
        """A message on /tf_static of what looks like TransformStamped messages."""
        types = self.store.types
        made = []
        for each in of:
            header = replace(self.header(stamp), frame_id=each.header.frame_id)
            transform = types["geometry_msgs/msg/Transform"](
                translation=types["geometry_msgs/msg/Vector3"](**vars(each.transform.translation)),
                rotation=types["geometry_msgs/msg/Quaternion"](**vars(each.transform.rotation)),
            )
            made.append(
                types["geometry_msgs/msg/TransformStamped"](
                    header=header, child_frame_id=each.child_frame_id, transform=transform
                )
            )
        return types["tf2_msgs/msg/TFMessage"](transforms=made)

    def text(self, content: str):
        return self.store.types["std_msgs/msg/String"](data=content)

    def serialize(self, message) -> bytes:
        kind = message.__msgtype__
        serialize = self.store.serialize_ros1 if self.ros1 else self.store.serialize_cdr
        return bytes(serialize(message, kind))


def write_bag(folder: Path, kind: str, entries: list[tuple[str, int, Any]], messages: Messages) -> Path:
    """Write (topic, time, message or (type, bytes)) entries.

    Kinds are bag, bag-lz4, mcap, mcap-zstd, mcap-messages and db3. Returns the file of a ROS 1 bag, the folder of a
    ROS 2 bag.
    """
    path = folder / ("drive.bag" if kind.startswith("bag") else "drive")
    writer: Any
    if kind.startswith("bag"):
        writer = Ros1Writer(path)
        if kind == "bag-lz4":
            writer.set_compression(Ros1Writer.CompressionFormat.LZ4)
        writer.chunk_threshold = 20_000  # several chunks, as a long recording has
    else:
        plugin = StoragePlugin.SQLITE3 if kind == "db3" else StoragePlugin.MCAP
        writer = Ros2Writer(path, version=9, storage_plugin=plugin)
        if kind == "mcap-zstd":
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        if kind == "mcap-messages":
            writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, stamp, message in entries:
            msgtype, data = (
                message if isinstance(message, tuple) else (message.__msgtype__, messages.serialize(message))
            )
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=messages.store)
            writer.write(connections[topic], stamp, data)
    return path


def drive(
    messages: Messages, frames: int = 6, raw: bool = True, compressed: bool = False
) -> list[tuple[str, int, object]]:
    """Entries of a short drive, recorded 7 ms after each picture was taken."""
    entries: list[tuple[str, int, Any]] = []
    for i in range(frames):
        stamp = START + i * PERIOD
        entries.append((INFO, stamp + 7_000_000, messages.camera_info(stamp)))
        if raw:
            entries.append((RAW, stamp + 7_000_000, messages.image(i, stamp)))
        if compressed:
            entries.append((COMPRESSED, stamp + 8_000_000, messages.compressed(i, stamp)))
    return entries


def write_video(
    path: Path,
    frames: int = 12,
    fps: int = 25,
    size: tuple[int, int] = (48, 64),
    options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "4", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        for i in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i, *size), format="bgr24")))
        container.mux(stream.encode(None))
    return path
