"""TuSimple lane labels: JSON lines with ``raw_file``, ``h_samples`` and ``lanes``, beside the pictures they name."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError
from rtseg.files import write_text
from rtseg.lab.data.label_files import FARTHEST, Refused, parse_json, picture_at, read_text, stop

logger = logging.getLogger("rtseg")

LABELS = "labels.json"
"""The file that :func:`write_labels` writes."""

PAINT, UNKNOWN_PAINT = 1, 255
"""Classes of a `mask`: lane lines, and pixels of which nothing is known; all others (arrows, road) are no lines."""


@dataclass(frozen=True)
class LabelledImage:
    """One line of a TuSimple label file.

    Attributes:
        image: path of the picture.
        name: ``raw_file`` as written.
        clip: the clip it was taken from, where a copy's ``tusimple_raw_file`` says so; else `name`.
        lanes: (n, m) float64 x in pixels, -2 where absent.
        h_samples: (m,) float64 rows in pixels.
        ignored: (k, m) as `lanes`: lines of which it is not known whether they are lanes. TuSimple has none.
        group: the drive, town or road that the picture is of, where the labels say so; empty elsewhere.
        kinds: what each lane looks like, such as ``solid`` or ``broken white``, where the labels say so; else empty.
        sides: which boundary of the own lane each is, ``left`` or ``right``, where only these are labelled; else empty.
        ego_only: no line but the boundaries of the own lane is labelled.
        mask: picture of the paint on the road, one class a pixel (see :data:`PAINT`), where there is one.
    """

    image: Path
    name: str
    clip: str
    lanes: NDArray[np.float64]
    h_samples: NDArray[np.float64]
    ignored: NDArray[np.float64]
    group: str = ""
    kinds: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    ego_only: bool = False
    mask: Path | None = None

    def polylines(self) -> tuple[NDArray[np.float32], ...]:
        """(k, 2) float32 (x, y) of each lane from top to bottom; lanes of fewer than two points say no direction and
        are left out."""
        return self._polylines(self.lanes)

    def ignored_polylines(self) -> tuple[NDArray[np.float32], ...]:
        """The same of the ignored lines."""
        return self._polylines(self.ignored)

    def _polylines(self, lanes: NDArray[np.float64]) -> tuple[NDArray[np.float32], ...]:
        lines = []
        for lane in lanes:
            seen = lane >= 0
            if seen.sum() >= 2:
                order = np.argsort(self.h_samples[seen], kind="stable")
                lines.append(np.stack([lane[seen], self.h_samples[seen]], axis=1)[order].astype(np.float32))
        return tuple(lines)


def read_labels(
    path: str | Path, part: Literal["train", "test"] = "test", images: Path | None = None, refused: Refused = stop
) -> list[LabelledImage]:
    """Read a label file, or the label files of a folder (``*.json``); pictures are named relative to the file.

    Of a folder lists of tasks (``test_tasks*.json``, without a truth) and predictions (``predictions*.json``) are left
    out. A folder as TuSimple is published means, as a CULane folder does, its test set (``test_label*.json``); its
    other labels are for training.

    Args:
        path: file or folder.
        part: of a folder that has both.
        images: folder of the pictures, where they lie outside of the labels' own.
        refused: is told of labels that cannot be read; by default the first ends it.

    Raises:
        DatasetError: if there is no label, a line is no JSON object, a field is missing or misshapen, a picture has two
            labels, or lies outside; the message names file and line.
    """
    path = Path(path)
    labelled: list[LabelledImage] = []
    places: dict[Path, str] = {}
    for file in _label_files(path, part) if path.is_dir() else [path]:
        for where, label in _lines_of(file):
            try:
                one = _parse(_parsed(label, where), where, file.parent, images)
                if one.image in places:
                    raise DatasetError(
                        f"expected one label of each picture, got two of {one.name}: {places[one.image]} and {where}; "
                        "name the right file instead of its folder, or remove one"
                    )
            except DatasetError as error:
                refused(error)
                continue
            places[one.image] = where
            labelled.append(one)
    if not labelled:
        raise DatasetError(
            f"expected labels of lanes at {path}, found no label: neither labelme's or TuSimple's (*.json), CULane's "
            "(*.lines.txt) nor CVAT's (annotations.xml); check the path"
        )
    return labelled


def _label_files(folder: Path, part: str) -> list[Path]:
    files = sorted(folder.glob("*.json"))
    no_truth = [file for file in files if file.name.startswith(("test_tasks", "predictions"))]
    files = [file for file in files if file not in no_truth]
    test = [file for file in files if file.name.startswith("test_label")]
    chosen = files
    if test and len(test) < len(files):
        chosen = test if part == "test" else [file for file in files if file not in test]
    for file in (*no_truth, *(file for file in files if file not in chosen)):
        kind = "no truth" if file in no_truth else f"not the {part} set"
        logger.warning("%s: left out, it is %s", file, kind)
    return chosen


def _lines_of(file: Path) -> Iterator[tuple[str, Any]]:
    """Where each label stands, and the label: one a line, or a list of them, or one that spans lines."""
    text = read_text(file, "TuSimple labels, one JSON object a line,")
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if lines and (lines[0][1].lstrip().startswith("[") or lines[0][1].strip() == "{"):
        content = parse_json(text, str(file))
        for number, label in enumerate(content if isinstance(content, list) else [content], 1):
            yield f"{file} label {number}", label
        return
    for number, line in lines:
        yield f"{file} line {number}", line


def _parsed(label: Any, where: str) -> Any:
    return parse_json(label, where) if isinstance(label, str) else label


def write_labels(labels: Sequence[LabelledImage], folder: Path) -> Path:
    """Write ``labels.json`` to a folder, made if missing; the pictures stay, and are named by their path from there.

    Returns:
        The file's path.

    Raises:
        MediaError: the file cannot be written.
    """
    lines = []
    for label in labels:
        name = os.path.relpath(label.image, folder)
        origin = {"tusimple_raw_file": label.clip} if label.clip != name else {}
        arrays = {"lanes": label.lanes, "ignored": label.ignored, "h_samples": label.h_samples}
        lines.append({"raw_file": name, **origin, **{field: array.tolist() for field, array in arrays.items()}})
    path = folder / LABELS
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return path


def _parse(label: Any, where: str, folder: Path, images: Path | None) -> LabelledImage:
    if not isinstance(label, dict):
        raise DatasetError(f"{where}: expected a JSON object, got {type(label).__name__}")
    if {"images", "annotations"} <= label.keys():
        raise DatasetError(f"{where}: expected a line of TuSimple's, got COCO labels of objects; name that file")
    for field, kind in (("raw_file", str), ("h_samples", list), ("lanes", list)):
        if not isinstance(label.get(field), kind):
            raise DatasetError(f"{where}: expected a {kind.__name__} under {field!r}, got {label.get(field)!r:.60}")
    rows = _numbers(label["h_samples"], where, "h_samples")
    if (label["lanes"] and not rows.size) or np.unique(rows).size < rows.size:
        raise DatasetError(f"{where}: expected rows under h_samples, each once, got {label['h_samples']!r:.60}")
    lanes = _lines(label["lanes"], rows.size, where, "lanes")
    if not isinstance(label.get("ignored", []), list):
        raise DatasetError(f"{where}: expected a list under 'ignored', got {label['ignored']!r:.60}")
    ignored = _lines(label.get("ignored", []), rows.size, where, "ignored")
    name = label["raw_file"]
    mask = label.get("mask")
    return LabelledImage(
        image=picture_at(folder, name, where, images),
        name=name,
        clip=str(label.get("tusimple_raw_file", name)),
        lanes=lanes,
        h_samples=rows,
        ignored=ignored,
        group=str(label.get("group", "")),
        kinds=_words(label, "classes", len(lanes)),
        sides=_words(label, "sides", len(lanes)),
        ego_only=label.get("ego_boundaries_only") is True,
        mask=picture_at(folder, mask, where, images) if isinstance(mask, str) else None,
    )


def _words(label: dict[str, Any], field: str, lanes: int) -> tuple[str, ...]:
    """A word for each lane, or none: TuSimple's own classes are numbers."""
    words = label.get(field)
    fits = isinstance(words, list) and len(words) == lanes and all(isinstance(word, str) for word in words)
    return tuple(words) if fits and isinstance(words, list) else ()


def _lines(values: list[Any], rows: int, where: str, field: str) -> NDArray[np.float64]:
    lines = np.empty((len(values), rows))
    for i, value in enumerate(values):
        columns = _numbers(value, where, f"{field}[{i}]")
        if columns.size != rows:
            raise DatasetError(
                f"{where}: expected {field}[{i}] to have one x a row of h_samples ({rows}), got {columns.size}"
            )
        lines[i] = columns
    return lines


def _numbers(values: Any, where: str, field: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: expected a list of numbers under {field}, got {values!r:.60}") from error
    if numbers.ndim != 1 or not (np.abs(numbers) <= FARTHEST).all():
        raise DatasetError(f"{where}: expected a flat list of finite numbers under {field}, got {values!r:.60}")
    return numbers
