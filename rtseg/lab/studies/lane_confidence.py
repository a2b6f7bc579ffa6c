"""Fit a lane model's calibration of confidence, and enter it into its card.

    rtseg lab lane-confidence --model lanes-lite --data ../shared/data/lanes/tusimple_train

Lines of frames with truth are right or wrong by CULane's rule; every set counts as much as every other. Fit on frames
that no figure is reported on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.lab.scores.lanes.culane import match_lanes
from rtseg.lab.scores.lanes.samples import LaneSample, labelled_samples, rendered_samples
from rtseg.lanes import LaneDecoder
from rtseg.lanes.confidence import Calibration, fit_calibration
from rtseg.lanes.interpreter import lane_settings
from rtseg.loading import load
from rtseg.runtime import Pipeline, find_model
from rtseg.runtime.card import Grouping

FIRST_SEED = 800_000  # away from the seeds that training and evaluation draw


def calibrate_confidence(pipeline: Pipeline, sets: Sequence[Iterable[LaneSample]]) -> Calibration:
    """Fit the confidence of a lane model's lines to how often they are right.

    Args:
        pipeline: a loaded lane model.
        sets: pictures with truth; each set weighs the same.

    Raises:
        ConfigError: the model finds no lanes.
        ArgumentError: the lines do not say what makes them right.
    """
    if pipeline.card.task != "lanes":
        raise ConfigError(f"expected a lane model, got {pipeline.card.name}, which finds {pipeline.card.task}")
    decode = LaneDecoder(lane_settings(pipeline.card)[0])
    measures, right, weight = [], [], []
    for samples in sets:
        marks = []
        for sample in samples:
            maps, _ = pipeline.head_maps(Frame(sample.image))
            size = sample.image.shape[0], sample.image.shape[1]
            found = decode(maps[pipeline.card.outputs[0].name][0], size)
            measures.append(found.measures)
            marks.append(match_lanes(found.polylines, sample.truth, size) >= 0)
        right += marks
        count = sum(map(len, marks))
        weight.append(np.full(count, 1 / max(count, 1)))
    return fit_calibration(np.concatenate(measures), np.concatenate(right), np.concatenate(weight))


def calibrate_model(model: str, data: Sequence[Path], rendered: int) -> tuple[Path, Calibration]:
    """Fit a model's calibration to TuSimple or CULane folders and `rendered` frames; gives card and calibration.

    Raises:
        ConfigError, DatasetError, GroupingError, ModelError: see `calibrate_confidence` and `labelled_samples`.
    """
    sets: list[Iterable[LaneSample]] = [labelled_samples(folder)[0] for folder in data]
    if rendered:
        sets.append(rendered_samples(rendered, first_seed=FIRST_SEED))
    pipeline = load(model)
    calibration = calibrate_confidence(pipeline, sets)
    pipeline.close()
    return write_calibration(model, calibration), calibration


def write_calibration(model: str | Path, calibration: Calibration) -> Path:
    """Enter a calibration into the parameters of a card's decoder; gives the card's path.

    Raises:
        ModelError: there is no such model.
    """
    found = find_model(model)
    parameters = dict(found.card.grouping.parameters)
    parameters["decoder"] = {**parameters.get("decoder", {}), "calibration": list(calibration)}
    grouping = Grouping(method=found.card.grouping.method, parameters=parameters)
    path = found.path.parent / "card.yaml"
    found.card.model_copy(update={"grouping": grouping}).dump(path)
    return path
