"""Points, kernels and mask features to instances (SOLOv2's inference; Exemplar-FreeSOLO, section 4.1).

Every float step is the same as in rtseg/ops/cuda/solo.cu, in the same order, so that both give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError, GroupingError
from rtseg.grouping.grouped import GroupedInstances, renumber
from rtseg.ops.logistic import sigmoid
from rtseg.ops.mask_nms import (
    decay_scores,
    fast_keep,
    overlaps_of_bits,
    pack_masks,
    score_order,
)
from rtseg.settings import Probability, Settings

SHAPE_TERMS = 5
MASK_STRIDE = 4
FIXED = 1 << 16
"""Mask probabilities are added up in this fixed point, so that their sum does not depend on the order."""


class SoloThresholds(Settings):
    """How points become instances, but for their size.

    Attributes:
        score_threshold: least category score of a point.
        candidates: most points that are made masks of, the best ones.
        nms: ``matrix`` lowers scores of what is covered, ``fast`` removes it.
        sigma: of matrix NMS, gaussian.
        overlap: most intersection over union that fast NMS lets stand.
        keep_threshold: least score, category times maskness, after suppression.
        min_visible: share of a mask that must not be hidden under better ones in the label image.
    """

    score_threshold: Probability = 0.1
    candidates: Annotated[int, Field(ge=1, le=1024)] = 200
    nms: Literal["matrix", "fast"] = "matrix"
    sigma: Annotated[float, Field(gt=0, le=100)] = 2.0
    overlap: Probability = 0.5
    keep_threshold: Probability = 0.05
    min_visible: Probability = 0.3


class SoloSettings(SoloThresholds):
    """How points become instances.

    Attributes:
        min_pixels: least area of a mask on the map.
    """

    min_pixels: Annotated[int, Field(ge=1)] = 4


@dataclass(frozen=True)
class SoloLevel:
    """The maps of one level.

    Attributes:
        cate: (h, w) float32 logits.
        kernel: (5 + D, h, w) float32: weights of 1, u, v, u^2, v^2 and of the mask features.
        stride: of the level, input pixels.
    """

    cate: NDArray[np.float32]
    kernel: NDArray[np.float32]
    stride: int


@dataclass(frozen=True)
class SoloMasks:
    """Masks after suppression, best first; they may overlap.

    Attributes:
        masks: (n, h, w) bool, stride 4.
        scores: (n,) float32.
        dropped: points above the threshold that were beyond the `candidates`.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    dropped: int

    def __len__(self) -> int:
        return len(self.scores)


def solo_masks(
    levels: Sequence[SoloLevel], features: NDArray[np.float32], settings: SoloSettings | None = None
) -> SoloMasks:
    """Make masks of the points that score best.

    A point is a candidate if its category score reaches the threshold and none of its eight neighbors' is greater
    (of equals the first in raster order is kept: points NMS). Its mask is where its kernel's sum over
    ``1, u, v, u^2, v^2`` and the features is above 0, with u and v the distance from the point in units of two
    strides; its score is the category's times the mean probability of the mask's pixels.

    Args:
        levels: at least one.
        features: (D, h, w) float32, stride 4.
        settings: thresholds; the defaults where None.

    Raises:
        GroupingError: if values are not finite.
        ArgumentError: if shapes do not fit.
    """
    settings = settings or SoloSettings()
    check_levels([(level.cate.shape, level.kernel.shape, level.stride) for level in levels], features.shape)
    features = np.ascontiguousarray(features, np.float32)
    points, kernels = [], []
    bad = not np.isfinite(features).all()
    for level in levels:
        cate = np.ascontiguousarray(level.cate, np.float32)
        kernel = np.ascontiguousarray(level.kernel, np.float32)
        bad = bad or not (np.isfinite(cate).all() and np.isfinite(kernel).all())
        found = _peaks(cate, np.float32(settings.score_threshold))
        x, y = found[:, 0], found[:, 1]
        at = np.stack([x, y, np.full_like(x, level.stride)], axis=1)
        points.append(np.concatenate([at, found[:, 2:]], axis=1))
        kernels.append(kernel[:, y.astype(np.int64), x.astype(np.int64)].T)
    if bad:
        raise GroupingError("expected finite maps, got NaN or infinite values; check the network's input and weights")
    table, weights = np.concatenate(points), np.concatenate(kernels)
    best = score_order(table[:, 3])
    dropped = max(len(best) - settings.candidates, 0)
    best = best[: settings.candidates]
    table, weights = np.ascontiguousarray(table[best]), np.ascontiguousarray(weights[best])
    masks = np.zeros((len(best), *features.shape[1:]), np.bool_)
    areas, likely = _draw(table, weights, features, masks)
    scores = _score(table[:, 3], areas, likely, settings.min_pixels)
    order = score_order(scores)
    shared = overlaps_of_bits(pack_masks(masks))
    if settings.nms == "matrix":
        scores = decay_scores(shared, scores, order, True, np.float32(settings.sigma))
    else:
        scores = np.where(fast_keep(shared, order, np.float32(settings.overlap)), scores, np.float32(0.0))
    order = score_order(scores)
    order = order[(scores[order] >= np.float32(settings.keep_threshold)) & (scores[order] > 0)]
    return SoloMasks(masks[order], scores[order], dropped)


