"""Labelled pictures of lanes, whichever of the known kinds they are of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from rtseg.counted import counted
from rtseg.errors import DatasetError, ImageError
from rtseg.files import is_there
from rtseg.lab.data.culane import CulaneImage, is_culane, read_culane
from rtseg.lab.data.drawn import is_drawn, read_drawn
from rtseg.lab.data.label_files import Refused, check_images, stop
from rtseg.lab.data.selection import evenly
from rtseg.lab.data.tusimple import LabelledImage, read_labels
from rtseg.media.images import image_size

logger = logging.getLogger("rtseg")

_LOOKED_AT = 50  # pictures whose size is compared with their labels


def read_lane_labels(
    path: str | Path, part: Literal["train", "test"] = "test", images: Path | None = None, refused: Refused = stop
) -> list[LabelledImage | CulaneImage]:
    """Read labels of CULane's kind, drawn in labelme or CVAT, or label lines of TuSimple's kind (``*.json``).

    Labels that do not fit the size of their pictures are warned of.

    Args:
        path: a folder, or a file of CULane's or TuSimple's.
        part: of a whole TuSimple folder, see :func:`rtseg.lab.data.tusimple.read_labels`.
        images: folder of the pictures, where they lie outside of the labels' own.
        refused: is told of labels that cannot be read; by default the first ends it.

    Raises:
        DatasetError: the labels are missing or do not parse.
    """
    path = Path(path)
    check_images(images)
    labels: list[LabelledImage | CulaneImage]
    if is_culane(path):
        labels = [*read_culane(path, refused)]
    elif path.is_dir() and is_drawn(path):
        labels = []
        for picture in read_drawn(path, images, refused):
            try:
                labels.append(CulaneImage(picture.image, picture.name, "", picture.lines()))
            except DatasetError as error:
                refused(error)
    else:
        labels = [*read_labels(path, part, images, refused)]
    if doubt := misfit(labels):
        logger.warning("%s: %s", path, doubt)
    return labels


def misfit(labels: Sequence[LabelledImage | CulaneImage]) -> str:
    """Why labels look as if drawn in pictures of another size, or hold no lane; empty where they fit, or no picture can
    be read."""
    outside, lowest, unit = [], [], []
    if labels and not any(label.polylines() for label in labels):
        return f"none of {counted(len(labels), 'picture')} has a lane, from which nothing but that is learned"
    for label in evenly([label for label in labels if label.polylines()], _LOOKED_AT):
        try:
            height, width = image_size(label.image)
        except ImageError:
            continue
        points = np.concatenate(label.polylines())
        size = np.array([width, height])
        outside.append(float(np.mean((points > 1.1 * size).any(axis=1) | (points < -0.1 * size).any(axis=1))))
        lowest.append(float(points[:, 1].max()) / height)
        unit.append(bool((np.abs(points) <= 2.0).all()))
    if not outside:
        return ""
    if all(unit):
        return "the labels are in parts of the picture, not in pixels; multiply x by its width and y by its height"
    if np.mean(outside) > 0.25:
        return "many labels lie outside of their pictures, which were made smaller or cut; scale the labels alike"
    if max(lowest) < 0.6:
        return "no label reaches the lower part of its picture, which may have been made larger; scale the labels alike"
    return ""


def check_pictures(labels: Sequence[LabelledImage | CulaneImage]) -> None:
    """Make sure that every labelled picture is there, before anything that takes long.

    Raises:
        DatasetError: one is not.
    """
    for label in labels:
        if not is_there(label.image):
            raise DatasetError(
                f"expected the labelled picture {label.name} at {label.image}, which is not there; "
                "copy it there, or name the pictures' folder with --images"
            )
