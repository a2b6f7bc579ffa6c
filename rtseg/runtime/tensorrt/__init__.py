"""TensorRT engines: compiled from a model's ONNX file, kept in a cache, checked before use."""

from __future__ import annotations

from rtseg.runtime.tensorrt.compile import compile_model
from rtseg.runtime.tensorrt.engine_cache import EngineRecord, cache_folder, list_engines, prune_engines
from rtseg.runtime.tensorrt.library import TensorRT, find_tensorrt

__all__ = [
    "EngineRecord",
    "TensorRT",
    "cache_folder",
    "compile_model",
    "find_tensorrt",
    "list_engines",
    "prune_engines",
]
