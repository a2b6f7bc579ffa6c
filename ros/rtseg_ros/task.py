"""What a node does with each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from rtseg.frame import Frame
from rtseg_ros.camera_input import CameraMessage

if TYPE_CHECKING:
    from rtseg.runtime import Pipeline


class Task(Protocol):
    """What is found in a frame, and how it is published.

    Attributes:
        name: of the task, as on models' cards.
        model_parameter: which of the node's parameters names the model.
    """

    name: str
    model_parameter: str

    def open(self, pipeline: Pipeline) -> None:
        """Create the publishers with the node's `endpoints`; called when the node is configured."""
        ...

    def begin(self) -> None:
        """Forget the stream before; called when the node is activated."""
        ...

    def wants_ground(self) -> bool:
        """Whether somebody listens to what follows from where the road is, the node's `plane`."""
        ...

    def publish(self, message: CameraMessage, frame: Frame, result: Any) -> None:
        """Publish one frame's result, computing nothing for a topic without subscribers."""
        ...
