"""The path of a frame over a device: one step there, the rest on the host."""

from __future__ import annotations

import ctypes
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import GroupingError, HeadMapsError, ImageError
from rtseg.frame import Frame, RawImage, check_image
from rtseg.ops.cuda.preprocess import ENCODINGS
from rtseg.results import Instances, Lanes
from rtseg.runtime.backends import DeviceBackend
from rtseg.runtime.card import ModelCard
from rtseg.runtime.device import Device, device_faults
from rtseg.runtime.fitting import unseen_rows
from rtseg.runtime.gpu.frame import DeviceFrame
from rtseg.runtime.interpreter import AnyInterpreter, HeadMaps
from rtseg.runtime.latency import StageClock


class DevicePath:
    """Preprocessing, network and grouping on a device; polylines, tracks and scores on the host.

    What the camera sent goes up as it is where the kernel takes its encoding, and is converted there. Buffers are made
    for the size and encoding of the first frame, and anew when these change, which takes a moment:
    :meth:`rtseg.runtime.Pipeline.warm_up` does it ahead for BGR. A second set is made when a second frame is begun
    before the first is finished, as a stream does.

    A frame's times hold ``submit`` (the copy to page-locked memory and the launch, on the host), the stages on the
    device by CUDA events, and those on the host afterwards.
    """

    ahead = 1

    def __init__(self, card: ModelCard, device: Device, backend: DeviceBackend, interpreter: AnyInterpreter) -> None:
        self.device = device.name
        self._card, self._device, self._backend, self._interpreter = card, device, backend, interpreter
        self._format = ((0, 0), "")
        self._frames: list[DeviceFrame] = []
        self._inputs: list[Any] = []  # of the network, whose size does not depend on the frames'

    def describe(self) -> dict[str, str]:
        facts = self._backend.describe()
        here = self._interpreter.device_form is not None
        method = self._card.on_device().grouping.method if here else self._card.grouping.method
        facts["grouping"] = f"{method} on {self.device if here else 'the CPU'}"
        if self._frames:
            facts["graph"] = self._frames[0].uncaptured or "captured"
        return facts

    def start(self, frame: Frame, ahead: Executor | None) -> _Started:
        clock = StageClock()
        with clock.stage("submit"):
            encoding, pixels = _bytes_of(frame)
            pixels = pixels[unseen_rows(self._card.input, len(pixels)) :]
            buffers = self._free_buffers((len(pixels), frame.size[1]), encoding)
            started = _Started(self, buffers, frame, clock)
            buffers.start(pixels, started)
        return started

    def head_maps(self, frame: Frame, clock: StageClock) -> HeadMaps:
        started = self.start(frame, None)
        times = started.buffers.finish()
        clock.times.update({**started.clock.times, **times})
        return started.buffers.maps()

    def finish(self, buffers: DeviceFrame, frame: Frame, clock: StageClock) -> Lanes | Instances:
        """Wait for a started frame and make its result."""
        clock.times.update(buffers.finish())
        try:
            # Names of their own: those of the device's stages are its times alone.
            with clock.stage("collect"):
                found = buffers.found()
            if found is None:
                with clock.stage("group on host"):
                    found = self._interpreter.group(buffers.maps(), frame.size)
            return self._interpreter.finish(found, frame, clock)
        except GroupingError as error:
            # Half precision may overflow where float32 does not: the CPU is asked before the frame is given up.
            where = f"{self._backend.name} on {self.device}"
            raise HeadMapsError(f"head maps from {where} do not group: {error}") from error

    def renew(self) -> None:
        self._format = ((0, 0), "")  # buffers hold the mask, and their graph its address: they are made anew

    def alive(self) -> bool:
        return self._device.alive()

    def close(self) -> None:
        """Give back what is held; nothing on a lost device, where libraries' destructors may abort the process."""
        if not self._device.alive():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object((self._frames, self._inputs, self._backend)))
            return
        self._frames.clear()
        self._inputs.clear()
        with suppress(Exception):  # what is left for another must not keep it from working
            self._backend.close()

    def _free_buffers(self, size: tuple[int, int], encoding: str) -> DeviceFrame:
        if (size, encoding) != self._format:
            for buffers in self._frames:
                buffers.wait()  # the network's inputs are taken over
            self._frames, self._format = [], (size, encoding)
        for buffers in self._frames:
            if buffers.free:
                return buffers
        with device_faults("allocating an input"):
            if len(self._inputs) == len(self._frames):
                self._inputs.append(self._new_input())
            tensor = self._inputs[len(self._frames)]
        form = self._interpreter.device_form
        self._frames.append(DeviceFrame(self._device, self._backend, self._card, form, size, encoding, tensor))
        return self._frames[-1]

    def _new_input(self) -> Any:
        needs, stream = self._card.input, self._device.stream()
        with self._device.use(stream):
            tensor = self._device.launcher.xp.zeros((1, 3, needs.height, needs.width), self._backend.input_dtype)
            self._device.wait(stream)
        return tensor


def _bytes_of(frame: Frame) -> tuple[str, NDArray[np.uint8]]:
    """Encoding and bytes to upload: as they came if the kernel takes them, else BGR."""
    raw = frame.pixels
    if not isinstance(raw, RawImage) or raw.encoding not in ENCODINGS:
        return "bgr8", check_image(frame.image)
    row = raw.width * ENCODINGS[raw.encoding][1]
    if raw.rows.shape[1:] != (row,) or raw.rows.dtype != np.uint8:
        raise ImageError(
            f"expected rows of {row} bytes for {raw.width} px of {raw.encoding}, got {raw.rows.dtype} of shape "
            f"{raw.rows.shape}; make the image with rtseg.media.raw_image"
        )
    return raw.encoding, raw.rows


class _Started:
    """A frame in flight; its buffers are free again when it is gone."""

    def __init__(self, path: DevicePath, buffers: DeviceFrame, frame: Frame, clock: StageClock) -> None:
        self.buffers, self.clock = buffers, clock
        self._path, self._frame = path, frame

    def __call__(self) -> Lanes | Instances:
        return self._path.finish(self.buffers, self._frame, self.clock)
