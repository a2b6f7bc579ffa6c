"""A device for the path of a frame that runs on the CPU: NumPy arrays, the real kernels over the shim, real exceptions.

It refuses what a capture refuses, and raises at a chosen stage what CuPy and the driver would raise there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike, NDArray

from rtseg.ops.cuda.module import source_names
from rtseg.runtime.backends.onnx_runtime import SessionBinder
from rtseg.runtime.card import ModelCard

sys.path.insert(0, str(Path(__file__).parents[2] / "ops" / "cuda" / "shim"))

from shim_build import ShimLauncher

KERNELS = {
    "preprocess": ("preprocess",),
    "group": tuple(source for source in source_names() if source != "preprocess"),
}


class Faults:
    """Exceptions by stage, raised from the `after`-th time on, as often as the stage is come to."""

    def __init__(self) -> None:
        self._planned: dict[str, tuple[Callable[[], Exception], int]] = {}
        self.seen: dict[str, int] = {}
        self.lost = False

    def plan(self, stage: str, error: Callable[[], Exception], after: int = 0, lose: bool = False) -> None:
        self._planned[stage] = error, self.seen.get(stage, 0) + after
        self._lose = lose

    def __call__(self, stage: str) -> None:
        self.seen[stage] = self.seen.get(stage, 0) + 1
        error, after = self._planned.get(stage, (None, 0))
        if error is not None and self.seen[stage] > after:
            self.lost = self.lost or self._lose
            raise error()  # a new one, since a raised exception holds on to the frames that it came through


class FaultyLauncher:
    """The shim's launcher, with faults in kernels."""

    xp = np

    def __init__(self, library: Path, faults: Faults) -> None:
        self._launcher, self._faults = ShimLauncher(library, seed=0), faults

    def prepare(self, source: str) -> None:
        self._launcher.prepare(source)

    def launch(self, source: str, *arguments: Any) -> None:
        for stage, sources in KERNELS.items():
            if source in sources:
                self._faults(stage)
        self._launcher.launch(source, *arguments)


class HostBuffer:
    """Two arrays and a copy between them."""

    def __init__(self, shape: tuple[int, ...], faults: Faults) -> None:
        self.host, self.device, self._faults = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), faults

    def upload(self, stream: Any) -> None:
        self._faults("upload")
        np.copyto(self.device, self.host)


class ShimDevice:
    """See rtseg.runtime.device.Device."""

    def __init__(self, library: Path, name: str = "cuda:0") -> None:
        self.name, self.dla = name, False
        self.faults = Faults()
        self.launcher = FaultyLauncher(library, self.faults)
        self.captures = 0
        self._capturing = False

    def describe(self) -> str:
        return f"{self.name} shim"

    def stream(self) -> Any:
        return object()

    @contextmanager
    def use(self, stream: Any) -> Iterator[None]:
        yield

    def frame_buffer(self, shape: tuple[int, ...]) -> HostBuffer:
        self._refuse_in_capture()
        self.faults("allocate")
        return HostBuffer(shape, self.faults)

    def host_array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        self._refuse_in_capture()
        return np.zeros(shape, dtype)

    def download(self, array: Any, host: NDArray[Any], stream: Any) -> None:
        self.faults("download")
        assert array.shape == host.shape
        assert array.dtype == host.dtype
        np.copyto(host, array)

    def event(self) -> Any:
        return []

    def record(self, event: Any, stream: Any) -> None:
        if self._capturing:
            self.faults("record")
        event.append(stream)

    def milliseconds(self, first: Any, second: Any) -> float:
        assert first
        assert second
        return 1.0

    def capture(self, stream: Any, enqueue: Callable[[], None]) -> Callable[[], None]:
        self.faults("capture")
        self._capturing = True
        try:
            enqueue()
        finally:
            self._capturing = False
        self.captures += 1
        return enqueue

    def wait(self, stream: Any) -> None:
        self._refuse_in_capture()
        self.faults("wait")

    def used_bytes(self) -> int:
        return 0

    def alive(self) -> bool:
        return not self.faults.lost

    def _refuse_in_capture(self) -> None:
        assert not self._capturing, "a capture would fail here"


class BoundBackend:
    """ONNX Runtime from and to fixed buffers, as on a device, in the memory of the host."""

    input_dtype = "float32"
    capturable = True

    def __init__(self, model: Path, card: ModelCard, faults: Faults, name: str = "onnxruntime") -> None:
        self.name = name
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        self._binder, self._faults, self._card = SessionBinder(session, card, "cpu", 0, np), faults, card
        self.spoil: float | None = None
        self.closed = False

    def infer(self, tensor: Any) -> dict[str, Any]:
        self._faults("infer")
        outputs = self._binder.run(tensor, tensor.ctypes.data)
        if self.spoil is not None:
            for array in outputs.values():
                array[...] = self.spoil
        return outputs

    def warm_up(self) -> None:
        self._faults("warm-up")
        needs = self._card.input
        self.infer(np.zeros((1, 3, needs.height, needs.width), np.float32))

    def describe(self) -> dict[str, str]:
        return {"backend": self.name, "device": "shim"}

    def close(self) -> None:
        self.closed = True
