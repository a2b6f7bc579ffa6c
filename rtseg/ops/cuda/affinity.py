"""Union-find over affinities on the device."""

from __future__ import annotations

from typing import Any

from rtseg.ops.affinities import Offsets, check_offsets, quantize_threshold
from rtseg.ops.cuda.components import Numbering, check_array
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher

_TILE = (32, 16)  # TILE_WIDTH, TILE_HEIGHT of affinity.cu


class UnionPlan:
    """Labels of pixels joined by affinities of at least a threshold, with fixed buffers.

    Labels are consecutive in raster order of first pixels, 0 off the mask, and equal those of
    :func:`rtseg.ops.union_affinities`. A run launches six kernels on CuPy's current stream, allocates nothing and reads
    nothing back, so that a CUDA graph can capture it.

    Args:
        shape: (K, H, W) of the affinities.
        offsets: K pairs (dy, dx).
        threshold: in [0, 1]; None joins nothing, and every pixel of the mask is a region of its own.
        launcher: where to run; CuPy's current device by default.
        support: as of :func:`rtseg.ops.union_affinities`.

    Attributes:
        count: (1,) int32 on the device, the number of regions of the last run.
        status: (1,) int32 on the device; BAD_AFFINITY if a value is NaN or outside [0, 1].

    Raises:
        ArgumentError: if the offsets do not fit the shape, or a threshold is no probability.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        offsets: Offsets,
        threshold: float | None,
        launcher: Launcher | None = None,
        support: float = 0.0,
    ) -> None:
        steps = check_offsets(offsets, shape)
        self._threshold = None if threshold is None else quantize_threshold(threshold)
        self._support = quantize_threshold(support)
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("affinity")
        self._shape = shape
        xp = self._launcher.xp
        self._offsets = xp.asarray(steps.astype("int32"))
        self._everywhere = xp.ones(shape[1:], "uint8")
        self._parent = xp.zeros(shape[1:], "int32")
        self.status = xp.zeros(1, "int32")
        self._numbering = Numbering(shape[1] * shape[2], self._launcher)
        self.count = self._numbering.count

    def run(self, affinity: Any, out: Any, mask: Any = None) -> None:
        """Write the labels to `out`.

        Args:
            affinity: (K, H, W) float32 on the device, C-contiguous.
            out: (H, W) int32 on the device, C-contiguous.
            mask: (H, W) bool on the device, where labels may be; everywhere if None.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        check_array("affinity", affinity, self._shape, "float32")
        check_array("out", out, self._shape[1:], "int32")
        if mask is None:
            allowed = self._everywhere
        else:
            check_array("mask", mask, self._shape[1:], "bool")
            allowed = mask.view("uint8")
        self.status.fill(0)
        launch, (channels, height, width) = self._launcher.launch, self._shape
        if self._threshold is None:
            every, pixels = (blocks(height * width, 256),), height * width
            launch(
                "affinity",
                "affinity_single",
                every,
                (256,),
                affinity,
                channels,
                pixels,
                allowed,
                self._parent,
                self.status,
            )
        else:
            maps = (affinity, *self._shape, self._offsets, self._threshold, self._support, allowed)
            tiles = (blocks(width, _TILE[0]), blocks(height, _TILE[1]))
            launch("affinity", "affinity_tile", tiles, _TILE, *maps, self._parent, self.status)
            grid = (blocks(width, 32), blocks(height, 8))
            launch("affinity", "affinity_across", grid, (32, 8), *maps, self._parent)
        self._numbering.run(self._parent, out, self.status)
