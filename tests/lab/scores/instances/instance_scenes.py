"""Small scenes with true and found instances, groups and void, for the instance scores."""

from __future__ import annotations

import numpy as np

from rtseg.lab.scores.instances.overlaps import Overlaps, ScoredTruth, overlaps

CLASSES = ("person", "car", "bicycle")
SIZE = (48, 64)


def boxes(rng: np.random.Generator, count: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W) int32: boxes painted over one another; hidden ones keep no pixel."""
    canvas = np.zeros(size, np.int32)
    for i in range(count):
        y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
        h, w = rng.integers(1, size[0] // 2), rng.integers(1, size[1] // 3)
        canvas[y : y + h, x : x + w] = i + 1
    return canvas


def scene(seed: int, size: tuple[int, int] = SIZE) -> tuple[ScoredTruth, np.ndarray, np.ndarray, np.ndarray]:
    """True instances, and labels, classes and scores found: the truth moved, cut, lost and doubled."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 9))
    labels = boxes(rng, n, size)
    kinds = rng.integers(0, len(CLASSES), n).astype(np.int32)
    ignored = np.zeros(size, np.uint8)
    for value in (255, 1 + rng.integers(0, len(CLASSES))):
        if rng.random() < 0.6:
            y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
            ignored[y : y + 12, x : x + 16] = value
    labels[ignored > 0] = 0
    shift = int(rng.integers(0, 4))
    found = np.roll(labels, shift, axis=1)
    extra = boxes(rng, int(rng.integers(0, 4)), size)
    found = np.where(extra > 0, extra + n, found).astype(np.int32)
    if rng.random() < 0.3:
        found[:] = 0
    count = int(found.max(initial=0))
    classes = np.concatenate([kinds, rng.integers(0, len(CLASSES), 4)])[:count].astype(np.int32)
    classes = np.where(rng.random(count) < 0.8, classes, 0).astype(np.int32)
    scores = np.round(rng.random(count), 1)  # one digit: many are tied
    return ScoredTruth(labels, kinds, ignored), found, classes, scores


def frame(seed: int, size: tuple[int, int] = SIZE) -> Overlaps:
    truth, labels, classes, scores = scene(seed, size)
    return overlaps(str(seed), truth, labels, classes, scores, len(CLASSES))
