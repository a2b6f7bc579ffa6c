"""How well ids stay with objects, where the truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.ops.assignment import assign

_MIN_IOU = 0.5


class IdentityLog:
    """Counts id switches over a recording, as MOTA does.

    A true object that was matched to one id before and is matched to another now has switched; frames in which nothing
    matches it do not count, so an id kept through an occlusion is no switch.

    Attributes:
        objects: true objects, over all frames.
        matched: those of them with a mask that overlaps by an intersection over union of at least one half.
        switches: ids that changed.
    """

    def __init__(self) -> None:
        self.objects = 0
        self.matched = 0
        self.switches = 0
        self._last: dict[int, int] = {}

    def update(self, truth: NDArray[np.integer], labels: NDArray[np.integer], ids: NDArray[np.integer]) -> None:
        """Add one frame.

        Args:
            truth: (H, W) ids that stay with true objects, 0 = nothing.
            labels: (H, W) labels found, 0 = nothing.
            ids: (n,) id of each label.

        Raises:
            ArgumentError: if the sizes differ.
        """
        if truth.shape != labels.shape:
            raise ArgumentError(f"expected truth of the labels' size {labels.shape}, got {truth.shape}")
        names, true = np.unique(truth, return_inverse=True)
        columns = len(ids) + 1
        pairs = np.bincount(true.reshape(-1) * columns + labels.reshape(-1), minlength=len(names) * columns)
        shared = pairs.reshape(len(names), columns)
        union = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None] - shared
        overlap = (shared / np.maximum(union, 1))[names > 0, 1:]
        names = names[names > 0]
        cost = np.where(overlap >= _MIN_IOU, 1 - overlap, np.inf)
        self.objects += len(names)
        for name, label in zip(names.tolist(), assign(cost, 1.0), strict=True):
            if label < 0:
                continue
            self.matched += 1
            identity = int(ids[label])
            self.switches += self._last.get(name, identity) != identity
            self._last[name] = identity
