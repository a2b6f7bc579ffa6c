"""Single frames of recordings, found again by their rows."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rtseg.errors import MediaError
from rtseg.frame import Frame
from rtseg.lab.fleet.local_copy import LocalCopy
from rtseg.lab.fleet.shards import Part, PartSource
from rtseg.lab.fleet.stores import printable
from rtseg.media.overlay import draw_instances, draw_lanes
from rtseg.results import Instances, Lanes

logger = logging.getLogger("rtseg")


@dataclass(frozen=True)
class FrameAddress:
    """Where a frame is.

    Attributes:
        recording: its address.
        part: shard that it is of.
        stamp: None for a still.
        name: of a still's file.
    """

    recording: str
    part: Part
    stamp: int | None
    name: str | None = None


def part_of(table: pa.Table) -> Part:
    """Which part of its recording a shard's rows are about."""
    return Part(**json.loads(table.schema.metadata[b"rtseg.part"]))


def frames_at(addresses: Iterable[FrameAddress], topic: str | None = None) -> Iterator[tuple[FrameAddress, Frame]]:
    """Read frames, shard by shard; those that are not there any longer are left out, of lost recordings with a warning.

    Args:
        addresses: in any order.
        topic: image topic of bags.
    """
    wanted: dict[str, dict[Part, set[FrameAddress]]] = defaultdict(lambda: defaultdict(set))
    for address in addresses:
        wanted[address.recording][address.part].add(address)
    local = LocalCopy()
    try:
        for uri, parts in wanted.items():
            try:
                with local.open(uri, topic) as source:
                    for part, left in parts.items():
                        alone = Part(part.index, part.count, part.start, part.start, part.stop)
                        for frame in PartSource(source, alone):
                            address = FrameAddress(uri, part, frame.stamp, printable(frame.name) or None)
                            if address in left:
                                left.remove(address)
                                yield address, frame
                            if not left:
                                break
            except MediaError as error:  # moved or deleted since its rows were made
                logger.warning("no pictures of %s: %s", uri, error)
    finally:
        local.clear()


def lanes_of(row: dict[str, Any]) -> Lanes:
    """The lanes of a row, without their mask."""
    return Lanes(
        mask=np.zeros((row["height"], row["width"]), np.uint8),
        ids=np.array([lane["id"] for lane in row["lanes"]], np.int32),
        confidence=np.array([lane["confidence"] for lane in row["lanes"]], np.float32),
        polylines=tuple(np.stack([lane["x"], lane["y"]], axis=1).astype(np.float32) for lane in row["lanes"]),
    )


def draw_row(image: NDArray[np.uint8], row: dict[str, Any], caption: str) -> NDArray[np.uint8]:
    """A picture with what its row says was found: lines, or boxes; masks are in result bags only."""
    if row["lanes"] is not None:
        return draw_lanes(image, lanes_of(row), caption)
    things = row["objects"] or []
    classes = sorted({thing["class"] for thing in things})
    boxes = np.array([[thing[side] for side in ("x0", "y0", "x1", "y1")] for thing in things], np.float32)
    boxes = boxes.reshape(-1, 4)
    instances = Instances(
        labels=np.zeros(image.shape[:2], np.int32),
        ids=np.array([thing["id"] for thing in things], np.int32),
        class_ids=np.array([classes.index(thing["class"]) for thing in things], np.int32),
        scores=np.array([thing["score"] for thing in things], np.float32),
        boxes=boxes,
        areas=np.array([thing["area"] for thing in things], np.int64),
        centers=((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32),
    )
    return draw_instances(image, instances, tuple(classes), caption)
