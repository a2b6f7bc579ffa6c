"""Objects as boxes with class and score."""

from __future__ import annotations

from dataclasses import dataclass

from rtseg.results import Instances

DETECTIONS = "vision_msgs/msg/Detection2DArray"
"""The message that holds them."""


@dataclass(frozen=True)
class Detection:
    """A vision_msgs/Detection2D with one hypothesis.

    Attributes:
        id: the object's value in ``instance_mask``.
        class_id: its value in ``class_mask``, which ``label_info`` names.
        score: in [0, 1].
        center: (x, y) of its box in pixels; 0 is the left, or upper, edge of the first.
        size: (width, height) of its box in pixels.
    """

    id: str
    class_id: str
    score: float
    center: tuple[float, float]
    size: tuple[float, float]


def detections(instances: Instances) -> list[Detection]:
    """``detections``: the objects of one frame, in the order of their labels."""
    rows = zip(
        instances.ids.tolist(),
        instances.class_ids.tolist(),
        instances.scores.tolist(),
        instances.boxes.tolist(),
        strict=True,
    )
    return [
        Detection(str(identity), str(kind + 1), score, ((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0))
        for identity, kind, score, (x0, y0, x1, y1) in rows
    ]
