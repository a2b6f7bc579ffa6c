"""ROS 1 and ROS 2 bags as frames."""

from __future__ import annotations

import logging
import struct
import sys
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from rtseg.counted import counted
from rtseg.errors import CalibrationError, ImageError, MediaError, RtsegError
from rtseg.frame import Frame, RawImage
from rtseg.media.coded_video import FOXGLOVE, MAX_DELAY, PacketDecoder, definitions
from rtseg.media.compressed import decode_compressed
from rtseg.media.encodings import raw_image
from rtseg.media.frame_source import FrameSource
from rtseg.media.storage import Channel, StoredMessage, is_bag, open_recording
from rtseg.media.storage.base import MAX_MESSAGE
from rtseg.media.storage.byte_sources import ZSTD_MAGIC, inflate_message
from rtseg.media.topics import (
    CAMERA_INFO,
    IMAGE,
    STATIC_TRANSFORMS,
    camera_name,
    choose_topic,
    holds_pictures,
    holds_video,
)
from rtseg.printing import visible

if TYPE_CHECKING:
    from rtseg.camera import Camera, Mount

logger = logging.getLogger("rtseg")

LOOKED_AT = 100
"""Messages from whose stamps the rate is told, and among which a calibration is looked for."""

__all__ = ["BagSource", "is_bag"]


