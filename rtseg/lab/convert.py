"""Results as other tools have them, and back: supervision's detections, COCO's annotations, polygons, pandas tables.

Neither supervision nor pandas comes with rtseg; each is needed by the functions that name it, and pycocotools by
:func:`from_coco`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ConfigError, DatasetError
from rtseg.lab.data.coco import decode_segmentation
from rtseg.lab.data.mask_box import mask_box
from rtseg.results import Instances, Lanes, class_name

if TYPE_CHECKING:
    import pandas
    import supervision

POLYLINE = "polyline"
"""Under this name supervision's detections carry the points of lanes."""


def polygons(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Outlines of the parts of a mask, along the edges of its pixels; holes are filled.

    Args:
        mask: (H, W) bool.

    Returns:
        For each part (k, 2) float64 of (x, y) in pixels.

    Example:
        >>> mask = np.zeros((4, 4), bool)
        >>> mask[1:3, 1:4] = True
        >>> sorted(map(tuple, np.rint(polygons(mask)[0]).tolist()))[0]
        (1.0, 1.0)
    """
    left, top, right, bottom = mask_box(mask)
    if right == left:
        return []
    part = mask[top:bottom, left:right].astype(np.uint8)
    # OpenCV goes through the centers of the border's pixels; those of a doubled mask lie a quarter inside the edges.
    doubled = part.repeat(2, axis=0).repeat(2, axis=1)
    found, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [(contour.reshape(-1, 2) + 0.5) / 2 + (left, top) for contour in found]
    return [outline for outline in outlines if len(outline) >= 3]


def to_supervision(result: Lanes | Instances, classes: Sequence[str] = ()) -> supervision.Detections:
    """Give a result as supervision's detections, with masks, scores and ids as trackers' ids.

    Args:
        result: of a pipeline. A lane's box is that of its points, and ``data["polyline"]`` has these.
        classes: names by class id, for ``data["class_name"]``; of lanes ``lane``.

    Raises:
        ConfigError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise ConfigError(f"expected supervision for its detections, got {error}; pip install supervision") from error

    if isinstance(result, Lanes):
        numbers, scores = result.ids, result.confidence
        masks = [result.mask == identity for identity in result.ids]
        boxes = [(*line.min(axis=0), *line.max(axis=0)) if len(line) else (0, 0, 0, 0) for line in result.polylines]
        xyxy = np.array(boxes, np.float32).reshape(-1, 4)
        class_ids = np.zeros(len(result), np.int32)
        classes = ("lane",)
        shape = result.mask.shape
    else:
        numbers, scores, xyxy, class_ids = result.ids, result.scores, result.boxes, result.class_ids
        masks = [result.labels == number for number in range(1, len(result) + 1)]
        shape = result.labels.shape
    data: dict[str, Any] = {}
    if classes:
        data["class_name"] = np.array([class_name(classes, i) for i in class_ids.tolist()], dtype=str)
    if isinstance(result, Lanes):
        lines = np.empty(len(result), dtype=object)
        lines[:] = list(result.polylines)
        data[POLYLINE] = lines
    mask = np.stack(masks) if masks else np.zeros((0, *shape), np.bool_)
    return supervision.Detections(xyxy, mask, scores, class_ids, numbers, data)


def instances_from_supervision(detections: supervision.Detections, size: tuple[int, int]) -> Instances:
    """Give detections with masks as instances; where masks overlap, the more confident keeps the pixels.

    Args:
        detections: boxes without masks are no instances.
        size: (height, width) of the picture.

    Raises:
        DatasetError: there are no masks, or they have another size.
    """
    count = len(detections)
    if count and detections.mask is None:
        raise DatasetError("expected detections with masks, got boxes alone; use a model that segments")
    masks = np.asarray(detections.mask if count else np.zeros((0, *size)), np.bool_)
    scores = np.ones(count) if detections.confidence is None else detections.confidence
    kinds = np.zeros(count) if detections.class_id is None else detections.class_id
    ids = np.arange(1, count + 1) if detections.tracker_id is None else detections.tracker_id
    return _instances(masks, ids, kinds, scores, size)


def lanes_from_supervision(detections: supervision.Detections, size: tuple[int, int]) -> Lanes:
    """Give detections of :func:`to_supervision` as lanes again.

    Args:
        detections: with ``data["polyline"]``; ids of 1 to 255.
        size: (height, width) of the picture.

    Raises:
        DatasetError: they have no polylines, or ids that a mask has no room for.
    """
    count = len(detections)
    ids = np.arange(1, count + 1) if detections.tracker_id is None else np.asarray(detections.tracker_id)
    if POLYLINE not in detections.data and count:
        raise DatasetError(f"expected detections of lanes with data[{POLYLINE!r}], got none; masks alone say no line")
    if count and not (ids.min() >= 1 and ids.max() <= 255):
        raise DatasetError(f"expected ids of 1 to 255, got {ids.min()} to {ids.max()}; number the lanes anew")
    mask = np.zeros(size, np.uint8)
    for identity, part in zip(ids, detections.mask if detections.mask is not None else (), strict=False):
        mask[np.asarray(part, np.bool_)] = identity
    scores = np.ones(count) if detections.confidence is None else detections.confidence
    lines = tuple(np.asarray(line, np.float32).reshape(-1, 2) for line in detections.data.get(POLYLINE, ()))
    return Lanes(mask, ids.astype(np.int32), np.asarray(scores, np.float32), lines)


def to_coco(instances: Instances, image_id: int, first_id: int = 1) -> list[dict[str, Any]]:
    """Give instances as COCO's annotations, polygons without their holes; category 1 + i for class i.

    Args:
        instances: of one picture.
        image_id: of the picture in the COCO file.
        first_id: of the annotations.
    """
    annotations: list[dict[str, Any]] = []
    for index in range(len(instances)):
        outlines = polygons(instances.labels == index + 1)
        x0, y0, x1, y1 = (float(value) for value in instances.boxes[index])
        annotations.append(
            {
                "id": first_id + index,
                "image_id": image_id,
                "category_id": int(instances.class_ids[index]) + 1,
                "segmentation": [outline.ravel().tolist() for outline in outlines],
                "area": int(instances.areas[index]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": float(instances.scores[index]),
                "iscrowd": 0,
            }
        )
    return annotations


def from_coco(annotations: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Instances:
    """Give COCO's annotations of one picture as instances; class i for category 1 + i, score 1 where there is none.

    Args:
        annotations: with ``segmentation`` (polygons or run lengths) and ``category_id``.
        size: (height, width) of the picture.

    Raises:
        ConfigError: pycocotools is not installed.
        DatasetError: a segmentation does not parse.
    """
    masks = [decode_segmentation(row.get("segmentation"), size, f"annotation {row.get('id')}") for row in annotations]
    scores = np.array([row.get("score", 1.0) for row in annotations], np.float32)
    kinds = np.array([row["category_id"] - 1 for row in annotations], np.int32)
    stacked = np.array(masks, np.bool_).reshape(-1, *size)
    return _instances(stacked, np.arange(1, len(masks) + 1), kinds, scores, size)


def to_table(results: Iterable[Lanes | Instances], classes: Sequence[str] = ()) -> pandas.DataFrame:
    """Give the results of a replay as a pandas table, a row for each lane or object.

    Args:
        results: frame by frame.
        classes: names by class id.

    Returns:
        Columns ``frame`` (from 0), ``stamp`` (ns), ``id``, ``class``, ``score``, the box ``x0``, ``y0``, ``x1``,
        ``y1`` in pixels, and ``ms`` that the frame took.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ConfigError(f"expected pandas for a table, got {error}; pip install pandas") from error

    rows = []
    for number, result in enumerate(results):
        for index in range(len(result)):
            if isinstance(result, Lanes):
                line = result.polylines[index]
                box = (*line.min(axis=0), *line.max(axis=0)) if len(line) else (np.nan,) * 4
                kind, score = "lane", result.confidence[index]
            else:
                box = tuple(result.boxes[index])
                kind, score = class_name(classes, int(result.class_ids[index])), result.scores[index]
            took = sum(result.times.values())
            rows.append((number, result.stamp, int(result.ids[index]), kind, float(score), *map(float, box), took))
    columns = ["frame", "stamp", "id", "class", "score", "x0", "y0", "x1", "y1", "ms"]
    return pandas.DataFrame(rows, columns=columns)


def _instances(
    masks: NDArray[np.bool_],
    ids: NDArray[Any],
    kinds: NDArray[Any],
    scores: NDArray[Any],
    size: tuple[int, int],
) -> Instances:
    """Instances of (n, H, W) masks; those that are hidden by more confident ones are left out."""
    if masks.shape[1:] != size:
        raise DatasetError(f"expected masks of {size[0]}x{size[1]}, got {masks.shape[1:]}; scale them to the picture")
    labels = np.zeros(size, np.int32)
    for index in np.argsort(scores, kind="stable"):
        labels[masks[index]] = index + 1
    kept = np.array([index for index in range(len(masks)) if (labels == index + 1).any()], np.int64)
    numbers = np.zeros(len(masks) + 1, np.int32)
    numbers[kept + 1] = np.arange(1, len(kept) + 1)
    labels = numbers[labels]
    places = [np.nonzero(labels == number) for number in range(1, len(kept) + 1)]
    boxes = [(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in places]
    return Instances(
        labels=labels,
        ids=np.asarray(ids)[kept].astype(np.int32),
        class_ids=np.asarray(kinds)[kept].astype(np.int32),
        scores=np.asarray(scores)[kept].astype(np.float32),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        areas=np.array([len(y) for y, _ in places], np.int64),
        centers=np.array([(x.mean(), y.mean()) for y, x in places], np.float32).reshape(-1, 2),
    )
