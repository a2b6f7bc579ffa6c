"""What the values of masks mean."""

from __future__ import annotations

import json
from collections.abc import Sequence


def lane_labels() -> dict[int, str]:
    """Of ``lane_mask``, by value."""
    return {0: "no lane", **{lane_id: f"lane {lane_id}" for lane_id in range(1, 256)}}


def class_labels(classes: Sequence[str]) -> dict[int, str]:
    """Of ``class_mask``, by value."""
    return {0: "no object", **dict(enumerate(classes, start=1))}


def label_text(labels: dict[int, str], threshold: float) -> str:
    """The content of a vision_msgs/LabelInfo as JSON, for where that package is not installed.

    Args:
        labels: by value.
        threshold: score under which nothing is shown.
    """
    entries = [{"class_id": value, "class_name": name} for value, name in labels.items()]
    return json.dumps({"threshold": threshold, "class_map": entries})
