"""Upsampling and argmax coloring on the device."""

from __future__ import annotations

from typing import Any

from rtseg.errors import ArgumentError
from rtseg.ops import coloring
from rtseg.ops.cuda.components import check_array, check_shape
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher

_PIXELS = 4  # PIXELS of coloring.cu


class ColoringPlan:
    """Bilinear upsampling and argmax in one kernel, for maps and frames of one size.

    Results equal :func:`rtseg.ops.upsample_argmax` bit for bit. A run is one launch on CuPy's current stream, without
    allocation or host reads.

    Args:
        shape: (C, h, w) of the maps, at most 256 channels.
        size: (H, W) of the result.
        launcher: where to run; CuPy's current device by default.

    Attributes:
        status: (1,) int32 on the device; BAD_MAPS if a value that was read is not finite.

    Raises:
        ArgumentError: if the shapes do not fit.
    """

    def __init__(self, shape: tuple[int, int, int], size: tuple[int, int], launcher: Launcher | None = None) -> None:
        if len(shape) != 3 or 0 in shape or shape[0] > 256:
            raise ArgumentError(
                f"expected maps (C, h, w) of 1 to 256 channels, none of the sides 0, got {tuple(shape)}"
            )
        self._size = coloring.check_size(size)
        check_shape(self._size)
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("coloring")
        self._shape = tuple(shape)
        xp = self._launcher.xp
        self._taps = [
            xp.asarray(table) for axis in (0, 1) for table in coloring.bilinear_taps(shape[1 + axis], self._size[axis])
        ]
        self.status = xp.zeros(1, "int32")

    def run(self, maps: Any, out: Any) -> None:
        """Write the winning channels of `maps` (C, h, w) float32 to `out` (H, W) uint8, both on the device.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        check_array("maps", maps, self._shape, "float32")
        check_array("out", out, self._size, "uint8")
        rows, columns = self._size
        self.status.fill(0)
        grid = (blocks(columns, 32 * _PIXELS), blocks(rows, 8))
        arguments = (maps, *self._shape, *self._taps, out, rows, columns, self.status)
        self._launcher.launch("coloring", "upsample_argmax", grid, (32, 8), *arguments)
