"""Labels of a head map at the size of the frame, on the device."""

from __future__ import annotations

from typing import Any

from rtseg.ops.coloring import bilinear_taps
from rtseg.ops.cuda.coloring import ColoringPlan
from rtseg.ops.cuda.components import check_array
from rtseg.ops.cuda.module import Launcher, blocks, cuda_launcher


class EnlargingPlan:
    """Labels that follow the outlines of a guide, for maps and frames of one size.

    Labels equal those of :func:`rtseg.instances.upsampling.upsample_labels` bit for bit. A run launches three kernels
    on CuPy's current stream, without allocation or host reads.

    Args:
        shape: (K, h, w) of the guide.
        size: (H, W) of the frame.
        kept: (H, W) uint8 on the device, 0 where nothing is to be found; everything is kept if None.
        launcher: where to run; CuPy's current device by default.

    Attributes:
        labels: (H, W) int32 on the device, those of the last run.
        status: (1,) int32 on the device; BAD_MAPS if a value of the guide is not finite.

    Raises:
        ArgumentError: if the shapes do not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        size: tuple[int, int],
        kept: Any = None,
        launcher: Launcher | None = None,
    ) -> None:
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("enlarging")
        xp = self._launcher.xp
        self._kinds = xp.zeros(shape[1:], "uint8")
        self._winners = xp.zeros(size, "uint8")
        self._coarse = ColoringPlan(shape, shape[1:], self._launcher)
        self._fine = ColoringPlan(shape, size, self._launcher)
        self._taps = [xp.asarray(table) for axis in (0, 1) for table in bilinear_taps(shape[1 + axis], int(size[axis]))]
        self._size, self._masked = tuple(size), int(kept is not None)
        if kept is not None:
            check_array("kept", kept, self._size, "uint8")
        self._kept = xp.ones((1, 1), "uint8") if kept is None else kept
        self.labels = xp.zeros(size, "int32")
        self.status = self._coarse.status

    def run(self, labels: Any, guide: Any, packed: Any) -> None:
        """Enlarge `labels`.

        Args:
            labels: (h, w) int32 on the device, C-contiguous, 0 = nothing.
            guide: (K, h, w) float32 on the device, C-contiguous, channel 0 background.
            packed: (H, W) uint16 on the device, C-contiguous, gets the labels too.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        (height, width), (rows, columns) = self._kinds.shape, self._size
        check_array("labels", labels, (height, width), "int32")
        check_array("packed", packed, self._size, "uint16")
        self._coarse.run(guide, self._kinds)
        same = int((height, width) == self._size)
        if not same:
            self._fine.run(guide, self._winners)
        maps = (labels, self._kinds, height, width, self._winners, *self._taps, same, self._kept, self._masked)
        grid = (blocks(columns, 32), blocks(rows, 8))
        launch = self._launcher.launch
        launch("enlarging", "enlarge_labels", grid, (32, 8), *maps, self.labels, packed, rows, columns)
