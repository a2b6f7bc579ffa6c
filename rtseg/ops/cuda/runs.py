"""Runs of a color image on the device, packed for one short copy to the host."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ArgumentError
from rtseg.ops.components import Runs
from rtseg.ops.cuda.components import check_array, check_shape
from rtseg.ops.cuda.module import Launcher, cuda_launcher


class RunsPlan:
    """The runs that :func:`rtseg.ops.label_runs` finds, from a color image and its components on the device.

    A run launches three kernels on CuPy's current stream, allocates nothing and reads nothing back.

    Args:
        shape: (H, W) of the images.
        capacity: most runs; 16 a row by default.
        launcher: where to run; CuPy's current device by default.

    Attributes:
        packed: int32 on the device, all that :meth:`unpack` needs: status, rows, starts, ends, components, colors.

    Raises:
        ArgumentError: if a side is 0, there are more than 2**30 pixels, or no room for a run.
    """

    def __init__(self, shape: tuple[int, int], capacity: int | None = None, launcher: Launcher | None = None) -> None:
        check_shape(shape)
        capacity = 16 * shape[0] if capacity is None else capacity
        if 0 in shape or capacity < 1:
            raise ArgumentError(f"expected a non-empty image and room for a run, got {shape} and {capacity}")
        self._launcher = launcher or cuda_launcher()
        self._launcher.prepare("runs")
        self._launcher.prepare("compaction")
        self._shape, self._capacity = shape, capacity
        self.packed = self._launcher.xp.zeros(2 + shape[0] + 4 * capacity, "int32")

    def run(self, labels: Any, components: Any) -> None:
        """Find the runs.

        Args:
            labels: (H, W) uint8 on the device, C-contiguous, 0 is background.
            components: (H, W) int32 on the device, C-contiguous, the components of `labels`.

        Raises:
            ArgumentError: if an array has another shape, dtype or layout.
        """
        check_array("labels", labels, self._shape, "uint8")
        check_array("components", components, self._shape, "int32")
        height, width = self._shape
        status, rows, *columns = self._parts(self.packed)
        status.fill(0)
        launch = self._launcher.launch
        launch("runs", "runs_count", (height,), (256,), labels, width, rows)
        scan = (rows, height, rows[height:], self._capacity, status)
        launch("compaction", "compact_scan", (1,), (1024,), *scan)
        launch("runs", "runs_write", (height,), (256,), labels, components, width, rows, *columns, self._capacity)

    def unpack(self, packed: NDArray[np.int32]) -> tuple[Runs, NDArray[np.uint8]] | None:
        """Read a host copy of :attr:`packed`.

        Returns:
            the runs and the color (r,) of each; None if there were more runs than the plan has room for.
        """
        status, rows, starts, ends, components, colors = self._parts(packed)
        if status[0]:
            return None
        count = int(rows[-1])
        ids = components[:count].copy()
        runs = Runs(starts[:count].copy(), ends[:count].copy(), rows.copy(), ids, int(ids.max(initial=0)))
        return runs, colors[:count].astype(np.uint8)

    def _parts(self, packed: Any) -> list[Any]:
        height, room = self._shape[0], self._capacity
        bounds = [0, 1, 2 + height, *(2 + height + room * i for i in range(1, 5))]
        return [packed[begin:end] for begin, end in pairwise(bounds)]
