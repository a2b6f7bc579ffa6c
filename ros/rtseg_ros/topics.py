"""Where a camera's topics are: what belongs to the image topic lies beside it, unless it is remapped itself."""

from __future__ import annotations

from rclpy.node import Node


def camera_topic(node: Node, kind: str) -> str:
    """Give the full name of a topic of the camera, as image_transport names them.

    Args:
        node: whose remappings count.
        kind: raw (``image``), compressed or ffmpeg (``image/compressed``, ``image/ffmpeg``, else beneath what ``image``
            is remapped to) or info (``camera_info``, else the neighbor of what ``image`` is remapped to).
    """
    image = node.resolve_topic_name("image")
    if kind in ("compressed", "ffmpeg"):
        return _remapped(node, f"image/{kind}") or f"{image}/{kind}"
    if kind == "info":
        return _remapped(node, "camera_info") or f"{image.rpartition('/')[0]}/camera_info"
    return image


def _remapped(node: Node, topic: str) -> str | None:
    full = node.resolve_topic_name(topic)
    return None if full == node.resolve_topic_name(topic, only_expand=True) else full
