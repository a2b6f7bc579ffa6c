"""The paths a frame can take from image to result, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame, check_image
from rtseg.results import Instances, Lanes
from rtseg.runtime.backends import Backend
from rtseg.runtime.card import ModelCard
from rtseg.runtime.fitting import network_input
from rtseg.runtime.interpreter import AnyInterpreter, HeadMaps, interpret
from rtseg.runtime.latency import StageClock

Finish = Callable[[], Lanes | Instances]


class FramePath(Protocol):
    """One path of a frame: a backend on a device, and the stages around it."""

    device: str

    def describe(self) -> dict[str, str]:
        """Facts about the backend for a person."""

    def start(self, frame: Frame, ahead: Executor | None) -> Finish:
        """Begin with a frame; what is returned waits for the rest and gives the result.

        With `ahead` the next frame is begun before this one is finished, at most one, and the network runs meanwhile.

        Raises:
            ImageError: if the frame is no image.
            BackendError: if the backend or its device fails, now or when finishing.
        """

    def head_maps(self, frame: Frame, clock: StageClock) -> HeadMaps:
        """Give the network's outputs, the caller's own.

        Raises:
            ImageError: if the frame is no image.
            BackendError: if the backend or its device fails.
        """

    def renew(self) -> None:
        """Take up what has changed in what the interpreter does not look at."""

    def alive(self) -> bool:
        """Say whether other backends may be tried on this device after a fault."""

    def close(self) -> None:
        """Give back what the backend holds."""


class HostPath:
    """Everything on the CPU, in NumPy arrays."""

    device = "cpu"

    def __init__(self, card: ModelCard, backend: Backend, interpreter: AnyInterpreter) -> None:
        self._card = card
        self._backend = backend
        self._interpreter = interpreter

    def describe(self) -> dict[str, str]:
        return self._backend.describe()

    def start(self, frame: Frame, ahead: Executor | None) -> Finish:
        clock = StageClock()
        tensor = self._preprocess(frame, clock)
        if ahead is None:
            return lambda: interpret(self._interpreter, self._infer(tensor, clock), frame, clock)
        maps = ahead.submit(self._infer, tensor, clock)
        return lambda: interpret(self._interpreter, maps.result(), frame, clock)

    def head_maps(self, frame: Frame, clock: StageClock) -> HeadMaps:
        return self._infer(self._preprocess(frame, clock), clock)

    def _preprocess(self, frame: Frame, clock: StageClock) -> NDArray[np.float32]:
        with clock.stage("preprocess"):
            return network_input(check_image(frame.image), self._card.input)

    def _infer(self, tensor: NDArray[np.float32], clock: StageClock) -> HeadMaps:
        with clock.stage("infer"):
            return self._backend.infer(tensor)

    def renew(self) -> None:
        pass  # the interpreter is asked anew for every frame

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        self._backend.close()
