"""Masks, as images and as PNG for whoever is far away, made only while somebody listens."""

from __future__ import annotations

from collections.abc import Callable

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from rtseg.messages import Mask
from rtseg_ros import messages
from rtseg_ros.node import FrameNode


class MaskOutput:
    """A mask's topic and its twin ``/compressed``, which image_transport and Foxglove find by that name.

    Args:
        node: to publish with.
        topic: of the mask.
    """

    def __init__(self, node: FrameNode, topic: str) -> None:
        self._raw = node.endpoints.publisher(Image, topic)
        self._png = node.endpoints.publisher(CompressedImage, f"{topic}/compressed")

    def get_subscription_count(self) -> int:
        """How many listen to either."""
        return int(self._raw.get_subscription_count() + self._png.get_subscription_count())

    def publish(self, header: Header, make: Callable[[], Mask]) -> None:
        """Publish the mask that `make` gives, as it is first."""
        raw, png = self._raw.get_subscription_count(), self._png.get_subscription_count()
        if not raw and not png:
            return
        mask = make()
        if raw:
            self._raw.publish(messages.to_mask(mask, header))
        if png:
            self._png.publish(messages.to_png(mask, header))
