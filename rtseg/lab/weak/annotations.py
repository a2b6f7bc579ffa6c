"""Instances of many frames as COCO JSON: proposals without classes, truth, and the labels that come out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import WeakSupervisionError
from rtseg.files import write_text
from rtseg.lab.data.coco import decode_segmentation


@dataclass(frozen=True)
class Proposals:
    """Instances of many frames; row j of every array is instance j, frames in order.

    Attributes:
        names: file names of all frames, those without an instance too.
        sizes: (m, 2) int32 heights and widths of the frames.
        frames: (n,) int32 frame of each instance, ascending.
        boxes: (n, 4) float32 (x0, y0, x1, y1), x1 and y1 exclusive.
        areas: (n,) int64 pixels.
        scores: (n,) float32, what the source thinks of them; 1 where it does not say.
        runs: n masks, packed (:func:`rtseg.lab.data.coco.encode_mask`).
    """

    names: tuple[str, ...]
    sizes: NDArray[np.int32]
    frames: NDArray[np.int32]
    boxes: NDArray[np.float32]
    areas: NDArray[np.int64]
    scores: NDArray[np.float32]
    runs: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def size(self, frame: int) -> tuple[int, int]:
        """(height, width) of a frame."""
        return int(self.sizes[frame, 0]), int(self.sizes[frame, 1])

    def mask(self, instance: int) -> NDArray[np.bool_]:
        """(H, W) bool mask of an instance."""
        frame = int(self.frames[instance])
        packed = {"size": list(self.size(frame)), "counts": self.runs[instance]}
        return decode_segmentation(packed, self.size(frame), self.names[frame])

    def of_frame(self, frame: int) -> range:
        """The instances of a frame."""
        first, last = np.searchsorted(self.frames, [frame, frame + 1]).tolist()
        return range(first, last)

    def select(self, instances: NDArray[np.integer]) -> Proposals:
        """The same frames with some of the instances, in their order."""
        kept = np.sort(instances)
        return Proposals(
            self.names,
            self.sizes,
            self.frames[kept],
            self.boxes[kept],
            self.areas[kept],
            self.scores[kept],
            tuple(self.runs[j] for j in kept.tolist()),
        )


def write_annotations(
    path: Path,
    instances: Proposals,
    classes: Sequence[str] = ("object",),
    class_ids: NDArray[np.integer] | None = None,
    crowd: NDArray[np.bool_] | None = None,
    frames: NDArray[np.integer] | None = None,
    info: Mapping[str, Any] | None = None,
) -> None:
    """Write COCO JSON, at once or not at all.

    Args:
        path: of the file.
        instances: the masks.
        classes: names of the categories, whose ids count from 1.
        class_ids: (n,) index into `classes`; all 0 by default.
        crowd: (n,) bool, annotations that trainers and scores are to ignore.
        frames: which frames to list; all by default. Instances of others must not be among `instances`.
        info: the file's ``info``.
    """
    ids = np.zeros(len(instances), np.int64) if class_ids is None else class_ids
    ignored = np.zeros(len(instances), np.bool_) if crowd is None else crowd
    listed = range(len(instances.names)) if frames is None else [int(i) for i in frames]
    annotations = []
    for j in range(len(instances)):
        frame = int(instances.frames[j])
        x0, y0, x1, y1 = instances.boxes[j].tolist()
        annotations.append(
            {
                "id": j + 1,
                "image_id": frame + 1,
                "category_id": int(ids[j]) + 1,
                "iscrowd": int(ignored[j]),
                "area": int(instances.areas[j]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": float(instances.scores[j]),
                "segmentation": {"size": list(instances.size(frame)), "counts": instances.runs[j]},
            }
        )
    content = {
        "info": dict(info or {}),
        "images": [
            {
                "id": i + 1,
                "file_name": instances.names[i],
                "height": instances.size(i)[0],
                "width": instances.size(i)[1],
            }
            for i in listed
        ],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(classes)],
        "annotations": annotations,
    }
    write_text(path, json.dumps(content))


def load_annotations(path: Path) -> tuple[Proposals, NDArray[np.int64], tuple[str, ...]]:
    """Read what :func:`write_annotations` wrote of all frames: the instances, their class indices, the class names."""
    content = read_annotations(path)
    rows = content["annotations"]
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    instances = Proposals(
        names=tuple(image["file_name"] for image in content["images"]),
        sizes=np.array([[image["height"], image["width"]] for image in content["images"]], np.int32).reshape(-1, 2),
        frames=np.array([row["image_id"] - 1 for row in rows], np.int32),
        boxes=boxes,
        areas=np.array([row["area"] for row in rows], np.int64),
        scores=np.array([row["score"] for row in rows], np.float32),
        runs=tuple(row["segmentation"]["counts"] for row in rows),
    )
    class_ids = np.array([row["category_id"] - 1 for row in rows], np.int64)
    return instances, class_ids, tuple(category["name"] for category in content["categories"])


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a COCO JSON file of annotations.

    Raises:
        WeakSupervisionError: it cannot be read, or lacks images or annotations.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeakSupervisionError(f"expected a COCO JSON file at {path}, got {error}") from error
    if isinstance(content, list):
        raise WeakSupervisionError(
            f"expected COCO JSON with images and annotations in {path}, got a bare list of results; add the images"
        )
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise WeakSupervisionError(f"expected COCO JSON with images and annotations in {path}, got neither")
    for image in content["images"]:
        if not isinstance(image, dict) or "id" not in image or "file_name" not in image:
            raise WeakSupervisionError(f"expected id and file_name of every image in {path}, got {image!r}")
    return content
