"""Lane grouping on the device: colors, components and their runs; lines are made of the runs on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtseg.errors import BackendError
from rtseg.frame import Frame
from rtseg.ops.cuda import ColoringPlan, ComponentsPlan, RunsPlan
from rtseg.ops.cuda.module import Launcher
from rtseg.results import Lanes
from rtseg.runtime.gpu.grouping import Downloads
from rtseg.runtime.latency import StageClock

if TYPE_CHECKING:
    from rtseg.lanes.interpreter import LaneInterpreter


class LaneGrouping:
    """Everything of :class:`rtseg.lanes.LaneDecoder` that looks at pixels, in fixed buffers.

    Runs and head maps come down instead of images: a tenth of the bytes, and the seam at which the CPU's code goes on.

    Args:
        interpreter: finishes frames and tracks lines.
        logits: (1, n + 1, h, w) float32 on the device, the backend's output buffer.
        size: (H, W) of the frames.
        launcher: where kernels run.
    """

    def __init__(self, interpreter: LaneInterpreter, logits: Any, size: tuple[int, int], launcher: Launcher) -> None:
        self._interpreter, self._logits, self._size = interpreter, logits[0], size
        self._coloring = ColoringPlan(self._logits.shape, size, launcher)
        self._components = ComponentsPlan(size, 8, launcher)
        self._runs = RunsPlan(size, None, launcher)
        self._colors = launcher.xp.zeros(size, "uint8")
        self._labels = launcher.xp.zeros(size, "int32")
        self.downloads = {"logits": self._logits, "runs": self._runs.packed, "status": self._coloring.status}

    def run(self) -> None:
        self._coloring.run(self._logits, self._colors)
        self._components.run(self._colors, self._labels)
        self._runs.run(self._colors, self._labels)

    def finish(self, host: Downloads, frame: Frame, clock: StageClock) -> Lanes | None:
        if host["status"][0]:
            raise BackendError("expected finite logits from the device, got NaN or infinite values")
        unpacked = self._runs.unpack(host["runs"])
        if unpacked is None:
            return None
        return self._interpreter.finish(*unpacked, host["logits"], frame, clock)
