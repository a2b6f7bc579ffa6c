"""What happened to the frames: counts, latencies and the last faults, shared between the node's threads."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rtseg.runtime.latency import LatencyLog

STAGE_WINDOW = 300
WINDOW_SECONDS = 10.0
REASONS = ("stale", "invalid", "failed", "inactive")
"""Why a frame was dropped: a newer one came first; it could not be decoded; the pipeline failed on it; the node was
deactivated while it waited."""


@dataclass(frozen=True)
class Snapshot:
    """Counts since activation, and rates and latencies over the last ten seconds.

    Attributes:
        dropped: frames by reason; ``received`` = ``processed`` + the sum of these + what is under way.
        lost_in_transport: frames that the middleware reports as lost before they reached the node.
        latency_ms: (p50, p99) from reception to publication, NaN while there is none.
        age_ms: (p50, p99) from the frame's stamp to publication by the node's clock, NaN while there is none.
        stages: (p50, p99) milliseconds of each stage of the pipeline, over the last 300 frames.
        silent_for: seconds since the last frame, or since activation.
    """

    received: int
    processed: int
    dropped: Mapping[str, int]
    lost_in_transport: int
    rewinds: int
    fps: float
    latency_ms: tuple[float, float]
    age_ms: tuple[float, float]
    stages: Mapping[str, tuple[float, float]]
    silent_for: float
    last_fault: str
    recent_faults: int
    recent_results: int


class StreamStatistics:
    """Counts frames on their way through the node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._processed = 0
        self._dropped = dict.fromkeys(REASONS, 0)
        self._lost_in_transport = 0
        self._rewinds = 0
        self._last_reception = time.monotonic()
        self._results: deque[tuple[float, float, float]] = deque()
        self._faults: deque[float] = deque()
        self._last_fault = ""
        self._stages = LatencyLog(window=STAGE_WINDOW)

    def receive(self) -> float:
        """Count a frame that arrived; returns the time of its arrival on the monotonic clock."""
        now = time.monotonic()
        with self._lock:
            self._received += 1
            self._last_reception = now
        return now

    def drop(self, reason: str, fault: str = "") -> None:
        """Count a frame that gives no result; `fault` says what was wrong with it, if anything was."""
        now = time.monotonic()
        with self._lock:
            self._dropped[reason] += 1
            if fault:
                self._last_fault = fault
                self._faults.append(now)
                self._trim(now)

    def finish(self, received_at: float, age: float, times: Mapping[str, float]) -> None:
        """Count a published result.

        Args:
            received_at: what `receive` gave for its frame.
            age: seconds from the frame's stamp, by the node's clock.
            times: milliseconds of each stage.
        """
        now = time.monotonic()
        with self._lock:
            self._processed += 1
            self._results.append((now, now - received_at, age))
            self._stages.record(times)
            self._trim(now)

    def lose(self, count: int) -> None:
        """Count frames that the middleware reports as lost."""
        with self._lock:
            self._lost_in_transport += count

    def rewind(self) -> None:
        """Count a stamp that lies before the last one."""
        with self._lock:
            self._rewinds += 1

    def snapshot(self) -> Snapshot:
        """The figures at this moment."""
        now = time.monotonic()
        with self._lock:
            self._trim(now)
            results = list(self._results)
            return Snapshot(
                received=self._received,
                processed=self._processed,
                dropped=dict(self._dropped),
                lost_in_transport=self._lost_in_transport,
                rewinds=self._rewinds,
                fps=_rate([entry[0] for entry in results]),
                latency_ms=_percentiles([entry[1] for entry in results]),
                age_ms=_percentiles([entry[2] for entry in results]),
                stages={row.stage: (row.p50, row.p99) for row in self._stages.summary() if row.stage != "total"},
                silent_for=now - self._last_reception,
                last_fault=self._last_fault,
                recent_faults=len(self._faults),
                recent_results=len(results),
            )

    def _trim(self, now: float) -> None:
        while self._results and now - self._results[0][0] > WINDOW_SECONDS:
            self._results.popleft()
        while self._faults and now - self._faults[0] > WINDOW_SECONDS:
            self._faults.popleft()


def _rate(times: list[float]) -> float:
    if len(times) < 2 or times[-1] <= times[0]:
        return 0.0
    return (len(times) - 1) / (times[-1] - times[0])


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    if not seconds:
        return math.nan, math.nan
    p50, p99 = np.percentile(np.asarray(seconds) * 1e3, [50, 99])
    return float(p50), float(p99)
