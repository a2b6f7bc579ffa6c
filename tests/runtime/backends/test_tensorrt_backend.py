"""The TensorRT backend as far as it goes without a card.

The library is real up to reading an engine, which is where it first asks for a device. Beyond, stand-ins for its
runtime objects take the same calls, do what the real ones document, and compute with ONNX Runtime; every name that is
called on them exists in the real bindings.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

import rtseg.runtime.tensorrt.compile as compile_module
from rtseg.errors import BackendError, ModelError
from rtseg.runtime.backends.tensorrt import TensorRtBackend
from rtseg.runtime.models import Model, find_model
from rtseg.runtime.tensorrt import TensorRT, find_tensorrt, list_engines
from rtseg.runtime.tensorrt.build import build_engine
from rtseg.runtime.tensorrt.engine_cache import check_engine
from tests.conftest import _gpu_missing

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (the extra `tensorrt`)")

INPUT = (1, 3, 32, 64)


class Addressed(np.ndarray):
    """A NumPy array that tells its address as CuPy's arrays do."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)


def _zeros(shape: tuple[int, ...], dtype: str) -> Any:
    return np.zeros(shape, dtype).view(Addressed)


STREAM = SimpleNamespace(ptr=7, synchronize=lambda: None)
DEVICE: Any = SimpleNamespace(
    name="cuda:0",
    dla=False,
    describe=lambda: "cuda:0 stand-in",
    launcher=SimpleNamespace(xp=SimpleNamespace(zeros=_zeros, cuda=SimpleNamespace(get_current_stream=lambda: STREAM))),
)


