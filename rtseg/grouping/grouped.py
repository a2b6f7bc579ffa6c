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


@compiled
def _run_sums(maps, starts, ends, owners, weights, sums):  # type: ignore[no-untyped-def]
    """Add up every run of pixels times its weight, eight sums side by side.

    Told apart here they fit vector registers of any width; left to the compiler, the order of addition, and with it
    the last bit of a score, would be that of the CPU's make.
    """
    for c in range(maps.shape[0]):
        for r in range(starts.size):
            run = maps[c, starts[r] : ends[r]]  # indices from 0 on need no check for negative ones
            a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = np.float32(0.0)
            i = 0
            while i + 8 <= run.size:
                a0 += run[i]
                a1 += run[i + 1]
                a2 += run[i + 2]
                a3 += run[i + 3]
                a4 += run[i + 4]
                a5 += run[i + 5]
                a6 += run[i + 6]
                a7 += run[i + 7]
                i += 8
            total = ((a0 + a4) + (a2 + a6)) + ((a1 + a5) + (a3 + a7))
            while i < run.size:
                total += run[i]
                i += 1
            sums[owners[r], c] += weights[r] * total


@compiled
def _run_means(maps, starts, ends, owners, weights, count):  # type: ignore[no-untyped-def]
    means = np.zeros((count, maps.shape[0]), dtype=np.float64)
    sizes = np.zeros(count, dtype=np.int64)
    for r in range(starts.size):
        sizes[owners[r]] += (ends[r] - starts[r]) * weights[r]
    _run_sums(maps, starts, ends, owners, weights, means)
    for i in range(count):
        for c in range(maps.shape[0]):
            means[i, c] /= max(sizes[i], 1)
    return means, sizes


@compiled
def channel_means(labels, count, maps):  # type: ignore[no-untyped-def]
    """Mean (count, C) of every channel over labels 1..count, and sizes (count,); labels (n,), maps (C, n)."""
    starts = np.empty(labels.size, dtype=np.int32)
    ends = np.empty(labels.size, dtype=np.int32)
    owners = np.empty(labels.size, dtype=np.int32)
    used = 0
    before = 0
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
    return _run_means(maps, starts[:used], ends[:used], owners[:used], np.ones(used, dtype=np.int32), count)


@compiled
def repeated_channel_means(labels, count, maps, factor):  # type: ignore[no-untyped-def]
    """As `channel_means` over coarser maps, of which a pixel stands for `factor` times `factor` labels.

    Labels (h, w); maps (C, ceil(h / factor), ceil(w / factor)).
    """
    height, width = labels.shape
    channels, rows, columns = maps.shape
    # A stretch of one label in a row begins and ends inside a coarse pixel; all between are wholly covered.
    starts = np.empty(labels.size, dtype=np.int32)
    ends = np.empty(labels.size, dtype=np.int32)
    owners = np.empty(labels.size, dtype=np.int32)
    weights = np.empty(labels.size, dtype=np.int32)  # labels that each pixel of a run stands for
    used = 0
    for y in range(height):
        at = y // factor * columns
        left = 0
        while left < width:
            label = labels[y, left]
            right = left + 1
            while right < width and labels[y, right] == label:
                right += 1
            while label > 0 and left < right:
                whole = left % factor == 0 and right - left >= factor
                after = right - right % factor if whole else min(right, left - left % factor + factor)
                starts[used] = at + left // factor
                ends[used] = at + (after if whole else left + factor) // factor
                owners[used] = label - 1
                weights[used] = factor if whole else after - left
                used += 1
                left = after
            left = right
    runs = starts[:used], ends[:used], owners[:used], weights[:used]
    return _run_means(maps.reshape(channels, rows * columns), *runs, count)
