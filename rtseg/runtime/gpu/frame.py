"""One frame on the device: fixed buffers, and the step from upload to download captured as one graph."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import BackendError
from rtseg.ops.cuda.preprocess import ENCODINGS, PreprocessPlan
from rtseg.runtime.backends import DeviceBackend
from rtseg.runtime.card import ModelCard
from rtseg.runtime.device import Device, device_faults
from rtseg.runtime.fitting import border_values, window_of
from rtseg.runtime.interpreter import DeviceForm, HeadMaps
from rtseg.runtime.nvtx import annotate

logger = logging.getLogger("rtseg")

STAGES = ("upload", "preprocess", "infer", "group", "download")


class DeviceFrame:
    """Everything that one frame in flight needs on the device, for frames of one size and encoding.

    Each has a stream of its own, so the upload of the next frame overlaps with the work on the current one.

    Args:
        device: where.
        backend: opened on that device.
        card: of the model.
        form: of the interpreter's first step; None where head maps come down as they are, for the CPU to group.
        size: (H, W) of the frames.
        encoding: of the frames, one of :data:`rtseg.ops.cuda.preprocess.ENCODINGS`.
        tensor: the network's input, on the device; no other frame in flight may use it.

    Attributes:
        uncaptured: why the step is not one graph, None where it is.

    Raises:
        BackendError: if memory runs out or a stage fails; the message names it.
    """

    def __init__(
        self,
        device: Device,
        backend: DeviceBackend,
        card: ModelCard,
        form: DeviceForm[Any] | None,
        size: tuple[int, int],
        encoding: str,
        tensor: Any,
    ) -> None:
        self._device, self._backend, self._input = device, backend, tensor
        self._holder: weakref.ref[Any] | None = None
        self._timed = True
        needs, launcher = card.input, device.launcher
        with device_faults(f"planning for frames of {size[1]}x{size[0]} {encoding}"):
            self._stream = device.stream()
            with device.use(self._stream):
                self._image = device.frame_buffer((size[0], size[1] * ENCODINGS[encoding][1]))
                window = window_of(needs, size)
                self._preprocess = PreprocessPlan(
                    size,
                    (window.height, window.width),
                    needs.mean,
                    needs.std,
                    needs.order,
                    encoding,
                    dtype=backend.input_dtype,
                    launcher=launcher,
                )
                self._inside, self._place = tensor, tensor
                if (window.height, window.width) != (needs.height, needs.width):
                    xp = launcher.xp
                    self._inside = xp.zeros((1, 3, window.height, window.width), backend.input_dtype)
                    tensor[:] = xp.asarray(border_values(needs), backend.input_dtype)[:, None, None]
                    down, right = window.top + window.height, window.left + window.width
                    self._place = tensor[:, :, window.top : down, window.left : right]
                self._events = [device.event() for _ in range(len(STAGES) + 1)]
                with device_faults("in stage infer"):
                    self._maps = backend.infer(self._input)
                self._grouping = None if form is None else form(self._maps, size, launcher)
                self._downloads = self._maps if self._grouping is None else self._grouping.downloads
                self._host = {
                    name: device.host_array(array.shape, array.dtype) for name, array in self._downloads.items()
                }
                self._enqueue()  # once for real: kernels load and libraries allocate now and not in the capture
                device.wait(self._stream)
                self._replay, self.uncaptured = self._capture()

    @property
    def free(self) -> bool:
        """Whether nobody waits for the frame in it any more."""
        return self._holder is None or self._holder() is None

    def start(self, pixels: NDArray[np.uint8], holder: object) -> None:
        """Enqueue the step for a frame's bytes, (H, ...) uint8; the buffers stay taken as long as `holder` lives."""
        with device_faults("starting a frame"), self._device.use(self._stream):
            self._device.wait(self._stream)  # idle unless a frame was abandoned in it
            np.copyto(self._image.host.reshape(pixels.shape), pixels)
            self._holder = weakref.ref(holder)
            with annotate("replay"):
                self._replay()

    def finish(self) -> dict[str, float]:
        """Wait for the step and give the milliseconds of its stages.

        Where the stages cannot be told apart, the time waited is that of ``device``.
        """
        with device_faults("finishing a frame"), self._device.use(self._stream), annotate("wait"):
            before = time.perf_counter()
            self._device.wait(self._stream)
            if not self._timed:
                return {"device": 1e3 * (time.perf_counter() - before)}
            times = {}
            for stage, begin, end in zip(STAGES, self._events[:-1], self._events[1:], strict=True):
                times[stage] = self._device.milliseconds(begin, end)
        return times

    def found(self) -> Any:
        """What was grouped in the last frame, valid until the next start; None where the CPU has to group the maps."""
        return None if self._grouping is None else self._grouping.found(self._host)

    def wait(self) -> None:
        """Wait until nothing is enqueued any more."""
        with device_faults("waiting for a frame"):
            self._device.wait(self._stream)

    def maps(self) -> HeadMaps:
        """The head maps of the last frame, the caller's own."""
        if self._grouping is None:
            return {name: np.array(values) for name, values in self._host.items()}
        with device_faults("downloading head maps"), self._device.use(self._stream):
            maps = {name: np.empty(array.shape, array.dtype) for name, array in self._maps.items()}
            for name, array in self._maps.items():
                self._device.download(array, maps[name], self._stream)
            self._device.wait(self._stream)
        return maps

    def _enqueue(self) -> None:
        device, stream = self._device, self._stream
        if self._timed:
            device.record(self._events[0], stream)
        steps = (self._upload, self._prepare, self._infer, self._group, self._download)
        for stage, step, end in zip(STAGES, steps, self._events[1:], strict=True):
            with device_faults(f"in stage {stage}"), annotate(stage):
                step()
                if self._timed:
                    device.record(end, stream)

    def _upload(self) -> None:
        self._image.upload(self._stream)

    def _prepare(self) -> None:
        self._preprocess.run(self._image.device, self._inside)
        if self._inside is not self._input:
            self._place[:] = self._inside

    def _infer(self) -> None:
        maps = self._backend.infer(self._input)
        if any(maps[name] is not self._maps[name] for name in self._maps):
            raise BackendError(f"expected {self._backend.name} to keep its output buffers, it gave others")

    def _group(self) -> None:
        if self._grouping is not None:
            self._grouping.run()

    def _download(self) -> None:
        for name, array in self._downloads.items():
            self._device.download(array, self._host[name], self._stream)

    def _capture(self) -> tuple[Callable[[], None], str | None]:
        if not self._backend.capturable:
            return self._enqueue, f"{self._backend.name} cannot be captured"
        reason = ""
        for self._timed in (True, False):  # events in a graph are the part that old drivers lack
            try:
                with device_faults("capturing a graph"):
                    replay = self._device.capture(self._stream, self._enqueue)
                    replay()
                    self._device.wait(self._stream)
                    return replay, None
            except BackendError as error:
                if not self._device.alive():
                    raise
                reason = reason or str(error)
        self._timed = True
        logger.warning("frames run without a CUDA graph: %s", reason)
        return self._enqueue, reason
