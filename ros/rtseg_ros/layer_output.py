"""What the semantic segmentation layer of Nav2 reads, made only while somebody listens."""

from __future__ import annotations

from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from rtseg.lanes import EgoLane, GroundPlane
from rtseg.messages import ground_points, line_confidence, line_labels, line_mask
from rtseg.results import Lanes
from rtseg_ros import messages
from rtseg_ros.node import FrameNode


class LayerOutput:
    """The topics ``points``, ``mask``, ``confidence`` and ``label_info``; those of a frame have one stamp and one size.

    Args:
        node: to publish with.
        prefix: of the topics.
    """

    def __init__(self, node: FrameNode, prefix: str) -> None:
        self._points = node.endpoints.publisher(PointCloud2, f"{prefix}/points")
        self._mask = node.endpoints.publisher(Image, f"{prefix}/mask")
        self._confidence = node.endpoints.publisher(Image, f"{prefix}/confidence")
        node.publish_label_info(f"{prefix}/label_info", line_labels(), "min_confidence")
        self._plane: GroundPlane | None = None

    def get_subscription_count(self) -> int:
        """How many listen to any of what is told of each frame."""
        topics = (self._points, self._mask, self._confidence)
        return sum(int(each.get_subscription_count()) for each in topics)

    def publish(self, header: Header, vehicle: Header, lanes: Lanes, ego: EgoLane, plane: GroundPlane) -> None:
        """Tell one frame's lane lines.

        Args:
            header: of the camera's picture.
            vehicle: its stamp in the vehicle's coordinate frame.
            lanes: of the frame.
            ego: the own lane among them.
            plane: the road in the frame.
        """
        if self._mask.get_subscription_count():
            self._mask.publish(messages.to_mask(line_mask(lanes, ego), header))
        if self._confidence.get_subscription_count():
            self._confidence.publish(messages.to_mask(line_confidence(lanes), header))
        if self._points.get_subscription_count():
            if plane is not self._plane:  # it changes with the camera alone
                self._cloud = ground_points(plane)
                self._plane = plane
            self._points.publish(messages.to_points(self._cloud, vehicle))
