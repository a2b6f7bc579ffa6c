"""torch: on a CUDA device in half precision, for machines where it is installed and TensorRT is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rtseg.errors import BackendError
from rtseg.runtime.backends.onnx_torch import OnnxNetwork
from rtseg.runtime.backends.signature import check_signature
from rtseg.runtime.card import ModelCard
from rtseg.runtime.device import Device, device_faults


class TorchBackend:
    """The network as a torch function on the CPU, in float32."""

    name = "torch"
    takes_pixels = False

    def __init__(self, model: Path, card: ModelCard, threads: int) -> None:
        self._network = OnnxNetwork(model, torch.device("cpu"), torch.float32)
        check_signature(card, self._network.inputs, self._network.outputs)
        self._shape = (1, 3, card.input.height, card.input.width)
        self._threads = threads

    def infer(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                outputs = self._network(torch.from_numpy(tensor))
                return {name: value.contiguous().numpy() for name, value in outputs.items()}
        except RuntimeError as error:
            raise BackendError(f"torch failed on a frame: {error}") from error
        finally:
            torch.set_num_threads(before)

    def warm_up(self) -> None:
        self.infer(np.zeros(self._shape, dtype=np.float32))

    def describe(self) -> dict[str, str]:
        return {"backend": f"torch {torch.__version__}", "device": "CPU", "threads": str(self._threads)}

    def close(self) -> None:
        del self._network


class TorchDeviceBackend:
    """The network as a torch function on a CUDA device: float16, channels last, on CuPy's stream.

    torch's allocator does not know of captures that CuPy began, so all memory of the network comes from a pool that
    nothing else in the process allocates from: what a captured graph uses is never given to others.
    """

    name = "torch"
    input_dtype = "float16"
    capturable = True

    def __init__(self, model: Path, card: ModelCard, device: Device) -> None:
        if not torch.cuda.is_available():
            raise BackendError("expected torch with CUDA, this one has none: install a CUDA build of torch")
        self._device = torch.device(device.name)
        self._facts = device.describe()
        with device_faults("loading a network in torch"):
            self._pool = torch.cuda.MemPool()
            with torch.cuda.use_mem_pool(self._pool, self._device):
                self._network = OnnxNetwork(model, self._device, torch.float16)
            torch.cuda.synchronize(self._device)  # weights were cast on a stream that frames do not wait for
        check_signature(card, self._network.inputs, self._network.outputs)
        self._shape = (1, 3, card.input.height, card.input.width)
        self._outputs = {output.name: self._network.outputs[output.name] for output in card.outputs}
        self._bound: dict[int, _Bound] = {}

    def infer(self, tensor: Any) -> dict[str, Any]:
        with device_faults("running torch"), self._current():
            bound = self._bound.get(tensor.data.ptr)
            if bound is None:
                bound = self._bound[tensor.data.ptr] = _Bound(tensor, self._outputs, self._device)
            outputs = self._network(bound.input.contiguous(memory_format=torch.channels_last))
            for name, view in bound.views.items():
                view.copy_(outputs[name])  # to float32 and channels first
            return bound.outputs

    def warm_up(self) -> None:
        import cupy

        with device_faults("warming up torch"):
            self.infer(cupy.zeros(self._shape, self.input_dtype))
            cupy.cuda.get_current_stream().synchronize()
            self._bound.clear()

    def describe(self) -> dict[str, str]:
        return {"backend": f"torch {torch.__version__}", "device": self._facts, "precision": "fp16"}

    def close(self) -> None:
        self._bound.clear()
        del self._network, self._pool

    @contextmanager
    def _current(self) -> Iterator[None]:
        import cupy

        stream = torch.cuda.ExternalStream(cupy.cuda.get_current_stream().ptr, self._device)
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True),
            torch.cuda.use_mem_pool(self._pool, self._device),
            torch.cuda.stream(stream),
        ):
            yield


class _Bound:
    """An input, and the outputs that belong to it, as torch and as CuPy see the same memory."""

    def __init__(self, tensor: Any, outputs: dict[str, tuple[int, ...]], device: torch.device) -> None:
        import cupy

        self.tensor = tensor
        self.input = torch.as_tensor(tensor, device=device)
        self.outputs = {name: cupy.zeros(shape, "float32") for name, shape in outputs.items()}
        self.views = {name: torch.as_tensor(array, device=device) for name, array in self.outputs.items()}


def open_backend(model: Path, card: ModelCard, threads: int, streams: int = 1) -> TorchBackend:
    """Open `model` with torch on the CPU."""
    return TorchBackend(model, card, threads)


def open_on_device(model: Path, card: ModelCard, device: Device) -> TorchDeviceBackend:
    """Open `model` with torch on a CUDA device."""
    return TorchDeviceBackend(model, card, device)
