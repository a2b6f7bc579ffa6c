"""The device that frames run on: its memory, streams and graphs, and what its faults mean.

Everything that the path of a frame asks of a device is in the protocol :class:`Device`, so that the tests drive the
same path over the kernels built for the CPU.

Recovery policy: after any fault the way through the device is given up for the next one, and the frame is computed
again there, so no frame is lost. A device that no longer answers afterwards (a sticky CUDA error means that the
process's context is gone) is not tried again in this process, with any backend; one that does answer, after running
out of memory for instance, is tried with the next backend. Nothing is retried smaller.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rtseg.errors import BackendError, RtsegError

if TYPE_CHECKING:
    from rtseg.ops.cuda.module import Launcher

# What NVIDIA's drivers leave: on desktops and in data centers, on a Jetson, in Linux under Windows.
_DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/usr/lib/wsl/lib/libcuda.so.1")

DLA = "dla"  # device: the first deep learning accelerator of a Jetson, with what it cannot do on the GPU
_EVENT_RECORD_EXTERNAL = 1  # CU_EVENT_RECORD_EXTERNAL: in a captured graph, an event that the host may read


class FrameBuffer(Protocol):
    """An image on the host, where a camera writes it, and on the device, where kernels read it."""

    host: NDArray[np.uint8]
    device: Any

    def upload(self, stream: Any) -> None:
        """Enqueue the copy to the device, if there is anything to copy."""


class Device(Protocol):
    """What the path of a frame asks of a device.

    Attributes:
        name: ``cuda:N``.
        launcher: where kernels run.
        dla: whether networks are to use the deep learning accelerator beside the device.
    """

    name: str
    launcher: Launcher
    dla: bool

    def describe(self) -> str: ...

    def stream(self) -> Any:
        """Give a new stream that does not wait for the default one."""

    def use(self, stream: Any) -> AbstractContextManager[None]:
        """Make the device and `stream` current in a ``with`` block of this thread."""

    def frame_buffer(self, shape: tuple[int, ...]) -> FrameBuffer:
        """Allocate an image of bytes that is fast to upload."""

    def host_array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Allocate host memory that is fast to download to."""

    def download(self, array: Any, host: NDArray[Any], stream: Any) -> None:
        """Enqueue a copy to `host`."""

    def event(self) -> Any:
        """Give an event that `record` takes."""

    def record(self, event: Any, stream: Any) -> None:
        """Enqueue the event; inside a capture it becomes part of the graph."""

    def milliseconds(self, first: Any, second: Any) -> float:
        """Time between two recorded events that have passed."""

    def capture(self, stream: Any, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Capture what `enqueue` enqueues on `stream`; what is returned enqueues it all at once."""

    def wait(self, stream: Any) -> None:
        """Wait until all that was enqueued on `stream` is done."""

    def used_bytes(self) -> int:
        """Memory of the device that is taken, by whomever."""

    def alive(self) -> bool:
        """Say whether the device still answers; False once its context is lost."""


class CudaDevice:
    """A CUDA device through CuPy; memory comes from CuPy's pools.

    Args:
        number: ordinal of the device.
        mapped: keep frame buffers in memory that the device reads in place; by default where CPU and GPU share their
            memory, if that is measured to be faster.
        dla: see :class:`Device`.

    Raises:
        BackendError: if CuPy is missing or there is no such device.
    """

    def __init__(self, number: int = 0, mapped: bool | None = None, dla: bool = False) -> None:
        if find_spec("cupy") is None:
            raise BackendError("expected CuPy for a CUDA device, found none: pip install 'rtseg[gpu]'")
        import cupy

        self._cupy = cupy
        self._runtime = cupy.cuda.runtime
        with device_faults("looking for a CUDA device"):
            count = self._runtime.getDeviceCount()
            if not 0 <= number < count:
                raise BackendError(f"expected a CUDA device from cuda:0 to cuda:{count - 1}, got cuda:{number}")
            self._properties = self._runtime.getDeviceProperties(number)
            self._device = cupy.cuda.Device(number)
            with self._device:
                self._runtime.free(0)  # makes the primary context, which torch then shares
                from rtseg.ops.cuda.module import cuda_launcher

                self.launcher: Launcher = cuda_launcher()
        self.number = number
        self.name = f"cuda:{number}"
        self.dla = dla
        self._mapped = False if mapped is None and not self._properties.get("integrated") else mapped
        self._capturing = False

    def describe(self) -> str:
        return f"{self.name} {self._properties['name'].decode()}{' with DLA' * self.dla}"

    def stream(self) -> Any:
        with self._device:
            return self._cupy.cuda.Stream(non_blocking=True)

    @contextmanager
    def use(self, stream: Any) -> Iterator[None]:
        with self._device, stream:
            yield

    def frame_buffer(self, shape: tuple[int, ...]) -> FrameBuffer:
        from rtseg.runtime.frame_buffers import MappedBuffer, PinnedBuffer, faster_buffer

        with self._device:
            if self._mapped is not None:
                return MappedBuffer(shape) if self._mapped else PinnedBuffer(shape)
            buffer = faster_buffer(shape)
        self._mapped = isinstance(buffer, MappedBuffer)
        return buffer

    def host_array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        import cupyx

        array: NDArray[Any] = cupyx.zeros_pinned(shape, dtype)
        return array

    def download(self, array: Any, host: NDArray[Any], stream: Any) -> None:
        kind = self._runtime.memcpyDeviceToHost
        self._runtime.memcpyAsync(host.ctypes.data, array.data.ptr, host.nbytes, kind, stream.ptr)

    def event(self) -> Any:
        return self._cupy.cuda.Event()

    def record(self, event: Any, stream: Any) -> None:
        if not self._capturing:
            event.record(stream)
            return
        record = _record_with_flags()
        code = -1 if record is None else record(event.ptr, stream.ptr, _EVENT_RECORD_EXTERNAL)
        if code:
            raise BackendError(f"expected to record an event in a CUDA graph, got CUDA error {code}")

    def milliseconds(self, first: Any, second: Any) -> float:
        return float(self._cupy.cuda.get_elapsed_time(first, second))

    def capture(self, stream: Any, enqueue: Callable[[], None]) -> Callable[[], None]:
        # What would hide a wait or an allocation in the graph is refused to this thread; other threads may go on.
        stream.begin_capture(self._runtime.streamCaptureModeThreadLocal)
        self._capturing = True
        try:
            enqueue()
        except BaseException:
            with suppress(Exception):
                stream.end_capture()
            raise
        finally:
            self._capturing = False
        graph = stream.end_capture()
        return lambda: graph.launch(stream)

    def wait(self, stream: Any) -> None:
        stream.synchronize()

    def used_bytes(self) -> int:
        with self._device:
            free, total = self._runtime.memGetInfo()
        return int(total - free)

    def alive(self) -> bool:
        try:
            with self._device:
                self._runtime.deviceSynchronize()
                self._runtime.memGetInfo()
        except self._runtime.CUDARuntimeError:
            return False
        return True


@cache
def _record_with_flags() -> Callable[[int, int, int], int] | None:
    """``cuEventRecordWithFlags``, which CuPy does not wrap; None where the driver has no such function."""
    try:
        function = ctypes.CDLL("libcuda.so.1").cuEventRecordWithFlags
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint]
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


@contextmanager
def device_faults(doing: str) -> Iterator[None]:
    """Turn whatever a library raises in a ``with`` block into a BackendError that says at what stage.

    CuPy, torch, ONNX Runtime and TensorRT raise many types for the same faults, MemoryError among them.
    """
    try:
        yield
    except RtsegError:
        raise
    except Exception as error:
        raise BackendError(f"the device failed {doing}: {type(error).__name__}: {error}") from error


def parse_device(device: str) -> int | None:
    """Ordinal of the card for ``cuda`` (0), ``cuda:N`` or ``dla`` (0); None for ``auto`` and ``cpu``.

    Raises:
        BackendError: if it is none of these.
    """
    if device in ("auto", "cpu"):
        return None
    if device == DLA:
        return 0
    kind, _, number = device.partition(":")
    if kind != "cuda" or (device != "cuda" and not (number.isascii() and number.isdigit())):
        raise BackendError(f"expected device auto, cpu, cuda, cuda:N or dla, got {device!r}")
    return int(number or 0)


def device_driver_present() -> bool:
    """Whether this machine has an NVIDIA driver, so that finding no device is a fault and no matter of course."""
    return any(Path(name).exists() for name in _DEVICE_FILES)
