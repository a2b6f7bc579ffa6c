"""Proxy ground truth: tagged instances as labels for training, with the pictures to judge them by."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.lab.data.coco import write_coco
from rtseg.lab.data.instance_labels import InstanceTruth
from rtseg.lab.data.selection import evenly
from rtseg.lab.weak.annotations import Proposals, write_annotations
from rtseg.lab.weak.keywords.keywords import Keywords
from rtseg.lab.weak.keywords.sheet import draw_tags, tag_sheet
from rtseg.lab.weak.keywords.tag_inputs import TagInputs
from rtseg.media.images import read_image, write_image

LABELS = "instances.json"
IMAGES = "images"
REJECTED = "rejected.json"
SHEETS = "sheets"
_DRAWN = 12  # frames drawn with their labels


def write_labels(inputs: TagInputs, tags: NDArray[np.integer], keywords: Keywords, folder: Path) -> dict[str, Any]:
    """Write the labels of all frames with known keywords and their pictures, the rejected instances apart, and sheets.

    A frame whose keywords are known to be none is labelled as background; one without keywords is left out. A rejected
    instance counts as background, as in the paper.

    Returns:
        A summary.
    """
    proposals, classes = inputs.proposals, inputs.classes
    known = np.flatnonzero(keywords.known)
    count = write_coco(folder / LABELS, _truths(proposals, tags, known), classes)
    (folder / IMAGES).mkdir(exist_ok=True)
    for frame in known.tolist():
        _link(inputs.paths[frame], folder / IMAGES / proposals.names[frame])
    rejected = np.flatnonzero(tags < 0)
    write_annotations(folder / REJECTED, proposals.select(rejected))
    _write_sheets(inputs, tags, folder / SHEETS)
    empty = int((~np.isin(known, proposals.frames[tags >= 0])).sum())
    return {
        "frames": len(known),
        "annotations": count,
        "left_out": {
            why: number
            for why, number in {
                "instances rejected as noise": len(rejected),
                "instances hidden behind others": len(tags) - len(rejected) - count,
            }.items()
            if number
        },
        "frames_without_label": empty,
    }


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the file system has no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _truths(
    proposals: Proposals, tags: NDArray[np.integer], frames: NDArray[np.integer]
) -> Iterator[tuple[str, InstanceTruth]]:
    for frame in frames.tolist():
        instances = np.zeros(proposals.size(frame), np.int32)
        semantic = np.zeros(proposals.size(frame), np.uint8)
        members = [j for j in proposals.of_frame(frame) if tags[j] >= 0]
        # The largest first: a small mask on a large one is the object in front of it more often than a part of it.
        for number, j in enumerate(sorted(members, key=lambda j: -int(proposals.areas[j])), 1):
            mask = proposals.mask(j)
            instances[mask], semantic[mask] = number, 1 + int(tags[j])
        class_ids = [int(tags[j]) for j in sorted(members, key=lambda j: -int(proposals.areas[j]))]
        yield proposals.names[frame], InstanceTruth(instances, semantic, np.array(class_ids, np.int32))


def _write_sheets(inputs: TagInputs, tags: NDArray[np.integer], folder: Path) -> None:
    proposals = inputs.proposals
    own = np.where(inputs.allowed, inputs.probabilities, 0.0)
    for tag in np.unique(tags).tolist():
        members = np.flatnonzero(tags == tag)
        p = own[members, tag] if tag >= 0 else own[members].max(1)
        order = np.argsort(-p, kind="stable")
        name = inputs.classes[tag] if tag >= 0 else "rejected"
        title = f"{name}: {counted(len(members), 'instance')}, by probability"
        picture = tag_sheet(inputs.paths, proposals, members[order], [f"p {v:.2f}" for v in p[order]], title)
        write_image(folder / f"{'rejected' if tag < 0 else f'{tag:02d}-{_file_name(name)}'}.jpg", picture)
    for frame in evenly(np.unique(proposals.frames).tolist(), _DRAWN):
        image = np.asarray(read_image(inputs.paths[frame]), np.uint8)
        picture = draw_tags(image, proposals, frame, tags, inputs.classes)
        write_image(folder / "frames" / f"{inputs.paths[frame].stem}.jpg", picture)


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)
