"""Graph merge of GMIS on the device, without blocks and areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.ops.affinities import quantize_threshold
from rtseg.ops.cuda.components import Numbering, check_array, check_shape
from rtseg.ops.cuda.merging import RegionGraph
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher

_CHANNELS = 56  # CHANNELS of graph_merge.cu: eight directions of the distances 1, 2, 4, ... 64
_DIRECTIONS = 4  # of the eight; the others are the same pairs from their other ends
_WEIGHTS = 4097  # SIGMA + 1 of graph_merge.cu


class GraphMergePlan:
    """Instances of 56 affinities and semantic logits, with fixed buffers: what a CUDA graph captures.

    The same partition, votes and scores as ``graph_merge`` of :mod:`rtseg.grouping` of the softmax, with a window of
    1, without areas, background excluded.

    Args:
        shape: (1 + C, h, w) of the semantic logits, at most 256 channels.
        stages: (distances, threshold) of each stage.
        super_classes: groups of semantic channels.
        min_pixels: smallest instance, map pixels.
        agreement: (4097,) float64 weights of an agreement of classes of 0 to 1; None weighs all alike.
        partition: whether super-classes are grouped apart.
        certain: pixels that an edge of the first stage of at least this joins are one from the start; None joins none.
        instances: most instances.
        regions: most pixels of objects; all by default.
        edges: most edges between regions, one for each pair of pixels but at most 2**20 by default.
        wide_rounds: see :class:`rtseg.ops.cuda.merging.RegionGraph`.
        launcher: where to run; CuPy's current device by default.

    Attributes:
        guide: (2, h, w) float32 on the device, the probability of background and of all classes.
        class_ids: (instances,) int32 on the device, channels less one.
        scores: (instances,) float32 on the device.
        count: (1,) int32 on the device, instances, of which those beyond the room have no row.
        status: (1,) int32 on the device, bits of :mod:`rtseg.ops.cuda.status`.

    Raises:
        ArgumentError: if the shapes or the settings do not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        stages: Sequence[tuple[Sequence[int], float]],
        super_classes: Sequence[Sequence[int]],
        min_pixels: int,
        agreement: NDArray[np.float64] | None,
        partition: bool,
        certain: float | None = None,
        instances: int = 1024,
        regions: int | None = None,
        edges: int | None = None,
        wide_rounds: int = 4,
        launcher: Launcher | None = None,
    ) -> None:
        check_shape(shape[1:])
        weights = np.ones(_WEIGHTS) if agreement is None else np.asarray(agreement, np.float64)
        if 0 in shape or not max(c for group in super_classes for c in group) < shape[0] <= 256:
            raise ArgumentError(f"expected maps (1 + C, h, w) that have the channels of the classes, got {shape}")
        distances = [distance for stage, _ in stages for distance in stage]
        if weights.shape != (_WEIGHTS,) or not set(distances) <= {1, 2, 4, 8, 16, 32, 64}:
            raise ArgumentError(
                f"expected distances of 1 to 64 and {_WEIGHTS} weights, got {distances} and {weights.shape}"
            )
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("graph_merge")
        xp = self._launcher.xp
        classes, height, width = self._shape = tuple(shape)
        pixels = height * width
        regions = min(regions or pixels, pixels)
        table = np.zeros(classes, np.int32)
        for i, group in enumerate(super_classes):
            table[list(group)] = i + 1
        self._table, self._super_classes = xp.asarray(table), len(super_classes)
        self._sigma = xp.asarray(weights)
        self._flags = int(partition), int(agreement is not None)
        self._distances = xp.asarray(np.array(distances, np.int32))
        self._channels = xp.asarray(np.array([8 * (d.bit_length() - 1) for d in distances], np.int32))
        joined, self._first = 0, len(stages[0][0])
        self._stages: list[tuple[int, int]] = []
        for stage, threshold in stages:
            joined += len(stage)
            self._stages.append((joined, quantize_threshold(threshold)))
        self._certain = None if certain is None else quantize_threshold(certain)
        edges = edges or min(_DIRECTIONS * joined * pixels, 2**20)
        self.status = xp.zeros(1, "int32")
        self._shares = xp.zeros(shape, "float32")
        self._groups, self._votes = xp.zeros(shape[1:], "uint8"), xp.zeros(shape[1:], "uint8")
        self._parent = xp.zeros(shape[1:], "int32")
        self._numbering = Numbering(pixels, self._launcher)
        self._labels = [xp.zeros(shape[1:], "int32") for _ in range(2)]
        self._graph = RegionGraph(regions, edges, self.status, wide_rounds, 4096, self._launcher)
        self._regions, self._least = regions, min_pixels
        self._inner, self._sizes = xp.zeros((regions, 2), "int64"), xp.zeros(regions, "int32")
        self._ballots, self._names = xp.zeros((regions, classes), "int32"), xp.zeros(regions, "int32")
        self.guide = xp.zeros((2, height, width), "float32")
        self.class_ids, self.scores = xp.zeros(instances, "int32"), xp.zeros(instances, "float32")
        self.count = xp.zeros(1, "int32")

    def run(self, affinity: Any, semantic: Any, out: Any) -> None:
        """Write labels to `out`, consecutive in raster order of first pixels.

        Args:
            affinity: (56, h, w) float32 on the device, C-contiguous.
            semantic: (1 + C, h, w) float32 logits on the device, C-contiguous.
            out: (h, w) int32 on the device, C-contiguous.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        classes, height, width = self._shape
        pixels = height * width
        check_array("affinity", affinity, (_CHANNELS, height, width), "float32")
        check_array("semantic", semantic, self._shape, "float32")
        check_array("out", out, (height, width), "int32")
        launch, graph = self._launcher.launch, self._graph
        each = ((blocks(pixels, 256),), (256,))
        grid, block = (blocks(width, 32), blocks(height, 8)), (32, 8)
        self.status.fill(0)
        split = (self._table, self._super_classes, self._shares, self._groups, self._votes, self._parent, self.status)
        launch("graph_merge", "graph_pixels", *each, semantic, classes, affinity, pixels, *split)
        labels, after = self._labels
        maps = (affinity, self._shares, self._groups, self._table, self._sigma, *self._shape, *self._flags)
        if self._certain is not None:
            sure = (self._distances, self._channels, self._first, self._certain, self._parent)
            launch("graph_merge", "graph_unite", grid, block, *maps, *sure)
        self._numbering.run(self._parent, labels, self.status, self._regions)
        found = self._numbering.count
        for joined, threshold in self._stages:
            graph.clear(found)
            near = (self._distances, self._channels, joined, labels)
            launch("graph_merge", "graph_gather", grid, block, *graph.arguments, *maps, *near)
            graph.merge(threshold)
            graph.label(labels, after)
            labels, after, found = after, labels, graph.count
        tables = self._inner, self._sizes, self._ballots
        every = ((blocks(self._regions, 256),), (256,))
        launch("graph_merge", "graph_clear", *every, *tables, self._regions, classes)
        near = (self._distances, self._channels, joined, labels)
        launch(
            "graph_merge", "graph_describe", grid, block, *maps, *near, self._votes, self._regions, *tables, self.guide
        )
        results = (self._least, self._names, len(self.scores), self.class_ids, self.scores, self.count, self.status)
        launch("graph_merge", "graph_finish", (1,), (1024,), found, self._regions, classes, *tables, *results)
        launch("merging", "merge_label", *each, labels, pixels, self._regions, self._names, out)
