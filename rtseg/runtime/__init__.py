"""Backends, the pipeline from image to result, model cards and latency accounting."""

from __future__ import annotations

from rtseg.runtime.card import ModelCard
from rtseg.runtime.latency import LatencyLog, StageLatency
from rtseg.runtime.models import bundled_models, find_model
from rtseg.runtime.pipeline import Pipeline

__all__ = ["LatencyLog", "ModelCard", "Pipeline", "StageLatency", "bundled_models", "find_model"]
