"""What a folder of labels holds and what is wrong with it, read as training reads it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.counted import counted
from rtseg.errors import DatasetError, ImageError
from rtseg.files import is_there
from rtseg.lab.data.culane import is_culane
from rtseg.lab.data.drawn import LINES, read_drawn
from rtseg.lab.data.instance_folders import CITYSCAPES, DRAWN, kind_of_instances, read_instances
from rtseg.lab.data.instance_labels import InstanceTruth
from rtseg.lab.data.lane_labels import misfit, read_lane_labels
from rtseg.lab.data.selection import evenly
from rtseg.lab.report.report import Picture, ReportData, write_report
from rtseg.media.images import IMAGE_SUFFIXES, read_image
from rtseg.printing import visible

SAMPLES = 12
_GREEN = (90, 220, 60)

Task = Literal["lanes", "instances"]


@dataclass
class DataCheck:
    """What was found.

    Attributes:
        folder: that was read.
        task: what its labels are of.
        kind: of the labels, such as ``TuSimple``.
        pictures: with labels that could be read.
        empty: of them, without a lane or object.
        counts: lanes, or objects by class.
        sizes: of pictures, as ``1280x720``.
        faults: what cannot be trained on, one sentence each, with file and mend.
        notes: what may be meant.
        samples: pictures with their labels drawn.
    """

    folder: Path
    task: Task
    kind: str
    pictures: int = 0
    empty: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    samples: list[Picture] = field(default_factory=list)

    def facts(self) -> dict[str, object]:
        """All of it but for the samples, for machines."""
        return {
            **{"folder": str(self.folder), "task": self.task, "kind": self.kind},
            **{"pictures": self.pictures, "without labels": self.empty},
            **{"labels": dict(self.counts.most_common()), "sizes": dict(self.sizes.most_common())},
            **{"faults": self.faults, "notes": self.notes},
        }

    def table(self) -> Table:
        """The figures for the terminal."""
        table = Table(
            "", "", title=f"{counted(self.pictures, 'picture')} with labels of {self.kind}", show_header=False
        )
        table.add_row("without a lane" if self.task == "lanes" else "without an object", str(self.empty))
        for name, count in self.counts.most_common():
            table.add_row(visible(name), str(count))
        for size, count in self.sizes.most_common(5):
            table.add_row("size", f"{size}: {count}")
        return table

    def write(self, out: Path) -> Path:
        """Write the page to the folder `out`.

        Raises:
            MediaError: it cannot be written.
        """
        page = ReportData(
            title="Labels",
            subtitle=f"{self.kind}: {self.folder}",
            figures=[
                ("pictures", str(self.pictures)),
                ("labels", str(self.counts.total())),
                ("pictures without labels", str(self.empty)),
                ("faults", str(len(self.faults))),
            ],
            tables=[
                table
                for table in (
                    ("What is wrong", ("fault",), [(fault,) for fault in self.faults]),
                    ("Labels", ("what", "count"), [(name, str(n)) for name, n in self.counts.most_common()]),
                    ("Sizes of the pictures", ("size", "pictures"), [(s, str(n)) for s, n in self.sizes.most_common()]),
                )
                if table[2]
            ],
            gallery=self.samples,
            notes=self.notes,
        )
        return write_report(out / "report.html", page)


def check_data(path: str | Path, task: Task | None = None, images: Path | None = None) -> DataCheck:
    """Read all labels and pictures of a folder as training would, and go on where it would stop.

    Args:
        path: folder or file of labels, of any kind that `rtseg train` reads.
        task: of the model to train; told by the labels if None.
        images: folder of the pictures, where they lie outside of the labels' own.

    Raises:
        DatasetError: there are no labels of a known kind.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"expected labels at {path}, which does not exist; check the path")
    kind = kind_of_instances(path)
    task = task or ("instances" if kind and not _only_lines(path, kind) else "lanes")
    check = DataCheck(path, task, kind or ("CULane" if is_culane(path) else "TuSimple"))
    read = _read_lanes if task == "lanes" else _read_objects
    try:
        used = read(check, images)
    except DatasetError as error:
        if not check.faults:  # else all labels were refused, each for its own reason
            raise
        check.notes.append(str(error))
        used = set()
    if path.is_dir() and kind != CITYSCAPES:
        found = {_real(file) for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES}
        if rest := sorted(found - used):
            named = ", ".join(visible(file.name) for file in rest[:3]) + (", ..." if len(rest) > 3 else "")
            check.notes.append(f"{counted(len(rest), 'picture')} without a label, not trained on: {named}")
    return check


