"""From the head maps of an L2C lane network to tracked lanes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

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
from rtseg.ops import Runs
from rtseg.results import Lanes
from rtseg.runtime.card import ModelCard
from rtseg.runtime.latency import StageClock

if TYPE_CHECKING:
    from rtseg.lanes.device import LaneGrouping


def lane_settings(card: ModelCard) -> tuple[LaneDecoderSettings, LaneTrackerSettings]:
    """What a card says under ``decoder`` and ``tracker`` of its grouping's parameters.

    Raises:
        ModelError: it does not fit.
    """
    parameters = card.grouping.parameters
    try:
        return (
            LaneDecoderSettings(**parameters.get("decoder", {})),
            LaneTrackerSettings(**parameters.get("tracker", {})),
        )
    except (TypeError, ValueError) as error:
        raise ModelError(f"the grouping parameters in the card of {card.name} do not fit: {error}") from error


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


class LaneInterpreter:
    """Decodes colors into lane lines and gives them ids that last."""

    def __init__(self, card: ModelCard) -> None:
        decoding, tracking = lane_settings(card)
        self._decoder, self._tracker = LaneDecoder(decoding), LaneTracker(tracking)
        self._tracking = tracking
        self._output = card.outputs[0]
        self._map_size = card.input.height // self._output.stride, card.input.width // self._output.stride

    def __call__(self, maps: dict[str, NDArray[np.float32]], frame: Frame, clock: StageClock) -> Lanes:
        with clock.stage("decode"):
            height, width = frame.size
            detected = self._decoder(maps[self._output.name][0], (height, width))
        return self._track(detected, frame, clock)

    def on_device(self, maps: dict[str, Any], size: tuple[int, int], launcher: Any) -> LaneGrouping:
        """Give the part that looks at pixels, for a device that holds the maps; see :meth:`finish`."""
        from rtseg.lanes.device import LaneGrouping

        return LaneGrouping(self, maps[self._output.name], size, launcher)

    def finish(
        self, runs: Runs, colors: NDArray[np.uint8], logits: NDArray[np.float32], frame: Frame, clock: StageClock
    ) -> Lanes:
        """Go on from the runs of a color image; arguments as :meth:`rtseg.lanes.LaneDecoder.decode_runs`."""
        with clock.stage("decode"):
            height, width = frame.size
            detected = self._decoder.decode_runs(runs, colors, logits, (height, width))
        return self._track(detected, frame, clock)

    def _track(self, detected: DetectedLanes, frame: Frame, clock: StageClock) -> Lanes:
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
            self({self._output.name: logits}, frame, StageClock())
