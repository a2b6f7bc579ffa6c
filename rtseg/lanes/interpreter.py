"""From the head maps of an L2C lane network to tracked lanes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from rtseg.errors import ModelError
from rtseg.frame import Frame
from rtseg.lanes import (
    DetectedLanes,
    LaneDecoder,
    LaneDecoderSettings,
    LaneTracker,
    LaneTrackerSettings,
    TrackedLanes,
)
from rtseg.lanes.color_runs import ColorRuns
from rtseg.ops import upsample_argmax
from rtseg.results import Lanes
from rtseg.runtime.card import ModelCard, ModelOutput
from rtseg.runtime.interpreter import DeviceForm, DeviceGrouping, HeadMaps, Mirror, interpret
from rtseg.runtime.latency import StageClock
from rtseg.settings import Settings, first_fault

METHOD = "lanes"
"""The grouping that a card of lanes asks for."""


class LaneParameters(Settings):
    """What a card of lanes may say under ``grouping.parameters``."""

    decoder: LaneDecoderSettings = LaneDecoderSettings()
    tracker: LaneTrackerSettings = LaneTrackerSettings()


def lane_settings(card: ModelCard) -> tuple[LaneDecoderSettings, LaneTrackerSettings]:
    """What a card says under ``decoder`` and ``tracker`` of its grouping's parameters.

    Raises:
        ModelError: it does not fit.
    """
    try:
        parameters = LaneParameters.model_validate(card.grouping.parameters)
    except ValidationError as error:
        fault = first_fault(error, "grouping", "parameters")
        raise ModelError(f"the card of {card.name} does not fit: {fault}") from error
    return parameters.decoder, parameters.tracker


def shown_lanes(detected: DetectedLanes, lanes: TrackedLanes, frame: Frame) -> Lanes:
    """The result of a frame: ids in the mask; lines that are carried on have no pixel there, for none was seen."""
    table = np.zeros(256, dtype=np.uint8)
    table[lanes.numbers] = lanes.ids
    table[0] = 0
    return Lanes(
        mask=cv2.LUT(detected.mask, table).astype(np.uint8, copy=False),
        ids=lanes.ids,
        confidence=lanes.confidence,
        polylines=lanes.polylines,
        stamp=frame.stamp,
        frame_id=frame.frame_id,
    )


def color_output(card: ModelCard) -> ModelOutput:
    """Find the output that a lane network colors pixels with.

    Raises:
        ModelError: if there is none, there are several, or the card asks for another way of grouping.
    """
    if card.grouping.method != METHOD:
        raise ModelError(f"the card of {card.name} asks for grouping {card.grouping.method!r}, expected {METHOD}")
    found = [output for output in card.outputs if output.kind == "colors"]
    if len(found) != 1:
        kinds = ", ".join(f"{output.name} ({output.kind})" for output in card.outputs)
        raise ModelError(f"the card of {card.name} is of lanes, expected one output of kind colors, got {kinds}")
    return found[0]


class LaneInterpreter:
    """Decodes colors into lane lines and gives them ids that last."""

    mirror: Mirror | None = None

    def __init__(self, card: ModelCard) -> None:
        decoding, tracking = lane_settings(card)
        self._decoder, self._tracker = LaneDecoder(decoding), LaneTracker(tracking)
        self._tracking = tracking
        self._output = color_output(card)
        self._map_size = card.input.height // self._output.stride, card.input.width // self._output.stride

    @property
    def device_form(self) -> DeviceForm[ColorRuns]:
        def make(maps: dict[str, Any], size: tuple[int, int], launcher: Any) -> DeviceGrouping[ColorRuns]:
            from rtseg.lanes.device import LaneGrouping

            return LaneGrouping(maps[self._output.name], size, launcher)

        return make

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> ColorRuns:
        """Color the pixels and find the runs of the colors.

        Raises:
            GroupingError: if the logits are not finite.
        """
        logits = maps[self._output.name][0]
        return ColorRuns.of(upsample_argmax(logits, size), logits)

    def finish(self, found: ColorRuns, frame: Frame, clock: StageClock) -> Lanes:
        """Make lane lines of the runs and give them their ids."""
        with clock.stage("decode"):
            detected = self._decoder.decode_runs(found, frame.size)
        with clock.stage("track"):
            tracker = self._tracker if frame.stamp is not None else LaneTracker(self._tracking)
            lanes = shown_lanes(detected, tracker.update(detected, frame.stamp or 0), frame)
        return replace(lanes, times=clock.times)

    def reset(self) -> None:
        self._tracker.reset()

    def warm_up(self, frame: Frame) -> None:
        """Decode and track two lines that run into the distance, twice, as they would be in two frames."""
        height, width = self._map_size
        logits = np.zeros((1, self._output.channels, height, width), dtype=np.float32)
        logits[:, 0] = 1.0
        rows = np.arange(height // 3, height)
        spread = (rows - height // 3) * width // (3 * height)
        for channel, columns in ((1, width // 2 - 2 - spread), (2, width // 2 + 2 + spread)):
            for beside in (-1, 0, 1):
                logits[0, channel, rows, np.clip(columns + beside, 0, width - 1)] = 9.0
        for _ in range(2):
            interpret(self, {self._output.name: logits}, frame, StageClock())
