"""How well ids stay with objects, where the truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.ops.assignment import assign

_MIN_IOU = 0.5
_UNKNOWN = 0.5  # a mask of which more than this share lies where nothing is known counts only where it is right


class IdentityLog:
    """Follows ids over a recording, whatever the classes: switches as MOTA counts them, and what IDF1 is made of.

    A true object that was matched to one id before and is matched to another now has switched; frames in which nothing
    matches it do not count, so an id kept through an occlusion is no switch.

    Attributes:
        objects: true objects, over all frames.
        found: masks found, over all frames, without those where nothing is known.
        matched: true objects with a mask that overlaps by an intersection over union of at least one half.
        switches: ids that changed.
    """

    def __init__(self) -> None:
        self.objects = 0
        self.found = 0
        self.matched = 0
        self.switches = 0
        self._last: dict[int, int] = {}
        self._together: Counter[tuple[int, int]] = Counter()  # frames in which an object and an id were matched

    def update(
        self,
        truth: NDArray[np.integer],
        labels: NDArray[np.integer],
        ids: NDArray[np.integer],
        unknown: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add one frame.

        Args:
            truth: (H, W) ids that stay with true objects, 0 = nothing.
            labels: (H, W) labels found, 0 = nothing.
            ids: (n,) id of each label.
            unknown: (H, W) where objects are that the truth does not tell apart; nowhere by default.

        Raises:
            ArgumentError: if the sizes differ.
        """
        if truth.shape != labels.shape:
            raise ArgumentError(f"expected truth of the labels' size {labels.shape}, got {truth.shape}")
        names, true = np.unique(truth, return_inverse=True)
        columns = len(ids) + 1
        pairs = np.bincount(true.reshape(-1) * columns + labels.reshape(-1), minlength=len(names) * columns)
        shared = pairs.reshape(len(names), columns)
        areas = shared.sum(axis=0)
        union = shared.sum(axis=1)[:, None] + areas[None] - shared
        overlap = (shared / np.maximum(union, 1))[names > 0, 1:]
        names = names[names > 0]
        cost = np.where(overlap >= _MIN_IOU, 1 - overlap, np.inf)
        counted = areas[1:] > 0
        if unknown is not None:
            hidden = np.bincount(labels[unknown], minlength=columns)[1:]
            counted &= hidden <= _UNKNOWN * areas[1:]
        self.objects += len(names)
        for name, label in zip(names.tolist(), assign(cost, 1.0), strict=True):
            if label < 0:
                continue
            counted[label] = True
            self.matched += 1
            identity = int(ids[label])
            self.switches += self._last.get(name, identity) != identity
            self._last[name] = identity
            self._together[name, identity] += 1
        self.found += int(counted.sum())

    @property
    def lasting(self) -> int:
        """Matches that remain where every true object has one id for all time, chosen so that most remain (IDTP)."""
        if not self._together:
            return 0
        names = sorted({name for name, _ in self._together})
        identities = sorted({identity for _, identity in self._together})
        frames = np.zeros((len(names), len(identities)))
        for (name, identity), count in self._together.items():
            frames[names.index(name), identities.index(identity)] = count
        most = float(frames.max())
        chosen = assign(np.where(frames > 0, most - frames, np.inf), most)
        return int(sum(frames[row, column] for row, column in enumerate(chosen) if column >= 0))


def idf1(logs: Sequence[IdentityLog]) -> float:
    """IDF1 (Ristani et al. 2016): share of lasting matches among all true and found objects; NaN of none."""
    objects = sum(log.objects + log.found for log in logs)
    return 2 * sum(log.lasting for log in logs) / objects if objects else float("nan")
