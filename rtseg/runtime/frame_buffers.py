"""Frame buffers for the way up: page-locked by default, in place where CPU and GPU share their memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import BackendError

_LOOKS = 10  # the first compiles the kernel


class PinnedBuffer:
    """A page-locked image on the host and its copy on the current CuPy device."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        import cupy
        import cupyx

        self._runtime = cupy.cuda.runtime
        self.host: NDArray[np.uint8] = cupyx.zeros_pinned(shape, np.uint8)
        self.device: Any = cupy.zeros(shape, np.uint8)

    def upload(self, stream: Any) -> None:
        kind = self._runtime.memcpyHostToDevice
        self._runtime.memcpyAsync(self.device.data.ptr, self.host.ctypes.data, self.host.nbytes, kind, stream.ptr)


class MappedBuffer:
    """An image in page-locked memory that the current CuPy device reads where it is: nothing is copied.

    Raises:
        BackendError: if the device cannot map host memory.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        import cupy

        runtime, size = cupy.cuda.runtime, int(np.prod(shape))
        memory = cupy.cuda.PinnedMemory(size, runtime.hostAllocMapped)
        address = int(runtime.pointerGetAttributes(memory.ptr).devicePointer)
        if not address:
            raise BackendError("the device cannot map host memory: set mapped=False")
        pointer = cupy.cuda.PinnedMemoryPointer(memory, 0)
        self.host: NDArray[np.uint8] = np.ndarray(shape, np.uint8, buffer=pointer)
        self.host[...] = 0
        seen = cupy.cuda.UnownedMemory(address, size, memory, cupy.cuda.Device().id)
        self.device: Any = cupy.ndarray(shape, np.uint8, cupy.cuda.MemoryPointer(seen, 0))

    def upload(self, stream: Any) -> None:
        pass  # the device reads the host's memory


def faster_buffer(shape: tuple[int, ...]) -> PinnedBuffer | MappedBuffer:
    """Give the kind of buffer of which the current CuPy device has read a frame sooner, copying it first or not."""
    import cupy

    pinned = PinnedBuffer(shape)
    try:
        mapped = MappedBuffer(shape)
    except (BackendError, cupy.cuda.runtime.CUDARuntimeError):  # it cannot
        return pinned
    return mapped if _reading_time(mapped) <= _reading_time(pinned) else pinned


def _reading_time(buffer: PinnedBuffer | MappedBuffer) -> float:
    """Shortest time in milliseconds until a kernel has read a frame that lies in the buffer's host memory."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    times = []
    with stream:
        read = cupy.empty_like(buffer.device)
        for _ in range(_LOOKS):
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            begin.record(stream)
            buffer.upload(stream)
            cupy.invert(buffer.device, out=read)
            end.record(stream)
            end.synchronize()
            times.append(float(cupy.cuda.get_elapsed_time(begin, end)))
    return min(times)
