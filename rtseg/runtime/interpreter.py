"""What follows the network: head maps to what is found in them, and that to the result of a frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame
from rtseg.results import Instances, Lanes
from rtseg.runtime.latency import StageClock

HeadMaps = dict[str, NDArray[np.float32]]
"""The network's outputs by name, (1, C, h, w) each."""
Downloads = dict[str, NDArray[Any]]
"""Host copies of what a device grouped."""

Mirror = dict[str, list[int] | None]
"""The order of each output's channels in a mirror image, None where a mirror does not change them."""

Found = TypeVar("Found")
FoundOnDevice = TypeVar("FoundOnDevice", covariant=True)
Result = TypeVar("Result", bound=Lanes | Instances, covariant=True)


class DeviceGrouping(Protocol[FoundOnDevice]):
    """The first step of an interpreter in fixed buffers of a device, for frames of one size.

    Attributes:
        downloads: arrays on the device that :meth:`found` wants on the host.
    """

    downloads: dict[str, Any]

    def run(self) -> None:
        """Enqueue on the current stream: nothing is allocated or read back, so that a graph can capture it."""

    def found(self, host: Downloads) -> FoundOnDevice | None:
        """Read what was found from host copies of `downloads`, of which nothing is kept.

        Returns:
            What the interpreter's `group` gives for these maps; None where the CPU has to group them.

        Raises:
            BackendError: if the head maps hold what no network should give.
        """


DeviceForm = Callable[[dict[str, Any], tuple[int, int], Any], DeviceGrouping[Found]]
"""Makes one from the backend's fixed output buffers, the (H, W) of the frames, and where kernels run."""


class Interpreter(Protocol[Found, Result]):
    """Turns the head maps of one frame into its result, in two steps; remembers a task's ids from frame to frame.

    Attributes:
        mirror: of outputs that are to be averaged with those of the mirrored frame; None where one look is enough.
        device_form: makes the first step for a device; None where the method has none.
    """

    mirror: Mirror | None

    @property
    def device_form(self) -> DeviceForm[Found] | None: ...

    def group(self, maps: HeadMaps, size: tuple[int, int]) -> Found:
        """Find what is in the maps of a frame of (H, W); nothing is remembered.

        Raises:
            GroupingError: if the maps are not finite or hold values that the method cannot take.
        """
        ...

    def finish(self, found: Found, frame: Frame, clock: StageClock) -> Result:
        """Describe what was found in the pixels of the frame, and give it ids that last."""
        ...

    def reset(self) -> None:
        """Forget the ids."""
        ...

    def warm_up(self, frame: Frame) -> None:
        """Run both steps on maps in which there is something."""
        ...


AnyInterpreter = Interpreter[Any, Any]


def interpret(interpreter: Interpreter[Any, Result], maps: HeadMaps, frame: Frame, clock: StageClock) -> Result:
    """Both steps on the CPU.

    Raises:
        GroupingError: as :meth:`Interpreter.group`.
    """
    with clock.stage("group"):
        found = interpreter.group(maps, frame.size)
    return interpreter.finish(found, frame, clock)
