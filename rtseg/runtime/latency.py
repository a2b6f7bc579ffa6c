"""Latency accounting: how long each stage took, and the percentiles people ask for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from rtseg.runtime.nvtx import annotate


class StageClock:
    """Milliseconds by stage for one frame, in the order the stages ran."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a ``with`` block under `name`, an NVTX range as well; the same name adds up."""
        start = time.perf_counter()
        try:
            with annotate(name):
                yield
        finally:
            self.times[name] = self.times.get(name, 0.0) + 1e3 * (time.perf_counter() - start)


@dataclass(frozen=True)
class StageLatency:
    """Percentiles of one stage in milliseconds over `count` frames."""

    stage: str
    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class LatencyLog:
    """Stage times of the last `window` frames (all frames if None)."""

    def __init__(self, window: int | None = None) -> None:
        self._window = window
        self._stages: dict[str, deque[float]] = {}

    def record(self, times: Mapping[str, float]) -> None:
        """Add one frame's stage times (milliseconds); ``total`` is their sum unless given."""
        entries = dict(times)
        entries.setdefault("total", sum(entries.values()))
        for stage, value in entries.items():
            self._stages.setdefault(stage, deque(maxlen=self._window)).append(value)

    def values(self, stage: str) -> np.ndarray:
        """Recorded milliseconds of one stage, oldest first, as float64."""
        return np.asarray(self._stages.get(stage, ()), dtype=np.float64)

    def summary(self) -> list[StageLatency]:
        """Percentiles of each stage in the order first recorded, ``total`` last."""
        names = sorted(self._stages, key=lambda name: name == "total")
        rows = []
        for name in names:
            values = self.values(name)
            p50, p90, p99 = np.percentile(values, [50, 90, 99])
            rows.append(
                StageLatency(name, values.size, float(values.mean()), float(p50), float(p90), float(p99), values.max())
            )
        return rows
