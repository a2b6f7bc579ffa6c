"""The paths a frame can take from image to result, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from queue import SimpleQueue
from typing import Any, Protocol

from numpy.typing import NDArray

from rtseg.frame import Frame, check_image
from rtseg.results import Instances, Lanes
from rtseg.runtime.backends import Backend
from rtseg.runtime.card import ModelCard
from rtseg.runtime.fitting import network_input, network_pixels
from rtseg.runtime.interpreter import AnyInterpreter, HeadMaps, interpret
from rtseg.runtime.latency import StageClock

Finish = Callable[[], Lanes | Instances]


class FramePath(Protocol):
    """One path of a frame: a backend on a device, and the stages around it.

    Attributes:
        device: ``cpu`` or ``cuda:N``.
        ahead: frames that a stream begins before the one that is finished next.
    """

    device: str
    ahead: int

    def describe(self) -> dict[str, str]:
        """Facts about the backend for a person."""

    def start(self, frame: Frame, ahead: Executor | None) -> Finish:
        """Begin with a frame; what is returned waits for the rest and gives the result.

        With `ahead`, of :data:`~rtseg.runtime.backends.MAX_STREAMS` threads, others are begun before this one is
        finished, and networks run meanwhile.

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

    def __init__(
        self,
        card: ModelCard,
        backend: Backend,
        interpreter: AnyInterpreter,
        streams: int = 1,
        open_stream: Callable[[], Backend] | None = None,
    ) -> None:
        """Put the stages around a backend.

        Args:
            card: of the model.
            backend: for frames that come one by one, and for a stream if no others are opened.
            interpreter: what follows the network.
            streams: frames of a stream whose networks run at a time.
            open_stream: opens a backend for one of these, when the first stream begins.
        """
        self.ahead = streams + 1  # one waits, so that no network does while this thread is at another frame's end
        self._card = card
        self._backend = backend
        self._interpreter = interpreter
        self._count, self._open_stream = streams, open_stream
        self._streams: list[Backend] = []
        self._free: SimpleQueue[Backend] = SimpleQueue()

    def describe(self) -> dict[str, str]:
        return self._backend.describe()

    def start(self, frame: Frame, ahead: Executor | None) -> Finish:
        clock = StageClock()
        tensor = self._preprocess(frame, clock)
        if ahead is None:
            return lambda: interpret(self._interpreter, self._infer(self._backend, tensor, clock), frame, clock)
        if not self._streams:
            self._open_streams()
        maps = ahead.submit(self._infer_ahead, tensor, clock)
        return lambda: interpret(self._interpreter, maps.result(), frame, clock)

    def head_maps(self, frame: Frame, clock: StageClock) -> HeadMaps:
        return self._infer(self._backend, self._preprocess(frame, clock), clock)

    def _preprocess(self, frame: Frame, clock: StageClock) -> NDArray[Any]:
        with clock.stage("preprocess"):
            prepare = network_pixels if self._backend.takes_pixels else network_input
            return prepare(check_image(frame.image), self._card.input)

    def _infer(self, backend: Backend, tensor: NDArray[Any], clock: StageClock) -> HeadMaps:
        with clock.stage("infer"):
            return backend.infer(tensor)

    def _infer_ahead(self, tensor: NDArray[Any], clock: StageClock) -> HeadMaps:
        backend = self._free.get()
        try:
            return self._infer(backend, tensor, clock)
        finally:
            self._free.put(backend)

    def _open_streams(self) -> None:
        for _ in range(self._count):
            backend = self._backend if self._open_stream is None else self._open_stream()
            self._streams.append(backend)
            self._free.put(backend)

    def renew(self) -> None:
        pass  # the interpreter is asked anew for every frame

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        for backend in (self._backend, *(each for each in self._streams if each is not self._backend)):
            backend.close()
