"""YOLO's polygons: ``NAME.txt`` for each picture, a class and x y pairs as parts of the sides a line, and a YAML file
with the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from rtseg.errors import DatasetError, ImageError
from rtseg.files import is_there
from rtseg.lab.data.cityscapes640 import read_polygons
from rtseg.lab.data.coco import CocoFrame, CocoMask
from rtseg.lab.data.label_files import Refused, read_text, stop, with_any_suffix
from rtseg.media.images import image_size
from rtseg.yaml_text import parse_yaml

_BOX = 2  # pairs of a line that has center, width and height
_LABELS, _IMAGES = "labels", "images"


def is_yolo(folder: Path) -> bool:
    """Whether a folder holds labels of YOLO's kind: a YAML file with names, and ``labels`` somewhere below."""
    return _names_file(folder) is not None and bool(_label_files(folder))


def read_yolo(folder: Path, classes: Sequence[str] | None = None, refused: Refused = stop) -> list[CocoFrame]:
    """List the labelled pictures of a folder, in the order of their names; of pictures only the size is read.

    Args:
        folder: with ``data.yaml`` and ``labels/`` (or ``train/labels/``), each with ``images/`` beside it.
        classes: names of the things to read; all of the YAML file if None.
        refused: is told of labels that cannot be read; by default the first ends it.

    Raises:
        DatasetError: names or labels do not parse, labels are boxes, or a picture is missing; it names file and line.
    """
    file = _names_file(folder)
    assert file is not None
    names = _names(file)
    things = tuple(names) if classes is None else tuple(classes)
    frames = []
    for labels in _label_files(folder):
        try:
            frames.append(_frame(labels, folder, names, things))
        except (DatasetError, ImageError) as error:
            refused(error if isinstance(error, DatasetError) else DatasetError(f"{labels}: {error}"))
    return frames


def _frame(file: Path, folder: Path, names: list[str], things: tuple[str, ...]) -> CocoFrame:
    parts = list(file.relative_to(folder).parts)
    parts[len(parts) - 1 - parts[::-1].index(_LABELS)] = _IMAGES
    image = with_any_suffix(folder.joinpath(*parts).with_suffix(".jpg"))
    if not is_there(image):
        raise DatasetError(f"{file}: expected its picture at {image} (or .png), which is not there")
    height, width = image_size(image)
    masks = []
    for number, (index, points) in enumerate(read_polygons(file), 1):
        if not 0 <= index < len(names):
            raise DatasetError(f"{file}, object {number}: expected class indices of 0..{len(names) - 1}, got {index}")
        if len(points) <= _BOX:
            raise DatasetError(
                f"{file}, object {number}: expected a polygon of three points or more, got a box; boxes alone are no "
                "masks: export polygons (YOLO segmentation)"
            )
        if names[index] in things:
            outline = (points * (width, height)).ravel().tolist()
            masks.append(CocoMask([outline], things.index(names[index]), False))
    return CocoFrame(image, image.name, (height, width), tuple(masks), things)


def _label_files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("**/*.txt"))
    return [file for file in found if _LABELS in file.relative_to(folder).parts[:-1]]


def _names_file(folder: Path) -> Path | None:
    for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        try:
            if "names" in (parse_yaml(read_text(file, "names of classes")) or {}):
                return file
        except (DatasetError, yaml.YAMLError, TypeError):
            continue
    return None


def _names(file: Path) -> list[str]:
    names = parse_yaml(read_text(file, "names of classes"))["names"]
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{file}: expected names as a list, or by numbers from 0 on, got {names!r:.80}")
    return [str(name) for name in names]
