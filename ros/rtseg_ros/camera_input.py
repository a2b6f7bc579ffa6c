"""The camera's subscription: over which transport its pictures come, and who publishes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from rtseg.errors import ConfigError
from rtseg_ros.endpoints import CAMERA_QOS, Endpoints
from rtseg_ros.topics import camera_topic

try:
    from ffmpeg_image_transport_msgs.msg import FFMPEGPacket
except ImportError:
    FFMPEGPacket = None

IMAGE_TYPES: dict[str, Any] = {"raw": Image, "compressed": CompressedImage, "ffmpeg": FFMPEGPacket}
"""By transport, in the order in which they are preferred; None where its package is not installed."""

FFMPEG_TYPE = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
MISSING = (
    "ffmpeg_image_transport_msgs is not installed, without which H.264 and H.265 cannot be taken "
    "(sudo apt install ros-$ROS_DISTRO-ffmpeg-image-transport-msgs)"
)

CameraMessage: TypeAlias = "Image | CompressedImage"
# Of a video no packet is as good as the next one.
_PACKET_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=60,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)


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

    @property
    def fault(self) -> str:
        """Why what is published cannot be taken; empty where it can, or nothing is."""
        if self._subscription is None or not self._automatic or FFMPEGPacket is not None:
            return ""
        if self._publishers_of(self._transport)[0] or not self._publishers_of("ffmpeg")[0]:
            return ""
        return f"{camera_topic(self._node, 'ffmpeg')} is published, but {MISSING}"

    def open(self, transport: str) -> None:
        """Subscribe; `transport` is auto or one of :data:`IMAGE_TYPES`.

        Raises:
            ConfigError: the transport's package is not installed.
        """
        if transport == "ffmpeg" and FFMPEGPacket is None:
            raise ConfigError(MISSING)
        self._automatic = transport == "auto"
        self._subscribe("raw" if self._automatic else transport)

    def follow(self) -> None:
        """With transport auto: move to the topic that is published, if the present one is not."""
        if self._subscription is None or not self._automatic:
            return
        if self._publishers_of(self._transport)[0]:
            return
        for other, kind in IMAGE_TYPES.items():
            if kind is not None and self._publishers_of(other)[0]:
                self._node.get_logger().info(f"listening to {camera_topic(self._node, other)}")
                self._subscribe(other)
                return

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
        self._subscription = self._endpoints.subscription(
            IMAGE_TYPES[transport],
            topic,
            self._receive,
            _PACKET_QOS if transport == "ffmpeg" else CAMERA_QOS,
            lost=self._lost,
        )

    def _publishers_of(self, transport: str) -> tuple[int, list[str]]:
        wanted = FFMPEG_TYPE if transport == "ffmpeg" else f"sensor_msgs/msg/{IMAGE_TYPES[transport].__name__}"
        found = self._node.get_publishers_info_by_topic(camera_topic(self._node, transport))
        types = [info.topic_type for info in found]
        return types.count(wanted), sorted({kind for kind in types if kind != wanted})
