"""From the head maps of a lane network to tracked lanes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ModelError
from rtseg.frame import Frame
from rtseg.lanes import DetectedLanes, LaneDecoderSettings, LaneTracker, LaneTrackerSettings, TrackedLanes
from rtseg.lanes.methods import method_of
from rtseg.lanes.methods.colors import METHOD as COLORS
from rtseg.lanes.methods.colors import color_output
from rtseg.lanes.paint import MarkingMemory, paint_of, solid_of
from rtseg.results import Lanes
from rtseg.runtime.card import ModelCard
from rtseg.runtime.fitting import unseen_rows
from rtseg.runtime.ignore import IgnoreMask
from rtseg.runtime.interpreter import DeviceForm, HeadMaps, Mirror, interpret
from rtseg.runtime.latency import StageClock


def lane_settings(card: ModelCard) -> tuple[LaneDecoderSettings, LaneTrackerSettings]:
    """What a card of colors says under ``decoder`` and ``tracker`` of its grouping's parameters.

    Raises:
        ModelError: it does not fit, or asks for another way of grouping.
    """
    color_output(card)
    parameters = card.parameters_as(COLORS.parameters)
    return parameters.decoder, parameters.tracker


def shown_lanes(
    detected: DetectedLanes, lanes: TrackedLanes, frame: Frame, solid: NDArray[np.float32] | None = None
) -> Lanes:
    """The result of a frame: ids in the mask; lines that are carried on have no pixel there, for none was seen."""
    values = np.zeros(len(detected.polylines) + 1, dtype=np.uint8)
    values[lanes.numbers] = lanes.ids
    return Lanes(
        mask=detected.painted(values[1:]),
        ids=lanes.ids,
        confidence=lanes.confidence,
        polylines=lanes.polylines,
        stamp=frame.stamp,
        frame_id=frame.frame_id,
        solid=solid,
    )


class LaneInterpreter:
    """Reads lane lines with the method of the card and gives them ids that last.

    Args:
        card: of the model.
        ignored: pixels at which nothing is found.

    Raises:
        ModelError: the card's grouping does not fit.
    """

    mirror: Mirror | None = None

    def __init__(self, card: ModelCard, ignored: IgnoreMask | None = None) -> None:
        method = method_of(card)
        parameters = card.parameters_as(method.parameters)
        if card.grouping.device is not None:
            raise ModelError(f"the card of {card.name} does not fit: grouping.device: lanes have one method everywhere")
        seen = None if ignored is None else ignored.below(card.input.top)
        self._reading = method.reading(card, parameters, seen)
        self._tracker, self._tracking = LaneTracker(parameters.tracker), parameters.tracker
        self._markings = MarkingMemory()
        self._needs = card.input

    @property
    def device_form(self) -> DeviceForm[Any] | None:
        return self._reading.device_form

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> Any:
        """Find what is in the maps of a frame of (H, W).

        Raises:
            GroupingError: if they are not finite.
        """
        return self._reading.group(maps, (size[0] - unseen_rows(self._needs, size[0]), size[1]))

    def finish(self, found: Any, frame: Frame, clock: StageClock) -> Lanes:
        """Make lane lines of it and give them their ids."""
        with clock.stage("decode"):
            height, width = frame.size
            unseen = unseen_rows(self._needs, height)
            detected = self._reading.decode(found, (height - unseen, width))
            if unseen:
                detected = _lowered(detected, unseen)
        with clock.stage("track"):
            tracker = self._tracker if frame.stamp is not None else LaneTracker(self._tracking)
            tracked = tracker.update(detected, frame.stamp or 0)
        with clock.stage("markings"):
            solid = self._solid(frame, tracked)
        return replace(shown_lanes(detected, tracked, frame, solid), times=clock.times)

    def _solid(self, frame: Frame, lanes: TrackedLanes) -> NDArray[np.float32] | None:
        if not frame.converted:  # a picture that only a GPU has seen is not brought here for this
            return None
        if frame.stamp is None:
            return solid_of(paint_of(frame.image, lanes.polylines))
        return self._markings.update(frame.image, lanes, frame.stamp)

    def reset(self) -> None:
        self._tracker.reset()
        self._markings.reset()

    def warm_up(self, frame: Frame) -> None:
        """Decode and track two lines that run into the distance, as they would be in two frames, and then lose them."""
        maps = self._reading.warm_up_maps()
        nothing = {name: np.zeros_like(values) for name, values in maps.items()}
        for seen in (maps, maps, nothing):
            interpret(self, seen, frame, StageClock())


def _lowered(detected: DetectedLanes, rows: int) -> DetectedLanes:
    """Lanes found in what lies below some rows of a frame, in the pixels of the whole frame."""
    height, width = detected.size
    lines = tuple(line + np.array([0, rows], np.float32) for line in detected.polylines)
    runs = detected.runs
    if runs is not None:
        runs = replace(runs, rows=np.concatenate([np.zeros(rows, runs.rows.dtype), runs.rows]))
    return replace(detected, size=(rows + height, width), polylines=lines, runs=runs)
