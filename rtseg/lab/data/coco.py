"""COCO's JSON format of instance masks, read and written with pycocotools' run lengths."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, DatasetError
from rtseg.files import write_text
from rtseg.lab.data.cityscapes import read_picture
from rtseg.lab.data.instance_labels import InstanceFrame, InstanceTruth, truth_from_codes
from rtseg.lab.data.label_files import Refused, parse_json, picture_at, read_text, stop
from rtseg.media.encodings import MAX_PIXELS

MAX_INSTANCES = 65_000  # numbers that a map of uint16 has room for


@dataclass(frozen=True)
class CocoMask:
    """One annotation: `segmentation` as in the file (polygons or run lengths), index of its class, crowd or not."""

    segmentation: Any
    class_id: int
    crowd: bool


@dataclass(frozen=True)
class CocoFrame(InstanceFrame):
    """A picture of a COCO file.

    Attributes:
        path: the picture.
        name: its ``file_name``.
        size: (height, width) that the file gives it.
        masks: its annotations, in the file's order.
        classes: names of the things.
        place: empty, COCO knows none.
    """

    path: Path
    name: str
    size: tuple[int, int]
    masks: tuple[CocoMask, ...]
    classes: tuple[str, ...]
    place: str = ""

    def image(self) -> NDArray[np.uint8]:
        image = read_picture(self.path)
        if image.shape[:2] != self.size:
            height, width = self.size
            turned = image.shape[1::-1] == self.size
            mend = "its EXIF orientation turns it: label it upright, or remove that" if turned else "scale it back"
            found = f"{image.shape[1]}x{image.shape[0]}"
            raise DatasetError(f"expected {self.path} to be {width}x{height} as labelled, it is {found}; {mend}")
        return image

    def truth(self) -> InstanceTruth:
        """Paint the masks: crowds first, then the others from the largest to the smallest, each over those before.

        Instances are numbered in the file's order; those without a pixel left have no number.
        """
        if len(self.masks) > MAX_INSTANCES:
            raise DatasetError(f"{self.name}: expected at most {MAX_INSTANCES} masks, got {len(self.masks)}")
        painted = [(decode_segmentation(mask.segmentation, self.size, self.name), mask) for mask in self.masks]
        areas = [np.count_nonzero(mask) for mask, _ in painted]
        codes = np.zeros(self.size, np.uint16)
        for i in sorted(range(len(painted)), key=lambda i: (not painted[i][1].crowd, -areas[i])):
            codes[painted[i][0]] = i + 1
        return truth_from_codes(codes, self._meaning)

    def _meaning(self, code: int) -> tuple[int, bool]:
        if code == 0:
            return 0, False
        mask = self.masks[code - 1]
        return 1 + mask.class_id, not mask.crowd


def _run_lengths() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ConfigError(f"expected pycocotools for run lengths, got {error}; pip install pycocotools") from error
    return mask


def encode_mask(mask: NDArray[np.bool_]) -> str:
    """Pack an (H, W) mask as the ``counts`` of COCO's compressed run lengths.

    Raises:
        ConfigError: pycocotools is not installed.
    """
    return str(_run_lengths().encode(np.asfortranarray(mask, np.uint8))["counts"].decode("ascii"))


def decode_segmentation(segmentation: Any, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Decode COCO's ``segmentation``: a list of polygons ``[x, y, x, y, ...]``, or run lengths, packed or as a list.

    What lies outside the picture is clipped; polygons of fewer than three points have no area and give nothing.

    Args:
        segmentation: as JSON has it.
        size: (height, width) of the picture.
        where: named in errors.

    Returns:
        (H, W) bool.

    Raises:
        ConfigError: pycocotools is not installed.
        DatasetError: if it is none of these, or run lengths do not add up to the picture.
    """
    coco = _run_lengths()
    height, width = size
    if isinstance(segmentation, dict):
        runs = _check_runs(segmentation, size, where)
        return np.asarray(coco.decode(runs), bool)
    if not isinstance(segmentation, list):
        raise DatasetError(f"{where}: expected polygons or run lengths, got {type(segmentation).__name__}")
    polygons = []
    for polygon in segmentation:
        try:
            points = np.asarray(polygon, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DatasetError(f"{where}: expected polygons of numbers, got others ({error})") from error
        if points.ndim != 1 or len(points) % 2 or not np.isfinite(points).all():
            raise DatasetError(f"{where}: expected polygons as flat lists x, y, x, y, ... of finite numbers")
        if len(points) >= 6:
            # pycocotools walks along every edge pixel by pixel: far outside is as good as outside.
            limits = np.tile([width, height], len(points) // 2)
            polygons.append(np.clip(points, -4.0 * limits, 5.0 * limits).tolist())
    if not polygons:
        return np.zeros(size, bool)
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))), bool)


