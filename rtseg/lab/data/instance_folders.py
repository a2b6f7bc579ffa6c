"""Any folder of instance labels: which format it has, and which cities are held out for validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rtseg.errors import DatasetError
from rtseg.lab.data.cityscapes import read_gtfine
from rtseg.lab.data.cityscapes640 import read_cityscapes640
from rtseg.lab.data.coco import CocoFrame, CocoMask, read_coco
from rtseg.lab.data.drawn import CVAT, LINES, DrawnPicture, is_drawn, read_drawn
from rtseg.lab.data.instance_labels import InstanceFrame
from rtseg.lab.data.label_files import Refused, check_images, read_text, stop
from rtseg.lab.data.yolo import is_yolo, read_yolo

# Of cityscapes640's 14 cities the first three hold 190 of 1150 frames (17 %) and, of all triples of that size, nearly
# the most even share of every class: person 15 %, rider 12, car 17, truck 23, bus 17, train 9, motorcycle 17, bicycle
# 16. The others are Cityscapes' own validation cities, which nobody should train on by accident.
HOLDOUT_CITIES = ("aachen", "darmstadt", "tubingen", "frankfurt", "lindau", "munster")

_COCO_FILES = ("instances*.json", "_annotations.coco.json", "annotations/instances_*.json", "*/_annotations.coco.json")
"""Names of COCO files, of which the first that is there counts: COCO's own, Roboflow's and CVAT's."""


CITYSCAPES, COCO, LABELME, CVAT_KIND, YOLO, POLYGONS = "Cityscapes", "COCO", "labelme", "CVAT", "YOLO", "polygons"
DRAWN = (LABELME, CVAT_KIND)
"""Kinds of labels that have lanes, too."""


def kind_of_instances(path: Path) -> str:
    """Which kind of labels :func:`read_instances` would read; empty where there are none that it knows."""
    if path.is_file():
        return COCO if path.suffix == ".json" and '"raw_file"' not in read_text(path, "labels")[: 1 << 16] else ""
    if (path / "gtFine").is_dir():
        return CITYSCAPES
    if (path / "classes.json").is_file() and (path / "labels").is_dir():
        return POLYGONS
    if any(any(path.glob(pattern)) for pattern in _COCO_FILES):
        return COCO
    if is_drawn(path):
        return CVAT_KIND if (path / CVAT).is_file() else LABELME
    return YOLO if is_yolo(path) else ""


def instance_frames(
    paths: Sequence[Path | str],
    part: Literal["all", "train", "holdout"] = "all",
    holdout: Sequence[str] = HOLDOUT_CITIES,
    classes: Sequence[str] | None = None,
    images: Path | None = None,
) -> list[InstanceFrame]:
    """List the labelled frames of several folders of any known format.

    Args:
        paths: see `read_instances`.
        part: "holdout" for the frames whose place is in `holdout`, "train" for the others, "all" for both. Frames
            without a place, as in COCO files, belong to whatever part the file is named for.
        holdout: places, for Cityscapes the cities.
        classes: names of the things to read from COCO files, such as `rtseg.lab.data.cityscapes.THINGS`.
        images: see `read_instances`.

    Returns:
        The frames, folder by folder; all have the same `classes`.

    Raises:
        DatasetError: if a folder is of no known format, its labels are not whole, or no frame is left.
    """
    frames = [frame for path in paths for frame in read_instances(path, classes, images)]
    if part != "all":
        frames = [f for f in frames if not f.place or (f.place in holdout) == (part == "holdout")]
    if not frames:
        raise DatasetError(f"expected labelled frames in {', '.join(map(str, paths))}, found none for part {part!r}")
    if any(frame.classes != frames[0].classes for frame in frames):
        raise DatasetError("expected folders with the same classes in the same order; read them one by one")
    return frames


def read_instances(
    path: Path | str,
    classes: Sequence[str] | None = None,
    images: Path | None = None,
    refused: Refused = stop,
) -> list[InstanceFrame]:
    """List the labelled frames of one folder or file.

    Args:
        path: a folder with ``classes.json`` and ``labels`` (cityscapes640), with ``gtFine`` and ``leftImg8bit``
            (Cityscapes), with one COCO file as Roboflow, CVAT and others name it, with labels of labelme or of CVAT, or
            with YOLO's polygons; or a COCO file.
        classes: for COCO, see `read_coco`; for polygons of labelme and CVAT alike.
        images: folder of the pictures, where they lie outside of the labels' own.
        refused: is told of labels that cannot be read; by default the first ends it.

    Raises:
        DatasetError: if it is none of these, or its labels are not whole.
    """
    path = Path(path)
    check_images(images)
    if path.is_file():
        return list(read_coco(path, classes, images, refused))
    if (path / "gtFine").is_dir():
        return list(read_gtfine(path))
    if (path / "classes.json").is_file() and (path / "labels").is_dir():
        return list(read_cityscapes640(path, refused=refused))
    files: list[Path] = []
    for pattern in _COCO_FILES:
        files = files or sorted(path.glob(pattern))
    if len(files) == 1:
        return list(read_coco(files[0], classes, images, refused))
    if not files and path.is_dir() and is_drawn(path):
        return _from_drawn(read_drawn(path, images, refused), classes)
    if not files and path.is_dir() and is_yolo(path):
        return list(read_yolo(path, classes, refused))
    several = f", got {', '.join(str(file.relative_to(path)) for file in files[:5])}; name one of them" if files else ""
    raise DatasetError(
        "expected gtFine/ (Cityscapes), classes.json and labels/ (polygons), one COCO file (instances*.json, "
        "_annotations.coco.json, annotations/instances_*.json), labels of labelme or CVAT (annotations.xml) or YOLO's "
        "polygons (labels/*.txt, and data.yaml with names) in "
        f"{path}{several or ', found none of these; name a COCO file itself where it is called otherwise'}"
    )


def _from_drawn(pictures: Sequence[DrawnPicture], classes: Sequence[str] | None) -> list[InstanceFrame]:
    """Polygons and rectangles as masks; shapes of one group are one object. Lines are no objects and are left out."""
    if classes is None:
        found = sorted({shape.label for picture in pictures for shape in picture.shapes if shape.kind not in LINES})
    else:
        found = list(classes)
    frames: list[InstanceFrame] = []
    for picture in pictures:
        objects: dict[tuple[str, int], list[list[float]]] = {}
        for i, shape in enumerate(picture.shapes):
            if shape.kind not in LINES and shape.label in found:
                number = -1 - i if shape.group is None else shape.group
                objects.setdefault((shape.label, number), []).append(shape.points.ravel().tolist())
        masks = tuple(CocoMask(polygons, found.index(label), False) for (label, _), polygons in objects.items())
        frames.append(CocoFrame(picture.image, picture.name, picture.size, masks, tuple(found)))
    if not any(frame.masks for frame in frames if isinstance(frame, CocoFrame)):
        labels = sorted({shape.label for picture in pictures for shape in picture.shapes})
        raise DatasetError(
            f"expected polygons of {', '.join(found[:8]) or 'objects'} in {pictures[0].file.parent}, got shapes of "
            f"{', '.join(labels[:8]) or 'nothing'}; write classes of your own into a copy of the configuration as "
            "classes: [...]"
        )
    return frames
