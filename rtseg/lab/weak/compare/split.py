"""A labelled set split by city into frames that give masks, frames that give keywords, and frames that are scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rtseg.errors import WeakSupervisionError
from rtseg.lab.data.coco import write_coco
from rtseg.lab.data.instance_folders import HOLDOUT_CITIES, read_instances
from rtseg.lab.data.instance_labels import IGNORED_CLASS, InstanceFrame, InstanceTruth
from rtseg.lab.weak.compare.trial import KEYWORDS
from rtseg.lab.weak.keywords.label import Progress
from rtseg.lab.weak.keywords.labels import IMAGES, LABELS
from rtseg.lab.weak.stages import Stage, listing_digest, run_stage
from rtseg.media.images import write_image

MASKS, WORDS = "masks", "keywords"
OBJECT = "object"
_MASK_SHARE = 0.4  # of the frames that are not held out
_SEEN = 200  # pixels from which on an object is named


@dataclass(frozen=True)
class Split:
    """Frames of a labelled set by what is used of them.

    Attributes:
        masks: their masks, without classes.
        keywords: what is to be seen on them.
        held_out: nothing, they are scored.
    """

    masks: list[InstanceFrame]
    keywords: list[InstanceFrame]
    held_out: list[InstanceFrame]


def split_cities(frames: Sequence[InstanceFrame], holdout: Sequence[str] = HOLDOUT_CITIES) -> Split:
    """Split frames by city: of the cities not held out the first by name, about 40 % of the frames, give masks.

    Raises:
        WeakSupervisionError: no city is held out, or fewer than two are left.
    """
    held_out = [frame for frame in frames if frame.place in holdout]
    cities = sorted({frame.place for frame in frames if frame.place and frame.place not in holdout})
    if not held_out or len(cities) < 2:
        raise WeakSupervisionError(
            f"expected frames of a city to score on ({', '.join(holdout)}) and of two others, got {len(held_out)} "
            f"to score on and {', '.join(cities) or 'no city'} beside them; give Cityscapes or cityscapes640"
        )
    until = np.cumsum([sum(frame.place == city for frame in frames) for city in cities])
    first = 1 + int(np.abs(until[:-1] - _MASK_SHARE * until[-1]).argmin())
    return Split(
        [frame for frame in frames if frame.place in cities[:first]],
        [frame for frame in frames if frame.place in cities[first:]],
        held_out,
    )


def split_stage(data: Path, out: Path, progress: Progress | None = None) -> Stage:
    """Write both groups as COCO sets, `masks` of one class and `keywords` with all labels, and the keyword file.

    Raises:
        DatasetError: the set cannot be read.
        WeakSupervisionError: see :func:`split_cities`.
    """

    def build(folder: Path) -> Mapping[str, Any]:
        split = split_cities(read_instances(data))
        classes = split.keywords[0].classes
        entries: dict[str, list[str]] = {}
        done = 0

        def rows(frames: Sequence[InstanceFrame], images: Path) -> Iterator[tuple[str, InstanceTruth]]:
            nonlocal done
            for frame in frames:
                name, truth = f"{frame.name}.jpg", frame.truth()
                write_image(images / name, frame.image())
                yield name, truth
                done += 1
                if progress:
                    progress("split", done, len(split.masks) + len(split.keywords))

        masks, words = folder / MASKS, folder / WORDS
        masks.mkdir(exist_ok=True)
        words.mkdir(exist_ok=True)
        alike = ((name, without_classes(truth)) for name, truth in rows(split.masks, masks / IMAGES))
        write_coco(masks / LABELS, alike, (OBJECT,))

        def named() -> Iterator[tuple[str, InstanceTruth]]:
            for name, truth in rows(split.keywords, words / IMAGES):
                entries[name] = [classes[i] for i in seen_classes(truth)]
                yield name, truth

        write_coco(words / LABELS, named(), classes)
        content = {"classes": list(classes), "images": entries}
        (words / KEYWORDS).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return {
            group: {"frames": len(frames), "cities": sorted({frame.place for frame in frames})}
            for group, frames in vars(split).items()
        }

    return run_stage(out, 1, "split", {"data": listing_digest(data)}, build)


def seen_classes(truth: InstanceTruth) -> list[int]:
    """The classes that someone who looks at the frame would name: those of objects of 200 pixels or more."""
    areas = np.bincount(np.maximum(truth.instances, 0).ravel(), minlength=len(truth) + 1)[1:]
    return sorted(set(truth.class_ids[areas >= _SEEN].tolist()))


def without_classes(truth: InstanceTruth) -> InstanceTruth:
    """The same instances and groups, all of one class."""
    known = (truth.semantic > 0) & (truth.semantic != IGNORED_CLASS)
    semantic = np.where(known, 1, truth.semantic).astype(np.uint8)
    return InstanceTruth(truth.instances, semantic, np.zeros(len(truth), np.int32))
