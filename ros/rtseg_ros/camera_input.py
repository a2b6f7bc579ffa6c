"""The camera's subscription: over which transport its pictures come, and who publishes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from rtseg_ros.endpoints import Endpoints
from rtseg_ros.topics import camera_topic

IMAGE_TYPES = {"raw": Image, "compressed": CompressedImage}

CameraMessage: TypeAlias = "Image | CompressedImage"


class CameraInput:
    """Listens to one topic of a camera; with transport ``auto`` to that which is published, raw first.

    Args:
        node: whose remappings and log count.
        endpoints: of the node.
        receive: is given the messages.
        lost: is told how many are lost on their way.
    """

    def __init__(
        self,
        node: Node,
        endpoints: Endpoints,
        receive: Callable[[CameraMessage], None],
        lost: Callable[[int], None],
    ) -> None:
        self._node, self._endpoints, self._receive, self._lost = node, endpoints, receive, lost
        self._subscription: Subscription | None = None
        self._transport = "raw"
        self._automatic = False

    @property
    def topic(self) -> str:
        """That it listens to, by its full name."""
        return camera_topic(self._node, self._transport)

    def open(self, transport: str) -> None:
        """Subscribe; `transport` is auto or one of :data:`IMAGE_TYPES`."""
        self._automatic = transport == "auto"
        self._subscribe("raw" if self._automatic else transport)

    def follow(self) -> None:
        """With transport auto: move to the topic that is published, if the present one is not."""
        if self._subscription is None or not self._automatic:
            return
        other = "compressed" if self._transport == "raw" else "raw"
        if not self._publishers_of(self._transport)[0] and self._publishers_of(other)[0]:
            self._node.get_logger().info(f"listening to {camera_topic(self._node, other)}")
            self._subscribe(other)

    def publishers(self) -> tuple[int, list[str]]:
        """How many publishers the topic has, and what other types are on it; none while it is closed."""
        return self._publishers_of(self._transport) if self._subscription is not None else (0, [])

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _subscribe(self, transport: str) -> None:
        self.close()
        self._transport = transport
        topic = camera_topic(self._node, transport)
        self._subscription = self._endpoints.subscription(IMAGE_TYPES[transport], topic, self._receive, lost=self._lost)

    def _publishers_of(self, transport: str) -> tuple[int, list[str]]:
        wanted = f"sensor_msgs/msg/{IMAGE_TYPES[transport].__name__}"
        found = self._node.get_publishers_info_by_topic(camera_topic(self._node, transport))
        types = [info.topic_type for info in found]
        return types.count(wanted), sorted({kind for kind in types if kind != wanted})
