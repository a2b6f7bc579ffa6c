"""Affinities to regions on the device: super-pixels by union-find, then greedy merging by mean affinity."""

from __future__ import annotations

from typing import Any

from rtseg.errors import ArgumentError
from rtseg.ops.affinities import Offsets, check_offsets, quantize_threshold
from rtseg.ops.cuda.affinity import UnionPlan
from rtseg.ops.cuda.components import Numbering, check_array
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher

_PHASES = 5  # phases of a round in merging.cu
_WIDE_BLOCKS = 1024  # most blocks of a phase; each thread goes on in strides of the grid


def wide_rounds(size: tuple[int, ...]) -> int:
    """Rounds on the whole device for a map (h, w).

    At 80x160, super-pixels leave some hundred to two thousand edges on real frames and 10 to 20 rounds, which one block
    is through before many launches are.
    """
    return max(0, min(16, (size[0] * size[1]).bit_length() - 14))


class RegionGraph:
    """Hash tables of edges between regions, which merge round by round until no mean reaches a threshold.

    The first `wide_rounds` rounds run on the whole device, the rest in one block that stops when nothing is left, so
    the launches are the same for every frame. Nothing is allocated or read back.

    Args:
        regions: most regions.
        edges: most edges between them.
        status: (1,) int32 on the device, for bits of :mod:`rtseg.ops.cuda.status`.
        wide_rounds: rounds on the whole device.
        tail_rounds: most rounds in one block afterwards.
        launcher: where to run.

    Attributes:
        arguments: of a kernel that fills table 0 with edges, between :meth:`clear` and :meth:`merge`.
        count: (1,) int32 on the device, the number of regions after merging.

    Raises:
        ArgumentError: if a parameter does not fit.
    """

    def __init__(
        self, regions: int, edges: int, status: Any, wide_rounds: int, tail_rounds: int, launcher: Launcher
    ) -> None:
        if regions < 1 or edges < 1 or edges > 2**29 or wide_rounds < 0 or tail_rounds < 0:
            raise ArgumentError(
                f"expected at least one region and edge, at most 2**29 edges and no negative rounds, got {regions} "
                f"regions, {edges} edges, {wide_rounds} and {tail_rounds} rounds"
            )
        launcher.prepare("merging")
        self._launcher, xp = launcher, launcher.xp
        self._regions, self._edges = regions, edges
        self._wide_rounds, self._tail_rounds = wide_rounds, tail_rounds
        slots = 1 << (2 * edges - 1).bit_length()  # at most half full
        self._parent = xp.zeros(regions, "int32")
        self.arguments = (
            *(xp.zeros((2, slots), dtype) for dtype in ("uint64", "uint64", "uint32")),
            xp.zeros((2, edges), "int32"),
            xp.zeros(2, "int32"),
            slots,
            edges,
            *(xp.zeros((2, regions), "uint64") for _ in range(3)),
            self._parent,
            regions,
            status,
            xp.ones(1, "int32"),
        )
        self._status = status
        self._numbering = Numbering(regions, launcher)
        self._ids = xp.zeros(regions, "int32")
        self.count = self._numbering.count

    def clear(self, found: Any) -> None:
        """Begin with the regions 1..found, (1,) int32 on the device, and no edges."""
        grid = (min(blocks(self._edges, 256), _WIDE_BLOCKS),)
        self._launcher.launch("merging", "merge_clear", grid, (256,), *self.arguments, found)

    def merge(self, threshold: int) -> None:
        """Merge while the mean of an edge is at least a fixed-point threshold."""
        launch, graph = self._launcher.launch, self.arguments
        for i in range(self._wide_rounds):
            # Edges become fewer with every round, so later rounds are given fewer blocks.
            wide = max(min(blocks(self._edges, 256 << (i // 2)), _WIDE_BLOCKS), 1)
            for phase in range(_PHASES):
                launch("merging", "merge_phase", (wide,), (256,), *graph, phase, i % 2, threshold)
        parity = self._wide_rounds % 2
        launch("merging", "merge_tail", (1,), (1024,), *graph, parity, threshold, self._tail_rounds)

    def label(self, regions: Any, out: Any) -> None:
        """Write what the regions of a label image have become to `out`: consecutive in their order, 0 stays 0."""
        self._numbering.run(self._parent, self._ids, self._status)
        pixels = out.size
        arguments = (regions, pixels, self._regions, self._ids, out)
        self._launcher.launch("merging", "merge_label", (blocks(pixels, 256),), (256,), *arguments)


class AffinityUnionPlan:
    """The real-time merging with fixed buffers: what a CUDA graph captures, affinities in, labels out.

    Super-pixels are joined by union-find over edges of at least `superpixel_threshold`. Their region graph then merges
    round by round until no edge of mean affinity `threshold` is left. Without super-pixels the labels are those of
    ``gaec(linkage="mean")``; see merging.cu for the two rules by which regions merge and why they are exact.

    The first `wide_rounds` rounds run on the whole device, the rest in one block that stops when nothing is left, so
    the launches are the same for every frame. Nothing is allocated or read back.

    Args:
        shape: (K, H, W) of the affinities.
        offsets: K pairs (dy, dx).
        superpixel_threshold: in [0, 1]; at 1, as for None, nothing is joined beforehand, since GAEC need not join
            all that is certain.
        threshold: in [0, 1]; edges of a mean below it do not merge.
        regions: most super-pixels; a quarter of the pixels by default, all pixels without super-pixels.
        edges: most edges between regions; K + 2 for each region by default, one for each affinity at most.
        wide_rounds: rounds on the whole device.
        tail_rounds: most rounds in one block afterwards.
        launcher: where to run; CuPy's current device by default.
        support: of the affinities that join super-pixels, as of :func:`rtseg.grouping.affinity_union`.

    Attributes:
        count: (1,) int32 on the device, the number of regions after merging.
        superpixels: (H, W) int32 on the device, the super-pixels of the last run.
        superpixel_count: (1,) int32 on the device.
        status: (1,) int32 on the device, bits of :mod:`rtseg.ops.cuda.status`; unless it is 0, the labels are not to be
            used. :func:`rtseg.ops.cuda.check_status` reads it.

    Raises:
        ArgumentError: if a parameter does not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        offsets: Offsets,
        superpixel_threshold: float | None = 0.98,
        threshold: float = 0.5,
        regions: int | None = None,
        edges: int | None = None,
        wide_rounds: int = 16,
        tail_rounds: int = 4096,
        launcher: Launcher | None = None,
        support: float = 0.0,
    ) -> None:
        steps = check_offsets(offsets, shape)
        self._threshold = quantize_threshold(threshold)
        if superpixel_threshold is not None and superpixel_threshold == 1:
            superpixel_threshold = None
        pixels = shape[1] * shape[2]
        if regions is None:
            regions = pixels if superpixel_threshold is None else max(pixels // 4, 1024)
        regions = min(regions, pixels)
        if edges is None:
            edges = (shape[0] + 2) * regions
        edges = min(edges, shape[0] * pixels)
        self._launcher = launcher or cuda_launcher()
        xp = self._launcher.xp
        self._shape = shape
        self._offsets = xp.asarray(steps.astype("int32"))
        self._union = UnionPlan(shape, offsets, superpixel_threshold, self._launcher, support)
        self.status = self._union.status
        self.superpixels = xp.zeros(shape[1:], "int32")
        self.superpixel_count = self._union.count
        self._graph = RegionGraph(regions, edges, self.status, wide_rounds, tail_rounds, self._launcher)
        self.count = self._graph.count

    def run(self, affinity: Any, out: Any, mask: Any = None) -> None:
        """Write the merged labels to `out`: consecutive in raster order of first pixels, 0 off the mask.

        Args:
            affinity: (K, H, W) float32 on the device, C-contiguous.
            out: (H, W) int32 on the device, C-contiguous.
            mask: (H, W) bool on the device, where labels may be; everywhere if None.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        check_array("out", out, self._shape[1:], "int32")
        self._union.run(affinity, self.superpixels, mask)
        graph, (_, height, width) = self._graph, self._shape
        graph.clear(self.superpixel_count)
        grid = (blocks(width, 32), blocks(height, 8))
        maps = (affinity, *self._shape, self._offsets, self.superpixels)
        self._launcher.launch("merging", "merge_gather", grid, (32, 8), *graph.arguments, *maps)
        graph.merge(self._threshold)
        graph.label(self.superpixels, out)
