"""Building one engine: ONNX bytes in, serialized engine out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtseg.errors import BackendError, ModelError
from rtseg.files import write_bytes
from rtseg.runtime.tensorrt.engine_cache import EngineTensor
from rtseg.runtime.tensorrt.library import TensorRT, current_target

Progress = Callable[[float], None]
DLA_CORE = 0  # of the two that an Orin has


@dataclass(frozen=True)
class BuiltEngine:
    """Serialized engine, its tensors as read from the network, and the flags it was built with.

    `layers` are the network's, `dla_layers` those of them that the deep learning accelerator takes.
    """

    content: bytes
    tensors: tuple[EngineTensor, ...]
    flags: tuple[str, ...]
    layers: int
    dla_layers: int = 0


def build_engine(
    library: TensorRT,
    onnx: bytes,
    target: str,
    *,
    workspace_mib: int | None = None,
    dla: bool = False,
    timing_cache: Path | None = None,
    progress: Progress = lambda fraction: None,
) -> BuiltEngine:
    """Compile a network for one compute capability.

    The network is strongly typed: precision is what the ONNX file says, nothing is lowered behind its back.

    Args:
        library: the TensorRT to build with.
        onnx: a serialized ONNX model.
        target: ``sm89``; for another card than the one at hand only with TensorRT for RTX.
        workspace_mib: most scratch memory that a layer may take; TensorRT's own limit if None.
        dla: place what can be on the first deep learning accelerator, the rest on the GPU.
        timing_cache: file of tactic timings that is read before and written after.
        progress: called with a fraction in [0, 1] that never falls.

    Raises:
        ModelError: if TensorRT cannot parse the network.
        BackendError: if the build fails, or the accelerator takes no layer.
    """
    trt = library.module
    logger = error_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        reasons = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise ModelError(f"TensorRT {library.tag} cannot parse the network: {reasons}")

    config = builder.create_builder_config()
    if library.for_rtx:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
        if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):  # else a step may allocate, which no graph captures
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    elif target != current_target():
        raise BackendError(f"TensorRT {library.version} builds only for the card it runs on, not for {target}")
    if workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mib << 20)
    dla_layers = 0
    if dla:
        if getattr(builder, "num_DLA_cores", 0) == 0:
            raise BackendError(
                "expected a deep learning accelerator, this machine has none; leave out --dla, or use device cuda"
            )
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = DLA_CORE
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        dla_layers = sum(map(config.can_run_on_DLA, map(network.get_layer, range(network.num_layers))))
        if not dla_layers:
            raise BackendError("expected layers that the accelerator can run, this network has none; use device cuda")
    # Timings are tactics' times on a device: TensorRT for RTX tunes when it loads, so it has none to keep here.
    timings = None if library.for_rtx or timing_cache is None else _load_timings(config, timing_cache)
    config.progress_monitor = _monitor(trt, progress)

    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise BackendError(
            f"TensorRT {library.tag} could not build for {target}: {'; '.join(logger.errors) or 'no reason given'}"
        )
    if timings is not None and timing_cache is not None:
        timing_cache.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(timing_cache, bytes(timings.serialize()))
    progress(1.0)
    flags = tuple(
        flag for flag in dir(trt.BuilderFlag) if flag.isupper() and config.get_flag(getattr(trt.BuilderFlag, flag))
    )
    return BuiltEngine(bytes(serialized), _tensors(network), flags, network.num_layers, dla_layers)


def _strongly_typed(trt: Any) -> int:
    # TensorRT 11 dropped weakly typed networks and, with them, this flag.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _tensors(network: Any) -> tuple[EngineTensor, ...]:
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    return tuple(
        EngineTensor(
            name=tensor.name,
            mode="input" if tensor.is_network_input else "output",
            dtype=str(tensor.dtype).rpartition(".")[2].lower(),
            shape=tuple(tensor.shape),
        )
        for tensor in inputs + outputs
    )


def _load_timings(config: Any, path: Path) -> Any:
    timings = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    config.set_timing_cache(timings, ignore_mismatch=False)
    return timings


def error_logger(trt: Any) -> Any:
    """Give a TensorRT logger that keeps what went wrong in its list `errors`."""

    class Logger(trt.ILogger):
        """Keeps errors, so that a failed build says why."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Turns TensorRT's nested phases into one fraction: each phase fills one step of its parent."""

        def __init__(self) -> None:
            super().__init__()
            self._phases: dict[str, list] = {}
            self._shown = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = [parent_phase, max(num_steps, 1), 0]

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._phases[phase_name][2] = step + 1
            fraction, name = 0.0, phase_name
            while name in self._phases:
                parent, steps, done = self._phases[name]
                fraction = min((done + fraction) / steps, 1.0)
                name = parent
            if fraction > self._shown:
                self._shown = fraction
                progress(fraction)
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

    return Monitor()
