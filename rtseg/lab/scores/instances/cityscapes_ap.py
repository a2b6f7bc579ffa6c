"""Average precision of Cityscapes, computed by cityscapesscripts' own code from the overlaps of each frame.

That code matches predictions with true instances by reading one mask file an instance, and does so with a function that
NumPy 2 no longer has; its matching table is filled here from overlaps counted once a frame, and evaluated there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError
from rtseg.lab.scores.instances.overlaps import Overlaps
from rtseg.lab.scores.instances.tools import scoring_tool

FULL_PIXELS = 1024 * 2048
"""Size of the frames for which the benchmark gives its least areas."""
_GROUP_ID = 1000  # ids from here on are instances; those below are groups


@dataclass(frozen=True)
class CityscapesScore:
    """AP in [0, 1], NaN for a class without true instances (which the mean leaves out).

    Attributes:
        ap: over IoU .5 to .95.
        ap50: at IoU .5.
        ap100m: of instances closer than 100 m; None where the data set has no depth.
        ap50m: closer than 50 m; None likewise.
    """

    ap: float
    ap50: float
    ap100m: float | None = None
    ap50m: float | None = None


def cityscapes_ap(
    frames: Sequence[Overlaps], classes: Sequence[str]
) -> tuple[CityscapesScore, dict[str, CityscapesScore]]:
    """Score frames of one size as the benchmark does.

    True instances of fewer than 100 pixels (1000 for AP100m and AP50m) are ignored; those are pixels of 2048x1024
    frames, and are scaled with the area of smaller ones.

    Args:
        frames: overlaps of every frame, with their crowds and void.
        classes: their names.

    Returns:
        The mean over classes, and the scores by class.

    Raises:
        DatasetError: no frames, or frames of different sizes.
        ConfigError: cityscapesscripts is not installed.
    """
    sizes = {frame.size for frame in frames}
    if len(sizes) != 1:
        raise DatasetError(f"expected frames of one size to score as Cityscapes does, got {len(sizes)} sizes")
    tool = scoring_tool("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    height, width = sizes.pop()
    deep = all(frame.distances is not None for frame in frames)
    settings = SimpleNamespace(**vars(tool.args))
    settings.instLabels = list(classes)
    settings.minRegionSizes = settings.minRegionSizes * (height * width / FULL_PIXELS)
    settings.distanceAvailable = deep
    matches = {str(i): _matches(frame, classes) for i, frame in enumerate(frames)}
    # (distances, classes, overlaps)
    values = _evaluate(tool, matches, settings)
    scores = {name: _score(values[:, i], settings, deep) for i, name in enumerate(classes)}
    mean = CityscapesScore(
        _mean([s.ap for s in scores.values()]),
        _mean([s.ap50 for s in scores.values()]),
        _mean([s.ap100m for s in scores.values() if s.ap100m is not None]) if deep else None,
        _mean([s.ap50m for s in scores.values() if s.ap50m is not None]) if deep else None,
    )
    return mean, scores


def _evaluate(tool: Any, matches: dict[str, Any], settings: Any) -> NDArray[np.float64]:
    """AP by distance, class and overlap, 0 where no prediction of a class with true instances counts.

    The benchmark's code has no curve to integrate there (all that was found lies on void or groups) and fails.
    """
    try:
        return np.asarray(tool.evaluateMatches(matches, settings), np.float64)
    except IndexError:
        pass
    near = len(settings.distanceThs) if settings.distanceAvailable else 1
    values = np.zeros((near, len(settings.instLabels), len(settings.overlaps)))
    for d, c, o in np.ndindex(*values.shape):
        one = SimpleNamespace(**vars(settings))
        one.distanceThs, one.distanceConfs, one.minRegionSizes = (
            numbers[d : d + 1] for numbers in (settings.distanceThs, settings.distanceConfs, settings.minRegionSizes)
        )
        one.instLabels, one.overlaps = settings.instLabels[c : c + 1], settings.overlaps[o : o + 1]
        with suppress(IndexError):
            values[d, c, o] = tool.evaluateMatches(matches, one)[0, 0, 0]
    return values


def _score(values: NDArray[np.float64], settings: Any, deep: bool) -> CityscapesScore:
    def at(metres: float) -> float:
        return float(values[int(np.argmin(np.abs(settings.distanceThs - metres)))].mean())

    half = int(np.argmin(np.abs(settings.overlaps - 0.5)))
    return CityscapesScore(
        float(values[0].mean()), float(values[0, half]), at(100.0) if deep else None, at(50.0) if deep else None
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _matches(frame: Overlaps, classes: Sequence[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """One frame's entry of the table that cityscapesscripts evaluates."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in classes}
    true: dict[str, list[dict[str, Any]]] = {name: [] for name in classes}
    for c, name in enumerate(classes):
        columns = np.flatnonzero(frame.true_classes == c)
        instances = [_instance(frame, int(j)) for j in columns]
        shared = frame.both[:, columns]
        if frame.crowd_areas[c]:
            group = {"instID": 0, "pixelCount": int(frame.crowd_areas[c]), "medDist": -1.0, "distConf": 0.0}
            instances.append({**group, "matchedPred": []})
            shared = np.concatenate([shared, frame.crowd[:, c : c + 1]], axis=1)
        true[name] = instances
        for i in np.flatnonzero(frame.classes == c):
            prediction = {
                "pixelCount": int(frame.areas[i]),
                "confidence": float(frame.scores[i]),
                "voidIntersection": int(frame.void[i]),
            }
            touched = []
            for j in np.flatnonzero(shared[i]):
                pixels = {"intersection": int(shared[i, j])}
                touched.append({**instances[j], **pixels})
                instances[j]["matchedPred"].append({**prediction, **pixels})
            found[name].append({**prediction, "matchedGt": touched})
    return {"groundTruth": true, "prediction": found}


def _instance(frame: Overlaps, j: int) -> dict[str, Any]:
    distance = float("nan") if frame.distances is None else float(frame.distances[j])
    known = not np.isnan(distance)
    return {
        "instID": _GROUP_ID + j,
        "pixelCount": int(frame.true_areas[j]),
        "medDist": distance if known else -1.0,
        "distConf": 1.0 if known else 0.0,
        "matchedPred": [],
    }
