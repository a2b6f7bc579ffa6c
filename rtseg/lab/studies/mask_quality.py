"""Scores that rank: what the size and the score of a mask tell of its overlap with the truth, fitted on labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtseg.counted import counted
from rtseg.errors import DatasetError
from rtseg.frame import Frame
from rtseg.instances.interpreter import InstanceInterpreter
from rtseg.instances.quality import mask_features
from rtseg.lab.data.instance_labels import InstanceFrame
from rtseg.lab.scores.instances.evaluate import scored_truth
from rtseg.lab.scores.instances.overlaps import Overlaps, overlaps
from rtseg.lanes.confidence import fit_logistic
from rtseg.runtime import Pipeline
from rtseg.runtime.interpreter import interpret
from rtseg.runtime.latency import StageClock

Weights = tuple[float, float, float]

_RIDGE = 1e-3


def found_overlaps(pipeline: Pipeline, frames: Sequence[InstanceFrame]) -> list[Overlaps]:
    """How what a model finds overlaps the truth, with the scores that its method gives, whatever the card's quality."""
    card = pipeline.card
    parameters = {name: value for name, value in card.grouping.parameters.items() if name != "quality"}
    grouping = card.grouping.model_copy(update={"parameters": parameters})
    interpreter = InstanceInterpreter(card.model_copy(update={"grouping": grouping}))
    compared = []
    for frame in frames:
        image = frame.image()
        maps, _ = pipeline.head_maps(image)
        interpreter.reset()
        found = interpret(interpreter, maps, Frame(image), StageClock())
        target = np.array([frame.classes.index(c) if c in frame.classes else -1 for c in card.classes])
        truth = scored_truth(frame, frame.truth())
        classes = target[found.class_ids]
        compared.append(overlaps(frame.name, truth, found.labels, classes, found.scores, len(frame.classes)))
    return compared


def fit_quality(frames: Sequence[Overlaps]) -> Weights:
    """Fit the weights of :func:`rtseg.instances.quality.expected_overlap` by logistic regression on the overlaps.

    What lies for the most part where nothing is known, or where objects were not told apart, does not count.

    Raises:
        DatasetError: nothing is left.
    """
    features = [mask_features(frame.scores, frame.areas, frame.size) for frame in frames]
    known = [2 * (frame.void + frame.crowd.sum(axis=1)) < frame.areas for frame in frames]
    x = np.concatenate([np.zeros((0, 3)), *(f[k] for f, k in zip(features, known, strict=True))])
    y = np.concatenate([np.zeros(0), *(f.iou.max(axis=1, initial=0.0)[k] for f, k in zip(frames, known, strict=True))])
    if not len(x):
        raise DatasetError(f"expected instances to fit scores to in {counted(len(frames), 'frame')}, found none")
    first, size, sure = fit_logistic(x, y, np.full(len(x), 1 / len(x)), _RIDGE / len(x)).tolist()
    return first, size, sure
