"""One pass of a recording through a pipeline, with everything that is counted on the way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rtseg.errors import ImageError
from rtseg.frame import Frame
from rtseg.lab.report.gallery import Gallery
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.plots import Series
from rtseg.lab.scores.lanes.temporal import TemporalLog
from rtseg.media.frame_source import FrameSource
from rtseg.results import Instances, Lanes
from rtseg.runtime.latency import LatencyLog

if TYPE_CHECKING:
    from rtseg.camera import Camera

STAMP_TO_RESULT = "stamp to result"
STILL_SECONDS = 1 / 30  # for which each of unrelated pictures is shown
PAUSE = 60 * 10**9  # ns: a longer gap between stamps is a pause or a clock set anew, not time on the road


class ReplayPipeline(Protocol):
    """What is replayed into: :class:`rtseg.runtime.Pipeline`, or what acts like it."""

    def __call__(self, frame: Frame, /) -> Lanes | Instances: ...

    def reset(self) -> None: ...


def certainty(result: Lanes | Instances) -> float:
    """Mean confidence of what was found, 0 where nothing was."""
    scores = result.confidence if isinstance(result, Lanes) else result.scores
    return float(scores.mean()) if len(scores) else 0.0


class Run:
    """Iterate over it, once, for the (frame, result) of every frame that is processed.

    Args:
        source: recording to replay.
        pipeline: is reset at the start, wherever stamps go backwards, and after pauses.
        realtime: drop stale frames as the node does, on a clock simulated from stamps and processing times.
        clock: seconds, for the processing times.

    Attributes:
        read, processed, dropped: frames.
        failed: frames that the pipeline refused, by reason.
        jumps: times the stamps went backwards.
        pauses: gaps of more than a minute, which `seconds` leaves out.
        latency: stage times; with `realtime` also from a frame's arrival to its result.
        temporal: steadiness of lanes, None once instances or stills came.
        gallery: pictures of the report, for the caller to fill.
    """

    def __init__(
        self,
        source: FrameSource,
        pipeline: ReplayPipeline,
        realtime: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.source = source
        self.pipeline = pipeline
        self.realtime = realtime
        self._now = clock
        self.read = 0
        self.processed = 0
        self.dropped = 0
        self.jumps = 0
        self.pauses = 0
        self.failed: Counter[str] = Counter()
        self.latency = LatencyLog()
        self.temporal: TemporalLog | None = TemporalLog()
        self.gallery = Gallery()
        self.seconds = 0.0  # of the recording, gone by
        self._free = 0.0  # simulated time at which the pipeline is done with what it has
        self._jumped = False
        self._rows: list[tuple[float, float, int, float]] = []  # seconds, ms, found, certainty

    def __iter__(self) -> Iterator[tuple[Frame, Lanes | Instances]]:
        self.pipeline.reset()
        for frame, arrival in self._newest_win() if self.realtime else self._arrivals():
            if not self.processed:
                self._warm_up(frame)
            if self._jumped:
                self._jumped = False
                self.pipeline.reset()
                if self.temporal:
                    self.temporal.reset()
            begin = self._now()
            try:
                result = self.pipeline(frame)
            except ImageError as error:
                self.failed[str(error).split(", got")[0]] += 1
                continue
            self._free = max(self._free, arrival) + self._now() - begin
            self._record(result, arrival)
            yield frame, result

    def _warm_up(self, frame: Frame) -> None:
        """Compile and allocate before anything is timed, as the node does before its first frame."""
        warm_up = getattr(self.pipeline, "warm_up", None)
        if warm_up is not None:
            warm_up(*frame.size)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the pipeline's model."""
        card = getattr(self.pipeline, "card", None)
        return card.classes if card is not None else ()

    @property
    def skipped(self) -> dict[str, int]:
        """Frames that could not be decoded or processed, by reason."""
        return dict(self.source.skipped + self.failed)

    @property
    def fps(self) -> float:
        """Frames a second that the pipeline would sustain, one after the other."""
        spent = float(self.latency.values("total").sum())
        return 1e3 * self.processed / spent if spent else 0.0

    def caption(self, result: Lanes | Instances) -> str:
        """One line for a picture of the latest frame."""
        noun = "lane" if isinstance(result, Lanes) else "object"
        found = f"{len(result)} {noun}{'' if len(result) == 1 else 's'}"
        return f"{self._rows[-1][0]:.2f} s: {found}, confidence {certainty(result):.2f}"

    def facts(self, camera: Camera | None) -> list[tuple[str, str]]:
        """What ran on what, for a report."""
        facts = [("recording", self.source.name)]
        if topic := getattr(self.source, "topic", None):
            facts.append(("topic", topic))
        card = getattr(self.pipeline, "card", None)
        if card is not None:
            facts += [("model", card.name), ("network input", f"{card.input.width}x{card.input.height}")]
        facts += [(name, str(value)) for name, value in getattr(self.pipeline, "backend", {}).items()]
        facts += [("fell back", reason) for reason in getattr(self.pipeline, "fallbacks", [])]
        calibrated = "none: no points on the ground"
        if camera:
            recorded = ", as recorded, mount assumed" if camera is self.source.camera else ""
            mount = f"{camera.mount.height:.2f} m high, {np.degrees(camera.mount.pitch):.1f} degrees down"
            calibrated = f"{camera.width}x{camera.height}{recorded}: {mount}"
        return [*facts, ("camera calibration", calibrated), *machine_facts()]

    def series(self) -> list[Series]:
        """Values over time, for a report."""
        table = np.array(self._rows, dtype=np.float64).reshape(-1, 4)
        seconds, spent, found, certain = table.T
        series = [
            Series("Latency", "ms", seconds, spent),
            Series("Found", "a frame", seconds, found),
            Series("Mean confidence", "", seconds, np.where(found > 0, certain, np.nan)),
        ]
        if len(seconds) > 1:
            edges = np.arange(0, seconds[-1] + 1)
            counts = np.histogram(seconds, np.append(edges, edges[-1] + 1))[0].astype(np.float64)
            # The last second is seldom a whole one.
            rate = Series("Processed", "frames a second of recording", edges[:-1] + 0.5, counts[:-1])
            series.insert(1, rate)
        return series

    def notes(self) -> list[str]:
        """Drops and other things to know, for a report."""
        notes = []
        if self.dropped:
            share = 100 * self.dropped / max(1, self.read)
            notes.append(
                f"{self.dropped} of {self.read} frames ({share:.1f} %) were dropped because a newer one had come."
            )
        notes += [f"{count} frames were left out: {reason}." for reason, count in self.skipped.items()]
        if self.jumps:
            notes.append(f"The stamps went backwards {self.jumps} times; tracking began anew each time.")
        if self.pauses:
            notes.append(f"The recording pauses {self.pauses} times for more than a minute; pauses are left out.")
        return notes

    def _arrivals(self) -> Iterator[tuple[Frame, float]]:
        """Give frames with their time in seconds of recording, which never goes back."""
        last: int | None = None
        for frame in self.source:
            self.read += 1
            if frame.stamp is None:
                self.seconds += STILL_SECONDS if self.read > 1 else 0.0
                self.temporal = None
                yield frame, self.seconds
                continue
            if last is not None and frame.stamp < last:
                self.jumps += 1
                self._jumped = True
            elif last is not None and frame.stamp - last > PAUSE:
                self.pauses += 1
                self._jumped = True
            elif last is not None:
                self.seconds += (frame.stamp - last) / 1e9
            last = frame.stamp
            yield frame, self.seconds

    def _newest_win(self) -> Iterator[tuple[Frame, float]]:
        """Keep one frame waiting while another is processed; a newer one takes its place."""
        waiting: tuple[Frame, float] | None = None
        for frame, arrival in self._arrivals():
            if waiting is not None:
                if self._free <= arrival:
                    yield waiting
                else:
                    self.dropped += 1
            waiting = (frame, arrival)
        if waiting is not None:
            yield waiting

    def _record(self, result: Lanes | Instances, arrival: float) -> None:
        self.processed += 1
        total = sum(result.times.values())
        late = {STAMP_TO_RESULT: 1e3 * (self._free - arrival)} if self.realtime else {}
        self.latency.record({**result.times, "total": total, **late})
        self._rows.append((arrival, total, len(result), certainty(result)))
        if isinstance(result, Instances):
            self.temporal = None
        elif self.temporal:
            self.temporal.update(result)
