"""What the semantic segmentation layer of Nav2 reads, made only while somebody listens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from rtseg.messages import Mask
from rtseg_ros import messages
from rtseg_ros.node import FrameNode


class LayerOutput:
    """The topics ``points``, ``mask``, ``confidence`` and ``label_info``; those of a frame have one stamp and one size.

    Args:
        node: to publish with.
        prefix: of the topics.
        labels: what the mask's values mean.
        threshold: name of the parameter under which nothing is shown.
    """

    def __init__(self, node: FrameNode, prefix: str, labels: dict[int, str], threshold: str) -> None:
        self._points = node.endpoints.publisher(PointCloud2, f"{prefix}/points")
        self._mask = node.endpoints.publisher(Image, f"{prefix}/mask")
        self._confidence = node.endpoints.publisher(Image, f"{prefix}/confidence")
        node.publish_label_info(f"{prefix}/label_info", labels, threshold)

    def get_subscription_count(self) -> int:
        """How many listen to any of what is told of each frame."""
        topics = (self._points, self._mask, self._confidence)
        return sum(int(each.get_subscription_count()) for each in topics)

    def publish(
        self,
        header: Header,
        vehicle: Header,
        mask: Callable[[], Mask],
        confidence: Callable[[], Mask],
        points: Callable[[], NDArray[np.void]],
    ) -> None:
        """Tell one frame.

        Args:
            header: of the camera's picture.
            vehicle: its stamp in the vehicle's coordinate frame.
            mask: gives the class of each pixel.
            confidence: gives how sure that is.
            points: gives where each lies on the ground, of :data:`rtseg.messages.GROUND_TYPE`.
        """
        if self._mask.get_subscription_count():
            self._mask.publish(messages.to_mask(mask(), header))
        if self._confidence.get_subscription_count():
            self._confidence.publish(messages.to_mask(confidence(), header))
        if self._points.get_subscription_count():
            self._points.publish(messages.to_points(points(), vehicle))