def _check_runs(segmentation: dict[str, Any], size: tuple[int, int], where: str) -> dict[str, Any]:
    """Packed run lengths that add up to the picture; pycocotools itself would read or write beyond it."""
    counts = segmentation.get("counts")
    if list(segmentation.get("size", ())) != list(size):
        raise DatasetError(f"{where}: expected run lengths of size {list(size)}, got {segmentation.get('size')}")
    if isinstance(counts, str | bytes):
        lengths = unpack_counts(counts.encode("ascii", "replace") if isinstance(counts, str) else counts, where)
    elif isinstance(counts, list) and all(isinstance(run, int) for run in counts):
        lengths = counts
    else:
        raise DatasetError(f"{where}: expected run lengths as text or as a list of whole numbers")
    if any(run < 0 for run in lengths):
        raise DatasetError(f"{where}: expected run lengths of 0 and more, got {_short(min(lengths))}")
    if sum(lengths) != size[0] * size[1]:
        raise DatasetError(f"{where}: expected run lengths that add up to {size[0] * size[1]}, got {sum(lengths)}")
    if isinstance(counts, list):
        return _run_lengths().frPyObjects({"counts": counts, "size": list(size)}, *size)
    return {"counts": counts, "size": list(size)}


def unpack_counts(packed: bytes, where: str) -> list[int]:
    """Run lengths out of COCO's text: 5 bits a character, the sixth says that more follow, and from the third run on
    the number is the difference to the run before the last.

    Raises:
        DatasetError: if a character is none of the 64, or the last number breaks off.
    """
    runs: list[int] = []
    value = shift = 0
    for character in packed:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DatasetError(f"{where}: expected run lengths in COCO's text form, got the byte {character}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise DatasetError(f"{where}: expected run lengths in COCO's text form, the last number breaks off")
    return runs


def read_coco(
    path: Path | str,
    classes: Sequence[str] | None = None,
    images: Path | str | None = None,
    refused: Refused = stop,
) -> list[CocoFrame]:
    """List the pictures of a COCO file, in the file's order, those without annotations too.

    Args:
        path: JSON file with ``images``, ``annotations`` and ``categories``.
        classes: names of the things to read; annotations of other categories are left out. All categories, by
            their ids, if None.
        images: folder of the pictures; by default ``images`` beside the file, or the folder that
            ``annotations/instances_<split>.json`` belongs to, or the file's own folder.
        refused: is told of annotations that cannot be read; by default the first ends it.

    Raises:
        DatasetError: if the file is no COCO file, refers to pictures or categories it does not list, has no picture
            or none of `classes`.
    """
    path = Path(path)
    content = parse_json(read_text(path, "a COCO file"), str(path))
    try:
        categories = {int(row["id"]): str(row["name"]) for row in content["categories"]}
        pictures = {int(row["id"]): row for row in content["images"]}
        sizes = {key: (int(row["height"]), int(row["width"])) for key, row in pictures.items()}
        names = {key: str(row["file_name"]) for key, row in pictures.items()}
        rows = [
            (int(row["image_id"]), int(row["category_id"]), row.get("segmentation"), bool(row.get("iscrowd", 0)))
            for row in content["annotations"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DatasetError(
            f"expected a COCO file with images, annotations and categories at {path}: {error!r:.200}"
        ) from error
    for kind, found in (("images", pictures), ("categories", categories)):
        if len(found) < len(content[kind]):
            twice, _ = Counter(int(row["id"]) for row in content[kind]).most_common(1)[0]
            raise DatasetError(
                f"{path}: expected an id of its own for each of {kind}, got {_short(twice)} twice; number them anew"
            )
    categories = _without_umbrella(content["categories"], categories, {category for _, category, _, _ in rows})
    things = tuple(categories[key] for key in sorted(categories)) if classes is None else tuple(classes)
    if not pictures or not set(things) & set(categories.values()):
        raise DatasetError(
            f"expected pictures and categories of {', '.join(things[:8]) or 'things'} in {path}, got {len(pictures)} "
            f"pictures and {', '.join(list(categories.values())[:8]) or 'no categories'}; write own "
            "classes into a copy of the configuration as classes: [...]"
        )
    for key, (height, width) in sizes.items():
        if min(height, width) < 2 or height * width > MAX_PIXELS:
            raise DatasetError(
                f"{path}, {names[key]!r:.200}: expected height and width of 2 to {MAX_PIXELS} pixels in all, "
                f"got {_short(width)}x{_short(height)}; write the picture's own"
            )
    masks: dict[int, list[CocoMask]] = {key: [] for key in pictures}
    for number, (picture, category, segmentation, crowd) in enumerate(rows):
        if picture not in masks or category not in categories:
            ids = f"image_id {_short(picture)} and category_id {_short(category)}"
            refused(DatasetError(f"{path}: an annotation has {ids}, not listed"))
            continue
        if not segmentation:
            told = content["annotations"][number].get("id", f"number {number + 1}")
            refused(
                DatasetError(
                    f"{path}, {names[picture]!r:.200}, annotation {told!r:.20}: expected a segmentation, got none; "
                    "boxes alone are no masks: export polygons or masks, or remove the annotation"
                )
            )
            continue
        if categories[category] in things:
            masks[picture].append(CocoMask(segmentation, things.index(categories[category]), crowd))
    folder = _image_folder(path)
    # Without a word about the pictures their names may also begin at the file's own folder (images/1.jpg beside it).
    roots = (path.parent, folder) if images is None else (folder, Path(images))
    places = {key: picture_at(roots[0], names[key], str(path), roots[1]) for key in pictures}
    return [CocoFrame(places[key], names[key], sizes[key], tuple(masks[key]), things) for key in pictures]


def _without_umbrella(rows: Any, categories: dict[int, str], used: set[int]) -> dict[int, str]:
    """The categories but for one that Roboflow writes above the others: unused, and the parent of all that are used."""
    parents = {str(row.get("supercategory")) for row in rows if int(row["id"]) in used}
    return {key: name for key, name in categories.items() if key in used or {name} != parents}


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**9 else "a number of very many digits"


def _image_folder(path: Path) -> Path:
    split = re.fullmatch(r"instances_(\w+)", path.stem)
    candidates = [path.parent / "images"]
    if split:
        root = path.parent.parent
        candidates += [root / split[1], root / "images" / split[1], root / "images"]
    return next((folder for folder in candidates if folder.is_dir()), path.parent)


def write_coco(path: Path | str, frames: Iterable[tuple[str, InstanceTruth]], classes: Sequence[str]) -> int:
    """Write instance masks as a COCO file, run lengths packed, ids from 1 on.

    A class without instances (a group) becomes one crowd annotation. What is unknown even by class (255) cannot be
    said in COCO and becomes background.

    Args:
        path: JSON file to write, replaced as a whole.
        frames: (file name of the picture, its labels).
        classes: names of the things, category 1 + i for class i.

    Returns:
        Number of annotations.

    Raises:
        DatasetError: if labels and classes do not fit.
        MediaError: if the file cannot be written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, truth in frames:
        height, width = truth.instances.shape
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        if truth.semantic.shape != (height, width) or (truth.class_ids >= len(classes)).any():
            raise DatasetError(f"{name}: expected maps of one size and class ids below {len(classes)}")
        for number, class_id in enumerate(truth.class_ids.tolist(), 1):
            mask = truth.instances == number
            if mask.any():
                annotations.append(_annotation(mask, len(annotations) + 1, len(images), class_id, 0))
        grouped = (truth.instances < 0) & (truth.semantic > 0) & (truth.semantic <= len(classes))
        for value in np.unique(truth.semantic[grouped]).tolist():
            mask = grouped & (truth.semantic == value)
            annotations.append(_annotation(mask, len(annotations) + 1, len(images), value - 1, 1))
    categories = [{"id": i, "name": name, "supercategory": "thing"} for i, name in enumerate(classes, 1)]
    write_text(path, json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return len(annotations)


def _annotation(mask: NDArray[np.bool_], number: int, image: int, class_id: int, crowd: int) -> dict[str, Any]:
    coco = _run_lengths()
    runs = coco.encode(np.asfortranarray(mask, np.uint8))
    return {
        "id": number,
        "image_id": image,
        "category_id": 1 + class_id,
        "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")},
        "area": int(coco.area(runs)),
        "bbox": [float(value) for value in coco.toBbox(runs)],
        "iscrowd": crowd,
    }
