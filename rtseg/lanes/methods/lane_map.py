"""Maps of lane lines, one for each line or one for all: SCNN, LaneNet's binary branch, YOLOP and their like."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import GroupingError, ModelError
from rtseg.lanes import DetectedLanes, LaneDecoder
from rtseg.lanes.color_runs import ColorRuns
from rtseg.lanes.methods.colors import LaneParameters, paint_two_lines
from rtseg.lanes.methods.method import LaneMethod, listed_outputs
from rtseg.runtime.card import ModelCard
from rtseg.runtime.fitting import window_of
from rtseg.runtime.ignore import IgnoreMask, ignored_at
from rtseg.runtime.interpreter import DeviceForm, HeadMaps

_LEAST = 1e-6  # of a probability in its logarithm
_SURE = 6.0  # logit of a class that a network gives without saying how sure it is


class LaneMapParameters(LaneParameters):
    """How the maps read.

    Attributes:
        background: whether the first channel is the background; without, a line is where its channel says yes.
        scale: what the values are. Of ``ids``, 0 is background and every other number a line.
    """

    background: bool = True
    scale: Literal["logits", "probabilities", "ids"] = "logits"


class LaneMap:
    """Turns any such map into colors, of which lines are made as of L2C's.

    Several lines may share a color, as they do in binary maps: each connected component is told apart, and pieces are
    joined by where they lie (:mod:`rtseg.lanes.joining`).
    """

    device_form: DeviceForm[ColorRuns] | None = None

    def __init__(self, card: ModelCard, parameters: LaneMapParameters, ignored: IgnoreMask | None = None) -> None:
        self._ignored = ignored
        found = [output for output in card.outputs if output.kind == "lane_map"]
        sides = found[0].sides(card.input) if found else ()
        most = 1 if parameters.scale == "ids" else 255
        least = 2 if parameters.scale != "ids" and parameters.background else 1
        if len(found) != 1 or len(sides) != 4 or not least <= sides[1] <= most:
            raise ModelError(
                f"the card of {card.name} asks for {card.grouping.method}, expected one output of kind lane_map and "
                f"shape (1, {least} to {most}, h, w), got {listed_outputs(card)}"
            )
        self._name, self._sides, self._needs, self._parameters = found[0].name, sides, card.input, parameters
        self._decoder = LaneDecoder(parameters.decoder)

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> ColorRuns:
        """Color the pixels and find the runs of the colors."""
        window = window_of(self._needs, size)
        rows = window.rows(self._needs.height / self._sides[2])
        columns = window.columns(self._needs.width / self._sides[3])
        logits = self._logits(maps[self._name][0][:, rows, columns])
        return ColorRuns.of_logits(logits, size, ignored_at(self._ignored, size))

    def decode(self, found: ColorRuns, size: tuple[int, int]) -> DetectedLanes:
        """Make lane lines of the runs."""
        return self._decoder.decode_runs(found, size)

    def warm_up_maps(self) -> HeadMaps:
        """Two lines that run into the distance."""
        values = np.zeros(self._sides, np.float32)
        if self._parameters.scale == "logits":
            values[:] = -9.0
        first = int(self._parameters.scale != "ids" and self._parameters.background)
        values[:, :first] = 0.5
        paint_two_lines(values[0], (first, min(first + 1, self._sides[1] - 1)), 1.0)
        return {self._name: values}

    def _logits(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of background and colors, (n + 1, h, w)."""
        settings = self._parameters
        if settings.scale == "ids":
            return _of_ids(values[0])
        if settings.scale == "probabilities":
            if not np.isfinite(values).all():
                raise GroupingError("expected finite lane maps, got NaN or infinite values")
            values = np.clip(values, _LEAST, 1 - _LEAST)
            values = np.log(values) if settings.background else np.log(values / (1 - values))
        if settings.background:
            return np.ascontiguousarray(values, np.float32)
        return np.concatenate([np.zeros((1, *values.shape[1:]), np.float32), values])


def _of_ids(ids: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(ids).all():
        raise GroupingError("expected finite lane numbers, got NaN or infinite values")
    numbers = np.unique(ids[ids > 0])[:254]
    logits = np.zeros((1 + len(numbers), *ids.shape), np.float32)
    logits[0, ids <= 0] = _SURE
    for channel, number in enumerate(numbers, start=1):
        logits[channel, ids == number] = _SURE
    return logits


METHOD = LaneMethod(name="lane_map", parameters=LaneMapParameters, reading=LaneMap)
