"""A contact sheet of rendered streets with their instances, for looking at them beside real frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.sheet import lay_out
from rtseg.lab.render.street.street import RenderedStreet, render_street


def draw_truth(street: RenderedStreet) -> NDArray[np.uint8]:
    """Color every instance over a copy of the picture, with white outlines; what is ignored becomes magenta."""
    colors = np.random.default_rng(5).integers(50, 256, (len(street.ids) + 1, 3)).astype(np.uint8)
    drawn = street.image.copy()
    inside = street.instances > 0
    drawn[inside] = drawn[inside] // 3 + colors[street.instances[inside]] // 3 * 2
    drawn[street.instances < 0] = (255, 0, 255)
    labels = street.instances.astype(np.float32)
    edge = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    drawn[edge & inside] = 255
    return drawn


def street_sheet(
    seeds: Sequence[int], columns: int = 4, size: tuple[int, int] = (320, 640), tile: int = 400
) -> NDArray[np.uint8]:
    """Render the streets of `seeds`, each picture above its instances.

    Args:
        seeds: one picture each.
        columns: pictures in a row.
        size: (height, width) at which they are rendered.
        tile: width in pixels of each picture on the sheet.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    streets = (render_street(seed, size) for seed in seeds)
    return lay_out((np.vstack([street.image, draw_truth(street)]) for street in streets), columns, tile)


def write_street_sheet(path: str | Path, first_seed: int = 0, count: int = 12) -> None:
    """Write the sheet of `count` seeds from `first_seed` on as a PNG or JPEG file."""
    sheet = street_sheet(range(first_seed, first_seed + count))
    cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])
