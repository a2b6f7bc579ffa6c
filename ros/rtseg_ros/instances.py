"""The node `instances`: camera frames in; masks with one id an object, their classes, overlays and diagnostics out."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from rtseg.frame import Frame
from rtseg.media.overlay import draw_instances
from rtseg.messages import class_labels, class_mask, detections, instance_mask, look_up
from rtseg.results import Instances
from rtseg_ros import lifecycle, messages
from rtseg_ros.camera_input import CameraMessage
from rtseg_ros.mask_output import MaskOutput
from rtseg_ros.node import FrameNode, Task
from rtseg_ros.overlays import OverlayOutput
from rtseg_ros.parameters import InstanceParameters

if TYPE_CHECKING:
    from rtseg.runtime import Pipeline

_PER_INSTANCE = ("ids", "class_ids", "scores", "boxes", "areas", "centers")


class InstanceOutputs:
    """Publishes instance masks by track id and by class.

    ``instance_mask`` (16UC1) holds at each pixel the id of the object there, which stays with it from frame to frame
    (1..65535, 0 for none; ids begin again after 65535 and are never given to two objects at once), ``class_mask``
    (mono8) 1 + the index of its class, which ``label_info`` names. ``detections`` has the same values beside boxes and
    scores, where vision_msgs is installed.

    Args:
        node: to publish with; its parameters are :class:`rtseg_ros.parameters.InstanceOutputParameters`.
        model_parameter: which of them names the model.
        prefix: of the topics.
    """

    name = "instances"

    def __init__(self, node: FrameNode, model_parameter: str = "model", prefix: str = "~/") -> None:
        self.model_parameter = model_parameter
        self._node = node
        self._prefix = prefix
        self._classes: tuple[str, ...] = ()
        self._detections: Publisher | None = None

    def open(self, pipeline: Pipeline) -> None:
        """Create the instance topics and tell what the values of the class mask mean."""
        self._classes = pipeline.card.classes
        self._mask = MaskOutput(self._node, f"{self._prefix}instance_mask")
        self._class_mask = MaskOutput(self._node, f"{self._prefix}class_mask")
        if messages.Detection2DArray is not None:
            self._detections = self._node.endpoints.publisher(messages.Detection2DArray, f"{self._prefix}detections")
        else:
            topic = self._node.resolve_topic_name(f"{self._prefix}detections")
            self._node.get_logger().info(
                f"{topic} is absent, since vision_msgs is not installed (sudo apt install ros-$ROS_DISTRO-vision-msgs)",
                once=True,
            )
        self._overlay = OverlayOutput(self._node, self._prefix)
        labels = class_labels(self._classes)
        self._node.publish_label_info(f"{self._prefix}label_info", labels, "min_score")

    def open_inputs(self) -> list[Subscription]:
        """None besides the camera's."""
        return []

    def publish(self, message: CameraMessage, frame: Frame, result: Instances) -> None:
        """Publish the masks first, then what is drawn from them."""
        instances = confident_instances(result, self._node.parameters.min_score)
        self._mask.publish(message.header, lambda: instance_mask(instances))
        self._class_mask.publish(message.header, lambda: class_mask(instances))
        if self._detections is not None and self._detections.get_subscription_count():
            self._detections.publish(messages.to_detections(detections(instances), message.header))
        self._overlay.publish(message.header, lambda: draw_instances(frame.image, instances, self._classes))


class InstancesNode(FrameNode):
    """Instance masks from a camera topic."""

    def __init__(self) -> None:
        super().__init__("instances", InstanceParameters)

    def open_tasks(self) -> list[Task]:
        """Instances alone."""
        return [InstanceOutputs(self)]


def confident_instances(instances: Instances, min_score: float) -> Instances:
    """Leave out instances under a score, from the labels too."""
    keep = np.flatnonzero(instances.scores >= min_score)
    if len(keep) == len(instances):
        return instances
    fresh = np.zeros(len(instances), dtype=np.int32)
    fresh[keep] = np.arange(1, len(keep) + 1)
    return replace(
        instances,
        labels=look_up(instances.labels, fresh, np.int32),
        **{name: getattr(instances, name)[keep] for name in _PER_INSTANCE},
    )


def main() -> None:
    """Run the node until SIGINT or SIGTERM."""
    sys.exit(lifecycle.run(InstancesNode))


if __name__ == "__main__":
    main()
