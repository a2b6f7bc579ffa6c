"""Topics that tell what the values of masks mean: now, and to whoever comes later."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Header

from rtseg_ros.endpoints import LATCHED_QOS, Endpoints
from rtseg_ros.messages import LABEL_INFO_TYPE, to_label_info


class LabelInfos:
    """Publishes each when it is opened, and again when its threshold changes.

    Args:
        node: whose clock counts.
        endpoints: of the node.
    """

    def __init__(self, node: Node, endpoints: Endpoints) -> None:
        self._node, self._endpoints = node, endpoints
        self._opened: list[tuple[Publisher, dict[int, str], str]] = []

    def open(self, topic: str, names: dict[int, str], threshold: str, parameters: Any) -> None:
        """Create a topic.

        Args:
            topic: to tell it on.
            names: of the values.
            threshold: name of the parameter under which nothing is shown.
            parameters: the node's.
        """
        self._opened.append((self._endpoints.publisher(LABEL_INFO_TYPE, topic, LATCHED_QOS), names, threshold))
        self._publish(self._opened[-1:], parameters)

    def follow(self, changed: Iterable[str], parameters: Any) -> None:
        """Tell anew those whose threshold is among the parameters that have changed."""
        self._publish([each for each in self._opened if each[2] in changed], parameters)

    def close(self) -> None:
        """Forget the topics; their publishers are the endpoints'."""
        self._opened.clear()

    def _publish(self, opened: list[tuple[Publisher, dict[int, str], str]], parameters: Any) -> None:
        header = Header(stamp=self._node.get_clock().now().to_msg())
        for publisher, names, threshold in opened:
            publisher.publish(to_label_info(names, getattr(parameters, threshold), header))
