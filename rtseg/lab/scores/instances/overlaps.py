"""How the instances found in a frame overlap the true ones: all that the instance scores need to know of a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import DatasetError
from rtseg.lab.data.cityscapes import LABEL_IDS
from rtseg.lab.data.instance_labels import IGNORED, IGNORED_CLASS, InstanceTruth

# Labels that Cityscapes leaves out of all its scores (`ignoreInEval`).
_VOID_IDS = [
    LABEL_IDS[name]
    for name in (
        "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking",
        "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer",
    )
]  # fmt: skip


@dataclass(frozen=True)
class ScoredTruth:
    """What instances found in one frame are compared with; row i of the arrays describes label i + 1.

    Attributes:
        labels: (H, W) int32, 0 where there is none, consecutive 1..n.
        class_ids: (n,) int32.
        ignored: (H, W) uint8: 0 where results count, 1 + i in a region of several objects of class i that the labels do
            not tell apart, 255 where nothing is known.
        distances: (n,) float64 median metres from the camera, NaN where less than half of an instance has depth; None
            where the data set has no depth.
    """

    labels: NDArray[np.int32]
    class_ids: NDArray[np.int32]
    ignored: NDArray[np.uint8]
    distances: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        truth: InstanceTruth,
        cityscapes_ids: NDArray[np.integer] | None = None,
        distances: NDArray[np.float64] | None = None,
    ) -> ScoredTruth:
        """Take over what a reader gives.

        Args:
            truth: as networks are trained with.
            cityscapes_ids: (H, W) values of Cityscapes' instanceIds, where there are any: its scores leave out more
                than training does (the own vehicle, bridges, rails and others).
            distances: see the class.
        """
        hidden = truth.instances == IGNORED
        ignored = np.where(hidden, truth.semantic, 0).astype(np.uint8)
        ignored[truth.semantic == IGNORED_CLASS] = IGNORED_CLASS
        if cityscapes_ids is not None:
            kinds = np.where(cityscapes_ids >= 1000, cityscapes_ids // 1000, cityscapes_ids)
            ignored[np.isin(kinds, _VOID_IDS)] = IGNORED_CLASS
        return cls(np.where(hidden, 0, truth.instances).astype(np.int32), truth.class_ids, ignored, distances)


@dataclass(frozen=True)
class Overlaps:
    """Instances found (n) against true ones (m) of one frame, in pixels.

    Attributes:
        name: of the frame.
        size: (H, W).
        classes: (n,) int32 class of each instance found.
        scores: (n,) float64.
        areas: (n,) int64.
        true_classes: (m,) int32.
        true_areas: (m,) int64.
        both: (n, m) int64 pixels that an instance found shares with a true one, whatever their classes.
        void: (n,) int64 pixels in regions where nothing is known.
        crowd: (n, C) int64 pixels in regions of several objects of each class.
        crowd_areas: (C,) int64 pixels of those regions.
        distances: (m,) float64 metres, NaN where unknown; None where the data set has no depth.
    """

    name: str
    size: tuple[int, int]
    classes: NDArray[np.int32]
    scores: NDArray[np.float64]
    areas: NDArray[np.int64]
    true_classes: NDArray[np.int32]
    true_areas: NDArray[np.int64]
    both: NDArray[np.int64]
    void: NDArray[np.int64]
    crowd: NDArray[np.int64]
    crowd_areas: NDArray[np.int64]
    distances: NDArray[np.float64] | None = None

    @property
    def iou(self) -> NDArray[np.float64]:
        """(n, m) intersection over union, 0 between different classes."""
        union = self.areas[:, None] + self.true_areas - self.both
        same = self.classes[:, None] == self.true_classes
        return np.asarray(np.where(same, self.both / np.maximum(union, 1), 0.0), dtype=np.float64)

    def class_agnostic(self) -> Overlaps:
        """The same with one class for everything."""
        return replace(
            self,
            classes=np.zeros_like(self.classes),
            true_classes=np.zeros_like(self.true_classes),
            crowd=self.crowd.sum(axis=1, keepdims=True),
            crowd_areas=self.crowd_areas.sum(keepdims=True),
        )

    def ranked_by_truth(self) -> Overlaps:
        """The same with the largest IoU with a true instance of the class as score: the best ranking there could be
        (the oracle ranking of L2C's table III); of a true instance of any class where a model names none of them."""
        named = self if (self.classes >= 0).any() else self.class_agnostic()
        return replace(self, scores=named.iou.max(axis=1, initial=0.0))


def overlaps(
    name: str,
    truth: ScoredTruth,
    labels: NDArray[np.int32],
    class_ids: NDArray[np.integer],
    scores: NDArray[np.floating],
    classes: int,
) -> Overlaps:
    """Count what instances share with the truth of their frame.

    Args:
        name: of the frame.
        truth: true instances.
        labels: (H, W) int32 instances found, 0 where there is none, 1..n; a label without a pixel is left out.
        class_ids: (n,) their classes.
        scores: (n,) their scores.
        classes: how many classes there are.

    Raises:
        DatasetError: the sizes of the label images differ, or a label has no class.
    """
    if labels.shape != truth.labels.shape:
        raise DatasetError(
            f"expected instances of {name} in an image of {truth.labels.shape}, got one of {labels.shape}"
        )
    n, m = len(class_ids), len(truth.class_ids)
    if labels.max(initial=0) > n or truth.labels.max(initial=0) > m:
        raise DatasetError(f"expected a class for every instance of {name}, got labels without one")
    # Columns: nothing, true instances, crowds of each class, void.
    columns = m + classes + 2
    kind = truth.labels.astype(np.int64)
    special = truth.ignored > 0
    reasons = truth.ignored[special].astype(np.int64)
    kind[special] = np.where(reasons == IGNORED_CLASS, m + classes + 1, m + reasons)
    pairs = np.bincount((labels * np.int64(columns) + kind).reshape(-1), minlength=(n + 1) * columns)
    table = pairs.reshape(n + 1, columns)
    found = table[1:]
    areas = found.sum(axis=1)
    seen = areas > 0
    shown = table[:, 1 : m + 1].sum(axis=0)
    real = shown > 0
    return Overlaps(
        name=name,
        size=(labels.shape[0], labels.shape[1]),
        classes=np.asarray(class_ids, dtype=np.int32)[seen],
        scores=np.asarray(scores, dtype=np.float64)[seen],
        areas=areas[seen],
        true_classes=truth.class_ids[real],
        true_areas=shown[real],
        both=found[seen, 1 : m + 1][:, real],
        void=found[seen, -1],
        crowd=found[seen, m + 1 : -1],
        crowd_areas=table[:, m + 1 : -1].sum(axis=0),
        distances=None if truth.distances is None else truth.distances[real],
    )
