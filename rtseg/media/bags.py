"""ROS 1 and ROS 2 bags as frames."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys import Stores, get_typestore

from rtseg.errors import ImageError, MediaError, RtsegError
from rtseg.frame import Frame, RawImage
from rtseg.media.encodings import decode_compressed, raw_image
from rtseg.media.frame_source import FrameSource
from rtseg.media.natural_order import natural_key
from rtseg.media.salvage import ZSTD_MAGIC, StoredMessage, decompress, scan_messages

if TYPE_CHECKING:
    from rtseg.camera import Camera

logger = logging.getLogger("rtseg")

BAG_SUFFIXES = (".bag", ".mcap", ".db3")
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


def is_bag(path: Path) -> bool:
    """Whether `path` is a bag file or a folder that holds a ROS 2 bag."""
    if path.is_dir():
        return (path / "metadata.yaml").exists() or bool(_storage_files(path))
    return path.suffix in BAG_SUFFIXES


class BagSource(FrameSource):
    """The frames of one image topic of a bag; stamps are those of the messages' headers.

    Args:
        path: ``.bag``, ``.mcap`` or ``.db3`` file, or the folder of a ROS 2 bag.
        topic: image topic; without it, the bag's only one, and the raw one where a camera was recorded both raw and
            compressed.

    Raises:
        MediaError: the bag cannot be read, or has no such topic, or several cameras and no `topic` tells which.

    A bag without its end (a recorder that lost power) gives the frames it still holds, and logs a warning.
    """

    def __init__(self, path: str | Path, topic: str | None = None) -> None:
        path = Path(path)
        self._parts = _open_parts(path)
        try:
            self.topic, self._msgtype = _choose_topic(path, self._parts, topic)
            self._typestore = get_typestore(Stores.ROS1_NOETIC if _is_ros1(path) else Stores.ROS2_HUMBLE)
            self._ros1 = _is_ros1(path)
            count = sum(part.topics.get(self.topic, ("", 0))[1] for part in self._parts)
            super().__init__(path.name, count, self._rate(count), self._read_camera())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def _frames(self) -> Iterator[Frame]:
        read = 0
        for message in self._messages({self.topic}):
            read += 1
            try:
                yield self._decode(message)
            except RtsegError as error:
                self.skip(error)
        if self.count and read < self.count:
            self.skip("the bag is damaged", self.count - read)
        if self.count and not read:
            raise MediaError(
                f"expected {self.count} messages on {self.topic}, got none that can be read from {self.name}"
            )

    def _decode(self, message: StoredMessage) -> Frame:
        fields = self._deserialize(message)
        image: NDArray[np.uint8] | RawImage
        if self._msgtype == IMAGE:
            image = raw_image(
                fields.encoding, fields.height, fields.width, fields.step, fields.data, fields.is_bigendian
            )
        else:
            image = decode_compressed(fields.format, fields.data)
        stamp = fields.header.stamp.sec * 10**9 + fields.header.stamp.nanosec
        return Frame(image, stamp or message.stamp, fields.header.frame_id)

    def _deserialize(self, message: StoredMessage) -> Any:
        deserialize = self._typestore.deserialize_ros1 if self._ros1 else self._typestore.deserialize_cdr
        data = message.data
        if (
            not self._ros1 and data[:4] == ZSTD_MAGIC
        ):  # compressed one by one, and metadata.yaml, which says so, is lost
            data = decompress("zstd", data)
        try:
            return deserialize(data, message.msgtype)
        except Exception as error:  # whatever the parser trips over in bytes that are no such message
            raise ImageError(
                f"expected a {message.msgtype} message, got {len(message.data)} bytes that do not parse ({error!r:.80})"
            ) from error

    def _messages(self, topics: set[str]) -> Iterator[StoredMessage]:
        for part in self._parts:
            yield from part.messages(topics)

    def _rate(self, count: int) -> float | None:
        spans = [part.span for part in self._parts if part.span]
        seconds = (max(end for _, end in spans) - min(start for start, _ in spans)) / 1e9 if spans else 0.0
        return round((count - 1) / seconds, 3) if count > 1 and seconds > 0 else None

    def _read_camera(self) -> Camera | None:
        names = {name for part in self._parts for name, (kind, n) in part.topics.items() if kind == CAMERA_INFO and n}
        beside = f"{_base(self.topic).rpartition('/')[0]}/camera_info"
        name = beside if beside in names else min(names) if len(names) == 1 else None
        if name is None:
            return None
        for message in self._messages({name}):
            try:
                return _camera(self._deserialize(message))
            except RtsegError as error:
                logger.warning("%s: cannot use the recorded camera_info: %s", name, error)
                return None
        return None


class _Part:
    """One file of a recording, or a whole folder that rosbags can read by its metadata.

    Attributes:
        topics: name -> (message type, message count).
        span: recorder's (first, last) time in nanoseconds, None if empty.
    """

    def __init__(self, path: Path, salvage: bool) -> None:
        self.path = path
        self._reader: Ros1Reader | Ros2Reader | None = None
        self.topics: dict[str, tuple[str, int]] = {}
        self.span: tuple[int, int] | None = None
        try:
            reader = Ros1Reader(path) if _is_ros1(path) else Ros2Reader(path)
            reader.open()
            self._reader = reader
            self.topics = {name: (info.msgtype or "", info.msgcount) for name, info in reader.topics.items()}
            if reader.message_count:
                self.span = (reader.start_time, reader.end_time - 1)
        except Exception as error:  # rosbags lets struct, zstd, sqlite and assertion errors of damaged files through
            self.close()
            reason = str(error) or type(error).__name__
            if not salvage or not self._count_by_scanning():
                raise MediaError(
                    f"expected a complete ROS bag, got {path} that cannot be read ({reason:.200}); "
                    "copy or record it again"
                ) from error
            found = sum(n for _, n in self.topics.values())
            logger.warning("%s has no usable index (%s); going on with the %d messages found", path, reason, found)

    def _count_by_scanning(self) -> bool:
        self.topics = {}
        for topic, msgtype, stamp, _ in scan_messages(self.path):
            self.topics[topic] = (msgtype, self.topics.get(topic, ("", 0))[1] + 1)
            first, last = self.span or (stamp, stamp)
            self.span = (min(first, stamp), max(last, stamp))
        return bool(self.topics)

    def messages(self, topics: set[str]) -> Iterator[StoredMessage]:
        last = -1
        if self._reader is not None:
            connections = [c for c in self._reader.connections if c.topic in topics]
            if not connections:
                return
            try:
                for connection, stamp, data in self._reader.messages(connections=connections):  # type: ignore[arg-type]
                    last = stamp
                    yield StoredMessage(connection.topic, connection.msgtype, stamp, data)
                return
            except Exception as error:
                logger.warning("%s is damaged (%s); reading on without its index", self.path, error)
        for file in _storage_files(self.path) if self.path.is_dir() else [self.path]:
            for message in scan_messages(file):
                if message.topic in topics and message.stamp > last:
                    yield message

    def close(self) -> None:
        if self._reader is not None:
            with suppress(Exception):
                self._reader.close()
            self._reader = None


def _open_parts(path: Path) -> list[_Part]:
    if not path.exists():
        raise MediaError(f"expected a bag, got {path} that does not exist; check the path")
    if not path.is_dir():
        return [_Part(path, salvage=True)]
    files = _storage_files(path)
    if (path / "metadata.yaml").exists():
        try:
            return [_Part(path, salvage=False)]
        except MediaError:
            if not files:
                raise
    if not files:
        raise MediaError(f"expected a ROS 2 bag, got {path} without a .mcap or .db3 file; copy the whole folder")
    parts = []
    failures = []
    for file in files:
        try:
            parts.append(_Part(file, salvage=True))
        except MediaError as error:
            failures.append(error)
    if not parts:
        raise failures[0]
    for failure in failures:
        logger.warning("left out a file of the bag: %s", failure)
    return parts


def _storage_files(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix in (".mcap", ".db3")), key=natural_key)


def _is_ros1(path: Path) -> bool:
    return path.suffix == ".bag" and path.is_file()


def _base(topic: str) -> str:
    return topic.removesuffix("/compressed")


def _choose_topic(path: Path, parts: list[_Part], wanted: str | None) -> tuple[str, str]:
    """Return the (name, message type) of the image topic to read."""
    images: dict[str, tuple[str, int]] = {}
    others: dict[str, str] = {}
    for part in parts:
        for name, (msgtype, count) in part.topics.items():
            if msgtype in (IMAGE, COMPRESSED) and not name.endswith("/compressedDepth"):
                images[name] = (msgtype, images.get(name, ("", 0))[1] + count)
            else:
                others[name] = msgtype
    listing = ", ".join(f"{name} ({count})" for name, (_, count) in sorted(images.items()))
    if wanted is not None:
        name = f"/{wanted.lstrip('/')}"
        for candidate in (wanted, name, f"{name}/compressed"):
            if candidate in images:
                return candidate, images[candidate][0]
        raise MediaError(
            f"expected image topic {wanted} in {path}, got {listing or 'no image topic'}; name one of these"
        )
    filled = {name: msgtype for name, (msgtype, count) in images.items() if count}
    cameras = {_base(name) for name in filled}
    if not filled:
        found = listing or ", ".join(f"{name} ({kind})" for name, kind in sorted(others.items())) or "no topics at all"
        raise MediaError(
            f"expected sensor_msgs Image or CompressedImage messages in {path}, got {found}; "
            "record an image topic (video-coded topics have to be decoded first)"
        )
    if len(cameras) > 1:
        raise MediaError(f"expected one camera in {path}, got {listing}; name the topic to read")
    # Of a camera recorded both ways the raw frames lost nothing and need no decoding.
    name = min(filled)
    return name, filled[name]


def _camera(info: Any) -> Camera | None:
    """Turn a CameraInfo message into a Camera; None if the driver sent an uncalibrated one (all zeros)."""
    from rtseg.camera import Camera

    matrix = np.asarray(getattr(info, "k", getattr(info, "K", ())), dtype=np.float64).reshape(3, 3)
    distortion = np.asarray(getattr(info, "d", getattr(info, "D", ())), dtype=np.float64)
    if not matrix[0, 0]:
        return None
    plumb_bob = info.distortion_model in ("plumb_bob", "") or (
        info.distortion_model == "rational_polynomial" and not np.any(distortion[5:])
    )
    if not plumb_bob:
        raise MediaError(
            f"expected plumb_bob distortion, got {info.distortion_model}; calibrate with rtseg calibrate camera"
        )
    five = np.zeros(5)
    five[: min(5, distortion.size)] = distortion[:5]
    return Camera(width=int(info.width), height=int(info.height), K=matrix, distortion=five)