class Context:
    """Stands for trt.IExecutionContext."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._addresses = engine, dict[str, int]()

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine.tensors

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == STREAM.ptr
        assert set(self._addresses) == set(self._engine.tensors)
        if self._engine.broken:
            return False
        maps = self._engine.session.run(["logits"], {"image": self._array("image")})
        self._array("logits")[...] = maps[0]
        return True

    def is_stream_capturable(self, stream: int) -> bool:
        return not self._engine.broken

    def _array(self, name: str) -> Any:
        shape = self._engine.tensors[name][0]
        count = int(np.prod(shape))
        return np.ctypeslib.as_array((ctypes.c_float * count).from_address(self._addresses[name])).reshape(shape)


class Cache:
    """Stands for trt.IRuntimeCache."""

    def __init__(self) -> None:
        self.content = b"kernels"

    def serialize(self) -> bytes:
        return self.content

    def deserialize(self, blob: bytes) -> bool:
        return blob == self.content


class Config:
    """Stands for trt.IRuntimeConfig."""

    cache: Any = None

    def create_runtime_cache(self) -> Cache:
        return Cache()

    def set_runtime_cache(self, cache: Cache) -> bool:
        self.cache = cache
        return True


class Engine:
    """Stands for trt.ICudaEngine."""

    def __init__(self, model: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        self.tensors: dict[str, tuple[tuple[int, ...], Any, Any]] = {
            "image": (INPUT, trt.DataType.FLOAT, trt.TensorIOMode.INPUT),
            "logits": ((1, 7, 8, 16), trt.DataType.FLOAT, trt.TensorIOMode.OUTPUT),
        }
        self.broken = self.full = False
        self.num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][0]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.tensors[name][1]

    def get_tensor_mode(self, name: str) -> Any:
        return self.tensors[name][2]

    def create_runtime_config(self) -> Config:
        return Config()

    def create_execution_context(self, runtime_config: Config) -> Context | None:
        assert runtime_config.cache is not None
        return None if self.full else Context(self)


class Opened:
    """A backend over stand-ins, whose `unreadable` first engines cannot be read."""

    def __init__(
        self,
        model: Model,
        unreadable: int = 0,
        change: Callable[[Engine], None] = lambda engine: None,
        device: Any = DEVICE,
    ) -> None:
        self.engine = Engine(model.path)
        change(self.engine)
        left = [None] * unreadable
        runtimes: list[Any] = []

        class Runtime:
            """Stands for trt.Runtime."""

            def __init__(self, logger: Any) -> None:
                self.logger = logger
                self.DLA_core: int | None = None
                runtimes.append(self)

            def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
                assert len(serialized_engine) > 1000
                if left:
                    self.logger.log(trt.ILogger.Severity.ERROR, "engine of another version")
                    return left.pop()
                return engine

        engine = self.engine
        parts = {name: getattr(trt, name) for name in ("ILogger", "TensorIOMode", "DataType")}
        real = find_tensorrt()
        library = TensorRT(SimpleNamespace(Runtime=Runtime, **parts), real.version, real.for_rtx)
        self.backend = TensorRtBackend(model.path, model.card, device, library)
        self.runtime = runtimes[0]


@pytest.fixture
def model(model_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("RTSEG_ENGINE_CACHE", str(tmp_path / "cache"))
    check = compile_module.check_target
    monkeypatch.setattr(
        compile_module,
        "check_target",
        lambda library, target: check(library, "sm89" if target == "current" else target),
    )
    return find_model(model_folder())


@pytest.mark.parametrize(
    ("stand_in", "real"),
    [
        (Context, trt.IExecutionContext),
        (Cache, trt.IRuntimeCache),
        (Config, trt.IRuntimeConfig),
        (Engine, trt.ICudaEngine),
    ],
)
def test_stand_ins_have_only_what_the_library_has(stand_in: type, real: type) -> None:
    names = {name for name, value in vars(stand_in).items() if callable(value) and not name.startswith("_")}
    assert names
    assert names <= set(dir(real))


@pytest.mark.skipif(_gpu_missing() is None, reason="a CUDA device is here")
def test_an_engine_that_cannot_be_read_is_built_once_more_and_then_given_up(model: Model, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, logger="rtseg"), pytest.raises(BackendError, match="CUDA driver version"):
        TensorRtBackend(model.path, model.card, DEVICE)
    assert caplog.text.count("cannot be read and is compiled again") == 1
    assert caplog.text.count("compiling thresholds for sm89 in fp16") == 2
    assert [state.fault for state in list_engines()] == [None]


def test_an_engine_of_another_version_is_built_again(model: Model, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, logger="rtseg"):
        backend = Opened(model, unreadable=1).backend
    assert "engine of another version" in caplog.text
    assert backend.infer(_zeros(INPUT, "float32"))["logits"].shape == (1, 7, 8, 16)


def test_names_shapes_and_types_come_from_the_engine(model: Model) -> None:
    backend = Opened(model).backend
    assert backend.input_dtype == "float32"
    facts = backend.describe()
    assert facts["backend"].startswith("TensorRT for RTX")
    assert facts["precision"] == "fp16"
    assert facts["engine"] == list_engines()[0].path.name
    half = Opened(model, change=lambda e: e.tensors.update(image=(INPUT, trt.DataType.HALF, trt.TensorIOMode.INPUT)))
    assert half.backend.input_dtype == "float16"


def test_the_accelerators_engine_is_another_and_goes_to_its_core(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hasattr(trt.Runtime, "DLA_core")
    assert Opened(model).runtime.DLA_core is None
    device = SimpleNamespace(**{**vars(DEVICE), "dla": True})
    with pytest.raises(BackendError, match=r"this machine has none; .* device cuda"):
        Opened(model, device=device)

    def build(*arguments: Any, dla: bool, **options: Any) -> Any:
        assert dla
        return replace(build_engine(*arguments, **options), dla_layers=placed)

    monkeypatch.setattr(compile_module, "build_engine", build)
    placed = 2
    opened = Opened(model, device=device)
    layers = check_engine(opened.backend._file).layers
    assert opened.backend.describe()["accelerator"] == f"2 of {layers} layers, the rest on the GPU"
    assert opened.runtime.DLA_core == 0
    assert "-sm89dla-" in opened.backend.describe()["engine"]
    assert sorted("dla" in state.path.name for state in list_engines()) == [False, True]


@pytest.mark.parametrize("dtype", [trt.DataType.HALF, trt.DataType.INT8])
def test_outputs_of_another_type_are_refused(model: Model, dtype: Any) -> None:
    def change(engine: Engine) -> None:
        engine.tensors["logits"] = ((1, 7, 8, 16), dtype, trt.TensorIOMode.OUTPUT)

    with pytest.raises(ModelError, match="expected logits"):
        Opened(model, change=change)


def test_outputs_of_another_shape_are_refused(model: Model) -> None:
    def change(engine: Engine) -> None:
        engine.tensors["logits"] = ((1, 6, 8, 16), trt.DataType.FLOAT, trt.TensorIOMode.OUTPUT)

    with pytest.raises(ModelError, match="names an output logits"):
        Opened(model, change=change)


def test_every_input_has_outputs_of_its_own_that_stay(model: Model) -> None:
    opened = Opened(model)
    one, two = (_zeros(INPUT, "float32") for _ in range(2))
    one[...], two[...] = np.random.default_rng(0).random((2, *INPUT))
    first = opened.backend.infer(one)
    kept = first["logits"].copy()
    second = opened.backend.infer(two)
    np.testing.assert_array_equal(first["logits"], kept)
    assert not np.array_equal(first["logits"], second["logits"])
    assert opened.backend.infer(one) is first
    for tensor, maps in ((one, first), (two, second)):
        expected = opened.engine.session.run(None, {"image": np.asarray(tensor)})[0]
        np.testing.assert_array_equal(maps["logits"], expected)
    assert opened.backend.capturable


def test_a_frame_that_is_not_enqueued_is_a_typed_error(model: Model) -> None:
    opened = Opened(model)
    opened.backend.warm_up()
    opened.engine.broken = True
    with pytest.raises(BackendError, match="could not enqueue"):
        opened.backend.infer(_zeros(INPUT, "float32"))
    assert not opened.backend.capturable


def test_a_context_that_finds_no_memory_is_a_typed_error(model: Model) -> None:
    opened = Opened(model)
    opened.engine.full = True
    with pytest.raises(BackendError, match="execution context"):
        opened.backend.warm_up()


def test_kernels_compiled_on_the_device_are_kept(model: Model, caplog: Any) -> None:
    opened = Opened(model)
    opened.backend.warm_up()
    kept = list_engines()[0].path.with_suffix(".runtime")
    assert kept.read_bytes() == b"kernels"
    opened.backend.close()
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="rtseg"):
        Opened(model).backend.warm_up()
        assert caplog.text == ""
        kept.write_bytes(b"of another driver")
        Opened(model).backend.warm_up()
    assert "made again" in caplog.text
    assert kept.read_bytes() == b"kernels"
