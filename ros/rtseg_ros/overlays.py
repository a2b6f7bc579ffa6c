"""Pictures for people, drawn only while somebody looks."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from rtseg_ros import messages
from rtseg_ros.node import FrameNode


class OverlayOutput:
    """The topics ``overlay`` and ``overlay/compressed`` under a prefix.

    Args:
        node: to publish with; its parameters say width and quality.
        prefix: of the topics.
    """

    def __init__(self, node: FrameNode, prefix: str) -> None:
        self._node = node
        self._raw = node.endpoints.publisher(Image, f"{prefix}overlay")
        self._jpeg = node.endpoints.publisher(CompressedImage, f"{prefix}overlay/compressed")

    def publish(self, header: Header, draw: Callable[[], NDArray[np.uint8]]) -> None:
        """Publish what `draw` gives, (H, W, 3) uint8 BGR, in the width that the parameters ask for."""
        raw, jpeg = (output.get_subscription_count() for output in (self._raw, self._jpeg))
        if not raw and not jpeg:
            return
        drawn = draw()
        width = self._node.parameters.overlay_width
        if width and width != drawn.shape[1]:
            height = max(1, round(drawn.shape[0] * width / drawn.shape[1]))
            drawn = np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if raw:
            self._raw.publish(messages.to_image(drawn, "bgr8", header))
        if jpeg:
            self._jpeg.publish(messages.to_jpeg(drawn, self._node.parameters.overlay_quality, header))
