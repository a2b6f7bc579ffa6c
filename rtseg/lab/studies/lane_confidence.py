"""Fit a lane model's calibration of confidence, and enter it into its card.

    rtseg lab lane-confidence --model lanes-lite --sets lanes-lite --data ../shared/data/lanes

Lines of frames with truth are right or wrong by CULane's rule; a frame of one set counts as much as one of any other,
were all sets as large. Fit on frames that no figure is reported on, of every kind of road that the model is for: what a
line claims elsewhere follows from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError
from rtseg.frame import Frame
from rtseg.lab.data.tusimple import read_labels
from rtseg.lab.scores.lanes.culane import match_lanes
from rtseg.lab.scores.lanes.samples import LaneSample, labelled_samples, rendered_samples, samples_of
from rtseg.lab.training.config import LaneSetConfig
from rtseg.lab.training.lanes.sets import find_set, split_set
from rtseg.lanes import LaneDecoder
from rtseg.lanes.confidence import Calibration, fit_calibration
from rtseg.lanes.interpreter import lane_settings
from rtseg.loading import load
from rtseg.runtime import Pipeline, find_model
from rtseg.runtime.card import Grouping

FIRST_SEED = 800_000  # away from the seeds that training and evaluation draw
_FULL = ("lines", "none")  # labels by which a line can be wrong


def calibrate_confidence(pipeline: Pipeline, sets: Sequence[Iterable[LaneSample]]) -> Calibration:
    """Fit the confidence of a lane model's lines to how often they are right.

    Args:
        pipeline: a loaded lane model.
        sets: pictures with truth, of every line; each set weighs the same, by its frames, so that roads on which next
            to nothing is found say next to nothing.

    Raises:
        ConfigError: the model finds no lanes.
        ArgumentError: the lines do not say what makes them right.
    """
    if pipeline.card.task != "lanes":
        raise ConfigError(f"expected a lane model, got {pipeline.card.name}, which finds {pipeline.card.task}")
    decode = LaneDecoder(lane_settings(pipeline.card)[0])
    measures, right, weight = [], [], []
    for samples in sets:
        marks: list[NDArray[np.bool_]] = []
        for sample in samples:
            maps, _ = pipeline.head_maps(Frame(sample.image))
            size = sample.image.shape[0], sample.image.shape[1]
            found = decode(maps[pipeline.card.outputs[0].name][0], size)
            measures.append(found.measures)
            marks.append(match_lanes(found.polylines, sample.truth, size) >= 0)
        right += marks
        weight.append(np.full(sum(map(len, marks)), 1 / max(len(marks), 1)))
    return fit_calibration(np.concatenate(measures), np.concatenate(right), np.concatenate(weight))


def learned_samples(config: LaneSetConfig, data: Sequence[Path]) -> Iterator[LaneSample]:
    """What a configuration learns from of a set; no line of those where labels say that there is none.

    Raises:
        ConfigError: the set is not in the data.
        DatasetError: labels do not parse, or a picture is missing.
    """
    learned, _ = split_set(config, read_labels(find_set(config.folder, data)))
    for sample in samples_of(learned):
        yield replace(sample, truth=()) if config.supervision == "none" else sample


def calibrate_model(
    model: str, data: Sequence[Path], rendered: int, sets: Sequence[LaneSetConfig] = ()
) -> tuple[Path, Calibration]:
    """Fit a model's calibration to labelled and `rendered` frames; gives card and calibration.

    Args:
        model: bundled model, or a folder with a card.
        data: TuSimple or CULane folders; with `sets` those that they lie in.
        rendered: frames to render.
        sets: of a configuration, of which the frames that are learned from are taken where labels tell of every line.

    Raises:
        ConfigError, DatasetError, GroupingError, ModelError: see `calibrate_confidence`, `learned_samples` and
            `labelled_samples`.
    """
    pictures: list[Iterable[LaneSample]]
    if sets:
        judged = [part for part in sets if part.supervision in _FULL and part.share and not part.teacher]
        pictures = [learned_samples(part, data) for part in judged]
    else:
        pictures = [labelled_samples(folder)[0] for folder in data]
    if rendered:
        pictures.append(rendered_samples(rendered, first_seed=FIRST_SEED))
    pipeline = load(model)
    calibration = calibrate_confidence(pipeline, pictures)
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
