"""From the head maps of an instance network to tracked instances in the pixels of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rtseg.errors import ModelError
from rtseg.frame import Frame
from rtseg.instances import InstanceTracker, upsample_labels
from rtseg.instances.methods import method_of
from rtseg.instances.methods.method import MapInstances
from rtseg.instances.methods.warm_up import warm_up_maps
from rtseg.instances.mirror import mirrored_channels
from rtseg.ops import region_statistics
from rtseg.ops.assignment import assign
from rtseg.results import Instances
from rtseg.runtime.card import ModelCard
from rtseg.runtime.interpreter import DeviceForm, DeviceGrouping, HeadMaps, Mirror, interpret
from rtseg.runtime.latency import StageClock

MAX_INSTANCES = 1024
"""More are garbage, which must not cost a frame its time: the largest are kept."""


class InstanceInterpreter:
    """Groups head maps with the method of the card, enlarges and describes the masks, and gives them ids that last."""

    def __init__(self, card: ModelCard) -> None:
        self._method = method_of(card)
        if not card.classes:
            raise ModelError(f"the card of {card.name} names no classes, expected those of its semantic map")
        self._card = card
        parameters = self._method.read_parameters(card)
        self._grouping = self._method.grouping(card, parameters)
        self.mirror: Mirror | None = mirrored_channels(card) if parameters.flip else None
        settings = parameters.tracker
        self._tracker = InstanceTracker(len(card.classes), settings) if parameters.track else None

    @property
    def device_form(self) -> DeviceForm[MapInstances] | None:
        on_device = self._method.on_device
        if on_device is None:
            return None

        def make(maps: dict[str, Any], size: tuple[int, int], launcher: Any) -> DeviceGrouping[MapInstances]:
            return on_device(self._grouping, maps, launcher)

        return make

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> MapInstances:
        """Group the maps with the method of the card; the size of the frame does not matter yet.

        Raises:
            GroupingError: if the maps are not finite or hold values that the method cannot take.
        """
        return self._grouping(maps)

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
        for maps in warm_up_maps(self._card, self._method.outputs):
            interpret(self, maps, frame, StageClock())
        assign(np.zeros((1, 1)), 1.0)  # only objects that contend for each other come to this in the tracker


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
