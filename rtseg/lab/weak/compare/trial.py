"""A labelled data set as a trial of keyword supervision: frames, their keywords, proposals, and the truth to score by.

The keywords are what the labels show; the proposals, unless others are given, are the labels' masks made worse, and
shapes of objects where there is none, as a detector of salient instances finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from rtseg.errors import WeakSupervisionError
from rtseg.lab.data.instance_labels import InstanceFrame
from rtseg.lab.data.mask_box import mask_box
from rtseg.lab.data.selection import evenly
from rtseg.lab.weak.annotations import Proposals, write_annotations
from rtseg.lab.weak.proposals import Found, FrameFile, collect_proposals
from rtseg.media.images import write_image

IMAGES, KEYWORDS, TRUTH, PROPOSALS = "images", "keywords.yaml", "truth.json", "proposals.json"
_TRIES = 20  # places looked at for a false proposal


@dataclass(frozen=True)
class TrialSettings:
    """What is cut out of a labelled set.

    Attributes:
        frames: how many, evenly from the whole set.
        crop: (height, width) cut out of each at a random place, in pixels; smaller frames are taken as they are.
        min_area: objects of fewer pixels are neither keyword nor proposal.
        false_share: false proposals for each true one.
        seed: of the places and the damage.
    """

    frames: int = 300
    crop: tuple[int, int] = (320, 640)
    min_area: int = 200
    false_share: float = 0.1
    seed: int = 0


def make_trial(
    frames: Sequence[InstanceFrame], out: Path, settings: TrialSettings, advance: Callable[[], None] | None = None
) -> None:
    """Write pictures, ``keywords.yaml``, ``truth.json`` and ``proposals.json`` to a folder.

    Raises:
        WeakSupervisionError: there are no frames.
        DatasetError: a picture or its labels cannot be read.
    """
    if not frames:
        raise WeakSupervisionError("expected labelled frames to try on, got none; check the folder")
    rng = np.random.default_rng(settings.seed)
    classes = frames[0].classes
    files: list[FrameFile] = []
    masks: list[list[NDArray[np.bool_]]] = []
    class_ids: list[list[int]] = []
    for frame in evenly(frames, settings.frames):
        image, truth = frame.image(), frame.truth()
        window = _window(image.shape[:2], settings.crop, rng)
        image, instances = np.ascontiguousarray(image[window]), truth.instances[window]
        path = out / IMAGES / f"{frame.name}.png"
        write_image(path, image)
        files.append(FrameFile(path, (image.shape[0], image.shape[1])))
        areas = np.bincount(np.maximum(instances, 0).ravel(), minlength=len(truth) + 1)
        seen = [i for i in range(1, len(truth) + 1) if areas[i] >= settings.min_area]
        masks.append([instances == i for i in seen])
        class_ids.append([int(truth.class_ids[i - 1]) for i in seen])
        if advance:
            advance()
    entries = {file.name: [classes[i] for i in sorted(set(ids))] for file, ids in zip(files, class_ids, strict=True)}
    content = {"classes": list(classes), "images": entries}
    (out / KEYWORDS).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    by_name = dict(zip((file.name for file in files), masks, strict=True))
    true, _ = collect_proposals(files, lambda file: [Found(mask) for mask in by_name[file.name]], 1)
    write_annotations(out / TRUTH, true, classes, np.array([i for ids in class_ids for i in ids], np.int64))
    shapes = [mask for frame_masks in masks for mask in frame_masks]
    damaged, _ = collect_proposals(
        files,
        lambda file: [Found(mask) for mask in _propose(by_name[file.name], file.size, shapes, settings, rng)],
        settings.min_area,
    )
    write_annotations(out / PROPOSALS, damaged)


def match_truth(
    proposals: Proposals, truth: Proposals, class_ids: NDArray[np.integer], overlap: float = 0.5
) -> NDArray[np.int32]:
    """The true class of each proposal: that of the object it overlaps most, -1 (noise) below an IoU of `overlap`.

    Frames are matched by file name; proposals on frames without truth are noise.
    """
    frame_of = {name: i for i, name in enumerate(truth.names)}
    found = np.full(len(proposals), -1, np.int32)
    for frame, name in enumerate(proposals.names):
        members = proposals.of_frame(frame)
        objects = truth.of_frame(frame_of[name]) if name in frame_of else range(0)
        if not len(members) or not len(objects):
            continue
        theirs = [truth.mask(i) for i in objects]
        for j in members:
            mask = proposals.mask(j)
            x0, y0, x1, y1 = proposals.boxes[j].astype(int).tolist()
            both = np.array([np.count_nonzero(t[y0:y1, x0:x1] & mask[y0:y1, x0:x1]) for t in theirs])
            iou = both / (truth.areas[objects.start : objects.stop] + proposals.areas[j] - both)
            best = int(iou.argmax())
            if iou[best] >= overlap:
                found[j] = class_ids[objects[best]]
    return found


def _window(size: tuple[int, ...], crop: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
    height, width = min(crop[0], size[0]), min(crop[1], size[1])
    # Objects stand around the horizon, in the middle of a road picture.
    slack = size[0] - height
    top = int(np.clip(rng.normal(0.5, 0.2), 0, 1) * slack)
    left = int(rng.integers(0, size[1] - width + 1))
    return slice(top, top + height), slice(left, left + width)


def _propose(
    masks: list[NDArray[np.bool_]],
    size: tuple[int, int],
    shapes: list[NDArray[np.bool_]],
    settings: TrialSettings,
    rng: np.random.Generator,
) -> list[NDArray[np.bool_]]:
    found = [_damage(mask, rng) for mask in masks]
    taken = np.any(masks, axis=0) if masks else np.zeros(size, np.bool_)
    for _ in range(int(rng.poisson(settings.false_share * max(len(masks), 1)))):
        false = _misplace(shapes[int(rng.integers(len(shapes)))], taken, rng) if shapes else None
        if false is not None:
            found.append(false)
    return found


def _damage(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Shift a mask by up to a tenth of its size and grow or shrink it."""
    x0, y0, x1, y1 = mask_box(mask)
    height, width = y1 - y0, x1 - x0
    shift = rng.uniform(-0.1, 0.1, 2) * [width, height]
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    moved = cv2.warpAffine(mask.astype(np.uint8), move, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    radius = max(1, round(0.06 * min(height, width)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    changed = (cv2.dilate if rng.random() < 0.6 else cv2.erode)(moved, kernel)
    return np.asarray(changed if changed.any() else moved, np.bool_)


def _misplace(shape: NDArray[np.bool_], taken: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_] | None:
    """Put an object's shape where no object is, if such a place is found."""
    x0, y0, x1, y1 = mask_box(shape)
    piece = shape[y0:y1, x0:x1][: taken.shape[0], : taken.shape[1]]
    height, width = piece.shape
    for _ in range(_TRIES):
        top = int(rng.integers(0, taken.shape[0] - height + 1))
        left = int(rng.integers(0, taken.shape[1] - width + 1))
        if (taken[top : top + height, left : left + width] & piece).sum() <= 0.1 * piece.sum():
            placed = np.zeros_like(taken)
            placed[top : top + height, left : left + width] = piece
            return placed
    return None
