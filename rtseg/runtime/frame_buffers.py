"""Frame buffers for the way up: page-locked by default, in place where CPU and GPU share their memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import BackendError


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
    """An image in page-locked memory that the device reads where it is: nothing is copied on a Jetson.

    PyCUDA works in the device's primary context, the one that CuPy and TensorRT use; its own would clash with theirs.

    Raises:
        BackendError: if PyCUDA is missing or the device cannot map host memory.
    """

    def __init__(self, shape: tuple[int, ...], number: int) -> None:
        try:
            import pycuda.driver as driver
        except ImportError as error:
            raise BackendError(f"mapped frame buffers need PyCUDA ({error}): pip install 'rtseg[pycuda]'") from error
        import cupy

        driver.init()
        self._context = driver.Device(number).retain_primary_context()
        self._context.push()
        try:
            flags = driver.host_alloc_flags.DEVICEMAP
            self.host: NDArray[np.uint8] = driver.pagelocked_empty(shape, np.uint8, mem_flags=flags)
            address = int(self.host.base.get_device_pointer())
        except driver.Error as error:
            raise BackendError(f"the device cannot map host memory: {error}; set mapped=False") from error
        finally:
            self._context.pop()
        self.host[...] = 0
        memory = cupy.cuda.UnownedMemory(address, self.host.nbytes, self.host, number)
        self.device: Any = cupy.ndarray(shape, np.uint8, cupy.cuda.MemoryPointer(memory, 0))

    def upload(self, stream: Any) -> None:
        pass  # the device reads the host's memory
