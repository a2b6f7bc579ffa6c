"""A node's publishers and subscriptions, of which is told what keeps messages from passing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

CAMERA_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
# Reliable writers serve best-effort readers too; with a depth of 1 a slow reader gets the newest result, not a queue.
RESULT_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class Endpoints:
    """Creates them for a node, and knows what is wrong with them.

    Args:
        node: whose they are.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publishers: list[Publisher] = []
        self._conflicts: dict[str, str] = {}

    @property
    def subscribed_topics(self) -> list[str]:
        """Topics of publishers that somebody listens to."""
        return [str(each.topic_name) for each in self._publishers if each.get_subscription_count()]

    @property
    def rivals(self) -> list[str]:
        """Topics of publishers that another node publishes, too."""
        topics = (str(each.topic_name) for each in self._publishers)
        return [topic for topic in topics if self._node.count_publishers(topic) > 1]

    @property
    def qos_conflicts(self) -> list[str]:
        """A sentence for each topic on which no message passes for a QoS that does not fit."""
        return list(self._conflicts.values())

    def publisher(self, message_type: type, topic: str, qos: QoSProfile = RESULT_QOS) -> Publisher:
        """Create a publisher that lives until :meth:`close`, and whose QoS conflicts are told."""
        resolved = self._node.resolve_topic_name(topic)
        events = PublisherEventCallbacks(
            incompatible_qos=lambda event: self._note_conflict(resolved, "a subscriber", event)
        )
        publisher = self._node.create_publisher(message_type, topic, qos, event_callbacks=events)
        self._publishers.append(publisher)
        return publisher

    def subscription(
        self,
        message_type: type,
        topic: str,
        callback: Any,
        qos: QoSProfile = CAMERA_QOS,
        lost: Callable[[int], None] | None = None,
    ) -> Subscription:
        """Create a subscription whose QoS conflicts are told, and to `lost` how many messages are lost on their way."""
        resolved = self._node.resolve_topic_name(topic)
        callbacks: dict[str, Any] = {
            "incompatible_qos": lambda event: self._note_conflict(resolved, "a publisher", event)
        }
        if lost is not None:
            callbacks["message_lost"] = lambda event: lost(event.total_count_change)
        try:
            events = SubscriptionEventCallbacks(**callbacks)
            return self._node.create_subscription(message_type, topic, callback, qos, event_callbacks=events)
        except Exception:
            # A middleware without the message-lost event refuses the subscription as a whole.
            callbacks.pop("message_lost", None)
            events = SubscriptionEventCallbacks(**callbacks)
            return self._node.create_subscription(message_type, topic, callback, qos, event_callbacks=events)

    def close(self) -> None:
        """Destroy the publishers and forget the conflicts."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers.clear()
        self._conflicts.clear()

    def _note_conflict(self, topic: str, who: str, event: Any) -> None:
        name = qos_policy_name_from_kind(event.last_policy_kind)
        sentence = f"{who} of {topic} asks for or offers an incompatible {name}: no message passes between them"
        if self._conflicts.get(topic) != sentence:
            self._conflicts[topic] = sentence
            self._node.get_logger().warning(sentence)
