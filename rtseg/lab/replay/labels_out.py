"""What was found, as labels that annotation tools open: to be corrected instead of drawn, and read back for training.

The folder is whole: pictures (upright, as JPEG) and their labels. ``tusimple`` and ``culane`` hold lanes, ``coco``
objects, ``labelme`` and ``cvat`` both.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, MediaError
from rtseg.files import staging, write_bytes, write_text
from rtseg.frame import Frame
from rtseg.lab.convert import polygons, to_coco
from rtseg.lab.data.tusimple import LabelledImage, write_labels
from rtseg.printing import visible
from rtseg.results import Instances, Lanes, class_name

LabelKind = Literal["tusimple", "culane", "coco", "labelme", "cvat"]
FOLDER = "labels"
_LANES_ONLY, _OBJECTS_ONLY = ("tusimple", "culane"), ("coco",)
_QUALITY = 95
_ROWS = 72  # of a picture of TuSimple's kind, 10 px apart at 720
_FLAT = ("labelme", "culane")  # labels lie beside their pictures
LANE = "lane"


class LabelWriter:
    """Writes the labels of a run to the folder ``labels`` in `out`; they appear when they are complete.

    Args:
        out: folder of the run.
        kind: of the labels.
        classes: names of the objects.
        task: of the model, ``lanes`` or ``instances``, for a first check; empty if that is not known.

    Raises:
        ConfigError: labels of that kind cannot hold what the model finds.
        MediaError: there are labels already, which somebody may have corrected.
    """

    def __init__(self, out: Path, kind: LabelKind, classes: tuple[str, ...] = (), task: str = "") -> None:
        self.folder = out / FOLDER
        self._kind, self._classes = kind, classes
        if task:
            self._check(task == "lanes")
        if self.folder.exists():
            raise MediaError(
                f"expected no labels yet, got {self.folder}, which may have been corrected by hand; "
                "move it away or give another --out"
            )
        self._stack = ExitStack()
        self._stage = self._stack.enter_context(staging(self.folder))
        self._names: set[str] = set()
        self._lanes: list[LabelledImage] = []
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._root = ElementTree.Element("annotations")
        ElementTree.SubElement(self._root, "version").text = "1.1"

    def _check(self, lanes: bool) -> None:
        wrong = _OBJECTS_ONLY if lanes else _LANES_ONLY
        if self._kind in wrong:
            fitting = ", ".join(kind for kind in get_args(LabelKind) if kind not in wrong)
            found = "lanes" if lanes else "objects"
            raise ConfigError(f"expected --labels {fitting} for a model of {found}, got {self._kind}; choose another")

    def write(self, frame: Frame, result: Lanes | Instances) -> None:
        """Add a frame and what was found in it.

        Raises:
            ConfigError: labels of that kind cannot hold it.
            MediaError: it cannot be written.
        """
        self._check(isinstance(result, Lanes))
        name = self._name(frame)
        place = name if self._kind in _FLAT else f"images/{name}"
        write_bytes(self._stage / place, _jpeg(frame))
        write: dict[str, Callable[[str, Frame, Any], None]] = {
            "tusimple": self._tusimple,
            "culane": self._culane,
            "coco": self._coco,
            "labelme": self._labelme,
            "cvat": self._cvat,
        }
        write[self._kind](place, frame, result)

    def _name(self, frame: Frame) -> str:
        number = len(self._names)
        stem = _plain_name(Path(frame.name).stem)
        name = f"{stem}.jpg" if stem else f"frame_{number:06d}.jpg"
        if name in self._names:
            name = f"{number:06d}_{name}"
        self._names.add(name)
        return name

    def _tusimple(self, place: str, frame: Frame, lanes: Lanes) -> None:
        rows = np.unique(np.linspace(0, frame.size[0] - 1, _ROWS).round())
        x = np.nan_to_num(lanes.sample(rows).round(2), nan=-2.0)
        nothing = np.zeros((0, rows.size))
        self._lanes.append(LabelledImage(self._stage / place, place, place, x, rows, nothing))

    def _culane(self, place: str, frame: Frame, lanes: Lanes) -> None:
        lines = (" ".join(f"{x:.2f} {y:.2f}" for x, y in _thinned(line)) for line in lanes.polylines)
        write_text((self._stage / place).with_suffix(".lines.txt"), "".join(f"{line}\n" for line in lines))

    def _labelme(self, place: str, frame: Frame, result: Lanes | Instances) -> None:
        write_text((self._stage / place).with_suffix(".json"), _labelme(place, frame, result, self._classes))

    def _cvat(self, place: str, frame: Frame, result: Lanes | Instances) -> None:
        height, width = frame.size
        number = str(len(self._names) - 1)
        named = {"id": number, "name": Path(place).name, "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(self._root, "image", named)
        for label, kind, points, group in _shapes(result, self._classes):
            said = {"label": label, "source": "auto", "occluded": "0", "z_order": "0"}
            said["points"] = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
            if group is not None:
                said["group_id"] = str(group)
            ElementTree.SubElement(image, kind, said)

    def _coco(self, place: str, frame: Frame, found: Instances) -> None:
        height, width = frame.size
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": Path(place).name, "height": height, "width": width})
        for annotation in to_coco(found, number):
            del annotation["score"]  # labels have none
            if annotation["segmentation"]:
                self._annotations.append({**annotation, "id": len(self._annotations) + 1})

    def close(self) -> Path:
        """Finish the labels and give the folder its name.

        Raises:
            MediaError: they cannot be written.
        """
        with self._stack:
            if self._kind == "tusimple":
                write_labels(self._lanes, self._stage)
            elif self._kind == "cvat":
                ElementTree.indent(self._root)
                text = ElementTree.tostring(self._root, encoding="unicode")
                write_text(self._stage / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
            elif self._kind == "coco":
                kinds = [{"id": i, "name": name, "supercategory": "none"} for i, name in enumerate(self._classes, 1)]
                content = {"images": self._images, "annotations": self._annotations, "categories": kinds}
                write_text(self._stage / "instances.json", json.dumps(content))
            try:
                os.replace(self._stage, self.folder)
            except OSError as error:
                raise MediaError(f"expected to write {self.folder}, got {error.strerror}; check the folder") from error
        return self.folder

    def __enter__(self) -> LabelWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._names:
            self.close()
        else:
            self._stack.close()


def save_labelled(
    folder: Path, stem: str, frame: Frame, result: Lanes | Instances, classes: tuple[str, ...] = ()
) -> Path:
    """Write one frame and, beside it, what was found in it as labelme has it; nothing that is there is replaced.

    Args:
        folder: of such frames, which training and ``rtseg data check`` read.
        stem: of the file's name; the first number that is free follows.
        frame: the picture.
        result: what was found in it.
        classes: names of the objects.

    Returns:
        The picture.

    Raises:
        MediaError: it cannot be written.
    """
    name = _plain_name(stem) or "frame"
    places = (folder / f"{name}_{number:04d}.jpg" for number in count())
    path = next(place for place in places if not place.exists() and not place.with_suffix(".json").exists())
    write_bytes(path, _jpeg(frame))
    write_text(path.with_suffix(".json"), _labelme(path.name, frame, result, classes))
    return path


def _jpeg(frame: Frame) -> bytes:
    return cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _plain_name(stem: str) -> str:
    """Names are foreign: no more of them than letters, digits and the like goes into other tools."""
    name = "".join(c if c.isalnum() or c in "-_ ." else "_" for c in stem)
    return name if name.strip(" .") else ""


def _shapes(
    result: Lanes | Instances, classes: tuple[str, ...]
) -> list[tuple[str, str, NDArray[np.float64], int | None]]:
    """(label, kind, points, group) of what was found; parts of one object have its number as their group."""
    if isinstance(result, Lanes):
        return [(LANE, "polyline", _thinned(line), None) for line in result.polylines]
    shapes = []
    for i, class_id in enumerate(result.class_ids.tolist()):
        outlines = polygons(result.labels == i + 1)
        group = i + 1 if len(outlines) > 1 else None
        name = visible(class_name(classes, class_id))
        shapes += [(name, "polygon", outline, group) for outline in outlines]
    return shapes


def _labelme(place: str, frame: Frame, result: Lanes | Instances, classes: tuple[str, ...]) -> str:
    """A file of labelme's for the picture `place` beside it."""
    shapes = [
        {
            "label": label,
            "points": points.tolist(),
            "group_id": group,
            "description": "",
            "shape_type": "linestrip" if kind == "polyline" else kind,
            "flags": {},
        }
        for label, kind, points, group in _shapes(result, classes)
    ]
    head: dict[str, Any] = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": place, "imageData": None}
    return json.dumps({**head, "imageHeight": frame.size[0], "imageWidth": frame.size[1]}, indent=1)


def _thinned(line: NDArray[np.float32]) -> NDArray[np.float64]:
    """The points of a line that a person would set: no farther than a quarter of a pixel from it."""
    points = np.asarray(line, np.float32).reshape(-1, 1, 2)
    kept = cv2.approxPolyDP(points, 0.25, False) if len(points) > 2 else points
    return np.asarray(kept, np.float64).reshape(-1, 2).round(2)
