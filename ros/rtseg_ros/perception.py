"""The node `perception`: lanes and instances of one camera, each frame received, decoded and kept in memory once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.frame import Frame
from rtseg.media.overlay import draw_instances, draw_lanes
from rtseg.results import Instances, Lanes
from rtseg_ros import lifecycle
from rtseg_ros.camera_input import CameraMessage
from rtseg_ros.help import answer_help
from rtseg_ros.instances import InstanceOutputs, confident_instances
from rtseg_ros.lanes import LaneOutputs, confident_lanes
from rtseg_ros.node import FrameNode
from rtseg_ros.overlays import OverlayOutput
from rtseg_ros.parameters import PerceptionParameters
from rtseg_ros.task import Task


class PerceptionNode(FrameNode):
    """Publishes what the nodes `lanes` and `instances` would, under the same names, and one overlay of both.

    Lanes come first and are published before the instances of the frame are looked for; but ``lanes/lane_grid`` after
    them, over what is free, where the model of the instances knows drivable surfaces.
    """

    def __init__(self, namespace: str = "") -> None:
        super().__init__("perception", PerceptionParameters, namespace)

    def open_tasks(self) -> list[Task]:
        """Lanes, then instances."""
        self._lanes = LaneOutputs(self, "lanes_model", "lanes/")
        self._objects = InstanceOutputs(self, "instances_model", "instances/")
        return [self._lanes, self._objects]

    def open_outputs(self) -> None:
        """The overlay of both."""
        self._both = OverlayOutput(self, "~/")
        self._lanes.grid_apart = self._objects.knows_free_space

    def publish_all(self, message: CameraMessage, frame: Frame, results: list[Any]) -> None:
        """Draw lanes over instances, and over what is free."""
        if self._lanes.grid_apart:
            self._lanes.publish_grid(message.header, self._objects.free_space)
        self._both.publish(message.header, lambda: self._draw(frame, *results))

    def _draw(self, frame: Frame, lanes: Lanes, instances: Instances) -> NDArray[np.uint8]:
        lanes = confident_lanes(lanes, self.parameters.min_confidence)
        instances = confident_instances(instances, self.parameters.min_score)
        spent = sum(lanes.times.values()) + sum(instances.times.values())
        caption = f"{spent:.1f} ms   {counted(len(lanes), 'lane')}   {counted(len(instances), 'object')}"
        classes = self.pipelines[1].card.classes
        return draw_lanes(draw_instances(frame.image, instances, classes, caption=""), lanes, caption)


def main() -> None:
    """Run the node until SIGINT or SIGTERM, or say what it is where --help asks."""
    answer_help("perception", __doc__, PerceptionParameters)
    lifecycle.run(PerceptionNode)


if __name__ == "__main__":
    main()
