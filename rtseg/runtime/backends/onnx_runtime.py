"""ONNX Runtime: the default backend on a CPU; on a device where its CUDA build is installed."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rtseg.errors import BackendError
from rtseg.runtime.backends.loading_faults import cannot_load
from rtseg.runtime.backends.shared import OpenNetworks
from rtseg.runtime.backends.signature import check_signature
from rtseg.runtime.card import ModelCard
from rtseg.runtime.device import Device, device_faults

_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


_SESSIONS: OpenNetworks[onnxruntime.InferenceSession] = OpenNetworks()


class OnnxRuntimeBackend:
    """An ONNX Runtime session on the CPU execution provider, of which all backends of a network are given the same."""

    name = "onnxruntime"
    takes_pixels = False

    def __init__(self, model: Path, card: ModelCard, threads: int, streams: int = 1) -> None:
        # A session runs in the thread that calls it, and in its own pool where it has more than one.
        each = max(1, threads // streams)
        self._session = _SESSIONS.get(model, each, lambda: _open_on_host(model, each))
        _check(self._session, card)
        self._input = card.input.name
        self._outputs = [output.name for output in card.outputs]
        self._shape = (1, 3, card.input.height, card.input.width)
        self._threads = threads

    def infer(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        try:
            values = self._session.run(self._outputs, {self._input: tensor})
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on a frame: {error}") from error
        return dict(zip(self._outputs, values, strict=True))

    def warm_up(self) -> None:
        self.infer(np.zeros(self._shape, dtype=np.float32))

    def describe(self) -> dict[str, str]:
        return {
            "backend": f"ONNX Runtime {onnxruntime.__version__}",
            "device": "CPU",
            "threads": str(self._threads),
        }

    def close(self) -> None:
        del self._session


class OnnxRuntimeDeviceBackend:
    """An ONNX Runtime session on a CUDA device that reads and writes CuPy's memory.

    The session has one stream, to which and from which the streams of frames are tied by events. Its allocator is not
    made for captures, so frames run without a graph.
    """

    name = "onnxruntime"
    input_dtype = "float32"
    capturable = False

    def __init__(self, model: Path, card: ModelCard, device: Device) -> None:
        offered = onnxruntime.get_available_providers()
        if "CUDAExecutionProvider" not in offered:
            raise BackendError(
                "expected ONNX Runtime with CUDA, this one has none: pip uninstall onnxruntime, then pip install "
                "onnxruntime-gpu (side by side the one without CUDA wins)"
            )
        import cupy

        if hasattr(onnxruntime, "preload_dlls"):  # CUDA and cuDNN as pip installs them, which no linker looks for
            with redirect_stdout(sys.stderr):
                onnxruntime.preload_dlls()

        number = int(device.name.partition(":")[2])
        self._stream = device.stream()
        common = {"device_id": str(number), "user_compute_stream": str(self._stream.ptr)}
        providers: list[tuple[str, dict[str, str]]] = [("CUDAExecutionProvider", common)]
        if "TensorrtExecutionProvider" in offered:
            from rtseg.runtime.tensorrt import cache_folder

            cache = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache_folder() / "onnxruntime")}
            providers.insert(0, ("TensorrtExecutionProvider", {**common, "trt_fp16_enable": "1", **cache}))
        self._session = _open_session(model, onnxruntime.SessionOptions(), providers)
        _check(self._session, card)
        self._provider = self._session.get_providers()[0]
        if self._provider == "CPUExecutionProvider":
            raise BackendError("ONNX Runtime could not start its CUDA provider; its log names the library it misses")
        self._binder = SessionBinder(self._session, card, "cuda", number, cupy)
        self._cupy, self._card, self._facts = cupy, card, device.describe()

    def infer(self, tensor: Any) -> dict[str, Any]:
        with device_faults("running ONNX Runtime"):
            current = self._cupy.cuda.get_current_stream()
            self._stream.wait_event(current.record())
            outputs = self._binder.run(tensor, tensor.data.ptr)
            current.wait_event(self._stream.record())
            return outputs

    def warm_up(self) -> None:
        needs = self._card.input
        with device_faults("warming up ONNX Runtime"):
            self.infer(self._cupy.zeros((1, 3, needs.height, needs.width), self.input_dtype))
            self._cupy.cuda.get_current_stream().synchronize()

    def describe(self) -> dict[str, str]:
        return {
            "backend": f"ONNX Runtime {onnxruntime.__version__} {self._provider.removesuffix('ExecutionProvider')}",
            "device": self._facts,
        }

    def close(self) -> None:
        del self._binder, self._session


class SessionBinder:
    """Runs a session from and to fixed buffers, given by address.

    Args:
        session: the session.
        card: names the input and the outputs.
        device_type: ``cuda`` or ``cpu``.
        number: ordinal of the device.
        xp: CuPy or NumPy; allocates the outputs.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, card: ModelCard, device_type: str, number: int, xp: Any
    ) -> None:
        self._session, self._card, self._xp = session, card, xp
        self._place = (device_type, number, np.float32)
        self._bound: dict[int, tuple[Any, dict[str, Any], Any]] = {}
        self._options = onnxruntime.RunOptions()
        if device_type != "cpu":
            # The frame is waited for once, at its end.
            self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def run(self, tensor: Any, address: int) -> dict[str, Any]:
        """Run on `tensor`, which lies at `address`, and give its output buffers."""
        if address not in self._bound:
            self._bound[address] = self._bind(tensor, address)
        binding, outputs, _ = self._bound[address]
        self._session.run_with_iobinding(binding, self._options)
        return outputs

    def _bind(self, tensor: Any, address: int) -> tuple[Any, dict[str, Any], Any]:
        needs = self._card.input
        binding = self._session.io_binding()
        binding.bind_input(needs.name, *self._place, tuple(tensor.shape), address)
        outputs = {}
        for output in self._card.outputs:
            shape = output.sides(needs)
            array = outputs[output.name] = self._xp.zeros(shape, "float32")
            pointer = array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
            binding.bind_output(output.name, *self._place, shape, pointer)
        return binding, outputs, tensor


def _open_on_host(model: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads would starve the post-processing and, in the node, DDS on a small machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return _open_session(model, options, ["CPUExecutionProvider"])


def _open_session(model: Path, options: Any, providers: list[Any]) -> onnxruntime.InferenceSession:
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # the library raises many kinds, all of them meaning "not a model I can run"
        raise cannot_load("ONNX Runtime", model, error) from error


def _check(session: onnxruntime.InferenceSession, card: ModelCard) -> None:
    """Raise ModelError if the session's network is not the card's."""
    check_signature(
        card,
        {i.name: tuple(i.shape) for i in session.get_inputs()},
        {o.name: tuple(o.shape) for o in session.get_outputs()},
        {t.name: _TYPES.get(t.type, t.type) for t in (*session.get_inputs(), *session.get_outputs())},
    )


def open_backend(model: Path, card: ModelCard, threads: int, streams: int = 1) -> OnnxRuntimeBackend:
    """Open `model` with ONNX Runtime on the CPU."""
    return OnnxRuntimeBackend(model, card, threads, streams)


def open_on_device(model: Path, card: ModelCard, device: Device) -> OnnxRuntimeDeviceBackend:
    """Open `model` with ONNX Runtime on a CUDA device."""
    return OnnxRuntimeDeviceBackend(model, card, device)
