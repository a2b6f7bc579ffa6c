"""Class-agnostic instance proposals ("salient instances") of recorded frames, from whatever found them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError, ImageError, WeakSupervisionError
from rtseg.lab.data.coco import decode_segmentation, encode_mask
from rtseg.lab.data.mask_box import mask_box
from rtseg.lab.weak.annotations import Proposals, read_annotations
from rtseg.lab.weak.stages import tree_digest
from rtseg.loading import load
from rtseg.media.images import read_image, read_stored
from rtseg.media.natural_order import natural_key
from rtseg.results import Instances
from rtseg.runtime import Pipeline, find_model

FREE = "free"


@dataclass(frozen=True)
class FrameFile:
    """A frame on disk: its file, and its size (height, width) in pixels."""

    path: Path
    size: tuple[int, int]

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Found:
    """One mask of a frame, before it is looked at: (H, W) bool, and the source's score."""

    mask: NDArray[np.bool_]
    score: float = 1.0


Finder = Callable[[FrameFile], Iterable[Found]]
"""Gives the masks of a frame; raises WeakSupervisionError for a frame whose masks cannot be used."""


def collect_proposals(
    frames: Sequence[FrameFile], find: Finder, min_area: int = 64, advance: Callable[[], None] | None = None
) -> tuple[Proposals, Counter[str]]:
    """Ask a source for the instances of every frame.

    Args:
        frames: in the order of the result.
        find: the source.
        min_area: masks of fewer pixels are left out.
        advance: called after every frame.

    Returns:
        The proposals, and how many masks or frames were left out, by reason.
    """
    left_out: Counter[str] = Counter()
    rows: list[tuple[int, tuple[int, int, int, int], int, float, str]] = []
    for index, frame in enumerate(frames):
        count = len(rows)
        try:
            for found in find(frame):
                row = _examine(index, frame, found, min_area, left_out)
                if row is not None:
                    rows.append(row)
        except (DatasetError, WeakSupervisionError) as error:
            left_out[f"frames whose masks cannot be used: {error}"] += 1
        if len(rows) == count:
            left_out["frames without an instance"] += 1
        if advance:
            advance()
    proposals = Proposals(
        names=tuple(frame.name for frame in frames),
        sizes=np.array([frame.size for frame in frames], np.int32).reshape(-1, 2),
        frames=np.array([row[0] for row in rows], np.int32),
        boxes=np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        areas=np.array([row[2] for row in rows], np.int64),
        scores=np.array([row[3] for row in rows], np.float32),
        runs=tuple(row[4] for row in rows),
    )
    return proposals, left_out


def _examine(
    index: int, frame: FrameFile, found: Found, min_area: int, left_out: Counter[str]
) -> tuple[int, tuple[int, int, int, int], int, float, str] | None:
    mask = found.mask
    if mask.shape != frame.size:
        raise WeakSupervisionError(
            f"expected masks of {frame.size[1]}x{frame.size[0]} pixels, got {mask.shape[1]}x{mask.shape[0]}"
        )
    box = mask_box(mask)
    if not any(box):
        left_out["empty masks"] += 1
        return None
    area = int(mask.sum())
    if area < min_area:
        left_out[f"masks of less than {min_area} pixels"] += 1
        return None
    return index, box, area, float(found.score), encode_mask(mask)


def mask_files(folder: Path) -> Finder:
    """Proposals in PNG files: ``STEM.png`` whose values or colors are instances, or ``STEM/*.png``, one mask each.

    Raises:
        WeakSupervisionError: there is no such folder.
    """
    if not folder.is_dir():
        raise WeakSupervisionError(f"expected a folder of mask files, got {folder}; check the path")

    def find(frame: FrameFile) -> Iterator[Found]:
        labels = folder / f"{frame.path.stem}.png"
        single = folder / frame.path.stem
        if labels.is_file():
            values = _read_labels(labels)
            for value in np.unique(values):
                if value:
                    yield Found(values == value)
        elif single.is_dir():
            for path in sorted(single.glob("*.png"), key=natural_key):
                yield Found(_read_labels(path) > 0)

    return find