class BagSource(FrameSource):
    """The frames of one image topic of a bag; stamps are those of the messages' headers.

    The rate is the median spacing of the topic's own stamps: pauses, and what else was recorded when, do not matter.

    Args:
        path: ``.bag``, ``.mcap`` or ``.db3`` file under whatever name, compressed by zstd or not, or the folder of a
            ROS 2 bag, or its ``metadata.yaml``.
        topic: image topic; without it, the bag's only one, and the raw one where a camera was recorded both raw and
            compressed.

    Raises:
        MediaError: the bag cannot be read, or has no such topic, or several cameras and no `topic` tells which.

    A damaged bag gives the frames that it still holds, and what is left out is logged.
    """

    def __init__(self, path: str | Path, topic: str | None = None) -> None:
        path = Path(path)
        self._parts = open_recording(path)
        try:
            counts: dict[Channel, int] = {}
            for part in self._parts:
                for channel, count in part.counts.items():
                    counts[channel] = counts.get(channel, 0) + count
            self.topic = choose_topic(path, counts, topic)
            self._coded = any(channel.topic == self.topic and holds_video(channel) for channel in counts)
            count = sum(n for channel, n in counts.items() if channel.topic == self.topic)
            fps, size, frame_id = self._look_ahead()
            mount, camera = self._read_mount(counts, frame_id), self._read_camera(counts, size)
            if camera is not None and mount is not None:
                camera = replace(camera, mount=mount)
            super().__init__(path.resolve().name, count, fps, camera, self.topic)
            self.mount = mount
            self.files = (path, *(part.path for part in self._parts))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def _frames(self) -> Iterator[Frame]:
        read = yield from self._numbered(0, None)
        if self.count and not read:
            raise MediaError(
                f"expected {counted(self.count, 'message')} on {visible(self.topic)}, got none that can be read from "
                f"{visible(self.name)}"
            )

    def _part(self, start: int, stop: int | None) -> Iterator[Frame]:
        """Give the frames of the messages from number `start` on and before `stop`; no other is decoded."""
        yield from self._numbered(start, stop)

    def _numbered(self, start: int, stop: int | None) -> Generator[Frame, None, int]:
        """Give the frames of some messages; returns how many messages there were up to their end."""
        if self._coded:
            return (yield from self._from_packets(start, stop))
        read = 0
        for message in islice(self._messages(self.topic), stop):
            read += 1
            if read <= start:
                continue
            try:
                yield self._decode(message)
            except RtsegError as error:
                self.skip(error)
        self._miss(max(read, start), stop)
        return read

    def _miss(self, read: int, stop: int | None) -> None:
        """Tell how many messages should have come before `stop` after so many had."""
        wanted = min(stop, self.count or 0) if stop is not None else self.count or 0
        if read < wanted:
            self.skip("the bag is damaged", wanted - read)

    def _from_packets(self, start: int, stop: int | None) -> Generator[Frame, None, int]:
        """As `_numbered`; a picture needs the packets before it, and may need some behind it."""
        decoder = PacketDecoder()
        end = stop if stop is not None else sys.maxsize
        due: set[int] = set()  # messages whose pictures have not come yet
        read = 0

        def frames(decoded: Iterator[tuple[NDArray[np.uint8], tuple[int, int, str]]]) -> Iterator[Frame]:
            try:
                for image, (number, stamp, frame_id) in decoded:
                    due.discard(number)
                    if start <= number < end:
                        yield Frame(image, stamp, frame_id)
            except ImageError as error:
                due.discard(read - 1)
                if start < read <= end:
                    self.skip(error)

        for message in self._messages(self.topic):
            if read >= end and not (read < end + MAX_DELAY and any(number < end for number in due)):
                break
            read += 1
            try:
                codec, data, stamp, frame_id = _packet(message)
            except ImageError as error:
                self.skip(error)
                continue
            due.add(read - 1)
            yield from frames(decoder.decode(codec, data, (read - 1, stamp, frame_id)))
        yield from frames(decoder.flush())
        if lost := sum(start <= number < end for number in due):
            self.skip("packets of the video gave no picture", lost)
        self._miss(max(min(read, end), start), stop)
        return min(read, end)

    def _messages(self, topic: str) -> Iterator[StoredMessage]:
        for part in self._parts:
            yield from part.messages({topic})

    def _decode(self, message: StoredMessage) -> Frame:
        if not holds_pictures(message.channel):
            raise ImageError(f"expected pictures alone on {visible(self.topic)}, got {visible(message.channel[1:])}")
        fields = _deserialize(message)
        image: NDArray[np.uint8] | RawImage
        if message.channel.msgtype == IMAGE:
            image = raw_image(
                fields.encoding, fields.height, fields.width, fields.step, fields.data, fields.is_bigendian
            )
        else:
            image = decode_compressed(fields.format, fields.data)
        stamp = fields.header.stamp.sec * 10**9 + fields.header.stamp.nanosec
        return Frame(image, stamp or message.stamp, fields.header.frame_id)

    def _look_ahead(self) -> tuple[float | None, tuple[int, int] | None, str]:
        """The rate, the (width, height) of the first picture and its frame_id; None or empty for what is unknown."""
        stamps: list[int] = []
        size: tuple[int, int] | None = None
        frame_id = ""
        for message in islice(self._messages(self.topic), LOOKED_AT + 1):
            stamps.append(_header_stamp(message) or message.stamp)
            if not frame_id and len(stamps) <= 3:
                try:
                    if self._coded:
                        frame_id = _packet(message)[3]
                        continue
                    first = self._decode(message)
                    size, frame_id = first.size[::-1], first.frame_id
                except RtsegError:
                    continue
        spacings = [b - a for a, b in pairwise(stamps) if b > a]
        return (round(1e9 / median(spacings), 3) or None if spacings else None), size, frame_id

    def _read_mount(self, counts: dict[Channel, int], frame_id: str) -> Mount | None:
        """Where the camera of these pictures sits, as the node would learn it from the same transforms."""
        from rtseg.camera.transforms import VEHICLE_FRAME, StaticTransforms

        count = sum(n for channel, n in counts.items() if (channel.topic, channel.msgtype) == STATIC_TRANSFORMS)
        transforms = StaticTransforms()
        for message in islice(self._messages(STATIC_TRANSFORMS[0]), count):
            try:
                transforms = transforms.with_added(_deserialize(message).transforms)
            except (ImageError, AttributeError) as error:
                logger.warning("a message on %s is left out: %s", STATIC_TRANSFORMS[0], error)
        try:
            return transforms.mount(VEHICLE_FRAME, frame_id)
        except CalibrationError as error:
            logger.warning("the camera's mounting is not taken from %s: %s", STATIC_TRANSFORMS[0], error)
            return None

    def _read_camera(self, counts: dict[Channel, int], size: tuple[int, int] | None) -> Camera | None:
        from rtseg.camera import camera_info_topic, camera_of, check_aspect, is_rectified

        recorded = sorted({channel.topic for channel, n in counts.items() if channel.msgtype == CAMERA_INFO and n})
        cameras = {camera_name(channel.topic) for channel, n in counts.items() if holds_pictures(channel) and n}
        topic = camera_info_topic(self.topic)
        if topic not in recorded:
            if len(recorded) != 1 or len(cameras) > 1:
                if recorded:
                    logger.warning(
                        "%s: no camera_info beside %s, only %s; give the camera's own with --camera",
                        visible(self._parts[0].path.name),
                        visible(self.topic),
                        visible(", ".join(recorded)),
                    )
                return None
            topic = recorded[0]
        rectified = is_rectified(self.topic)
        fault = f"says that the camera is not calibrated{' for rectified pictures (its P)' if rectified else ''}"
        for message in islice(self._messages(topic), LOOKED_AT):
            try:
                camera = camera_of(_deserialize(message), rectified)
                if camera is None:
                    continue
                if size is not None:
                    check_aspect(camera, *size)
                return camera
            except (CalibrationError, ImageError, AttributeError) as error:
                fault = f"cannot be used: {error}"
        logger.warning("%s %s", visible(topic), fault)
        return None