def _only_lines(path: Path, kind: str) -> bool:
    """Whether what was drawn in labelme or CVAT is lanes."""
    if kind not in DRAWN:
        return False
    shapes = [shape for picture in read_drawn(path, refused=lambda _: None) for shape in picture.shapes]
    return all(shape.kind in LINES for shape in shapes)


def _read_lanes(check: DataCheck, images: Path | None) -> set[Path]:
    labels = read_lane_labels(check.folder, "train", images, lambda error: check.faults.append(str(error)))
    if doubt := misfit(labels):
        check.notes.append(doubt)
    shown = {id(label) for label in evenly(labels, SAMPLES)}
    used = set()
    for label in labels:
        used |= {_real(file) for file in (label.image, getattr(label, "mask", None)) if file is not None}
        image = _picture(check, label.image, label.name)
        if image is None:
            continue
        lines = label.polylines()
        check.counts["lanes"] += len(lines)
        check.empty += not lines
        if id(label) in shown:
            points = [np.rint(line).astype(np.int32) for line in lines]
            cv2.polylines(image, points, False, _GREEN, max(2, image.shape[1] // 320))
            check.samples.append(Picture.of(visible(label.name), image))
    return used


def _read_objects(check: DataCheck, images: Path | None) -> set[Path]:
    frames = read_instances(check.folder, None, images, lambda error: check.faults.append(str(error)))
    shown = {id(frame) for frame in evenly(frames, SAMPLES)}
    named = {name for frame in frames for name in frame.classes}
    for frame in frames:
        if _picture(check, frame.path, frame.name) is None:
            continue
        try:
            image, truth = frame.image(), frame.truth()
        except DatasetError as error:
            check.pictures -= 1
            check.faults.append(str(error))
            continue
        check.counts.update(frame.classes[index] for index in truth.class_ids.tolist())
        check.empty += not len(truth)
        if id(frame) in shown:
            check.samples.append(Picture.of(visible(frame.name), _outlined(image, truth, frame.classes)))
    if without := sorted(named - check.counts.keys()):
        listed = ", ".join(visible(name) for name in without)
        check.notes.append(f"no object of {listed}: nothing is learned of that")
    return {_real(frame.path) for frame in frames}


def _real(file: Path) -> Path:
    return Path(os.path.realpath(file))  # which minds no circle of links


def _picture(check: DataCheck, path: Path, name: str) -> NDArray[np.uint8] | None:
    """Read a labelled picture, and note its size or what is wrong with it."""
    if not is_there(path):
        check.faults.append(f"expected the labelled picture {name} at {path}, which is not there; copy it there")
        return None
    try:
        image = np.asarray(read_image(path), np.uint8)
    except ImageError as error:
        check.faults.append(str(error))
        return None
    check.pictures += 1
    check.sizes[f"{image.shape[1]}x{image.shape[0]}"] += 1
    return image


def _outlined(image: NDArray[np.uint8], truth: InstanceTruth, classes: Sequence[str]) -> NDArray[np.uint8]:
    drawn = np.ascontiguousarray(image).copy()
    for number, class_id in enumerate(truth.class_ids.tolist(), 1):
        mask = (truth.instances == number).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(drawn, contours, -1, _GREEN, max(2, image.shape[1] // 640))
        if contours:
            x, y = (int(value) for value in contours[0].reshape(-1, 2).min(axis=0))
            text = classes[class_id].encode("ascii", "replace").decode()
            cv2.putText(drawn, text, (x, max(12, y - 3)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _GREEN, 1, cv2.LINE_AA)
    return drawn