def solo_instances(found: SoloMasks, settings: SoloSettings | None = None) -> GroupedInstances:
    """Paint masks into one label image, the better over the others; all are of class 0.

    A mask of which less than `min_visible` is left under better ones is not painted.

    Args:
        found: masks (n, H, W), best first, with their scores.
        settings: of which `min_visible` counts here.

    Returns:
        Labels (H, W) int32 with 0 where nothing is; scores (n,) float32 of those that are seen.
    """
    settings = settings or SoloSettings()
    labels = np.zeros(found.masks.shape[1:], np.int32)
    _paint(found.masks, np.float32(settings.min_visible), labels)
    origin = renumber(labels.reshape(-1), np.arange(len(found) + 1, dtype=np.int32))
    scores = found.scores[origin - 1].astype(np.float32)
    return GroupedInstances(labels, np.zeros(len(origin), np.int32), scores)


def check_levels(levels: Sequence[tuple[tuple[int, ...], tuple[int, ...], int]], features: tuple[int, ...]) -> None:
    """Refuse shapes that do not fit: (cate, kernel, stride) of each level, and the features.

    Raises:
        ArgumentError: if they do not.
    """
    fit = len(levels) > 0 and len(features) == 3 and 0 not in features
    for cate, kernel, stride in levels:
        height, width = (side * MASK_STRIDE // stride for side in features[1:]) if fit and stride > 0 else (0, 0)
        fit = fit and stride > 0 and cate == (height, width) and kernel == (SHAPE_TERMS + features[0], height, width)
    if not fit:
        raise ArgumentError(
            "expected mask features (D, h, w) and levels of cate (h 4 / s, w 4 / s) and kernel (5 + D, h 4 / s, "
            f"w 4 / s) at stride s, got features {features} and levels {list(levels)}"
        )


@compiled
def _peaks(cate, threshold):  # type: ignore[no-untyped-def]
    """Rows (x, y, score) in raster order of the points that no neighbor exceeds."""
    height, width = cate.shape
    rows = np.empty((cate.size, 3), np.float32)
    count = 0
    for y in range(height):
        for x in range(width):
            logit = cate[y, x]
            score = sigmoid(logit)
            if not score >= threshold:
                continue
            peak = True
            for ny in range(max(y - 1, 0), min(y + 2, height)):
                for nx in range(max(x - 1, 0), min(x + 2, width)):
                    other = cate[ny, nx]
                    if other > logit or (other == logit and (ny < y or (ny == y and nx < x))):
                        peak = False
            if peak:
                rows[count, 0], rows[count, 1], rows[count, 2] = x, y, score
                count += 1
    return rows[:count].copy()


@compiled
def _draw(points, kernels, features, masks):  # type: ignore[no-untyped-def]
    """Fill `masks` (n, h, w); give areas (n,) and sums of their probabilities in fixed point (n,)."""
    channels, height, width = features.shape
    areas = np.zeros(points.shape[0], np.int64)
    likely = np.zeros(points.shape[0], np.int64)
    half, step = np.float32(0.5), np.float32(MASK_STRIDE)
    row = np.empty(width, np.float32)
    for i in range(points.shape[0]):
        kernel = kernels[i]
        stride = points[i, 2]
        scale = half / stride
        middle_x, middle_y = (points[i, 0] + half) * stride, (points[i, 1] + half) * stride
        for y in range(height):
            v = ((np.float32(y) + half) * step - middle_y) * scale
            base = (kernel[0] + kernel[2] * v) + kernel[4] * (v * v)
            for x in range(width):
                u = ((np.float32(x) + half) * step - middle_x) * scale
                row[x] = base + (kernel[1] * u + kernel[3] * (u * u))
            for d in range(channels):
                weight = kernel[SHAPE_TERMS + d]
                line = features[d, y]
                for x in range(width):
                    row[x] += weight * line[x]
            for x in range(width):
                if row[x] > np.float32(0.0):
                    masks[i, y, x] = True
                    areas[i] += 1
                    likely[i] += np.int64(np.rint(sigmoid(row[x]) * np.float32(FIXED)))
    return areas, likely


@compiled
def _score(category, areas, likely, least):  # type: ignore[no-untyped-def]
    """Category score times maskness; 0 for masks that are too small."""
    scores = np.zeros(category.size, np.float32)
    for i in range(category.size):
        if areas[i] >= least:
            maskness = np.float32(np.float64(likely[i]) / (np.float64(areas[i]) * FIXED))
            scores[i] = category[i] * maskness
    return scores


@compiled
def _paint(masks, visible, labels):  # type: ignore[no-untyped-def]
    """Paint mask i as label i + 1 where nothing is yet, the first ones first."""
    count, height, width = masks.shape
    for i in range(count):
        area, free = 0, 0
        for y in range(height):
            for x in range(width):
                if masks[i, y, x]:
                    area += 1
                    free += labels[y, x] == 0
        if free == 0 or not np.float32(free) >= visible * np.float32(area):
            continue
        for y in range(height):
            for x in range(width):
                if masks[i, y, x] and labels[y, x] == 0:
                    labels[y, x] = i + 1
