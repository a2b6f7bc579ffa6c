"""Grouped instances on a device to a label image of the frame and a table, which come down in one packed download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import HeadMapsError
from rtseg.ops import RegionStatistics
from rtseg.ops.cuda.enlarging import EnlargingPlan
from rtseg.ops.cuda.module import Launcher
from rtseg.ops.cuda.statistics import StatisticsPlan
from rtseg.ops.cuda.status import BAD_AFFINITY, BAD_MAPS
from rtseg.runtime.interpreter import Downloads

MAX_INSTANCES = 1024
"""Rows of the table; a frame with more is grouped on the CPU."""

_ALIGNMENT = 16
_WORDS = 2  # of the header: the instances, and the status bits of all steps


class MapsOnDevice(Protocol):
    """A method's device form: instances on the head maps, in fixed buffers.

    Attributes:
        labels: (h, w) int32 on the device, instances 1..count.
        guide: (K, h, w) float32, as of :class:`rtseg.instances.methods.method.MapInstances`.
        class_ids: (n,) int32, indices of the card's classes; n is the most instances.
        scores: (n,) float32.
        count: (1,) int32; more than n where there is no room for all.
        statuses: (1,) int32 each, bits of :mod:`rtseg.ops.cuda.status`, at most three.
    """

    labels: Any
    guide: Any
    class_ids: Any
    scores: Any
    count: Any
    statuses: tuple[Any, ...]

    def run(self) -> None:
        """Enqueue on the current stream, without allocation or host reads."""


@dataclass(frozen=True)
class DescribedInstances:
    """Instances that are painted and measured at the size of a frame.

    Attributes:
        labels: (H, W) int32; one may have no pixel.
        statistics: of each.
        class_ids: (n,) int32 indices of the card's classes.
        scores: (n,) float32 in [0, 1].
    """

    labels: NDArray[np.int32]
    statistics: RegionStatistics
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]

    def labels_at(self, size: tuple[int, int]) -> NDArray[np.int32]:
        """The labels as they are: they have the frame's size."""
        return self.labels

    def measured_at(self, size: tuple[int, int]) -> tuple[NDArray[np.int32], RegionStatistics]:
        """The same, and areas, boxes and centers of each."""
        return self.labels, self.statistics


class DescribingGrouping:
    """A method's device form, then its labels at the size of the frame, and areas, boxes and centers of them.

    Args:
        maps: the method's device form.
        size: (H, W) of what the network sees of a frame.
        launcher: where kernels run.
        ignored: (H, W) bool on the host, pixels at which nothing is found.
    """

    def __init__(
        self,
        maps: MapsOnDevice,
        size: tuple[int, int],
        launcher: Launcher,
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        xp = launcher.xp
        self._maps, self._size = maps, (int(size[0]), int(size[1]))
        kept = None if ignored is None else xp.asarray(np.ascontiguousarray(~ignored).view(np.uint8))
        self._enlarging = EnlargingPlan(tuple(maps.guide.shape), self._size, kept, launcher)
        places, nbytes = _layout(self._size)
        self._packed = xp.zeros(nbytes, "uint8")
        self._parts = {name: _part(self._packed, *place) for name, place in places.items()}
        tables = self._parts["areas"], self._parts["boxes"], self._parts["centers"]
        self._statistics = StatisticsPlan(self._size, MAX_INSTANCES, launcher, tables)
        self._rows = min(MAX_INSTANCES, len(maps.class_ids))
        statuses = (self._enlarging.status, *maps.statuses)
        self._launcher, self._statuses = launcher, (statuses * 4)[:4]
        self.downloads = {"packed": self._packed}

    def run(self) -> None:
        maps, parts = self._maps, self._parts
        maps.run()
        self._enlarging.run(maps.labels, maps.guide, parts["labels"])
        self._statistics.run(self._enlarging.labels)
        table = (maps.class_ids, maps.scores, parts["words"], parts["class_ids"], parts["scores"])
        self._launcher.launch("enlarging", "pack_table", (1,), (1024,), maps.count, *self._statuses, self._rows, *table)

    def found(self, host: Downloads) -> DescribedInstances | None:
        places, _ = _layout(self._size)
        parts = {name: _part(host["packed"], *place) for name, place in places.items()}
        count, bits = (int(word) for word in parts["words"])
        if bits & (BAD_AFFINITY | BAD_MAPS):
            raise HeadMapsError("expected finite maps and affinities in [0, 1] from the device, got others")
        if bits or count > self._rows:  # more than the buffers hold: the CPU has no such limits
            return None
        statistics = RegionStatistics(*(parts[name][:count].copy() for name in ("areas", "boxes", "centers")))
        return DescribedInstances(
            parts["labels"].astype(np.int32),
            statistics,
            parts["class_ids"][:count].copy(),
            parts["scores"][:count].copy(),
        )


def _layout(size: tuple[int, int]) -> tuple[dict[str, tuple[int, tuple[int, ...], str]], int]:
    """Where each part begins, its shape and its dtype; and the bytes of all: the table first, then the label image."""
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "words": ((_WORDS,), "int32"),
        "areas": ((MAX_INSTANCES,), "int64"),
        "boxes": ((MAX_INSTANCES, 4), "int32"),
        "centers": ((MAX_INSTANCES, 2), "float64"),
        "class_ids": ((MAX_INSTANCES,), "int32"),
        "scores": ((MAX_INSTANCES,), "float32"),
        "labels": (size, "uint16"),
    }
    places, at = {}, 0
    for name, (shape, dtype) in shapes.items():
        places[name] = at, shape, dtype
        at += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // _ALIGNMENT) * _ALIGNMENT
    return places, at


def _part(packed: Any, begin: int, shape: tuple[int, ...], dtype: str) -> Any:
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return packed[begin : begin + nbytes].view(dtype).reshape(shape)
