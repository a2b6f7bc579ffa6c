"""Cityscapes frames stretched to squares, with polygons in text files, as YOLO exporters write them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError
from rtseg.lab.data.cityscapes import LABEL_IDS, THINGS, read_picture, truth_from_ids
from rtseg.lab.data.instance_labels import InstanceFrame, InstanceTruth
from rtseg.lab.data.label_files import Refused, stop

ORIGINAL = (1024, 2048)  # size at which the polygons were drawn
UNSTRETCHED = (640, 1280)


@dataclass(frozen=True)
class PolygonFrame(InstanceFrame):
    """A stretched square picture and its polygons, given back in the camera's proportions.

    Attributes:
        path: the picture.
        labels: text file, a polygon a line: index into `names`, then x y pairs as parts of the sides.
        names: of the label set, as in ``classes.json``.
        name: ``<city>_<sequence>_<frame>``.
        place: the city.
        size: (height, width) of `image()` and `truth()`.
    """

    path: Path
    labels: Path
    names: tuple[str, ...]
    name: str
    place: str
    size: tuple[int, int] = UNSTRETCHED
    classes: tuple[str, ...] = THINGS

    def image(self) -> NDArray[np.uint8]:
        height, width = self.size
        return np.asarray(
            cv2.resize(read_picture(self.path), (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
        )

    def instance_ids(self) -> NDArray[np.int32]:
        """(H, W) int32 in the encoding of Cityscapes' instanceIds, for its own scoring scripts."""
        return self._paint().astype(np.int32)

    def truth(self) -> InstanceTruth:
        return truth_from_ids(self._paint())

    def _paint(self) -> NDArray[np.uint16]:
        polygons = read_polygons(self.labels)
        try:
            return paint_polygons(polygons, self.names, self.size)
        except DatasetError as error:
            raise DatasetError(f"{self.labels}: {error}") from error


def read_cityscapes640(
    folder: Path | str, size: tuple[int, int] = UNSTRETCHED, refused: Refused = stop
) -> list[PolygonFrame]:
    """List the frames of a folder with ``images``, ``labels`` and ``classes.json``, in the order of their names.

    Args:
        folder: the export.
        size: (height, width) to un-stretch to.
        refused: is told of labels that cannot be read; by default the first ends it.

    Raises:
        DatasetError: if there is no frame, a picture or its labels are missing, or the class list has a name that
            Cityscapes has not.
    """
    folder = Path(folder)
    names = _read_names(folder / "classes.json")
    frames = []
    for picture in sorted((folder / "images").glob("*.jpg")):
        labels = folder / "labels" / f"{picture.stem}.txt"
        if not labels.is_file():
            refused(DatasetError(f"expected the labels of {picture} at {labels}, which is not there"))
            continue
        frames.append(PolygonFrame(picture, labels, names, picture.stem, picture.stem.partition("_")[0], size))
    if not frames:
        raise DatasetError(f"expected JPEG files in {folder / 'images'}, found none")
    return frames


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(str(name) for name in json.loads(path.read_text(encoding="utf-8"))["names"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f'expected a JSON object with a list "names" in {path}: {error!r}') from error
    for name in names:
        _label_id(name)
    return names


def _label_id(name: str) -> tuple[int, bool]:
    """Label id of Cityscapes, and whether each polygon of it is one instance."""
    group = name not in LABEL_IDS and name.endswith("group")
    base = name.removesuffix("group") if group else name
    if base not in LABEL_IDS:
        raise DatasetError(f"expected a class name of Cityscapes, got {name!r}")
    return LABEL_IDS[base], not group and base in (*THINGS, "caravan", "trailer")


def read_polygons(path: Path) -> list[tuple[int, NDArray[np.float64]]]:
    """Read a label file: (class index, (k, 2) float64 x, y as parts of the sides) a line, empty lines left out.

    Raises:
        DatasetError: if the file cannot be read or a line is no index with pairs of finite numbers; it names the line.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"expected a text file of polygons at {path}: {error}") from error
    polygons = []
    for number, line in enumerate(text.splitlines(), 1):
        index, _, rest = line.strip().partition(" ")
        if not index:
            continue
        try:
            points = np.array(rest.split(), np.float64).reshape(-1, 2)
            polygons.append((int(index), points))
        except ValueError as error:
            raise DatasetError(f"{path} line {number}: expected a class index and x y pairs: {error}") from error
        # The sum of finite coordinates is finite, and one sum is quicker than asking each.
        if not math.isfinite(points.sum()):
            raise DatasetError(f"{path} line {number}: expected finite coordinates")
    return polygons


def paint_polygons(
    polygons: list[tuple[int, NDArray[np.float64]]], names: tuple[str, ...], size: tuple[int, int]
) -> NDArray[np.uint16]:
    """Paint polygons in their order, the later over the earlier, as Cityscapes makes its instanceIds.

    They are painted at the size they were drawn at and sampled to `size`, since painting a polygon adds its outline:
    half a pixel there, but three times that on a small canvas. What lies outside the picture is clipped; fewer than
    three points paint a line or a dot, as thin as they are.

    Args:
        polygons: from `read_polygons`.
        names: of the label set.
        size: (height, width) of the result.

    Returns:
        (H, W) uint16.

    Raises:
        DatasetError: if a class index is outside `names`.
    """
    height, width = ORIGINAL
    canvas = np.zeros(ORIGINAL, np.uint16)
    scale = np.array([width, height])
    counts = dict.fromkeys(LABEL_IDS.values(), 0)
    for index, points in polygons:
        if not 0 <= index < len(names):
            raise DatasetError(f"expected class indices of 0..{len(names) - 1}, got {index}")
        label, single = _label_id(names[index])
        if label < 0 or not len(points):
            continue
        value = label
        if single:
            value = 1000 * label + min(counts[label], 999)
            counts[label] += 1
        # Far outside is as good as outside, and keeps the numbers within what the painter can add.
        cv2.fillPoly(canvas, [np.rint(points.clip(-4.0, 5.0) * scale).astype(np.int32)], value)
    if size == ORIGINAL:
        return canvas
    return np.asarray(cv2.resize(canvas, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT), np.uint16)