@cache
def _store(encoding: str) -> Any:
    if encoding == "ros1":
        store = get_typestore(Stores.ROS1_NOETIC)
        store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", STATIC_TRANSFORMS[1]))
        return store
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(definitions())
    return store


def _content(message: StoredMessage) -> bytes:
    """The message's bytes, unpacked where the recorder compressed it by itself."""
    if message.channel.encoding == "ros1" or message.data[:4] != ZSTD_MAGIC:
        return message.data
    try:
        return inflate_message(message.data, MAX_MESSAGE)
    except ValueError as error:
        raise ImageError(f"expected a sound zstd message, got one that does not unpack ({error})") from error


def _deserialize(message: StoredMessage) -> Any:
    store, data, msgtype = _store(message.channel.encoding), _content(message), message.channel.msgtype
    try:
        if message.channel.encoding == "ros1":
            return store.deserialize_ros1(data, msgtype)
        return store.deserialize_cdr(data, msgtype)
    except Exception as error:  # whatever the parser trips over in bytes that are no such message
        raise ImageError(
            f"expected a {visible(msgtype)} message, got {counted(len(data), 'byte')} that cannot be parsed "
            f"({error!r:.80})"
        ) from error


def _packet(message: StoredMessage) -> tuple[str, NDArray[np.uint8], int, str]:
    """Codec, data, stamp and frame of a packet."""
    if not holds_video(message.channel):
        raise ImageError(f"expected packets of a video alone, got {visible(message.channel[1:])}")
    fields = _deserialize(message)
    foxglove = message.channel.msgtype == FOXGLOVE
    time, frame_id = (fields.timestamp, fields.frame_id) if foxglove else (fields.header.stamp, fields.header.frame_id)
    stamp = time.sec * 10**9 + time.nanosec
    return fields.format if foxglove else fields.encoding, fields.data, stamp or message.stamp, frame_id


def _header_stamp(message: StoredMessage) -> int:
    """The stamp of a message that begins with a header, 0 if it has none."""
    try:
        data = _content(message)
        if message.channel.encoding == "ros1":
            seconds, nanoseconds = struct.unpack_from("<II", data, 4)  # behind the header's number
        else:
            seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    except (ImageError, struct.error, IndexError):
        return 0
    return int(seconds) * 10**9 + int(nanoseconds)
