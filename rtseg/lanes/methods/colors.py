"""L2C: the channels of the network are the ids of lines, channel 0 is background."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtseg.errors import ModelError
from rtseg.lanes import DetectedLanes, LaneDecoder, LaneDecoderSettings
from rtseg.lanes.color_runs import ColorRuns
from rtseg.lanes.methods.method import LaneMethod, TrackedParameters
from rtseg.runtime.card import ModelCard, ModelOutput
from rtseg.runtime.ignore import IgnoreMask, ignored_at
from rtseg.runtime.interpreter import DeviceForm, DeviceGrouping, HeadMaps


class LaneParameters(TrackedParameters):
    """What a card of ``lanes`` may say under ``grouping.parameters``."""

    decoder: LaneDecoderSettings = LaneDecoderSettings()


class Colors:
    """Colors of pixels, the runs of the colors, and lines of the runs."""

    def __init__(self, card: ModelCard, parameters: LaneParameters, ignored: IgnoreMask | None = None) -> None:
        self._ignored = ignored
        self._decoder = LaneDecoder(parameters.decoder)
        self._output = color_output(card)
        self._map_size = card.input.height // self._output.stride, card.input.width // self._output.stride

    @property
    def device_form(self) -> DeviceForm[ColorRuns]:
        """Colors, components and runs on a device."""

        def make(maps: dict[str, Any], size: tuple[int, int], launcher: Any) -> DeviceGrouping[ColorRuns]:
            from rtseg.lanes.device import LaneGrouping

            return LaneGrouping(maps[self._output.name], size, launcher, ignored_at(self._ignored, size))

        return make

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> ColorRuns:
        """Color the pixels and find the runs of the colors."""
        logits = maps[self._output.name][0]
        return ColorRuns.of_logits(logits, size, ignored_at(self._ignored, size))

    def decode(self, found: ColorRuns, size: tuple[int, int]) -> DetectedLanes:
        """Make lane lines of the runs."""
        return self._decoder.decode_runs(found, size)

    def warm_up_maps(self) -> HeadMaps:
        """Two lines that run into the distance."""
        height, width = self._map_size
        logits = np.zeros((1, self._output.channels, height, width), dtype=np.float32)
        logits[:, 0] = 1.0
        paint_two_lines(logits[0], (1, 2), 9.0)
        return {self._output.name: logits}


def paint_two_lines(values: np.ndarray, channels: tuple[int, int], value: float) -> None:
    """Put lines that run into the distance into two channels of (C, h, w)."""
    height, width = values.shape[1:]
    rows = np.arange(height // 3, height)
    spread = (rows - height // 3) * width // (3 * height)
    for channel, columns in ((channels[0], width // 2 - 2 - spread), (channels[1], width // 2 + 2 + spread)):
        for beside in (-1, 0, 1):
            values[channel, rows, np.clip(columns + beside, 0, width - 1)] = value


def color_output(card: ModelCard) -> ModelOutput:
    """Find the output that a lane network colors pixels with.

    Raises:
        ModelError: if there is none, there are several, or the card asks for another way of grouping.
    """
    if card.grouping.method != METHOD.name:
        raise ModelError(f"the card of {card.name} asks for grouping {card.grouping.method!r}, expected {METHOD.name}")
    found = [output for output in card.outputs if output.kind == "colors" and output.shape is None]
    if len(found) != 1:
        kinds = ", ".join(f"{output.name} ({output.kind})" for output in card.outputs)
        raise ModelError(f"the card of {card.name} is of lanes, expected one output of kind colors, got {kinds}")
    return found[0]


METHOD = LaneMethod(name="lanes", parameters=LaneParameters, reading=Colors)
