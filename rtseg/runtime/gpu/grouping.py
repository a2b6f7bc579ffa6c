"""What follows the network on the device, and what of it comes down to the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame
from rtseg.results import Instances, Lanes
from rtseg.runtime.latency import StageClock
from rtseg.runtime.paths import Interpreter

Downloads = dict[str, NDArray[Any]]


class DeviceGrouping(Protocol):
    """Grouping in fixed buffers for frames of one size.

    Attributes:
        downloads: arrays on the device that :meth:`finish` wants on the host.
    """

    downloads: dict[str, Any]

    def run(self) -> None:
        """Enqueue on the current stream: nothing is allocated or read back, so that a graph can capture it."""

    def finish(self, host: Downloads, frame: Frame, clock: StageClock) -> Lanes | Instances | None:
        """Make the result from host copies of `downloads`; None where the CPU has to group the head maps."""


class HostGrouping:
    """Head maps come down as they are, and the CPU groups them: for methods that have no device form."""

    def __init__(self, interpreter: Interpreter, maps: dict[str, Any]) -> None:
        self._interpreter = interpreter
        self.downloads = maps

    def run(self) -> None:
        pass

    def finish(self, host: Downloads, frame: Frame, clock: StageClock) -> Lanes | Instances:
        # The buffers are written again by the next frame, and an interpreter may keep views of its maps.
        return self._interpreter({name: np.array(values) for name, values in host.items()}, frame, clock)


GroupingMaker = Callable[[dict[str, Any], tuple[int, int], Any], DeviceGrouping]


def make_grouping(
    interpreter: Interpreter, maps: dict[str, Any], size: tuple[int, int], launcher: Any
) -> DeviceGrouping:
    """Give the device form of an interpreter's grouping, or leave the grouping to the CPU.

    Args:
        interpreter: of the model; has a method ``on_device`` where there is a device form.
        maps: the backend's fixed output buffers.
        size: (H, W) of the frames.
        launcher: where kernels run.
    """
    maker: GroupingMaker | None = getattr(interpreter, "on_device", None)
    return HostGrouping(interpreter, maps) if maker is None else maker(maps, size, launcher)
