"""Cityscapes: its classes, the meaning of its label values, and its own folder layout (leftImg8bit and gtFine)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError, ImageError
from rtseg.lab.data.instance_labels import IGNORED_CLASS, InstanceFrame, InstanceTruth, truth_from_codes
from rtseg.media.images import read_image, read_stored

THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")

# Label ids of cityscapesscripts.helpers.labels; a test compares them. Negative ones (license plate) are never drawn.
LABEL_IDS = {
    "unlabeled": 0, "ego vehicle": 1, "rectification border": 2, "out of roi": 3, "static": 4, "dynamic": 5,
    "ground": 6, "road": 7, "sidewalk": 8, "parking": 9, "rail track": 10, "building": 11, "wall": 12, "fence": 13,
    "guard rail": 14, "bridge": 15, "tunnel": 16, "pole": 17, "polegroup": 18, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
    "truck": 27, "bus": 28, "caravan": 29, "trailer": 30, "train": 31, "motorcycle": 32, "bicycle": 33,
    "license plate": -1,
}  # fmt: skip

# Whether these hold a thing of the eight classes is not known. The own vehicle and the borders, void in the scores,
# are plain background here: a camera that sees its own bonnet must not report a car.
_UNSURE = ("dynamic", "caravan", "trailer")
_SEMANTIC = {LABEL_IDS[name]: 1 + i for i, name in enumerate(THINGS)} | {
    LABEL_IDS[name]: IGNORED_CLASS for name in _UNSURE
}


def truth_from_ids(ids: NDArray[np.integer]) -> InstanceTruth:
    """Read the values of a ``*_instanceIds.png``: ``1000 * label id + k`` for instances, the label id otherwise.

    A thing's label id alone stands for a group. Trailers and caravans, though instances there, and "dynamic" are
    ignored in both maps.

    Raises:
        DatasetError: if a value is none that Cityscapes has.
    """
    if ids.dtype != np.uint16 and ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= 0xFFFF:
        raise DatasetError(f"expected Cityscapes' instance ids, got values of {int(ids.min())}..{int(ids.max())}")
    return truth_from_codes(ids.astype(np.uint16, copy=False), _meaning)


def _meaning(value: int) -> tuple[int, bool]:
    label = value // 1000 if value >= 1000 else value
    if label > 33 or (value >= 1000 and label not in _SEMANTIC):
        raise DatasetError(f"expected Cityscapes' instance ids, got the value {value}, whose label id is {label}")
    semantic = _SEMANTIC.get(label, 0)
    return semantic, value >= 1000 and semantic != IGNORED_CLASS


def ids_from_truth(truth: InstanceTruth) -> NDArray[np.uint16]:
    """Write a truth of the eight classes in the encoding that `truth_from_ids` reads.

    Args:
        truth: of classes `THINGS`, at most 1000 instances a class.

    Returns:
        (H, W) uint16; unknown pixels become "dynamic", background 0.

    Raises:
        DatasetError: if there are more instances of a class, or classes that Cityscapes has not.
    """
    counts = np.bincount(truth.class_ids, minlength=len(THINGS))
    if len(counts) > len(THINGS) or counts.max() > 1000:
        raise DatasetError(f"expected at most 1000 instances of each of {len(THINGS)} classes, got {counts.tolist()}")
    label_ids = np.array([LABEL_IDS[name] for name in THINGS])
    of_class = np.zeros(256, np.uint16)
    of_class[1 : 1 + len(THINGS)], of_class[IGNORED_CLASS] = label_ids, LABEL_IDS["dynamic"]
    of_instance = np.zeros(len(truth) + 1, np.uint16)
    for i, name in enumerate(label_ids.tolist()):
        rows = np.flatnonzero(truth.class_ids == i)
        of_instance[1 + rows] = 1000 * name + np.arange(len(rows))
    single = truth.instances > 0
    return np.where(single, of_instance[np.where(single, truth.instances, 0)], of_class[truth.semantic])


@dataclass(frozen=True)
class GtFineFrame(InstanceFrame):
    """A frame of ``leftImg8bit/<split>/<city>`` with its ``*_gtFine_instanceIds.png``.

    Attributes:
        path: the picture.
        labels: the PNG of instance ids, at the picture's size.
        name: ``<city>_<sequence>_<frame>``.
        place: the city.
    """

    path: Path
    labels: Path
    name: str
    place: str
    classes: tuple[str, ...] = THINGS

    def image(self) -> NDArray[np.uint8]:
        return read_picture(self.path)

    def instance_ids(self) -> NDArray[np.int32]:
        """(H, W) int32 in the encoding of Cityscapes' instanceIds, for its own scoring scripts."""
        try:
            ids = read_stored(self.labels)
        except ImageError as error:
            raise DatasetError(f"expected a one-channel PNG of instance ids at {self.labels}: {error}") from error
        if ids.ndim != 2:
            raise DatasetError(f"expected a one-channel PNG of instance ids at {self.labels}")
        return ids.astype(np.int32)

    def truth(self) -> InstanceTruth:
        try:
            return truth_from_ids(self.instance_ids())
        except DatasetError as error:
            raise DatasetError(f"{self.labels}: {error}") from error


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) uint8 BGR.

    Raises:
        DatasetError: if there is none that can be decoded.
    """
    try:
        return np.asarray(read_image(path), np.uint8)
    except ImageError as error:
        raise DatasetError(f"expected a readable labelled picture: {error}") from error


def read_gtfine(root: Path | str, splits: tuple[str, ...] = ("train", "val")) -> list[GtFineFrame]:
    """List the labelled frames of a Cityscapes folder, in the order of their names.

    Args:
        root: holds ``leftImg8bit`` and ``gtFine``.
        splits: those of them that are there are read.

    Raises:
        DatasetError: if there is no frame, or a labelled picture is missing.
    """
    root = Path(root)
    frames = []
    for split in splits:
        for labels in sorted(root.glob(f"gtFine/{split}/*/*_gtFine_instanceIds.png")):
            name = labels.name.removesuffix("_gtFine_instanceIds.png")
            place = labels.parent.name
            picture = root / "leftImg8bit" / split / place / f"{name}_leftImg8bit.png"
            if not picture.is_file() and not (picture := picture.with_suffix(".jpg")).is_file():
                raise DatasetError(f"expected the picture of {labels} at {picture.with_suffix('.png')} (or .jpg)")
            frames.append(GtFineFrame(picture, labels, name, place))
    if not frames:
        raise DatasetError(
            f"expected gtFine/<{' or '.join(splits)}>/<city>/*_gtFine_instanceIds.png under {root}, found none"
        )
    return frames
