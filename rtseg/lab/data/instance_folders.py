"""Any folder of instance labels: which format it has, and which cities are held out for validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rtseg.errors import DatasetError
from rtseg.lab.data.cityscapes import read_gtfine
from rtseg.lab.data.cityscapes640 import read_cityscapes640
from rtseg.lab.data.coco import read_coco
from rtseg.lab.data.instance_labels import InstanceFrame

# Of cityscapes640's 14 cities the first three hold 190 of 1150 frames (17 %) and, of all triples of that size, nearly
# the most even share of every class: person 15 %, rider 12, car 17, truck 23, bus 17, train 9, motorcycle 17, bicycle
# 16. The others are Cityscapes' own validation cities, which nobody should train on by accident.
HOLDOUT_CITIES = ("aachen", "darmstadt", "tubingen", "frankfurt", "lindau", "munster")


def instance_frames(
    paths: Sequence[Path | str],
    part: Literal["all", "train", "holdout"] = "all",
    holdout: Sequence[str] = HOLDOUT_CITIES,
    classes: Sequence[str] | None = None,
) -> list[InstanceFrame]:
    """List the labelled frames of several folders of any known format.

    Args:
        paths: see `read_instances`.
        part: "holdout" for the frames whose place is in `holdout`, "train" for the others, "all" for both. Frames
            without a place, as in COCO files, belong to whatever part the file is named for.
        holdout: places, for Cityscapes the cities.
        classes: names of the things to read from COCO files, such as `rtseg.lab.data.cityscapes.THINGS`.

    Returns:
        The frames, folder by folder; all have the same `classes`.

    Raises:
        DatasetError: if a folder is of no known format, its labels are not whole, or no frame is left.
    """
    frames = [frame for path in paths for frame in read_instances(path, classes)]
    if part != "all":
        frames = [f for f in frames if not f.place or (f.place in holdout) == (part == "holdout")]
    if not frames:
        raise DatasetError(f"expected labelled frames in {', '.join(map(str, paths))}, found none for part {part!r}")
    if any(frame.classes != frames[0].classes for frame in frames):
        raise DatasetError("expected folders with the same classes in the same order; read them one by one")
    return frames


def read_instances(path: Path | str, classes: Sequence[str] | None = None) -> list[InstanceFrame]:
    """List the labelled frames of one folder or file.

    Args:
        path: a folder with ``classes.json`` and ``labels`` (cityscapes640), with ``gtFine`` and ``leftImg8bit``
            (Cityscapes), or with one COCO file ``instances*.json``; or a COCO file.
        classes: for COCO, see `read_coco`.

    Raises:
        DatasetError: if it is none of these, or its labels are not whole.
    """
    path = Path(path)
    if path.suffix == ".json":
        return list(read_coco(path, classes))
    if (path / "gtFine").is_dir():
        return list(read_gtfine(path))
    if (path / "classes.json").is_file() and (path / "labels").is_dir():
        return list(read_cityscapes640(path))
    files = sorted(path.glob("instances*.json"))
    if len(files) == 1:
        return list(read_coco(files[0], classes))
    raise DatasetError(
        "expected gtFine/ (Cityscapes), classes.json and labels/ (polygons) or one instances*.json (COCO) in "
        f"{path}, found none of these; name a COCO file itself where there are several"
    )
