"""Panoptic quality of things (Kirillov et al., Panoptic Segmentation), from the overlaps of each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtseg.lab.scores.instances.overlaps import Overlaps


@dataclass(frozen=True)
class PanopticScore:
    """Counts of matches (IoU over .5), and what follows from them.

    Attributes:
        iou: sum over the matches.
        matched: instances found that match a true one.
        wrong: instances found that match none.
        missed: true instances that none matches.
    """

    iou: float = 0.0
    matched: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: PanopticScore) -> PanopticScore:
        return PanopticScore(
            self.iou + other.iou, self.matched + other.matched, self.wrong + other.wrong, self.missed + other.missed
        )

    @property
    def segmentation(self) -> float:
        """Mean IoU of the matches (SQ), 0 where there is none."""
        return self.iou / self.matched if self.matched else 0.0

    @property
    def recognition(self) -> float:
        """F1 of the matches (RQ); NaN where nothing was there and nothing found."""
        instances = self.matched + 0.5 * (self.wrong + self.missed)
        return self.matched / instances if instances else float("nan")

    @property
    def quality(self) -> float:
        """PQ, the product of the two."""
        return self.segmentation * self.recognition


def panoptic_quality(frames: Sequence[Overlaps], classes: Sequence[str]) -> tuple[float, dict[str, PanopticScore]]:
    """Score frames.

    Void pixels do not count in an instance's area; one that lies to more than half in void and in crowds of its class
    is no mistake.

    Returns:
        PQ averaged over the classes that are there or were found (NaN if none), and the scores by class.
    """
    scores = {name: sum((_one(frame, c) for frame in frames), start=PanopticScore()) for c, name in enumerate(classes)}
    known = [score.quality for score in scores.values() if not np.isnan(score.quality)]
    return float(np.mean(known)) if known else float("nan"), scores


def frame_quality(frame: Overlaps) -> float:
    """PQ of one frame over all its instances; NaN where nothing was there and nothing found."""
    return sum((_one(frame, c) for c in range(frame.crowd.shape[1])), start=PanopticScore()).quality


def _one(frame: Overlaps, c: int) -> PanopticScore:
    rows, columns = np.flatnonzero(frame.classes == c), np.flatnonzero(frame.true_classes == c)
    both = frame.both[np.ix_(rows, columns)]
    areas, void = frame.areas[rows], frame.void[rows]
    iou = both / np.maximum((areas - void)[:, None] + frame.true_areas[columns] - both, 1)
    matches = iou > 0.5  # at most one a row and column
    hidden = void + frame.crowd[rows, c] > 0.5 * areas
    return PanopticScore(
        float(iou[matches].sum()),
        int(matches.sum()),
        int((~matches.any(axis=1) & ~hidden).sum()),
        int((~matches.any(axis=0)).sum()),
    )
