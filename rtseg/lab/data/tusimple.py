"""TuSimple lane labels: JSON lines with ``raw_file``, ``h_samples`` and ``lanes``, beside the pictures they name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError
from rtseg.files import write_text

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


def read_labels(path: str | Path) -> list[LabelledImage]:
    """Read a label file, or every ``*.json`` file of a folder; pictures are named relative to the file.

    Raises:
        DatasetError: if there is no label, a line is no JSON object, or a field is missing or misshapen; the message
            names file and line.
    """
    path = Path(path)
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    labelled = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"expected TuSimple labels, one JSON object a line, at {file}: {error}") from error
        labelled += [
            _parse(line, f"{file} line {number}", file.parent) for number, line in enumerate(lines, 1) if line.strip()
        ]
    if not labelled:
        raise DatasetError(f"expected TuSimple label files (*.json, a JSON object a line) at {path}, found no label")
    return labelled


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


def _parse(line: str, where: str, folder: Path) -> LabelledImage:
    try:
        label: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{where}: expected a JSON object, got text that does not parse: {error}") from error
    if not isinstance(label, dict):
        raise DatasetError(f"{where}: expected a JSON object, got {type(label).__name__}")
    for field, kind in (("raw_file", str), ("h_samples", list), ("lanes", list)):
        if not isinstance(label.get(field), kind):
            raise DatasetError(f"{where}: expected a {kind.__name__} under {field!r}, got {label.get(field)!r:.60}")
    rows = _numbers(label["h_samples"], where, "h_samples")
    lanes = _lines(label["lanes"], rows.size, where, "lanes")
    if not isinstance(label.get("ignored", []), list):
        raise DatasetError(f"{where}: expected a list under 'ignored', got {label['ignored']!r:.60}")
    ignored = _lines(label.get("ignored", []), rows.size, where, "ignored")
    name = label["raw_file"]
    mask = label.get("mask")
    return LabelledImage(
        image=folder / name,
        name=name,
        clip=str(label.get("tusimple_raw_file", name)),
        lanes=lanes,
        h_samples=rows,
        ignored=ignored,
        group=str(label.get("group", "")),
        kinds=_words(label, "classes", len(lanes)),
        sides=_words(label, "sides", len(lanes)),
        ego_only=label.get("ego_boundaries_only") is True,
        mask=folder / mask if isinstance(mask, str) else None,
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
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: expected a list of numbers under {field}, got {values!r:.60}") from error
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise DatasetError(f"{where}: expected a flat list of finite numbers under {field}, got {values!r:.60}")
    return numbers
