"""Lane grouping on the device: colors, components and their runs; lines are made of the runs on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import HeadMapsError
from rtseg.lanes.color_runs import ColorRuns
from rtseg.ops.cuda.coloring import ColoringPlan
from rtseg.ops.cuda.components import ComponentsPlan
from rtseg.ops.cuda.module import Launcher
from rtseg.ops.cuda.runs import RunsPlan
from rtseg.runtime.interpreter import Downloads


class LaneGrouping:
    """Everything of :class:`rtseg.lanes.LaneDecoder` that looks at pixels, in fixed buffers.

    Runs and head maps come down instead of images: a tenth of the bytes, and the seam at which the CPU's code goes on.

    Args:
        logits: (1, n + 1, h, w) float32 on the device, the backend's output buffer.
        size: (H, W) of the frames.
        launcher: where kernels run.
        ignored: (H, W) bool on the host, pixels that are background whatever the logits say.
    """

    def __init__(
        self,
        logits: Any,
        size: tuple[int, int],
        launcher: Launcher,
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        self._logits = logits[0]
        self._kept = None if ignored is None else launcher.xp.asarray((~ignored).astype(np.uint8))
        self._coloring = ColoringPlan(self._logits.shape, size, launcher)
        self._components = ComponentsPlan(size, 8, launcher)
        self._runs = RunsPlan(size, None, launcher)
        self._colors = launcher.xp.zeros(size, "uint8")
        self._labels = launcher.xp.zeros(size, "int32")
        self.downloads = {"logits": self._logits, "runs": self._runs.packed, "status": self._coloring.status}

    def run(self) -> None:
        self._coloring.run(self._logits, self._colors)
        if self._kept is not None:
            self._colors *= self._kept
        self._components.run(self._colors, self._labels)
        self._runs.run(self._colors, self._labels)

    def found(self, host: Downloads) -> ColorRuns | None:
        if host["status"][0]:
            raise HeadMapsError("expected finite logits from the device, got NaN or infinite values")
        unpacked = self._runs.unpack(host["runs"])
        return None if unpacked is None else ColorRuns(*unpacked, host["logits"])
