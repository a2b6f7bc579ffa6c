"""TensorRT 10, 11 or for RTX: the fastest backend on a device."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rtseg.errors import BackendError, ModelError
from rtseg.files import write_bytes
from rtseg.runtime.backends.signature import check_signature
from rtseg.runtime.card import ModelCard, Precision
from rtseg.runtime.device import Device, device_faults
from rtseg.runtime.models import Model
from rtseg.runtime.tensorrt import TensorRT, compile_model, find_tensorrt
from rtseg.runtime.tensorrt.build import DLA_CORE, error_logger
from rtseg.runtime.tensorrt.engine_cache import discard_engine, runtime_cache_of

logger = logging.getLogger("rtseg")

_DTYPES = {"float": "float32", "half": "float16"}


class TensorRtBackend:
    """A TensorRT engine from the cache, compiled first if it is not there.

    Names, shapes and types of tensors come from the engine; inputs and outputs lie in CuPy's memory. Every input has an
    execution context of its own, so that frames on several streams run side by side.

    Raises:
        BackendError: if TensorRT is missing, or the engine cannot be built or read.
        ModelError: if the network does not fit TensorRT or the card.
    """

    name = "tensorrt"

    def __init__(self, model: Path, card: ModelCard, device: Device, library: TensorRT | None = None) -> None:
        self._library = library or find_tensorrt()
        trt = self._library.module
        self._precision = _precision_of(model, card)
        self._logger = error_logger(trt)
        self._facts, self._card, self._xp = device.describe(), card, device.launcher.xp
        self._dla = device.dla
        self._cache: Any = None
        self._cached = b""
        with device_faults("opening a TensorRT engine"):
            self._runtime = trt.Runtime(self._logger)
            if self._dla:
                self._runtime.DLA_core = DLA_CORE
            self._engine, self._file = self._load(Model(card, model))
            self._read_tensors()
            self._config = self._runtime_config()
        self._bound: dict[int, tuple[Any, dict[str, Any], Any]] = {}

    @property
    def capturable(self) -> bool:
        """Whether every context can be captured; TensorRT for RTX may still be compiling kernels."""
        stream = self._xp.cuda.get_current_stream().ptr
        contexts = [context for context, _, _ in self._bound.values()]
        return all(getattr(context, "is_stream_capturable", lambda _: True)(stream) for context in contexts)

    def infer(self, tensor: Any) -> dict[str, Any]:
        with device_faults("running TensorRT"):
            bound = self._bound.get(tensor.data.ptr)
            if bound is None:
                bound = self._bound[tensor.data.ptr] = self._bind(tensor)
            context, outputs, _ = bound
            if not context.execute_async_v3(self._xp.cuda.get_current_stream().ptr):
                raise BackendError(f"TensorRT could not enqueue a frame: {self._reasons()}")
            return outputs

    def warm_up(self) -> None:
        with device_faults("warming up TensorRT"):
            self.infer(self._xp.zeros(self._input_shape, self.input_dtype))
            self._xp.cuda.get_current_stream().synchronize()
            self._bound.clear()  # the context's memory is for frames
            self._save_runtime_cache()

    def describe(self) -> dict[str, str]:
        name = "TensorRT for RTX" if self._library.for_rtx else "TensorRT"
        return {
            "backend": f"{name} {self._library.version}",
            "device": self._facts,
            "precision": self._precision,
            "engine": self._file.name,
            **({"accelerator": self._placed} if self._dla else {}),
        }

    def close(self) -> None:
        self._bound.clear()
        self._config = self._cache = None
        del self._engine, self._runtime

    def _load(self, model: Model) -> tuple[Any, Path]:
        """Read the engine; one that this TensorRT or device does not take is built once more."""
        for attempt in (1, 2):
            file, record = compile_model(model, self._precision, dla=self._dla)
            self._placed = f"{record.dla_layers} of {record.layers} layers, the rest on the GPU"
            engine = self._runtime.deserialize_cuda_engine(file.read_bytes())
            if engine is not None:
                return engine, file
            if attempt == 1:
                logger.warning("%s cannot be read and is compiled again: %s", file.name, self._reasons())
                discard_engine(file)
        raise BackendError(f"TensorRT cannot read the engine that it built, {file.name}: {self._reasons()}")

    def _read_tensors(self) -> None:
        trt, engine = self._library.module, self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        shapes = {name: tuple(engine.get_tensor_shape(name)) for name in names}
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = {name: shapes[name] for name in names if name not in inputs}
        check_signature(self._card, {name: shapes[name] for name in inputs}, self._outputs)
        self._input, self._input_shape = inputs[0], shapes[inputs[0]]
        types = {name: str(engine.get_tensor_dtype(name)).rpartition(".")[2].lower() for name in names}
        for name in names:
            if types[name] not in _DTYPES or (name in self._outputs and types[name] != "float"):
                raise ModelError(
                    f"expected {name} of {self._file.name} as float32, got {types[name]}; compile the model again"
                )
        self.input_dtype = _DTYPES[types[self._input]]

    def _runtime_config(self) -> Any:
        """For RTX: kernels are compiled when a context is made, and kept from run to run in a runtime cache."""
        if not self._library.for_rtx:
            return None
        config = self._engine.create_runtime_config()
        self._cache = config.create_runtime_cache()
        path = runtime_cache_of(self._file)
        if path.is_file():
            self._cached = path.read_bytes()
        if self._cached and not self._cache.deserialize(self._cached):
            logger.warning("%s is from another driver or device and is made again", path.name)
        config.set_runtime_cache(self._cache)
        return config

    def _save_runtime_cache(self) -> None:
        if self._cache is not None:
            content = bytes(self._cache.serialize())
            if content != self._cached:
                write_bytes(runtime_cache_of(self._file), content)
                self._cached = content

    def _bind(self, tensor: Any) -> tuple[Any, dict[str, Any], Any]:
        engine = self._engine
        context = engine.create_execution_context(*() if self._config is None else (self._config,))
        if context is None:
            raise BackendError(f"TensorRT could not make an execution context: {self._reasons()}")
        outputs = {name: self._xp.zeros(shape, "float32") for name, shape in self._outputs.items()}
        for name, array in {self._input: tensor, **outputs}.items():
            if not context.set_tensor_address(name, array.data.ptr):
                raise BackendError(f"TensorRT does not take the address of {name}: {self._reasons()}")
        return context, outputs, tensor

    def _reasons(self) -> str:
        return "; ".join(self._logger.errors[-3:]) or "no reason given"


def _precision_of(model: Path, card: ModelCard) -> Precision:
    """fp16 by default; int8 where the network that was asked for is the card's for TensorRT."""
    for file in card.files:
        if file.file == model.name and file.precision == "int8" and file.is_for("tensorrt"):
            return "int8"
    return "fp16"


def open_on_device(model: Path, card: ModelCard, device: Device) -> TensorRtBackend:
    """Open `model` with TensorRT on a CUDA device."""
    return TensorRtBackend(model, card, device)
