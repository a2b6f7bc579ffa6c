"""What happened to the frames: counts, latencies and the last faults, shared between the node's threads."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rtseg.runtime.latency import LatencyLog
from rtseg.stream import FAILED, INVALID, OLD, STALE, STAMP, FrameCounts, FrameLoop

STAGE_WINDOW = 300
WINDOW_SECONDS = 10.0
LATEST_SECONDS = 1.5
"""Long enough to judge a camera by, short enough that a fault is told while it is new."""
_FAULTS = (INVALID, FAILED, STAMP)
_SPACING = 0.25  # seconds between the counts that are kept for comparison


@dataclass(frozen=True)
class Window:
    """What became of the frames of the last seconds.

    Attributes:
        seconds: so many.
        received: frames that came.
        results: those that gave a result.
        faults: those that were at fault: invalid, failed, with a wrong stamp.
        dropped: those too slow to be of use, by reason: stale and old.
        lost: those that the middleware reports as lost before they reached the node.
        restarts: times ids started anew, by reason of :mod:`rtseg.runtime.scenes`.
        latency_ms: (p50, p99) from reception to publication, NaN while there is none.
        age_ms: (p50, p99) from the frame's stamp to publication by the node's clock, NaN while there is none.
    """

    seconds: float
    received: int
    results: int
    faults: int
    dropped: Mapping[str, int]
    lost: int
    restarts: Mapping[str, int]
    latency_ms: tuple[float, float]
    age_ms: tuple[float, float]


@dataclass(frozen=True)
class Snapshot:
    """Counts since activation, and what happened lately.

    Attributes:
        counts: of frames since activation.
        lost_in_transport: frames that the middleware reports as lost before they reached the node.
        fps: results a second, over the last ten.
        recent: the last ten seconds.
        latest: the last one and a half.
        stages: (p50, p99) milliseconds of each stage of the pipeline, over the last 300 frames.
        silent_for: seconds since the last frame, or since activation.
        busy_for: seconds for which the worker has been at one frame; 0 while it waits.
    """

    counts: FrameCounts
    lost_in_transport: int
    fps: float
    recent: Window
    latest: Window
    stages: Mapping[str, tuple[float, float]]
    silent_for: float
    busy_for: float


class _Result(NamedTuple):
    at: float
    latency: float
    age: float


class _Counted(NamedTuple):
    at: float
    counts: FrameCounts
    lost: int


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
        self._results: deque[_Result] = deque()
        self._earlier: deque[_Counted] = deque([_Counted(self._last_reception, self._loop.counts(), 0)])
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
            self._results.append(_Result(now, now - received_at, age))
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
            latest = _Counted(now, counts, self._lost)
            if now - self._earlier[-1].at >= _SPACING:
                self._earlier.append(latest)
            return Snapshot(
                counts=counts,
                lost_in_transport=self._lost,
                fps=_rate([result.at for result in self._results]),
                recent=self._window(latest, WINDOW_SECONDS),
                latest=self._window(latest, LATEST_SECONDS),
                stages={row.stage: (row.p50, row.p99) for row in self._stages.summary() if row.stage != "total"},
                silent_for=now - self._last_reception,
                busy_for=0.0 if self._busy_since is None else now - self._busy_since,
            )

    def _window(self, now: _Counted, seconds: float) -> Window:
        before = next((then for then in reversed(self._earlier) if now.at - then.at >= seconds), self._earlier[0])
        gone = {reason: count - before.counts.dropped[reason] for reason, count in now.counts.dropped.items()}
        anew = {reason: count - before.counts.restarts.get(reason, 0) for reason, count in now.counts.restarts.items()}
        results = [result for result in self._results if result.at >= before.at]
        return Window(
            seconds=seconds,
            received=now.counts.received - before.counts.received,
            results=len(results),
            faults=sum(gone[reason] for reason in _FAULTS),
            dropped={reason: gone[reason] for reason in (STALE, OLD)},
            lost=now.lost - before.lost,
            restarts={reason: count for reason, count in anew.items() if count},
            latency_ms=_percentiles([result.latency for result in results]),
            age_ms=_percentiles([result.age for result in results]),
        )

    def _trim(self, now: float) -> None:
        while len(self._earlier) > 1 and now - self._earlier[1].at >= WINDOW_SECONDS:
            self._earlier.popleft()
        while self._results and self._results[0].at < self._earlier[0].at:
            self._results.popleft()


def _rate(times: Sequence[float]) -> float:
    if len(times) < 2 or times[-1] <= times[0]:
        return 0.0
    return (len(times) - 1) / (times[-1] - times[0])


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    if not seconds:
        return math.nan, math.nan
    p50, p99 = np.percentile(np.asarray(seconds) * 1e3, [50, 99])
    return float(p50), float(p99)
