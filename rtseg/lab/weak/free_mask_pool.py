"""All free masks of a picture: those of several thresholds, of the whole picture and of crops at double scale.

An object is found again at other thresholds and scales, a speck of texture is not: of every mask it is counted how many
maps and thresholds have found it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.data.mask_box import mask_box
from rtseg.lab.scores.instances.boxes import paired_overlaps
from rtseg.lab.weak.free_masks import FreeMaskFeatures, FreeMaskSettings, free_masks
from rtseg.ops.mask_nms import fast_nms

_LOOKED_AT = 8  # masks that enter the suppression, for each that may be kept
View = tuple[int, int, int, int]
"""y, x, height and width of a window."""


@dataclass(frozen=True)
class MaskPool:
    """Masks of one picture, from all maps and thresholds.

    Attributes:
        size: (h, w) of the whole picture's masks.
        boxes: (n, 4) int32 y, x, and the end of y and of x.
        parts: n masks, bool, each of its box.
        found: (n,) float32, the share of maps and thresholds that have found it, above 0.
        embeddings: (n, C) float32 unit vectors.
    """

    size: tuple[int, int]
    boxes: NDArray[np.int32]
    parts: list[NDArray[np.bool_]]
    found: NDArray[np.float32]
    embeddings: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.parts)


def pool_masks(image: NDArray[np.uint8], features: FreeMaskFeatures, settings: FreeMaskSettings) -> MaskPool:
    """Find the free masks of an (H, W, 3) uint8 BGR picture, at half the size that the backbone sees."""
    size = settings.height // 2, settings.width // 2
    boxes, parts, embeddings, sources = [], [], [np.zeros((0, features.channels), np.float32)], []
    source = 0
    for view in views(size, settings.crops):
        y, x, height, width = view
        scale = image.shape[0] / size[0], image.shape[1] / size[1]
        rows = slice(round(y * scale[0]), max(round((y + height) * scale[0]), round(y * scale[0]) + 1))
        columns = slice(round(x * scale[1]), max(round((x + width) * scale[1]), round(x * scale[1]) + 1))
        for masks in free_masks(features(image[rows, columns], settings), settings, (height, width)):
            kept = []
            for i, mask in enumerate(masks.masks):
                x0, y0, x1, y1 = mask_box(mask)
                box = (y0 + y, x0 + x, y1 + y, x1 + x)
                if _is_cut(box, view, size):
                    continue
                kept.append(i)
                boxes.append(box)
                parts.append(mask[y0:y1, x0:x1].copy())
                sources.append(source)
            embeddings.append(masks.embeddings[kept])
            source += 1
    table = np.array(boxes, np.int32).reshape(-1, 4)
    found = _count_finders(table, np.array(sources, np.int64), source, settings.again)
    return MaskPool(size, table, parts, found, np.concatenate(embeddings))


def views(size: tuple[int, int], crops: int) -> list[View]:
    """The whole picture, and crops of half its sides, evenly from left to right over the middle half of its height."""
    height, width = size
    half = height // 2, width // 2
    spare = width - half[1]
    starts = [spare // 2] if crops == 1 else [round(i * spare / (crops - 1)) for i in range(crops)]
    return [(0, 0, height, width), *((height // 4, x, *half) for x in starts)]


def choose_masks(
    pool: MaskPool, scores: NDArray[np.float32], settings: FreeMaskSettings
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Choose the best masks, of those that overlap the better one; masks that score 0 are left out.

    Args:
        pool: of a picture.
        scores: (n,).
        settings: how much they may overlap, and how many.

    Returns:
        Which ones (m,), best first, and their masks (m, h, w) bool.
    """
    order = np.argsort(-scores, kind="stable")[: _LOOKED_AT * settings.most]
    order = order[scores[order] > 0]
    masks = np.zeros((len(order), *pool.size), np.bool_)
    for mask, index in zip(masks, order, strict=True):
        top, left, bottom, right = pool.boxes[index]
        mask[top:bottom, left:right] = pool.parts[index]
    kept = np.flatnonzero(fast_nms(masks, scores[order], settings.overlap))[: settings.most]
    return order[kept], masks[kept]


def _is_cut(box: tuple[int, int, int, int], view: View, size: tuple[int, int]) -> bool:
    """Whether a mask ends where its view does, but for the picture's own edges."""
    y, x, height, width = view
    return (box[0] == y > 0) or (box[1] == x > 0) or (box[2] == y + height < size[0]) or (box[3] == x + width < size[1])


def _count_finders(
    boxes: NDArray[np.int32], sources: NDArray[np.int64], count: int, again: float
) -> NDArray[np.float32]:
    """The share (n,) of sources that have a box where each is."""
    near = paired_overlaps(boxes[:, None], boxes[None]) >= again
    finders = np.zeros(len(boxes), np.float32)
    for source in range(count):
        finders += near[:, sources == source].any(1)
    return finders / np.float32(max(count, 1))
