"""Video that was recorded packet by packet: Foxglove's CompressedVideo, and what ffmpeg_image_transport sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from rtseg.errors import ImageError
from rtseg.media.containers import UprightPictures
from rtseg.media.encodings import MAX_MESSAGE_PIXELS
from rtseg.media.nal_units import Continuity

FOXGLOVE = "foxglove_msgs/msg/CompressedVideo"
FFMPEG = ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "ffmpeg_image_transport/msg/FFMPEGPacket")
TYPES = (FOXGLOVE, *FFMPEG)

_CODECS = {
    "h264": r"h264|x264|avc|h264_\w+",
    "hevc": r"h265|hevc|x265|hevc_\w+",
    "av1": r"av1|av1_\w+|libsvtav1|libaom-av1|librav1e",
    "vp9": r"vp9|vp9_\w+",
    "vp8": r"vp8|vp8_\w+",
    "mjpeg": r"mjpe?g|mjpeg_\w+",
    "mpeg4": r"mpeg4",
}
MAX_DELAY = 64
"""Packets after which a picture that has not come will not."""


def definitions() -> dict[str, Any]:
    """The messages' definitions, for a store of types of ROS 2."""
    from rosbags.typesys import get_types_from_msg  # which a node that decodes does without

    foxglove = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
    ffmpeg = (
        "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
        "bool is_bigendian\nuint8[] data\n"
    )
    found: dict[str, Any] = dict(get_types_from_msg(foxglove, FOXGLOVE))
    for name in FFMPEG:
        found.update(get_types_from_msg(ffmpeg, name))
    return found


class PacketDecoder:
    """Decodes the packets of one stream, in the order in which they were recorded.

    Of H.264 and H.265 nothing is given that a lost or broken packet has spoilt, until the next key frame.

    Args:
        max_pixels: pictures that announce more are refused.
    """

    def __init__(self, max_pixels: int = MAX_MESSAGE_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._codec: VideoCodecContext | None = None
        self._name = ""
        self._upright = UprightPictures()
        self._continuity = Continuity("")
        self._waiting: dict[int, Any] = {}  # what came with packets whose picture has not come yet
        self._number = 0

    def decode(self, named: str, data: NDArray[np.uint8], note: Any) -> Iterator[tuple[NDArray[np.uint8], Any]]:
        """Give the pictures that a packet completes.

        Args:
            named: the codec, as the message has it (``h264``, ``libx265``, ``hevc;nv12;...``).
            data: of the packet.
            note: given back with the picture of this packet, which may come with a later one.

        Yields:
            (H, W, 3) uint8 BGR, and the note of its packet.

        Raises:
            ImageError: the codec is not known, the packet does not decode, or one before it is missing.
        """
        if not len(data):  # which the decoder would take for the end
            raise ImageError("expected a packet of a video, got no data; check the publisher")
        name = _codec_name(named)
        if self._codec is None or name != self._name:
            self._name, self._codec = name, _open(name, self._max_pixels)
            self._upright = UprightPictures()
            self._continuity = Continuity(name)
            self._waiting.clear()
        content = bytes(data)
        if fault := self._continuity.take(content):
            raise ImageError(f"expected a packet of {name} that follows those before, got one that does not: {fault}")
        packet = av.Packet(content)
        packet.pts = packet.dts = self._number
        self._waiting[self._number] = note
        self._number += 1
        self._waiting.pop(self._number - MAX_DELAY, None)
        yield from self._pictures(packet)

    def lose(self) -> None:
        """Say that a packet was lost on its way."""
        self._continuity.lose()

    def flush(self) -> Iterator[tuple[NDArray[np.uint8], Any]]:
        """Give the pictures that no packet is to come for any more."""
        if self._codec is not None:
            yield from self._pictures(None)
            self._codec = None

    def _pictures(self, packet: av.Packet | None) -> Iterator[tuple[NDArray[np.uint8], Any]]:
        assert self._codec is not None
        try:
            frames = self._codec.decode(packet)
        except (av.FFmpegError, ValueError) as error:
            self._continuity.lose()
            raise ImageError(
                f"expected a packet of {self._name} that decodes, got one that does not "
                f"({getattr(error, 'strerror', None) or error}); its stream begins at the next key frame"
            ) from error
        for frame in frames:
            note = self._waiting.pop(frame.pts, None) if frame.pts is not None else None
            if note is not None and not frame.is_corrupt:
                yield self._upright.picture(frame), note


def _codec_name(named: str) -> str:
    # ffmpeg_image_transport names the encoder, and the pixel formats behind it.
    plain = re.split(r"[;/,: ]", str(named).strip().lower())[0].removeprefix("lib")
    for name, pattern in _CODECS.items():
        if re.fullmatch(pattern, plain) or re.fullmatch(pattern, f"lib{plain}"):
            return name
    raise ImageError(
        f"video packets of {str(named)!r:.80} are not known: expected {', '.join(_CODECS)}, got that; "
        "decode them before recording"
    )


def _open(name: str, max_pixels: int) -> VideoCodecContext:
    codec = av.CodecContext.create(name, "r")
    assert isinstance(codec, VideoCodecContext)
    # What cannot be decoded as it was coded is an error, and no picture made up in its place.
    codec.options = {"max_pixels": str(max_pixels), "err_detect": "explode"}
    codec.thread_type = "SLICE"  # threads over frames would give each picture some packets late
    return codec
