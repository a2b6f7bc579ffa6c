"""Backends, the pipeline from image to result, model cards and latency accounting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtseg.lazy import lazily

if TYPE_CHECKING:
    from rtseg.runtime.card import ModelCard
    from rtseg.runtime.latency import LatencyLog, StageLatency
    from rtseg.runtime.models import bundled_models, find_model
    from rtseg.runtime.pipeline import Pipeline

__all__ = ["LatencyLog", "ModelCard", "Pipeline", "StageLatency", "bundled_models", "find_model"]

# Who knows models and cards needs neither Numba nor what runs them.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "card": ("ModelCard",),
        "latency": ("LatencyLog", "StageLatency"),
        "models": ("bundled_models", "find_model"),
        "pipeline": ("Pipeline",),
    },
)
