"""Labels drawn by hand in labelme (a JSON file beside each picture) or CVAT (``annotations.xml``, images 1.1)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError
from rtseg.files import is_there
from rtseg.lab.data.label_files import FARTHEST, Refused, parse_json, picture_at, read_text, stop, with_any_suffix

LINES = ("line", "linestrip", "polyline")
CVAT = "annotations.xml"
_KINDS = (*LINES, "polygon", "rectangle", "box")


@dataclass(frozen=True)
class DrawnShape:
    """One shape.

    Attributes:
        label: its class.
        kind: ``line``, ``linestrip`` or ``polyline``; ``polygon``; or ``rectangle`` or ``box``, given as its corners.
        points: (k, 2) float64 of (x, y) in pixels.
        group: shapes of one number are parts of one object; None for an object of its own.
    """

    label: str
    kind: str
    points: NDArray[np.float64]
    group: int | None = None


@dataclass(frozen=True)
class DrawnPicture:
    """A picture and what was drawn in it.

    Attributes:
        image: path of the picture.
        name: as the label file has it.
        size: (height, width) as the label file has it.
        shapes: in the file's order.
        file: the label file.
    """

    image: Path
    name: str
    size: tuple[int, int]
    shapes: tuple[DrawnShape, ...]
    file: Path

    def lines(self) -> tuple[NDArray[np.float32], ...]:
        """Polylines (k, 2) float32 of (x, y) from top to bottom.

        Raises:
            DatasetError: a shape is no line.
        """
        lines = []
        for i, shape in enumerate(self.shapes):
            if shape.kind not in LINES:
                raise DatasetError(
                    f"{self.file}, shape {i + 1} ({shape.label!r:.40}): expected lanes drawn as lines (linestrip in "
                    f"labelme, polyline in CVAT), got a {shape.kind}; draw it as a line, or give these labels to a "
                    "model of instances"
                )
            if len(shape.points) >= 2:
                lines.append(shape.points[np.argsort(shape.points[:, 1], kind="stable")].astype(np.float32))
        return tuple(lines)


def is_drawn(folder: Path) -> bool:
    """Whether a folder holds labels of labelme or CVAT (and no file of another kind comes first)."""
    if (folder / CVAT).is_file():
        return True
    return any(_is_labelme(file) for file in sorted(folder.glob("*.json"))[:3])


def _is_labelme(file: Path) -> bool:
    if not is_there(file):
        return False
    try:
        with file.open("rb") as stream:
            start = stream.read(1 << 16)
            stream.seek(max(0, file.stat().st_size - 4096))
            return b'"shapes"' in start or (b'"imagePath"' in start + stream.read() and b'"raw_file"' not in start)
    except OSError:
        return False


def read_drawn(folder: Path, images: Path | None = None, refused: Refused = stop) -> list[DrawnPicture]:
    """Read the labels of a folder; pictures are not opened.

    Args:
        folder: with ``annotations.xml`` of CVAT, or with a JSON file of labelme for each picture.
        images: folder of the pictures where that is another.
        refused: is told of labels that cannot be read; by default the first ends it.

    Raises:
        DatasetError: labels do not parse; the message names file and shape.
    """
    if (folder / CVAT).is_file():
        pictures = list(_read_cvat(folder / CVAT, images, refused))
    else:
        pictures = []
        for file in sorted(folder.glob("*.json")):
            try:
                pictures.append(_read_labelme(file, images))
            except DatasetError as error:
                refused(error)
    if not pictures:
        raise DatasetError(f"expected labels of labelme (*.json) or CVAT ({CVAT}) in {folder}, found none")
    return pictures


def _read_labelme(file: Path, images: Path | None) -> DrawnPicture:
    content = parse_json(read_text(file, "labels of labelme"), str(file))
    rows = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not isinstance(content.get("imagePath"), str):
        raise DatasetError(
            f"{file}: expected labels of labelme, with shapes and imagePath, as beside it; move the file elsewhere"
        )
    shapes = []
    for i, row in enumerate(rows):
        where = f"{file}, shape {i + 1}"
        if not isinstance(row, dict):
            raise DatasetError(f"{where}: expected an object with label and points, got {type(row).__name__}")
        kind = str(row.get("shape_type", "polygon"))
        group = row.get("group_id")
        shapes.append(_shape(str(row.get("label")), kind, row.get("points"), group, where))
    size = _size(content.get("imageHeight"), content.get("imageWidth"), str(file))
    named = content["imagePath"].replace("\\", "/")
    beside = with_any_suffix(file.with_suffix(".jpg"))
    # labelme writes the path from where the file was saved first; what lies beside it under its name is its picture.
    image = beside if is_there(beside) else with_any_suffix(picture_at(file.parent, named, str(file), images))
    return DrawnPicture(image, image.name, size, tuple(shapes), file)


def _read_cvat(file: Path, images: Path | None, refused: Refused) -> Iterator[DrawnPicture]:
    text = read_text(file, "annotations of CVAT")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DatasetError(f"{file}: expected annotations of CVAT for images 1.1, got XML with a document type")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{file}: expected XML of CVAT for images 1.1, got text that does not parse: {error}"
        ) from None
    if root.find("track") is not None:
        raise DatasetError(
            f"{file}: expected annotations of CVAT for images 1.1, got CVAT for video; export it for images"
        )
    for row in root.iter("image"):
        try:
            yield _cvat_picture(row, file, images)
        except DatasetError as error:
            refused(error)


def _cvat_picture(row: ElementTree.Element, file: Path, images: Path | None) -> DrawnPicture:
    name = row.get("name", "")
    where = f"{file}, {name!r:.200}"
    shapes = []
    for i, part in enumerate(row):
        told = f"{where}, shape {i + 1}"
        if part.tag == "box":
            sides = [part.get(side) for side in ("xtl", "ytl", "xbr", "ybr")]
            points: Any = [sides[:2], sides[2:]]
        elif part.tag in ("polyline", "polygon"):
            points = [pair.split(",") for pair in part.get("points", "").split(";") if pair]
        elif part.tag == "tag":  # of the whole picture
            continue
        else:
            points = []
        group = part.get("group_id")
        shapes.append(_shape(part.get("label", ""), part.tag, points, group, told))
    folder = file.parent / "images" if (file.parent / "images").is_dir() else file.parent
    size = _size(row.get("height"), row.get("width"), where)
    return DrawnPicture(picture_at(folder, name, where, images), name, size, tuple(shapes), file)


def _shape(label: str, kind: str, points: Any, group: Any, where: str) -> DrawnShape:
    if kind not in _KINDS:
        raise DatasetError(
            f"{where} ({label!r:.40}): expected a line, polygon or rectangle, got a {kind!r:.40}; draw one of these"
        )
    try:
        found = np.asarray(points, np.float64)
        number = None if group in (None, "", "0") else int(group)
    except (TypeError, ValueError, OverflowError):
        found, number = np.zeros(0), None
    if found.ndim != 2 or found.shape[1] != 2 or not (np.abs(found) <= FARTHEST).all():
        raise DatasetError(f"{where} ({label!r:.40}): expected points [x, y] in pixels, got {points!r:.60}")
    if kind in ("rectangle", "box") and len(found) >= 2:
        (x0, y0), (x1, y1) = found[:2]
        found = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return DrawnShape(label, kind, found, number)


def _size(height: Any, width: Any, where: str) -> tuple[int, int]:
    try:
        size = int(height), int(width)
    except (TypeError, ValueError, OverflowError):
        size = 0, 0
    if min(size) < 2 or max(size) > 1 << 16:
        raise DatasetError(f"{where}: expected the picture's height and width, got {height!r:.30} and {width!r:.30}")
    return size
