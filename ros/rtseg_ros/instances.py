"""The node `instances`: camera frames in; masks with one id an object, their classes, overlays and diagnostics out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from nav_msgs.msg import OccupancyGrid
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from std_msgs.msg import Header

from rtseg.frame import Frame
from rtseg.label_image import look_up
from rtseg.lanes import GroundPlane
from rtseg.media.overlay import draw_instances
from rtseg.messages import (
    Grid,
    Ground,
    Surfaces,
    class_labels,
    class_mask,
    detections,
    instance_mask,
    surface_confidence,
    surface_kinds,
    surface_mask,
    surfaces_of,
)
from rtseg.results import Instances
from rtseg_ros import lifecycle, messages
from rtseg_ros.camera_input import CameraMessage
from rtseg_ros.help import answer_help
from rtseg_ros.layer_output import LayerOutput
from rtseg_ros.mask_output import MaskOutput
from rtseg_ros.node import FrameNode
from rtseg_ros.overlays import OverlayOutput
from rtseg_ros.parameters import InstanceParameters
from rtseg_ros.task import Task

if TYPE_CHECKING:
    from rtseg.runtime import Pipeline

_PER_INSTANCE = ("ids", "class_ids", "scores", "boxes", "areas", "centers")


class InstanceOutputs:
    """Publishes instance masks by track id and by class.

    ``instance_mask`` (16UC1) holds at each pixel the id of the object there, which stays with it from frame to frame
    (1..65535, 0 for none; ids begin again after 65535 and are never given to two objects at once), ``class_mask``
    (mono8) 1 + the index of its class, which ``label_info`` names. ``detections`` has the same values beside boxes and
    scores, where vision_msgs is installed. Where the camera's place is known, ``free_space`` and ``ground/`` say where
    on the road all of it is.

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
        self._ground_of: GroundPlane | None = None
        self._scene: _Scene | None = None  # of the frame that was published last

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
        self._surfaces = surfaces_of(pipeline.card)
        self._free = self._node.endpoints.publisher(OccupancyGrid, f"{self._prefix}free_space")
        self._layer = LayerOutput(self._node, f"{self._prefix}ground", labels, "min_score")

    def begin(self) -> None:
        """Nothing is kept of the stream before."""

    def wants_ground(self) -> bool:
        """Whether anything in metres is listened to."""
        return any(output.get_subscription_count() for output in (self._free, self._layer))

    @property
    def knows_free_space(self) -> bool:
        """Whether the model has classes that may be driven on."""
        return self._surfaces.tell_free

    def publish(self, message: CameraMessage, frame: Frame, result: Instances) -> None:
        """Publish the masks first, then what is drawn from them."""
        instances = confident_instances(result, self._node.parameters.min_score)
        self._mask.publish(message.header, lambda: instance_mask(instances))
        self._class_mask.publish(message.header, lambda: class_mask(instances))
        if self._detections is not None and self._detections.get_subscription_count():
            self._detections.publish(messages.to_detections(detections(instances), message.header))
        self._scene = scene = _Scene(instances, self._surfaces, self._ground)
        self._publish_ground(message.header, instances, scene)
        self._overlay.publish(message.header, lambda: draw_instances(frame.image, instances, self._classes))

    def free_space(self) -> Grid | None:
        """``free_space`` of the frame that was published last; None while the camera is unknown."""
        return None if self._scene is None else self._scene.free_space

    def _publish_ground(self, header: Header, instances: Instances, scene: _Scene) -> None:
        """Publish what is in metres, to who listens."""
        if not self.wants_ground() or (ground := scene.ground) is None or (kinds := scene.kinds) is None:
            return
        vehicle = messages.with_frame(header, self._node.parameters.vehicle_frame)
        if self._free.get_subscription_count() and (free := scene.free_space) is not None:
            self._free.publish(messages.to_grid(free, vehicle))
        self._layer.publish(
            header,
            vehicle,
            lambda: surface_mask(instances),
            lambda: surface_confidence(instances),
            lambda: ground.seen(kinds),
        )

    def _ground(self) -> Ground | None:
        plane = self._node.plane
        if plane is None:
            return None
        if plane is not self._ground_of:  # it changes with the camera alone
            self._ground_there, self._ground_of = Ground(plane), plane
        return self._ground_there


class _Scene:
    """A frame's instances on the ground, of which each part is computed once, for the first who asks.

    Args:
        instances: of the frame.
        surfaces: of the model.
        ground: gives that of the camera, None while it is unknown.
    """

    def __init__(self, instances: Instances, surfaces: Surfaces, ground: Callable[[], Ground | None]) -> None:
        self._instances, self._surfaces, self._ground_of = instances, surfaces, ground

    @cached_property
    def ground(self) -> Ground | None:
        """None while the camera is unknown."""
        return self._ground_of()

    @cached_property
    def kinds(self) -> NDArray[np.uint8] | None:
        """What each pixel shows; None while the camera is unknown."""
        return None if self.ground is None else surface_kinds(self._instances, self._surfaces, self.ground)

    @cached_property
    def free_space(self) -> Grid | None:
        """None while the camera is unknown."""
        return None if self.ground is None or self.kinds is None else self.ground.free_space(self.kinds)


class InstancesNode(FrameNode):
    """Instance masks from a camera topic."""

    def __init__(self, namespace: str = "") -> None:
        super().__init__("instances", InstanceParameters, namespace)

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
    """Run the node until SIGINT or SIGTERM, or say what it is where --help asks."""
    answer_help("instances", __doc__, InstanceParameters)
    lifecycle.run(InstancesNode)


if __name__ == "__main__":
    main()
