"""Which topic of a recording holds the pictures that are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rtseg.errors import MediaError
from rtseg.media.coded_video import TYPES
from rtseg.media.storage import Channel
from rtseg.printing import visible

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
STATIC_TRANSFORMS = ("/tf_static", "tf2_msgs/msg/TFMessage")
VIDEO = TYPES
ENCODINGS = ("cdr", "ros1")
MAX_LISTED = 20


def holds_pictures(channel: Channel) -> bool:
    """Whether the messages of a channel are pictures that can be decoded."""
    depth = channel.topic.endswith("/compressedDepth")
    single = channel.msgtype in (IMAGE, COMPRESSED) and channel.encoding in ENCODINGS and not depth
    return single or holds_video(channel)


def holds_video(channel: Channel) -> bool:
    """Whether the messages of a channel are packets of a video."""
    return channel.msgtype in VIDEO and channel.encoding == "cdr"


def camera_name(topic: str) -> str:
    """The topic without the last part that says how a camera's pictures are sent."""
    return re.sub(r"/(compressed|ffmpeg|h264|h265|compressed_video)$", "", topic)


def choose_topic(path: Path, counts: dict[Channel, int], wanted: str | None) -> str:
    """Return the image topic to read: the wanted one, or the only one; of a camera recorded both ways, the raw one.

    Raises:
        MediaError: there is no such topic, or several cameras.
    """
    images: dict[str, int] = {}
    for channel, count in counts.items():
        if holds_pictures(channel):
            images[channel.topic] = images.get(channel.topic, 0) + count
    found = _listing(f"{visible(topic)} ({count})" for topic, count in images.items())
    if wanted is not None:
        name = "/" + wanted.strip("/")
        for candidate in (wanted, name, name[1:], f"{name}/compressed"):
            if candidate in images:
                return candidate
        raise MediaError(
            f"expected image topic {visible(wanted)} in {visible(path)}, got {found or _others(counts)}; "
            "name one of its image topics"
        )
    filled = sorted(topic for topic, count in images.items() if count)
    if not filled:
        raise MediaError(
            f"expected messages of pictures (sensor_msgs Image or CompressedImage, CompressedVideo, "
            f"FFMPEGPacket) in {visible(path)}, got "
            f"{found or _others(counts)}; record an image topic"
        )
    if len({camera_name(topic) for topic in filled}) > 1:
        raise MediaError(f"expected one camera in {visible(path)}, got {found}; name one with --topic")
    # Of a camera recorded both ways the raw frames lost nothing and need no decoding.
    return filled[0]


def _others(counts: dict[Channel, int]) -> str:
    listed = (
        f"{visible(channel.topic)} ({visible(channel.msgtype) or 'of no known type'}"
        + (f", written as {visible(channel.encoding)}" if channel.encoding not in ENCODINGS else "")
        + ")"
        for channel in counts
    )
    return _listing(listed) or "no topics at all"


def _listing(entries: Iterable[str]) -> str:
    names = sorted(entries)
    return ", ".join(names[:MAX_LISTED]) + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")