def _read_labels(path: Path) -> NDArray[np.int64]:
    """(H, W) instance numbers of a label picture; colors count as numbers."""
    try:
        picture = read_stored(path)
    except ImageError as error:
        raise WeakSupervisionError(f"expected a PNG mask: {error}") from error
    if picture.ndim == 2:
        return np.asarray(picture, np.int64)
    # A palette comes back as colors; what an alpha channel hides does not count.
    blue, green, red = (picture[..., c].astype(np.int64) for c in range(3))
    values = (red << 16) + (green << 8) + blue
    return values * (picture[..., 3] > 0) if picture.shape[2] == 4 else values


def coco_file(path: Path) -> Finder:
    """Proposals of a COCO JSON file, whatever their categories; frames are found by file name, else by stem.

    Raises:
        WeakSupervisionError: the file is not COCO JSON.
    """
    content = read_annotations(path)
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    names = {image["id"]: PurePosixPath(str(image["file_name"])).name for image in content["images"]}
    for annotation in content["annotations"]:
        if not annotation.get("iscrowd") and annotation.get("image_id") in names:
            by_name.setdefault(names[annotation["image_id"]], []).append(annotation)
    by_stem = {PurePosixPath(name).stem: annotations for name, annotations in by_name.items()}

    def find(frame: FrameFile) -> Iterator[Found]:
        for annotation in by_name.get(frame.name, by_stem.get(frame.path.stem, [])):
            mask = decode_segmentation(annotation.get("segmentation"), frame.size, frame.name)
            yield Found(mask, float(annotation.get("score", 1.0)))

    return find


@dataclass(frozen=True)
class ProposalSource:
    """Where proposals come from: a name for reports, what identifies its content, and how to ask it."""

    name: str
    digest: str
    find: Finder


def open_proposals(where: str | Path) -> ProposalSource:
    """Find out what a source of proposals is.

    Args:
        where: ``free`` for masks from a pretrained backbone alone (:mod:`rtseg.lab.weak.free_masks`), a COCO JSON
            file, a folder of mask files, or an instance model: a bundled one or a folder with card.yaml.

    Raises:
        WeakSupervisionError: the file or folder does not hold masks.
        ModelError: there is neither such a file or folder nor such a model.
    """
    path = Path(where)
    if str(where) == FREE:
        return ProposalSource("free masks", "free", free_finder())
    if path.is_file() and path.name != "card.yaml":
        return ProposalSource(str(where), tree_digest(path), coco_file(path))
    if path.is_dir() and not (path / "card.yaml").is_file():
        return ProposalSource(str(where), tree_digest(path), mask_files(path))
    model = find_model(where)
    return ProposalSource(f"model {model.card.name}", model.card.model.sha256, model_masks(load(where)))


def model_masks(pipeline: Pipeline) -> Finder:
    """Proposals of an instance model, whatever its classes.

    Raises:
        WeakSupervisionError: the model finds no instances.
    """

    def find(frame: FrameFile) -> Iterator[Found]:
        pipeline.reset()
        found = pipeline(read_image(frame.path))
        if not isinstance(found, Instances):
            raise WeakSupervisionError(f"expected a model of instances, got {pipeline.card.name}; name another")
        for i in range(len(found)):
            yield Found(found.labels == i + 1, float(found.scores[i]))

    return find


def free_finder() -> Finder:
    """Free masks as proposals (needs the train extra)."""
    from rtseg.lab.weak.free_mask_pool import choose_masks, pool_masks
    from rtseg.lab.weak.free_masks import FreeMaskFeatures, FreeMaskSettings

    features, settings = FreeMaskFeatures(), FreeMaskSettings()

    def find(frame: FrameFile) -> Iterator[Found]:
        image = np.asarray(read_image(frame.path), np.uint8)
        pool = pool_masks(image, features, settings)
        chosen, masks = choose_masks(pool, pool.found, settings)
        for mask, score in zip(masks, pool.found[chosen].tolist(), strict=True):
            large = cv2.resize(mask.view(np.uint8), frame.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            yield Found(large.astype(np.bool_), score)

    return find
