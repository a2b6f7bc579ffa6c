"""A contact sheet of rendered roads, for looking at them beside real frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render import RenderedRoad, render_road

COLORS = ((60, 60, 255), (80, 220, 80), (255, 140, 40), (40, 220, 255), (240, 80, 240), (230, 230, 60))


def contact_sheet(
    seeds: Sequence[int], columns: int = 4, size: tuple[int, int] = (360, 640), tile: int = 400, truth: bool = False
) -> NDArray[np.uint8]:
    """Render the roads of `seeds` side by side.

    Args:
        seeds: one picture each.
        columns: pictures in a row.
        size: (height, width) at which they are rendered.
        tile: width in pixels of each picture on the sheet.
        truth: draw the lane polylines over them.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    roads = (render_road(seed, size) for seed in seeds)
    return lay_out((_with_lanes(road) if truth else road.image for road in roads), columns, tile)


def lay_out(pictures: Iterable[NDArray[np.uint8]], columns: int, tile: int) -> NDArray[np.uint8]:
    """Put pictures of one size, shrunk to `tile` pixels of width, in rows; what is left of the last row is black."""
    tiles = []
    for picture in pictures:
        height = round(picture.shape[0] * tile / picture.shape[1])
        tiles.append(np.asarray(cv2.resize(picture, (tile, height), interpolation=cv2.INTER_AREA), np.uint8))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def _with_lanes(road: RenderedRoad) -> NDArray[np.uint8]:
    image = road.image.copy()
    for line, number in zip(road.lanes, road.ids, strict=True):
        points = np.rint(line * 8).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(image, [points], False, COLORS[(number - 1) % len(COLORS)], 2, cv2.LINE_AA, 3)
    return image


def write_contact_sheet(path: str | Path, first_seed: int = 0, count: int = 24, truth: bool = False) -> None:
    """Write the sheet of `count` seeds from `first_seed` on as a PNG or JPEG file."""
    sheet = contact_sheet(range(first_seed, first_seed + count), truth=truth)
    cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])
