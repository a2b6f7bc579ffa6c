"""CULane lane labels: ``NAME.lines.txt`` beside ``NAME.jpg``, a row of ``x y x y ...`` for every lane; lists of frames.

A whole CULane folder means its test set, by category: ``list/test_split/test0_normal.txt`` and so on. Its training
frames are named by their list, ``list/train.txt`` or ``list/train_gt.txt``. A folder without lists means every labelled
frame in it and below, which suits frames of one's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError
from rtseg.files import is_there
from rtseg.lab.data.label_files import FARTHEST, Refused, picture_at, read_text, stop, with_any_suffix

_SUFFIX = ".lines.txt"
_SPLITS = "list/test_split"


@dataclass(frozen=True)
class CulaneImage:
    """One frame and its labels.

    Attributes:
        image: path of the picture.
        name: its path from the data set's folder.
        category: of the test set, such as ``night``; empty elsewhere.
        lanes: polylines (k, 2) float32 of (x, y) in pixels, y increasing; their ends may lie outside of the picture.
    """

    image: Path
    name: str
    category: str
    lanes: tuple[NDArray[np.float32], ...]

    def polylines(self) -> tuple[NDArray[np.float32], ...]:
        """The lanes; as of :class:`rtseg.lab.data.tusimple.LabelledImage`."""
        return self.lanes

    def ignored_polylines(self) -> tuple[NDArray[np.float32], ...]:
        """None: CULane has no lines of which it is not known whether they are lanes."""
        return ()


def is_culane(path: str | Path) -> bool:
    """Whether a folder holds CULane's lists or labels and none of TuSimple's, or a file is one of its lists."""
    path = Path(path)
    if path.is_file():
        return path.suffix == ".txt"
    return has_test_set(path) or (not any(path.glob("*.json")) and any(path.rglob(f"*{_SUFFIX}")))


def has_test_set(path: str | Path) -> bool:
    """Whether a folder is a whole CULane folder, which means its test set."""
    return any((Path(path) / _SPLITS).glob("*.txt"))


def read_culane(path: str | Path, refused: Refused = stop) -> list[CulaneImage]:
    """Read labels of CULane's kind; pictures are not opened.

    Args:
        path: a CULane folder, one of its lists, or a folder of frames with ``.lines.txt`` beside them.
        refused: is told of labels that cannot be read; by default the first ends it.

    Raises:
        DatasetError: if nothing is there, a listed frame has no labels, or labels are no pairs of finite numbers; the
            message names file and line.
    """
    path = Path(path)
    if path.is_file():
        frames = _listed(path, "", refused)
    elif has_test_set(path):
        lists = sorted((path / _SPLITS).glob("*.txt"))
        frames = [frame for file in lists for frame in _listed(file, re.sub(r"^test\d+_", "", file.stem), refused)]
    else:
        files = sorted(path.rglob(f"*{_SUFFIX}"))
        pictures = [with_any_suffix(file.with_name(file.name.removesuffix(_SUFFIX) + ".jpg")) for file in files]
        frames = _all_of((partial(_read, picture, path, "") for picture in pictures), refused)
    if not frames:
        raise DatasetError(f"expected CULane's lists or frames with *{_SUFFIX} beside them at {path}, found none")
    return frames


def _listed(file: Path, category: str, refused: Refused) -> list[CulaneImage]:
    lines = read_text(file, "a CULane list").splitlines()
    # A list of training frames goes on in each line with the mask and which of four lanes are there.
    names = [line.split()[0].lstrip("/") for line in lines if line.strip()]
    if not names:
        return []
    above = Path(os.path.realpath(file)).parents
    root = next((folder for folder in above if is_there(with_any_suffix(folder / names[0]))), None)
    if root is None:
        raise DatasetError(f"expected {names[0]}, the first frame of {file}, in a folder above the list; it is in none")
    return _all_of((partial(_named, root, name, file, category) for name in names), refused)


def _named(root: Path, name: str, file: Path, category: str) -> CulaneImage:
    return _read(with_any_suffix(picture_at(root, name, str(file))), root, category)


def _all_of(readers: Iterable[Callable[[], CulaneImage]], refused: Refused) -> list[CulaneImage]:
    frames = []
    for read in readers:
        try:
            frames.append(read())
        except DatasetError as error:
            refused(error)
    return frames


def _read(image: Path, root: Path, category: str) -> CulaneImage:
    file = image.with_name(image.stem + _SUFFIX)
    lines = read_text(file, f"the labels of {image.name}").splitlines()
    lanes = [_parse(line, f"{file} line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    # One point says no direction.
    kept = tuple(lane for lane in lanes if len(lane) >= 2)
    return CulaneImage(image, image.relative_to(root).as_posix(), category, kept)


def _parse(line: str, where: str) -> NDArray[np.float32]:
    try:
        values = np.array(line.split(), dtype=np.float64)
    except ValueError as error:
        raise DatasetError(f"{where}: expected numbers x y x y ..., got {line!r:.60}") from error
    if len(values) % 2 or not (np.abs(values) <= FARTHEST).all():
        raise DatasetError(f"{where}: expected pairs of finite numbers x y x y ..., got {line!r:.60}")
    points = values.reshape(-1, 2)
    return points[np.argsort(points[:, 1], kind="stable")].astype(np.float32)
