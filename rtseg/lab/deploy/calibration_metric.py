"""What a calibration has to know of a task: how its frames are rendered, and what its metric is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.errors import DatasetError
from rtseg.lab.scores.instances.evaluate import ALL, HELD_OUT, evaluate_instances
from rtseg.lab.scores.lanes.evaluate import evaluate_lanes
from rtseg.lab.scores.lanes.samples import FIRST_RENDERED_SEED
from rtseg.runtime import Pipeline
from rtseg.runtime.card import ModelCard


@dataclass(frozen=True)
class Measured:
    """Scores of one network.

    Attributes:
        dataset: what they were measured on, as a card says it.
        metrics: shares by name.
    """

    dataset: str
    metrics: dict[str, float]


class TaskMetric(Protocol):
    """What a calibration asks of a task.

    Attributes:
        gates: metrics that may be gated, more being better; the first that was measured is, if the card has none.
    """

    gates: tuple[str, ...]

    def render(self, seed: int) -> NDArray[np.uint8]:
        """Render a frame (H, W, 3) uint8 BGR such as the model is made for."""

    def measure(self, pipeline: Pipeline) -> Measured:
        """Score a loaded network.

        Raises:
            DatasetError: the evaluation set does not parse, or no frame of it is held out.
            ConfigError: a scoring tool is not installed.
        """


def task_metric(card: ModelCard, data: Path | None, frames: int, scratch: Path, progress: bool = False) -> TaskMetric:
    """Say how a model's metric is measured.

    Args:
        card: of the model.
        data: labelled frames; rendered ones by default.
        frames: how many to render.
        scratch: an empty folder for rendered frames.
        progress: show a bar.
    """
    if card.task == "lanes":
        return _LaneMetric(data, frames, progress)
    return _InstanceMetric(card, data, frames, scratch, progress)


def gated_metric(card: ModelCard, gates: tuple[str, ...], measured: Measured) -> str:
    """Choose the metric that int8 must keep: the first one of the card's scores that may be gated, else of `gates`.

    Raises:
        DatasetError: none was measured, or the float network scores nothing, so that there is nothing to lose.
    """
    wanted = [*(score.metric for score in card.scores if score.metric in gates), *gates]
    metric = next((name for name in wanted if name in measured.metrics), None)
    if metric is None or not measured.metrics[metric] > 0:
        raise DatasetError(
            f"expected frames on which {card.name} finds what is labelled, so that int8 can lose it, got "
            f"{metric or gates[0]} 0 on {measured.dataset}; give other frames with --evaluate"
        )
    return metric


class _LaneMetric:
    """TuSimple's and CULane's scores, on labelled pictures or rendered roads."""

    gates: tuple[str, ...] = ("accuracy", "culane F1")

    def __init__(self, data: Path | None, frames: int, progress: bool) -> None:
        self._data, self._frames, self._progress = data, frames, progress

    def render(self, seed: int) -> NDArray[np.uint8]:
        from rtseg.lab.render import render_road

        return render_road(seed).image

    def measure(self, pipeline: Pipeline) -> Measured:
        kind = "rendered" if self._data is None else "labelled"
        found = evaluate_lanes(pipeline, kind, self._data, frames=self._frames, progress=self._progress)
        return Measured(found.label, found.metrics())


class _InstanceMetric:
    """Cityscapes' AP, or class-agnostic AP50, on the held-out cities of labelled frames or on rendered streets."""

    gates: tuple[str, ...] = ("AP", "class-agnostic AP50", "AP50", "PQ", "class-agnostic AP")

    def __init__(self, card: ModelCard, data: Path | None, frames: int, scratch: Path, progress: bool) -> None:
        self._data, self._frames, self._scratch, self._progress = data, frames, scratch, progress
        self._size = (card.input.height, card.input.width)

    def render(self, seed: int) -> NDArray[np.uint8]:
        from rtseg.lab.render import render_street

        return render_street(seed, self._size).image

    def measure(self, pipeline: Pipeline) -> Measured:
        if self._data is not None:
            found = evaluate_instances(pipeline, self._data, HELD_OUT, progress=self._progress)
            return Measured(found.dataset, found.metrics())
        from rtseg.lab.render.street.folder import write_streets

        # What an earlier network was measured on is kept.
        seeds = range(FIRST_RENDERED_SEED, FIRST_RENDERED_SEED + self._frames)
        streets = write_streets(self._scratch, seeds, self._size, "val", workers=1)
        found = evaluate_instances(pipeline, streets, ALL, progress=self._progress)
        return Measured(f"rendered streets, {counted(found.frames, 'frame')}", found.metrics())
