"""Masks without classes against labels: class-agnostic AP and AR of COCO, with the paper's size bands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import WeakSupervisionError
from rtseg.files import write_text
from rtseg.lab.data.instance_labels import IGNORED_CLASS, InstanceFrame
from rtseg.lab.scores.instances.coco_ap import EXEMPLAR_BANDS, CocoScore, coco_ap
from rtseg.lab.scores.instances.overlaps import Overlaps, ScoredTruth
from rtseg.lab.training.exemplar.files import coco_results, read_masks


def score_masks(
    files: Sequence[Path], frames: Sequence[InstanceFrame], results: Path | None = None
) -> tuple[CocoScore, int]:
    """Score masks, which may overlap, of the labelled frames of the same names.

    Args:
        files: of `rtseg.lab.training.exemplar.files.write_masks`, named as the frames.
        frames: labelled frames; those without a file are left out.
        results: also write the masks there in COCO's results format; image ids count the frames from 1.

    Returns:
        The scores, all classes as one, and how many frames they are of.

    Raises:
        WeakSupervisionError: if no file has the name of a frame.
    """
    by_name = {file.stem: file for file in files}
    found = [(i, frame) for i, frame in enumerate(frames, 1) if Path(frame.name).stem in by_name]
    if not found:
        raise WeakSupervisionError("expected mask files named as the labelled frames, got none that is")
    rows, counted = [], []
    for number, frame in found:
        masks = read_masks(by_name[Path(frame.name).stem])
        truth = ScoredTruth.of(frame.truth())
        counted.append(mask_overlaps_of(frame.name, truth, masks.masks, masks.scores))
        if results is not None:
            rows += coco_results(masks, number, (truth.labels.shape[0], truth.labels.shape[1]))
    if results is not None:
        write_text(results, json.dumps(rows))
    score, _ = coco_ap(counted, ("object",), EXEMPLAR_BANDS)
    return score, len(found)


def mask_overlaps_of(name: str, truth: ScoredTruth, masks: NDArray[np.bool_], scores: NDArray[np.floating]) -> Overlaps:
    """Count what masks share with the truth, all classes as one.

    Args:
        name: of the frame.
        truth: true instances.
        masks: (n, h, w) bool, enlarged to the truth's size by the nearest pixel.
        scores: (n,).
    """
    height, width = truth.labels.shape
    m = len(truth.class_ids)
    crowd = (truth.ignored > 0) & (truth.ignored != IGNORED_CLASS)
    # Nothing, true instances, crowds, void.
    kind = np.where(truth.ignored == IGNORED_CLASS, m + 2, np.where(crowd, m + 1, truth.labels))
    table = np.zeros((len(masks), m + 3), np.int64)
    for i, mask in enumerate(masks):
        large = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.bool_)
        table[i] = np.bincount(kind[large], minlength=m + 3)
    areas = table.sum(1)
    seen = areas > 0
    shown = np.bincount(kind.ravel(), minlength=m + 3)
    real = shown[1 : m + 1] > 0
    return Overlaps(
        name=name,
        size=(height, width),
        classes=np.zeros(int(seen.sum()), np.int32),
        scores=np.asarray(scores, np.float64)[seen],
        areas=areas[seen],
        true_classes=np.zeros(int(real.sum()), np.int32),
        true_areas=shown[1 : m + 1][real],
        both=table[seen, 1 : m + 1][:, real],
        void=table[seen, m + 2],
        crowd=table[seen, m + 1 : m + 2],
        crowd_areas=shown[m + 1 : m + 2],
    )
