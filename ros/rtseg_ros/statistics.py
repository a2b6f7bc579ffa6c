"""What happened to the frames: counts, latencies and the last faults, shared between the node's threads."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtseg.runtime.latency import LatencyLog
from rtseg.stream import FAILED, INVALID, OLD, STALE, STAMP, FrameCounts, FrameLoop

STAGE_WINDOW = 300
WINDOW_SECONDS = 10.0
_FAULTS = (INVALID, FAILED, STAMP)
_SPACING = 0.5  # seconds between the counts that are kept for comparison


@dataclass(frozen=True)
class Snapshot:
    """Counts since activation, and rates and latencies over the last ten seconds.

    Attributes:
        dropped: frames by reason of :mod:`rtseg.stream`; ``received`` = ``processed`` + the sum of these + what is
            under way.
        restarts: times ids started anew, by reason of :mod:`rtseg.runtime.scenes`.
        lost_in_transport: frames that the middleware reports as lost before they reached the node.
        latency_ms: (p50, p99) from reception to publication, NaN while there is none.
        age_ms: (p50, p99) from the frame's stamp to publication by the node's clock, NaN while there is none.
        clocks_apart: seconds by which the node's clock is ahead of the stamps, where they are of another one; else 0.
        stages: (p50, p99) milliseconds of each stage of the pipeline, over the last 300 frames.
        silent_for: seconds since the last frame, or since activation.
        busy_for: seconds for which the worker has been at one frame; 0 while it waits.
        recent_received, recent_results, recent_faults, recent_lost: frames of the last ten seconds: all, those that
            gave a result, those that were at fault, and those that the middleware lost.
        recent_dropped: those too slow to be of use, by reason: stale and old.
        recent_restarts: times ids started anew then, by reason.
    """

    received: int
    processed: int
    dropped: Mapping[str, int]
    restarts: Mapping[str, int]
    lost_in_transport: int
    fps: float
    latency_ms: tuple[float, float]
    age_ms: tuple[float, float]
    clocks_apart: float
    stages: Mapping[str, tuple[float, float]]
    silent_for: float
    busy_for: float
    last_fault: str
    recent_received: int
    recent_results: int
    recent_faults: int
    recent_lost: int
    recent_dropped: Mapping[str, int]
    recent_restarts: Mapping[str, int]


class StreamStatistics:
    """Times the frames on their way through the node, beside what its loop counts.

    Args:
        loop: that the frames go through.
    """

    def __init__(self, loop: FrameLoop[Any] | None = None) -> None:
        self._loop: FrameLoop[Any] = loop or FrameLoop()
        self._lock = threading.Lock()
        self._lost = 0
        self._last_reception = time.monotonic()
        self._busy_since: float | None = None
        self._results: deque[tuple[float, float, float]] = deque()
        self._earlier: deque[tuple[float, FrameCounts, int]] = deque([(self._last_reception, self._loop.counts(), 0)])
        self._stages = LatencyLog(window=STAGE_WINDOW)

    def receive(self) -> float:
        """Note that a frame has come; returns the time of its arrival on the monotonic clock."""
        now = time.monotonic()
        with self._lock:
            self._last_reception = now
        return now

    def begin(self) -> None:
        """Note that the worker takes up a frame."""
        with self._lock:
            self._busy_since = time.monotonic()

    def end(self) -> None:
        """Note that it is done with it, one way or the other."""
        with self._lock:
            self._busy_since = None

    def publish(self, received_at: float, age: float, times: Mapping[str, float]) -> None:
        """Note a published result.

        Args:
            received_at: what `receive` gave for its frame.
            age: seconds from the frame's stamp, by the node's clock.
            times: milliseconds of each stage.
        """
        now = time.monotonic()
        with self._lock:
            self._results.append((now, now - received_at, age))
            self._stages.record(times)
            self._trim(now)

    def lose(self, count: int) -> None:
        """Count frames that the middleware reports as lost."""
        with self._lock:
            self._lost += count

    def snapshot(self) -> Snapshot:
        """The figures at this moment."""
        counts, now = self._loop.counts(), time.monotonic()
        with self._lock:
            self._trim(now)
            if now - self._earlier[-1][0] >= _SPACING:
                self._earlier.append((now, counts, self._lost))
            _, before, lost_before = self._earlier[0]
            results = list(self._results)
            gone = {reason: count - before.dropped[reason] for reason, count in counts.dropped.items()}
            anew = {reason: count - before.restarts.get(reason, 0) for reason, count in counts.restarts.items()}
            return Snapshot(
                received=counts.received,
                processed=counts.processed,
                dropped=counts.dropped,
                restarts=counts.restarts,
                lost_in_transport=self._lost,
                fps=_rate([entry[0] for entry in results]),
                latency_ms=_percentiles([entry[1] for entry in results]),
                age_ms=_percentiles([entry[2] for entry in results]),
                clocks_apart=counts.clocks_apart,
                stages={row.stage: (row.p50, row.p99) for row in self._stages.summary() if row.stage != "total"},
                silent_for=now - self._last_reception,
                busy_for=0.0 if self._busy_since is None else now - self._busy_since,
                last_fault=counts.last_fault,
                recent_received=counts.received - before.received,
                recent_results=len(results),
                recent_faults=sum(gone[reason] for reason in _FAULTS),
                recent_lost=self._lost - lost_before,
                recent_dropped={reason: gone[reason] for reason in (STALE, OLD)},
                recent_restarts={reason: count for reason, count in anew.items() if count},
            )

    def _trim(self, now: float) -> None:
        while self._results and now - self._results[0][0] > WINDOW_SECONDS:
            self._results.popleft()
        while len(self._earlier) > 1 and now - self._earlier[1][0] >= WINDOW_SECONDS:
            self._earlier.popleft()


def _rate(times: list[float]) -> float:
    if len(times) < 2 or times[-1] <= times[0]:
        return 0.0
    return (len(times) - 1) / (times[-1] - times[0])


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    if not seconds:
        return math.nan, math.nan
    p50, p99 = np.percentile(np.asarray(seconds) * 1e3, [50, 99])
    return float(p50), float(p99)
