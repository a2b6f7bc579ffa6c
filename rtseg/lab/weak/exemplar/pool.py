"""Exemplar knowledge abstraction: objects from random crops, without labels (Exemplar-FreeSOLO, section 3.3, eq 2)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.counted import counted
from rtseg.errors import WeakSupervisionError
from rtseg.lab.data.mask_box import mask_box
from rtseg.media.images import read_image, write_image
from rtseg.ops import label_components
from rtseg.settings import Settings

Refine = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
"""Gives the masks (n, h, w), best first, that the current model sees in a region, at the region's size."""

LIST = "pool.json"


class PoolSettings(Settings):
    """How exemplars are made.

    Attributes:
        count: K.
        crop: least and greatest side of a crop, as shares of the picture's height.
        side: longer side at which GrabCut works, pixels.
        rounds: of GrabCut.
        coverage: least and greatest share of a crop that its object may have.
        agreement: least intersection over union of GrabCut's mask and the model's.
        tries: crops looked at for each exemplar that is wanted.
    """

    count: Annotated[int, Field(gt=0)] = 64
    crop: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.12, 0.6)
    side: Annotated[int, Field(ge=16)] = 96
    rounds: Annotated[int, Field(gt=0)] = 3
    coverage: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.1, 0.8)
    agreement: Annotated[float, Field(ge=0, le=1)] = 0.3
    tries: Annotated[int, Field(gt=0)] = 20


def build_pool(
    pictures: Sequence[Path],
    folder: Path,
    settings: PoolSettings,
    refine: Refine | None = None,
    seed: int = 0,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Fill a folder with exemplars: ``0000.png`` ... with the mask as alpha, ``pool.json`` and ``sheet.png``.

    Of a random crop of a random picture GrabCut takes the foreground; the region is cut to its bounds; the model's mask
    that agrees best with GrabCut's is the object. Crops in which the two do not agree are left.

    Args:
        pictures: the unlabelled pictures.
        folder: where the pool goes.
        settings: how.
        refine: the current model; GrabCut's mask is kept as it is without one.
        seed: of all draws.
        advance: told how many exemplars there are, of how many.

    Returns:
        A summary: how many there are, and why crops were left.

    Raises:
        WeakSupervisionError: if there is no picture, or not one crop made an exemplar.
        ImageError: if a picture cannot be read.
    """
    if not pictures:
        raise WeakSupervisionError("expected pictures to take exemplars from, got none")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    left: Counter[str] = Counter()
    thumbnails = []
    for _ in range(settings.count * settings.tries):
        if len(rows) == settings.count:
            break
        path = pictures[int(rng.integers(len(pictures)))]
        image = np.asarray(read_image(path), np.uint8)
        y, x, height, width = _draw_crop(image.shape[0], image.shape[1], settings, rng)
        crop = image[y : y + height, x : x + width]
        coarse = coarse_object(crop, settings, int(rng.integers(2**31)))
        share = coarse.mean()
        if not share or not settings.coverage[0] <= share <= settings.coverage[1]:
            left["GrabCut found no object of fitting size"] += 1
            continue
        x0, y0, x1, y1 = mask_box(coarse)
        region, mask = crop[y0:y1, x0:x1], coarse[y0:y1, x0:x1]
        agreement = 1.0
        if refine is not None:
            mask, agreement = _best_match(refine(np.ascontiguousarray(region)), mask)
            if agreement < settings.agreement:
                left["the model saw another object or none"] += 1
                continue
        name = f"{len(rows):04d}.png"
        write_image(folder / name, np.dstack([region, mask.astype(np.uint8) * 255]))
        at = [x + x0, y + y0, x1 - x0, y1 - y0]
        rows.append({"file": name, "picture": path.name, "bbox": at, "agreement": round(float(agreement), 3)})
        thumbnails.append(_thumbnail(region, mask))
        if advance:
            advance(len(rows), settings.count)
    if not rows:
        reasons = ", ".join(f"{why} ({count})" for why, count in left.items())
        raise WeakSupervisionError(f"expected exemplars from {counted(len(pictures), 'picture')}, got none: {reasons}")
    (folder / LIST).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    columns = min(12, len(thumbnails))
    blank = np.zeros_like(thumbnails[0])
    grid = [thumbnails[i : i + columns] for i in range(0, len(thumbnails), columns)]
    write_image(folder / "sheet.png", np.vstack([np.hstack(row + [blank] * (columns - len(row))) for row in grid]))
    return {"exemplars": len(rows), "left_out": dict(left)}


def coarse_object(crop: NDArray[np.uint8], settings: PoolSettings, seed: int = 0) -> NDArray[np.bool_]:
    """The greatest component of what GrabCut takes for foreground in a crop, (h, w) bool; empty where it fails.

    A tenth of the crop along each edge is background to begin with.
    """
    height, width = crop.shape[:2]
    scale = min(settings.side / max(height, width), 1.0)
    size = max(round(width * scale), 8), max(round(height * scale), 8)
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    margin = max(size[0] // 10, 1), max(size[1] // 10, 1)
    mask = np.zeros(small.shape[:2], np.uint8)
    cv2.setRNGSeed(seed)  # GrabCut's k-means draws
    try:
        cv2.grabCut(
            small,
            mask,
            (margin[0], margin[1], size[0] - 2 * margin[0], size[1] - 2 * margin[1]),
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            settings.rounds,
            cv2.GC_INIT_WITH_RECT,
        )
    except cv2.error:  # a crop of one color has no two models
        return np.zeros((height, width), np.bool_)
    components, count = label_components((mask & 1).astype(np.uint8), 4)
    if not count:
        return np.zeros((height, width), np.bool_)
    greatest = 1 + int(np.bincount(components.ravel())[1:].argmax())
    found = (components == greatest).astype(np.uint8)
    return cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.bool_)


def _draw_crop(height: int, width: int, settings: PoolSettings, rng: np.random.Generator) -> tuple[int, int, int, int]:
    side = np.exp(rng.uniform(*np.log(settings.crop))) * height
    aspect = np.exp(rng.uniform(-0.7, 0.7))
    tall, wide = (
        int(np.clip(side * factor, 16, limit)) for factor, limit in ((aspect**-0.5, height), (aspect**0.5, width))
    )
    return int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1)), tall, wide


def _best_match(masks: NDArray[np.bool_], coarse: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], float]:
    """The mask that overlaps most with the coarse one, and by how much."""
    best, agreement = coarse, 0.0
    for mask in masks:
        overlap = (mask & coarse).sum() / max((mask | coarse).sum(), 1)
        if overlap > agreement:
            best, agreement = mask, float(overlap)
    return best, agreement


def _thumbnail(region: NDArray[np.uint8], mask: NDArray[np.bool_], side: int = 96) -> NDArray[np.uint8]:
    """Square picture of an exemplar: what is not the object is dark."""
    shown = np.where(mask[..., None], region, region // 4).astype(np.uint8)
    scale = side / max(shown.shape[:2])
    size = max(round(shown.shape[1] * scale), 1), max(round(shown.shape[0] * scale), 1)
    cell = np.zeros((side, side, 3), np.uint8)
    cell[: size[1], : size[0]] = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    return cell
