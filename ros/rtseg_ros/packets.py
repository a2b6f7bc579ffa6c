"""Pictures of a camera that sends H.264 or H.265, packet by packet (ffmpeg_image_transport)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rtseg.frame import Frame
from rtseg_ros.messages import nanoseconds

if TYPE_CHECKING:
    from rtseg.media.coded_video import PacketDecoder


@dataclass(frozen=True)
class Packet:
    """A message with a piece of a video.

    Attributes:
        message: ffmpeg_image_transport_msgs/FFMPEGPacket.
        at: when it came, by the monotonic clock.
        after_loss: whether any before it were lost on their way.
    """

    message: Any
    at: float
    after_loss: bool


class Packets:
    """Makes frames of packets; each packet has to pass, also where no frame of it is wanted."""

    def __init__(self) -> None:
        self._decoder: PacketDecoder | None = None

    def reset(self) -> None:
        """Begin with another stream."""
        self._decoder = None

    def frames(self, packet: Packet, max_pixels: int) -> Iterator[tuple[Any, Frame]]:
        """Give the messages whose pictures a packet completes, and these.

        Args:
            packet: all have to be given, in their order.
            max_pixels: pictures that announce more are refused; of the first packet it counts.

        Raises:
            ImageError: a packet that does not decode, or one before it was lost since the last key frame.
        """
        if self._decoder is None:
            from rtseg.media.coded_video import PacketDecoder  # with FFmpeg, which other nodes do without

            self._decoder = PacketDecoder(max_pixels)
        elif packet.after_loss:
            self._decoder.lose()
        message = packet.message
        for pixels, sent in self._decoder.decode(message.encoding, np.frombuffer(message.data, np.uint8), message):
            yield sent, Frame(pixels, nanoseconds(sent.header.stamp), sent.header.frame_id)
