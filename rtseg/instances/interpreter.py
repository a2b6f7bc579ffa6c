"""From the head maps of an instance network to tracked instances in the pixels of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.errors import ModelError
from rtseg.frame import Frame
from rtseg.grouping.grouped import renumber
from rtseg.instances import InstanceTracker
from rtseg.instances.methods import method_of
from rtseg.instances.methods.method import FoundInstances, MapInstances, class_numbers
from rtseg.instances.methods.warm_up import warm_up_maps
from rtseg.instances.mirror import mirrored_channels
from rtseg.instances.on_device import MAX_INSTANCES, DescribedInstances, DescribingGrouping
from rtseg.instances.quality import expected_overlap
from rtseg.label_image import look_up
from rtseg.ops import RegionStatistics, region_statistics
from rtseg.ops.assignment import assign
from rtseg.results import Instances
from rtseg.runtime.card import ModelCard
from rtseg.runtime.fitting import unseen_rows
from rtseg.runtime.ignore import IgnoreMask
from rtseg.runtime.interpreter import DeviceForm, DeviceGrouping, HeadMaps, Mirror, interpret
from rtseg.runtime.latency import StageClock


class InstanceInterpreter:
    """Groups head maps with the method of the card, enlarges and describes the masks, and gives them ids that last.

    Args:
        card: of the model.
        ignored: pixels at which nothing is found.
    """

    def __init__(self, card: ModelCard, ignored: IgnoreMask | None = None) -> None:
        self._method = method_of(card)
        if not card.classes:
            raise ModelError(f"the card of {card.name} names no classes, expected those of its semantic map")
        self._card, self._ignored = card, ignored
        parameters = card.parameters_as(self._method.parameters)
        self._parameters = parameters
        self._grouping = self._method.grouping(card, parameters)
        other = card.on_device()
        self._device_method = method_of(other)
        chosen = other.parameters_as(self._device_method.parameters)
        same = other is card
        self._device_grouping = self._grouping if same else self._device_method.grouping(other, chosen)
        self._drivable = class_numbers(card, "drivable", parameters.drivable)
        class_numbers(card, "ground", parameters.ground)  # read by who tells where they lie
        self.mirror: Mirror | None = mirrored_channels(card) if parameters.flip else None
        settings = parameters.tracker
        self._tracker = InstanceTracker(len(card.classes), settings) if parameters.track else None

    @property
    def device_form(self) -> DeviceForm[FoundInstances] | None:
        on_device, grouping = self._device_method.on_device, self._device_grouping
        if on_device is None or not self._device_method.fits_device(grouping):
            return None

        def make(maps: dict[str, Any], size: tuple[int, int], launcher: Any) -> DeviceGrouping[FoundInstances]:
            seen = None if self._ignored is None else self._ignored.below(self._card.input.top).at(size)
            return DescribingGrouping(on_device(grouping, maps, launcher), size, launcher, seen)

        return make

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> FoundInstances:
        """Group the maps with the method of the card.

        Raises:
            GroupingError: if the maps are not finite or hold values that the method cannot take.
        """
        height = size[0] - unseen_rows(self._card.input, size[0])
        return self._grouping(maps, (height, size[1]))

    def finish(self, found: FoundInstances, frame: Frame, clock: StageClock) -> Instances:
        """Enlarge, describe and track instances that were grouped on the map."""
        with clock.stage("describe"):
            labels, statistics = self._described(found, frame.size)
            count = len(found.class_ids)
            keep = _largest(statistics.areas)
            if len(keep) < count:
                table = np.zeros(count + 1, dtype=np.int32)
                table[keep + 1] = np.arange(1, len(keep) + 1)
                _relabel(labels.reshape(-1), table)
            class_ids, scores = found.class_ids[keep], found.scores[keep]
            boxes, centers = statistics.boxes[keep], statistics.centers[keep]
        with clock.stage("track"):
            ids = np.arange(1, len(keep) + 1, dtype=np.int32)
            if self._tracker is not None and frame.stamp is not None:
                ids, class_ids = self._tracker.update(labels, boxes, class_ids, scores, frame.stamp)
        if self._parameters.quality is not None:  # after the tracker, in which a score is the weight of a class's vote
            scores = expected_overlap(scores, statistics.areas[keep], frame.size, self._parameters.quality)
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
            drivable=self._drivable_area(labels, class_ids),
        )

    def _described(self, found: FoundInstances, size: tuple[int, int]) -> tuple[NDArray[np.int32], RegionStatistics]:
        """Labels and what is measured of them in the pixels of the whole frame."""
        height, width = size
        unseen = unseen_rows(self._card.input, height)
        seen = height - unseen, width
        whole = isinstance(found, DescribedInstances) or self._ignored is None  # nothing is taken away afterwards
        statistics: RegionStatistics | None = None
        if whole and isinstance(found, DescribedInstances | MapInstances):
            labels, statistics = found.measured_at(seen)
        else:
            labels = found.labels_at(seen)
        if unseen:
            labels = np.concatenate([np.zeros((unseen, width), np.int32), labels])
        if statistics is not None:
            return labels, statistics.lowered(unseen)
        if self._ignored is not None:
            labels[self._ignored.at(size)] = 0
        return labels, region_statistics(labels, len(found.class_ids))

    def reset(self) -> None:
        if self._tracker is not None:
            self._tracker.reset()

    def _drivable_area(self, labels: NDArray[np.int32], class_ids: NDArray[np.int32]) -> NDArray[np.bool_] | None:
        if not len(self._drivable):
            return None
        return look_up(labels, np.isin(class_ids, self._drivable), np.uint8).view(np.bool_)

    def warm_up(self, frame: Frame) -> None:
        """Group, describe and track some objects, twice, as they would be in two frames."""
        if self._method.warm_up is not None:
            frames = self._method.warm_up(self._card, self._parameters)
        else:
            frames = warm_up_maps(self._card, self._method.outputs)
        for maps in frames:
            interpret(self, maps, frame, StageClock())
        # Only objects that contend for each other come to this in the tracker, only segments that join to that, and
        # only masks without a pixel to the last.
        assign(np.zeros((1, 1)), 1.0)
        renumber(np.zeros(1, np.int32), np.zeros(1, np.int32))
        _relabel(np.zeros(1, np.int32), np.zeros(1, np.int32))


def _largest(areas: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the instances that have pixels, of too many the largest, in order.

    More are garbage, which must not cost a frame its time.
    """
    keep = np.flatnonzero(areas)
    if len(keep) > MAX_INSTANCES:
        keep = np.sort(keep[np.argsort(-areas[keep], kind="stable")[:MAX_INSTANCES]])
    return keep


@compiled
def _relabel(labels, table):  # type: ignore[no-untyped-def]
    for p in range(labels.size):
        labels[p] = table[labels[p]]
