"""Average precision and recall of COCO, computed by pycocotools from the overlaps of each frame."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.scores.instances.overlaps import Overlaps
from rtseg.lab.scores.instances.tools import scoring_tool


@dataclass(frozen=True)
class SizeBands:
    """Which instances are small, medium and large.

    Attributes:
        medium: side in pixels of the square with the area from which an instance is medium.
        large: likewise large.
        threshold: IoU at which the bands are scored; None averages over .5 to .95.
    """

    medium: float
    large: float
    threshold: float | None = None


COCO_BANDS = SizeBands(32, 96)
EXEMPLAR_BANDS = SizeBands(64, 192, 0.5)
"""Section 4.1 of Exemplar-FreeSOLO."""


@dataclass(frozen=True)
class CocoScore:
    """Shares in [0, 1]; NaN where there is no true instance.

    Attributes:
        ap: over IoU .5 to .95.
        ap50: at IoU .5.
        ap75: at IoU .75.
        small, medium, large: AP by size of the true instance.
        ar1, ar10, ar100: recall with 1, 10 and 100 instances found a frame (and class), over IoU .5 to .95.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    ar1: float
    ar10: float
    ar100: float


def coco_ap(
    frames: Sequence[Overlaps], classes: Sequence[str], bands: SizeBands = COCO_BANDS
) -> tuple[CocoScore, dict[str, CocoScore]]:
    """Score frames as COCO does. For class-agnostic scores give ``frame.class_agnostic()`` and one class.

    A region of several objects of a class and one where nothing is known are crowds: what lies mostly in them does not
    count. Of every frame and class the 100 most certain instances count.

    Args:
        frames: overlaps of every frame.
        classes: their names.
        bands: sizes.

    Returns:
        The mean over classes with true instances, and the scores by class.

    Raises:
        ConfigError: pycocotools is not installed.
    """
    tool = scoring_tool("pycocotools.cocoeval")
    evaluation = tool.COCOeval(iouType="segm")
    params = evaluation.params
    limits = (0.0, bands.medium**2, bands.large**2, 1e10)
    params.areaRng = [[0.0, 1e10], *([low, high] for low, high in pairwise(limits))]
    params.areaRngLbl = ["all", "small", "medium", "large"]
    params.imgIds = list(range(len(frames)))
    params.catIds = list(range(len(classes)))
    for image, frame in enumerate(frames):
        for c in range(len(classes)):
            _enter(evaluation, image, c, frame)
    # What `evaluate` does, less the reading of annotations and the intersections of masks.
    evaluation.evalImgs = [
        evaluation.evaluateImg(image, c, area, params.maxDets[-1])
        for c in params.catIds
        for area in params.areaRng
        for image in params.imgIds
    ]
    evaluation._paramsEval = params  # noqa: SLF001 - pycocotools has no other way in, here and below
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    everything = list(range(len(classes)))
    return _read(evaluation.eval, params, everything, bands), {
        name: _read(evaluation.eval, params, [c], bands) for c, name in enumerate(classes)
    }


def _enter(evaluation: Any, image: int, c: int, frame: Overlaps) -> None:
    """Write one frame's instances of one class, and their IoU, where pycocotools keeps them.

    Instances found are in order of score, as `computeIoU` would give them; IoU with a crowd is the share of what was
    found that lies in it.
    """
    columns = np.flatnonzero(frame.true_classes == c)
    rows = np.flatnonzero(frame.classes == c)
    rows = rows[np.argsort(-frame.scores[rows], kind="stable")][: evaluation.params.maxDets[-1]]
    iou = frame.iou[np.ix_(rows, columns)]
    areas = [float(area) for area in frame.true_areas[columns]]
    hidden = frame.void[rows] + frame.crowd[rows, c]
    if hidden.any():
        iou = np.concatenate([iou, (hidden / frame.areas[rows])[:, None]], axis=1)
        areas.append(0.0)
    evaluation._gts[image, c] = [  # noqa: SLF001
        {"id": k + 1, "area": area, "ignore": k >= len(columns), "iscrowd": int(k >= len(columns))}
        for k, area in enumerate(areas)
    ]
    evaluation._dts[image, c] = [  # noqa: SLF001
        {"id": int(row) + 1, "image_id": image, "score": float(frame.scores[row]), "area": float(frame.areas[row])}
        for row in rows
    ]
    evaluation.ious[image, c] = iou if iou.size else []


def _read(result: dict[str, NDArray[np.float64]], params: Any, classes: list[int], bands: SizeBands) -> CocoScore:
    precision = result["precision"][:, :, classes]  # (IoU, recall, class, band, limit)
    recall = result["recall"][:, classes]  # (IoU, class, band, limit)

    def at(threshold: float | None) -> Any:
        if threshold is None:
            return slice(None)
        return int(np.argmin(np.abs(params.iouThrs - threshold)))

    def mean(values: NDArray[np.float64]) -> float:
        known = values[values > -1]  # pycocotools writes -1 where there is no true instance
        return float(known.mean()) if known.size else float("nan")

    by_band = [mean(precision[at(bands.threshold), ..., band, -1]) for band in (1, 2, 3)]
    return CocoScore(
        mean(precision[..., 0, -1]),
        mean(precision[at(0.5), ..., 0, -1]),
        mean(precision[at(0.75), ..., 0, -1]),
        *by_band,
        *(mean(recall[..., 0, limit]) for limit in range(len(params.maxDets))),
    )
