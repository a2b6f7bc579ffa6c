"""Boxes around groups of objects, for a second look at a larger scale (GMIS, sections 4.1 and 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import GroupingError
from rtseg.grouping.graph_merge import GraphMergeSettings, graph_merge, partition
from rtseg.grouping.grouped import GroupedInstances, renumber

HeadMaps = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class RegionOfInterest:
    """A box (x0, y0, x1, y1) in pixels, exclusive at the end, and by how much to enlarge it."""

    box: tuple[int, int, int, int]
    scale: float


def regions_of_interest(
    mask: NDArray[np.bool_], cell: int = 32, grow: int = 16, height: int = 513, max_scale: float = 4.0
) -> tuple[RegionOfInterest, ...]:
    """Find boxes around connected areas of foreground.

    A cell with any foreground counts as foreground whole; connected areas of cells are grown, and boxed tightly.

    Args:
        mask: (H, W) bool, foreground.
        cell: side of the cells ("super-pixels") in pixels.
        grow: pixels added on every side.
        height: lower boxes are enlarged to this height, wherefore the network was trained at it,
        max_scale: but by less than this factor.

    Returns:
        Regions in raster order of their areas.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or mask.size == 0:
        raise GroupingError(f"expected a mask (H, W) of bool, got {mask.dtype} {mask.shape}")
    if cell < 1 or grow < 0 or height < 1 or not max_scale >= 1.0:
        raise GroupingError(f"expected a cell of 1 or more, got {cell}, {grow}, {height}, {max_scale}")
    settings = GraphMergeSettings(super_classes=((1,),), cell=cell)
    semantic = np.stack([~mask, mask]).astype(np.float32)
    areas, _ = partition(semantic, settings)
    found = []
    for area in range(1, int(areas.max(initial=0)) + 1):
        ys, xs = np.nonzero(areas == area)
        y0, y1 = ys.min() // cell * cell, (ys.max() // cell + 1) * cell
        x0, x1 = xs.min() // cell * cell, (xs.max() // cell + 1) * cell
        box = (max(0, x0 - grow), max(0, y0 - grow), min(mask.shape[1], x1 + grow), min(mask.shape[0], y1 + grow))
        scale = min(max(1.0, height / (box[3] - box[1])), np.nextafter(max_scale, 1.0))
        found.append(RegionOfInterest((int(box[0]), int(box[1]), int(box[2]), int(box[3])), float(scale)))
    return tuple(found)


def graph_merge_regions(
    predict: Callable[[NDArray[np.uint8]], HeadMaps],
    image: NDArray[np.uint8],
    semantic: NDArray[np.float32],
    settings: GraphMergeSettings,
    grow: int = 16,
    height: int = 513,
    max_scale: float = 4.0,
) -> GroupedInstances:
    """Run the network again on every region of interest, enlarged (RR), and merge there.

    Args:
        predict: image (h, w, 3) uint8 BGR to affinities (56, h, w) and class probabilities (C, h, w) of the same size.
        image: (H, W, 3) uint8 BGR.
        semantic: (C, H, W) class probabilities of the whole image, from which the regions are found.
        settings: of `graph_merge`; with `partition`, each super-class has its own regions and sees only itself.
        grow: see `regions_of_interest`.
        height: see `regions_of_interest`.
        max_scale: see `regions_of_interest`.

    Returns:
        Instances in the image's pixels. Where regions overlap, the more confident instance keeps the pixel.
    """
    if semantic.shape[1:] != image.shape[:2]:
        raise GroupingError(f"expected semantics of the image's size {image.shape[:2]}, got {semantic.shape[1:]}")
    alone = [replace(settings, super_classes=(group,)) for group in settings.super_classes]
    passes = alone if settings.partition else [settings]
    _, groups = partition(np.ascontiguousarray(semantic, dtype=np.float32), settings)
    labels = np.zeros(image.shape[:2], dtype=np.int32)
    best = np.zeros(image.shape[:2], dtype=np.float32)
    classes: list[int] = []
    scores: list[float] = []
    for i, each in enumerate(passes):
        for region in regions_of_interest(
            groups == i + 1 if settings.partition else groups > 0, settings.cell, grow, height, max_scale
        ):
            x0, y0, x1, y1 = region.box
            crop = image[y0:y1, x0:x1]
            size = (round((x1 - x0) * region.scale), round((y1 - y0) * region.scale))
            affinity, probabilities = predict(
                np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
            )
            found = graph_merge(affinity, probabilities, each)
            small = cv2.resize(found.labels.astype(np.float32), crop.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            local = small.astype(np.int32)
            confidence = np.concatenate([[0.0], found.scores]).astype(np.float32)[local]
            better = (local > 0) & (confidence > best[y0:y1, x0:x1])
            labels[y0:y1, x0:x1][better] = local[better] + len(classes)
            best[y0:y1, x0:x1][better] = confidence[better]
            classes += found.class_ids.tolist()
            scores += found.scores.tolist()
    origin = renumber(labels.reshape(-1), np.arange(len(classes) + 1, dtype=np.int32)) - 1
    return GroupedInstances(
        labels, np.array(classes, dtype=np.int32)[origin], np.array(scores, dtype=np.float32)[origin]
    )
