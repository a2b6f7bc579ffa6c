"""What the live demo can show: which node, which of its topics, how results are read back from masks and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame
from rtseg.media import draw_instances, draw_lanes
from rtseg.ops import region_statistics
from rtseg.results import Instances, Lanes

LANE_MASK, INSTANCE_MASK, CLASS_MASK = "/lanes/lane_mask", "/instances/instance_mask", "/instances/class_mask"


@dataclass(frozen=True)
class DemoTask:
    """One of the choices of ``rtseg demo --task``.

    Attributes:
        title: of the report.
        node: executable and name of the node.
        models: the node's parameters that name models, and their defaults.
        masks: topics that are recorded.
    """

    title: str
    node: str
    models: Mapping[str, str]
    masks: tuple[str, ...]


LANES = DemoTask("Lanes", "lanes", {"model": "lanes-lite"}, (LANE_MASK,))
INSTANCES = DemoTask("Instances", "instances", {"model": "instances-lite"}, (INSTANCE_MASK, CLASS_MASK))
BOTH = DemoTask(
    "Lanes and instances",
    "perception",
    {"lanes_model": "lanes-lite", "instances_model": "instances-lite"},
    (LANE_MASK, INSTANCE_MASK, CLASS_MASK),
)
TASKS = {"lanes": LANES, "instances": INSTANCES, "both": BOTH}


def results_from_masks(masks: Mapping[str, NDArray[Any]], stamp: int) -> dict[str, Lanes | Instances]:
    """What the masks of one frame say, by noun: ``lanes`` and ``objects``.

    Args:
        masks: pixels by topic.
        stamp: of the frame, nanoseconds.
    """
    found: dict[str, Lanes | Instances] = {}
    if LANE_MASK in masks:
        found["lanes"] = lanes_from_mask(masks[LANE_MASK], stamp, "camera")
    if INSTANCE_MASK in masks:
        found["objects"] = instances_from_masks(masks[INSTANCE_MASK], masks[CLASS_MASK], stamp, "camera")
    return found


def draw_results(
    frame: Frame, found: Mapping[str, Lanes | Instances], classes: tuple[str, ...], caption: str
) -> NDArray[np.uint8]:
    """Draw objects, and lanes over them."""
    picture = frame.image
    objects, lanes = found.get("objects"), found.get("lanes")
    if isinstance(objects, Instances):
        picture = draw_instances(picture, objects, classes, "" if lanes is not None else caption)
    if isinstance(lanes, Lanes):
        picture = draw_lanes(picture, lanes, caption)
    return picture


def lanes_from_mask(mask: NDArray[np.uint8], stamp: int, frame_id: str = "") -> Lanes:
    """What a lane mask says: ids, and as polyline the mean x of each lane at each row. Confidence is not in it: NaN.

    Args:
        mask: (H, W) uint8 lane ids.
        stamp: of the frame, nanoseconds.
        frame_id: of the camera.
    """
    height = mask.shape[0]
    y, x = np.nonzero(mask)
    key = mask[y, x].astype(np.int64) * height + y
    pixels = np.bincount(key, minlength=256 * height).reshape(256, height)
    sums = np.bincount(key, weights=x, minlength=256 * height).reshape(256, height)
    lines = {}
    for lane_id in np.flatnonzero(pixels.any(axis=1)).tolist():
        rows = np.flatnonzero(pixels[lane_id])
        lines[lane_id] = np.stack([sums[lane_id, rows] / pixels[lane_id, rows], rows], axis=1).astype(np.float32)
    ids = sorted(lines, key=lambda lane_id: float(lines[lane_id][-1, 0]))
    return Lanes(
        mask=mask,
        ids=np.asarray(ids, dtype=np.int32),
        confidence=np.full(len(ids), np.nan, dtype=np.float32),
        polylines=tuple(lines[lane_id] for lane_id in ids),
        stamp=stamp,
        frame_id=frame_id,
    )


def instances_from_masks(
    ids: NDArray[np.uint16], kinds: NDArray[np.uint8], stamp: int, frame_id: str = ""
) -> Instances:
    """What an instance mask and its class mask say. Scores are not in them: NaN.

    Args:
        ids: (H, W) uint16 ids, 0 where there is no object.
        kinds: (H, W) uint8, 1 + the index of the class.
        stamp: of the frame, nanoseconds.
        frame_id: of the camera.
    """
    names, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    labels: NDArray[np.int32] = inverse.reshape(ids.shape).astype(np.int32)
    if names[0] == 0:
        names, first = names[1:], first[1:]
    else:  # not a single pixel is without an object
        labels = labels + np.int32(1)
    statistics = region_statistics(labels, len(names))
    return Instances(
        labels=labels,
        ids=names.astype(np.int32),
        class_ids=kinds.reshape(-1)[first].astype(np.int32) - 1,
        scores=np.full(len(names), np.nan, dtype=np.float32),
        boxes=statistics.boxes.astype(np.float32),
        areas=statistics.areas,
        centers=statistics.centers.astype(np.float32),
        stamp=stamp,
        frame_id=frame_id,
    )
