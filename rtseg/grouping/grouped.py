"""What the methods that know classes return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled


@dataclass(frozen=True)
class GroupedInstances:
    """Instances found on head maps, in the maps' pixels.

    Attributes:
        labels: (h, w) int32, 0 where there is nothing, instances 1..n in raster order of their first pixels.
        class_ids: (n,) int32 channel of the semantic map.
        scores: (n,) float32 in [0, 1].
    """

    labels: NDArray[np.int32]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.class_ids)


@compiled
def renumber(labels, mapping):  # type: ignore[no-untyped-def]
    """Replace label i by mapping[i] (0: nothing), then number in raster order; give the old label of each new one."""
    fresh = np.zeros(mapping.size, dtype=np.int32)
    origin = np.zeros(mapping.size, dtype=np.int32)
    count = 0
    for p in range(labels.size):
        group = mapping[labels[p]]
        if group > 0 and fresh[group] == 0:
            count += 1
            fresh[group] = count
            origin[count] = group
        labels[p] = fresh[group] if group > 0 else 0
    return origin[1 : count + 1].copy()


@compiled(fastmath={"reassoc"})
def _run_sums(maps, starts, ends, owners, sums):  # type: ignore[no-untyped-def]
    """Add up every run of pixels; reassociation lets the sum of a run use vector registers."""
    for c in range(maps.shape[0]):
        for r in range(starts.size):
            run = maps[c, starts[r] : ends[r]]  # indices from 0 on need no check for negative ones
            total = np.float32(0.0)
            for i in range(run.size):
                total += run[i]
            sums[owners[r], c] += total


@compiled
def channel_means(labels, count, maps):  # type: ignore[no-untyped-def]
    """Mean (count, C) of every channel over labels 1..count, and sizes (count,); labels (n,), maps (C, n)."""
    starts = np.empty(labels.size, dtype=np.int32)
    ends = np.empty(labels.size, dtype=np.int32)
    owners = np.empty(labels.size, dtype=np.int32)
    used = 0
    before = 0
    sizes = np.zeros(count, dtype=np.int64)
    for p in range(labels.size):
        label = labels[p]
        if label != before:
            if before > 0:
                ends[used - 1] = p
            if label > 0:
                starts[used] = p
                owners[used] = label - 1
                used += 1
            before = label
    if before > 0:
        ends[used - 1] = labels.size
    for r in range(used):
        sizes[owners[r]] += ends[r] - starts[r]
    means = np.zeros((count, maps.shape[0]), dtype=np.float64)
    _run_sums(maps, starts[:used], ends[:used], owners[:used], means)
    for i in range(count):
        for c in range(maps.shape[0]):
            means[i, c] /= max(sizes[i], 1)
    return means, sizes
