"""From a model to an engine in the cache: found there, or built, with the reason said."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from pathlib import Path

from rtseg.errors import ModelError
from rtseg.runtime.card import ModelFile, Precision, verified_model_file
from rtseg.runtime.models import Model
from rtseg.runtime.tensorrt.build import Progress, build_engine
from rtseg.runtime.tensorrt.engine_cache import (
    EngineKey,
    EngineRecord,
    cache_folder,
    check_engine,
    sha256_of_bytes,
    store_engine,
)
from rtseg.runtime.tensorrt.half_precision import cast_to_half, in_float
from rtseg.runtime.tensorrt.library import check_target, current_card, find_tensorrt

logger = logging.getLogger("rtseg")


def compile_model(
    model: Model,
    precision: Precision = "fp16",
    target: str = "current",
    *,
    workspace_mib: int | None = None,
    dla: bool = False,
    folder: Path | None = None,
    progress: Progress = lambda fraction: None,
) -> tuple[Path, EngineRecord]:
    """Give the engine of `model`, from the cache if it is there and sound, else built now.

    Args:
        model: the model.
        precision: ``fp32``; ``fp16``, cast from the fp32 network, or the card's own; or ``int8``, the model's Q/DQ file
            for TensorRT with all that it leaves in float cast to fp16.
        target: ``current`` or a compute capability such as ``sm89``.
        workspace_mib: most scratch memory of a layer.
        dla: use a deep learning accelerator.
        folder: the cache; :func:`cache_folder` by default.
        progress: called with a rising fraction while it builds.

    Returns:
        path of the engine and its record.

    Raises:
        ModelError: if the model has no network of that precision, TensorRT cannot parse it, or it is int8 and loses
            more than the card allows.
        BackendError: if TensorRT is missing, cannot build for the target, or fails.
    """
    library = find_tensorrt()
    target = check_target(library, target)
    source = _source_network(model, precision)
    change = model.card.metric_change(precision, source.file)
    if precision == "int8" and change is not None and -100 * change > model.card.max_int8_loss:
        raise ModelError(
            f"{source.file} of {model.card.name} loses {-100 * change:.2f} points, its card allows "
            f"{model.card.max_int8_loss:g}; calibrate again with more frames, or compile fp16"
        )
    shape = (1, 3, model.card.input.height, model.card.input.width)
    card = "" if library.for_rtx else current_card()
    key = EngineKey(model.card.name, source.sha256, target, library.tag, precision, shape, dla, card)
    folder = folder or cache_folder()
    engine = folder / key.file_name
    try:
        return engine, check_engine(engine, key)
    except ModelError as error:
        logger.warning("compiling %s for %s in %s: %s", model.card.name, target, precision, error)

    start = time.perf_counter()
    onnx = verified_model_file(model.path.parent, source).read_bytes()
    built = build_engine(
        library,
        in_float(onnx) if source.precision == precision != "int8" else cast_to_half(onnx),
        target,
        workspace_mib=workspace_mib,
        dla=dla,
        timing_cache=folder / f"timings-{target}-{card}-trt{library.tag}.cache",
        progress=progress,
    )
    cuda, driver = _cuda_versions()
    record = EngineRecord(
        engine_sha256=sha256_of_bytes(built.content),
        engine_bytes=len(built.content),
        model=key.model,
        onnx_sha256=key.onnx_sha256,
        target=target,
        library=library.tag,
        precision=precision,
        dla=dla,
        card=card,
        layers=built.layers,
        dla_layers=built.dla_layers,
        tensors=built.tensors,
        builder_flags=built.flags,
        workspace_mib=workspace_mib,
        cuda=cuda,
        driver=driver,
        metric_change=change,
        build_seconds=time.perf_counter() - start,
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    store_engine(engine, built.content, record)
    return engine, record


def _source_network(model: Model, precision: Precision) -> ModelFile:
    """The ONNX file an engine of that precision is compiled from: Q/DQ for int8, else float32, or float16 as it is."""
    wanted = {"int8": ("int8",), "fp32": ("fp32",), "fp16": ("fp32", "fp16")}[precision]
    for kind in wanted:
        for file in model.card.files:
            if file.precision == kind and file.is_for("tensorrt"):
                return file
    cure = "make one with rtseg calibrate int8" if wanted[0] == "int8" else "export the model again"
    raise ModelError(f"the card of {model.card.name} names no {wanted[0]} network for TensorRT; {cure}")


def _cuda_versions() -> tuple[str, str]:
    """CUDA runtime and driver versions, ``none`` where there is no driver."""
    try:
        import cupy
    except ImportError:
        return "none", "none"
    runtime = cupy.cuda.runtime
    return _version(runtime.runtimeGetVersion()), _version(runtime.driverGetVersion())


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}" if number else "none"
