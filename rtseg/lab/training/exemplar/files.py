"""Masks without classes on disk: a JSON file a picture, with COCO's run lengths, and sheets to look at them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import WeakSupervisionError
from rtseg.files import write_text
from rtseg.lab.data.coco import decode_segmentation, encode_mask
from rtseg.lab.data.mask_box import mask_box
from rtseg.media.images import read_image, write_image


@dataclass(frozen=True)
class PictureMasks:
    """Masks of one picture, best first.

    Attributes:
        picture: path of the picture.
        size: (height, width) of the masks, which may be smaller than the picture.
        masks: (n, h, w) bool.
        scores: (n,) float32 in [0, 1].
        embeddings: (n, C) float32 of what each mask shows, Q of the paper; C is 0 where they are not known.
    """

    picture: Path
    size: tuple[int, int]
    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    embeddings: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


def write_masks(path: Path, found: PictureMasks) -> None:
    """Write one picture's masks, at once or not at all; the picture's path is kept relative to the file."""
    annotations = []
    for mask, score, embedding in zip(found.masks, found.scores, found.embeddings, strict=True):
        x0, y0, x1, y1 = mask_box(mask)
        annotations.append(
            {
                "segmentation": {"size": list(found.size), "counts": encode_mask(mask)},
                "area": int(mask.sum()),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": float(f"{score:.4g}"),
                "category_id": 1,
                "embedding": [round(float(value), 4) for value in embedding],
            }
        )
    content = {
        "picture": os.path.relpath(found.picture, path.parent),
        "height": found.size[0],
        "width": found.size[1],
        "annotations": annotations,
    }
    write_text(path, json.dumps(content))


def read_masks(path: Path) -> PictureMasks:
    """Read what `write_masks` wrote.

    Raises:
        WeakSupervisionError: if it is no such file.
        DatasetError: if its masks do not fill the picture.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        size = int(content["height"]), int(content["width"])
        rows = content["annotations"]
        masks = [decode_segmentation(row["segmentation"], size, path.name) for row in rows]
        scores = np.array([row["score"] for row in rows], np.float32)
        embeddings = np.array([row["embedding"] for row in rows], np.float32).reshape(len(rows), -1 if rows else 0)
        picture = Path(os.path.realpath(path.parent / content["picture"]))  # which minds no circle of links
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeakSupervisionError(
            f"expected a picture's masks as JSON at {path}: {error!r}; make them again"
        ) from None
    stacked = np.stack(masks) if masks else np.zeros((0, *size), np.bool_)
    return PictureMasks(picture, size, stacked, scores, embeddings)


def coco_results(found: PictureMasks, image_id: int, size: tuple[int, int], most: int = 100) -> list[dict[str, Any]]:
    """The best masks of a picture in COCO's results format, enlarged to `size` (height, width) of the annotations."""
    rows = []
    for mask, score in list(zip(found.masks, found.scores, strict=True))[:most]:
        large = cv2.resize(mask.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.bool_)
        segmentation = {"size": list(size), "counts": encode_mask(large)}
        rows.append({"image_id": image_id, "category_id": 1, "score": float(score), "segmentation": segmentation})
    return rows


def mask_sheet(files: Sequence[Path], path: Path, columns: int = 3, width: int = 480, most: int = 20) -> None:
    """Draw the best masks of some pictures over them, one cell a picture.

    Args:
        files: of `write_masks`.
        path: PNG to write.
        columns: cells in a row.
        width: of a cell, pixels.
        most: masks drawn of a picture.
    """
    cells = []
    for file in files:
        found = read_masks(file)
        height = width * found.size[0] // found.size[1]
        cell = np.asarray(
            cv2.resize(read_image(found.picture), (width, height), interpolation=cv2.INTER_AREA), np.uint8
        )
        for i, mask in enumerate(found.masks[:most][::-1]):
            hue = np.array([[[(i * 67) % 180, 220, 255]]], np.uint8)
            color = cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0]
            small = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(np.bool_)
            cell[small] = (cell[small] * 0.45 + color * 0.55).astype(np.uint8)
        cells.append(cell)
    if cells:
        write_image(path, _grid(cells, columns))


def _grid(cells: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    height, width = max(len(cell) for cell in cells), max(cell.shape[1] for cell in cells)
    rows = -(-len(cells) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for i, cell in enumerate(cells):
        y, x = i // columns * height, i % columns * width
        sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet
