"""From the head maps of an instance network to tracked instances in the pixels of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rtseg.errors import ModelError
from rtseg.frame import Frame
from rtseg.instances import InstanceTracker, InstanceTrackerSettings, upsample_labels
from rtseg.instances.methods import GROUPINGS, AffinityUnion, MapInstances, Solo
from rtseg.ops import region_statistics
from rtseg.ops.assignment import assign
from rtseg.results import Instances
from rtseg.runtime.card import ModelCard
from rtseg.runtime.latency import StageClock

if TYPE_CHECKING:
    from rtseg.runtime.gpu.grouping import DeviceGrouping

MAX_INSTANCES = 1024
"""More are garbage, which must not cost a frame its time: the largest are kept."""


class InstanceInterpreter:
    """Groups head maps with the method of the card, enlarges and describes the masks, and gives them ids that last."""

    def __init__(self, card: ModelCard) -> None:
        if card.grouping.method not in GROUPINGS:
            raise ModelError(
                f"the card of {card.name} asks for grouping {card.grouping.method!r}, expected {', '.join(GROUPINGS)}"
            )
        if not card.classes:
            raise ModelError(f"the card of {card.name} names no classes, expected those of its semantic map")
        self._card = card
        self._grouping = GROUPINGS[card.grouping.method](card)
        parameters = self._grouping.parameters
        settings = InstanceTrackerSettings(**parameters.tracker.model_dump())
        self._tracker = InstanceTracker(len(card.classes), settings) if parameters.track else None

    def __call__(self, maps: dict[str, NDArray[np.float32]], frame: Frame, clock: StageClock) -> Instances:
        """Give the instances of one frame.

        Raises:
            GroupingError: if the maps are not finite or hold values that the method cannot take.
        """
        with clock.stage("group"):
            found = self._grouping(maps)
        return self.finish(found, frame, clock)

    def on_device(self, maps: dict[str, Any], size: tuple[int, int], launcher: Any) -> DeviceGrouping:
        """Give the part that looks at pixels, for a device that holds the maps, as far as the method has one."""
        from rtseg.instances.device import AffinityUnionGrouping, SoloGrouping
        from rtseg.runtime.gpu.grouping import HostGrouping

        if isinstance(self._grouping, AffinityUnion):
            return AffinityUnionGrouping(self, self._grouping, maps, launcher)
        if isinstance(self._grouping, Solo):
            return SoloGrouping(self, self._grouping, maps, launcher)
        return HostGrouping(self, maps)

    def finish(self, found: MapInstances, frame: Frame, clock: StageClock) -> Instances:
        """Enlarge, describe and track instances that were grouped on the map."""
        with clock.stage("describe"):
            labels = upsample_labels(found.grouped.labels, found.guide, frame.size)
            count = len(found.grouped)
            statistics = region_statistics(labels, count)
            keep = _largest(statistics.areas)
            if len(keep) < count:
                table = np.zeros(count + 1, dtype=np.int32)
                table[keep + 1] = np.arange(1, len(keep) + 1)
                _relabel(labels.reshape(-1), table)
            class_ids, scores = found.grouped.class_ids[keep], found.grouped.scores[keep]
            boxes, centers = statistics.boxes[keep], statistics.centers[keep]
        with clock.stage("track"):
            ids = np.arange(1, len(keep) + 1, dtype=np.int32)
            if self._tracker is not None and frame.stamp is not None:
                ids, class_ids = self._tracker.update(labels, boxes, class_ids, scores, frame.stamp)
        return Instances(
            labels=labels,
            ids=ids,
            class_ids=class_ids,
            scores=scores,
            boxes=boxes.astype(np.float32),
            areas=statistics.areas[keep],
            centers=centers.astype(np.float32),
            stamp=frame.stamp,
            frame_id=frame.frame_id,
            times=clock.times,
        )

    def reset(self) -> None:
        if self._tracker is not None:
            self._tracker.reset()

    def warm_up(self, frame: Frame) -> None:
        """Group, describe and track some objects, twice, as they would be in two frames."""
        for maps in warm_up_maps(self._card):
            self(maps, frame, StageClock())
        assign(np.zeros((1, 1)), 1.0)  # only objects that contend for each other come to this in the tracker


def warm_up_maps(card: ModelCard) -> list[dict[str, NDArray[np.float32]]]:
    """Head maps of two frames in which every output shows three blocks: two side by side, and one apart."""
    frames = []
    for shift in (0.0, 0.05):
        maps = {}
        for output in card.outputs:
            height, width = card.input.height // output.stride, card.input.width // output.stride
            blocks = np.zeros((height, width), dtype=np.int32)
            for number, (start, end) in enumerate(((0.1, 0.3), (0.3, 0.5), (0.6, 0.9)), start=1):
                left, right = round((start + shift) * width), round((end + shift) * width)
                blocks[3 * height // 10 : 7 * height // 10, left:right] = number
            values = np.zeros((1, output.channels, height, width), dtype=np.float32)
            if output.name.startswith("affinity"):
                values[:] = np.where(blocks > 0, 0.9, 0.1)
                values[:, :, :, 1:][:, :, blocks[:, 1:] != blocks[:, :-1]] = 0.1
            elif output.name.startswith("kernel"):
                values[0, 0] = 2.0
                values[0, 3:5] = -2.0
            elif output.name.startswith("cate"):
                values[0, 0] = np.where(blocks > 0, 4.0, -9.0)
            elif output.name.startswith(("semantic", "colors")):
                values[0, 0] = 1.0
                for number in (1, 2, 3):
                    values[0, min(number, output.channels - 1), blocks == number] = 5.0
            maps[output.name] = values
        frames.append(maps)
    return frames


def _largest(areas: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the instances that have pixels, of too many the largest, in order."""
    keep = np.flatnonzero(areas)
    if len(keep) > MAX_INSTANCES:
        keep = np.sort(keep[np.argsort(-areas[keep], kind="stable")[:MAX_INSTANCES]])
    return keep


@njit(cache=True, nogil=True)
def _relabel(labels, table):  # type: ignore[no-untyped-def]
    for p in range(labels.size):
        labels[p] = table[labels[p]]
