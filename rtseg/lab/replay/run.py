"""One pass of a recording through a pipeline, with everything that is counted on the way."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rtseg.counted import counted
from rtseg.errors import ImageError
from rtseg.frame import Frame
from rtseg.lab.report.gallery import Gallery
from rtseg.lab.report.machine import machine_facts
from rtseg.lab.report.plots import Series
from rtseg.lab.scores.lanes.temporal import TemporalLog
from rtseg.lanes import Mounting, MountingWatch
from rtseg.lanes.mounting import MountingSettings
from rtseg.media.damage import damage_noted
from rtseg.media.frame_source import MOST_NAMED, FrameSource
from rtseg.messages import Surfaces, surfaces_of
from rtseg.results import Instances, Lanes
from rtseg.runtime.latency import LatencyLog
from rtseg.runtime.scenes import PAUSE, PAUSE_SECONDS
from rtseg.stream import MAX_AGE, OLD, STALE, STAMP, FrameLoop

if TYPE_CHECKING:
    from rtseg.camera import Camera
    from rtseg.runtime import ModelCard

STAMP_TO_RESULT = "stamp to result"
STILL_SECONDS = 1 / 30  # for which each of unrelated pictures is shown

_DROPPED = {
    STALE: "a newer one had come",
    OLD: "they were too old",
    STAMP: "their stamps were late or wrong",
}


class ReplayPipeline(Protocol):
    """What is replayed into: :class:`rtseg.runtime.Pipeline`, or what acts like it; without a model it has no card."""

    @property
    def card(self) -> ModelCard | None: ...

    @property
    def backend(self) -> Mapping[str, str]: ...

    @property
    def fallbacks(self) -> Sequence[str]: ...

    def __call__(self, frame: Frame, /) -> Lanes | Instances: ...

    def warm_up(self, height: int, width: int) -> None: ...

    def reset(self) -> None: ...


def certainty(result: Lanes | Instances) -> float:
    """Mean confidence of what was found, 0 where nothing was."""
    scores = result.confidence if isinstance(result, Lanes) else result.scores
    return float(scores.mean()) if len(scores) else 0.0


class Run:
    """Iterate over it, once, for the (frame, result) of every frame that is processed.

    Args:
        source: recording to replay.
        pipeline: is reset at the start.
        realtime: drop stale and old frames as the node does, on a clock simulated from stamps and processing times.
        clock: seconds, for the processing times.
        max_age: with `realtime`, seconds after which a frame is too old, as in the node; 0 for no limit.
        camera: calibration, where it is known; its mounting is watched.

    Attributes:
        read, processed: frames.
        failed: frames that the pipeline refused, by reason.
        refused: (name, reason) of those among them that are files of their own.
        restarts: times ids started anew, by the reasons of :mod:`rtseg.runtime.scenes`; `seconds` leaves pauses out.
        degraded: frames by what was wrong with the camera's pictures, of :data:`rtseg.camera.state.FAULTS`.
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
        max_age: float = MAX_AGE,
        camera: Camera | None = None,
        roads: MountingSettings | None = None,
    ) -> None:
        self.source = source
        self.pipeline = pipeline
        self.realtime = realtime
        self._now = clock
        self.read = 0
        self.processed = 0
        self.restarts: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.refused: list[tuple[str, str]] = []
        self.latency = LatencyLog()
        self.temporal: TemporalLog | None = TemporalLog()
        self.gallery = Gallery()
        self.seconds = 0.0  # of the recording, gone by
        self._said: dict[str, None] = {}
        self._loop: FrameLoop[tuple[Frame, float]] = FrameLoop(max_age, 1 / source.fps if source.fps else 0.0)
        self._camera = camera
        self._watch = MountingWatch(roads)
        self._free = 0.0  # simulated time at which the pipeline is done with what it has
        self._rows: list[tuple[float, float, int, float]] = []  # seconds, ms, found, certainty

    def __iter__(self) -> Iterator[tuple[Frame, Lanes | Instances]]:
        with damage_noted() as self._said:
            yield from self._results()

    def _results(self) -> Iterator[tuple[Frame, Lanes | Instances]]:
        self.pipeline.reset()
        arrivals = self._arrivals()
        first = next(arrivals, None)
        if first is None:
            return
        # Compile and allocate before anything is timed, as the node does before its first frame.
        self.pipeline.warm_up(*first[0].size)
        arrivals = itertools.chain([first], arrivals)
        yield from self._newest_win(arrivals) if self.realtime else self._every_frame(arrivals)

    @property
    def at(self) -> float:
        """Seconds of recording gone by at the latest frame that was processed."""
        return self._rows[-1][0] if self._rows else 0.0

    @property
    def surfaces(self) -> Surfaces | None:
        """Which classes of the pipeline's model lie on the ground."""
        card = self.pipeline.card
        return None if card is None else surfaces_of(card)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the pipeline's model."""
        card = self.pipeline.card
        return card.classes if card is not None else ()

    @property
    def skipped(self) -> dict[str, int]:
        """Frames that could not be decoded or processed, by reason."""
        return dict(self.source.skipped + self.failed)

    @property
    def damage(self) -> list[str]:
        """What is wrong with the recording's files, a sentence each; it is read as far as it goes."""
        return list(dict.fromkeys((*self.source.damage, *self._said)))

    @property
    def dropped_by(self) -> dict[str, int]:
        """Frames that were dropped as the node would drop them, by reason of :mod:`rtseg.stream`."""
        counts = self._loop.counts().dropped
        return {reason: counts[reason] for reason in _DROPPED if counts[reason]}

    @property
    def dropped(self) -> int:
        """How many those are."""
        return sum(self.dropped_by.values())

    @property
    def fps(self) -> float:
        """Frames a second that the pipeline would sustain, one after the other."""
        spent = float(self.latency.values("total").sum())
        return 1e3 * self.processed / spent if spent else 0.0

    @property
    def mounting(self) -> Mounting | None:
        """What the road says of how the camera is mounted; None without a calibration or lanes."""
        return self._watch.mounting

    def caption(self, result: Lanes | Instances) -> str:
        """One line for a picture of the latest frame."""
        noun = "lane" if isinstance(result, Lanes) else "object"
        found = counted(len(result), noun)
        degraded = "".join(f", {fault}" for fault in result.degraded)
        return f"{self._rows[-1][0]:.2f} s: {found}, confidence {certainty(result):.2f}{degraded}"

    def facts(self) -> list[tuple[str, str]]:
        """What ran on what, for a report."""
        facts = [("recording", self.source.name)]
        if self.source.topic:
            facts.append(("topic", self.source.topic))
        card = self.pipeline.card
        if card is not None:
            facts += [("model", card.name), ("network input", f"{card.input.width}x{card.input.height}")]
        facts += [(name, str(value)) for name, value in self.pipeline.backend.items()]
        facts += [("fell back", reason) for reason in self.pipeline.fallbacks]
        calibrated = "none: no points on the ground"
        if camera := self._camera:
            recorded = ", as recorded" if camera is self.source.camera else ""
            if camera.mount == self.source.mount:
                recorded += ", mount by /tf_static"
            elif camera is self.source.camera:
                recorded += ", mount assumed"
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
        if len(seconds) and (whole := int(seconds[-1])):  # the last second is seldom a whole one
            counts = np.histogram(seconds, np.arange(whole + 2))[0][:whole].astype(np.float64)
            rate = Series("Processed", "frames a second of recording", np.arange(0.5, whole, dtype=np.float64), counts)
            series.insert(1, rate)
        return series

    def notes(self) -> list[str]:
        """Drops and other things to know, for a report."""
        notes = [f"{sentence}." for sentence in self.damage]
        for reason, count in self.dropped_by.items():
            share = 100 * count / max(1, self.read)
            were = "was" if count == 1 else "were"
            notes.append(f"{count} of {self.read} frames ({share:.1f} %) {were} dropped because {_DROPPED[reason]}.")
        notes += [f"{counted(count, 'frame')} left out: {reason}." for reason, count in self.skipped.items()]
        for fault, count in self.degraded.items():
            notes.append(f"In {count} of {self.processed} frames the camera was {fault}; confidence is lowered there.")
        for reason, count in self.restarts.items():
            notes.append(
                f"Ids began anew {counted(count, 'time')}: {reason}."
                + (" Pauses are left out of the time." if reason == PAUSE else "")
            )
        if self.mounting is not None:
            notes.append(f"Mounting: {self.mounting.describe()}.")
        return notes

    def _arrivals(self) -> Iterator[tuple[Frame, float]]:
        """Give frames whose stamps are good, with their time in seconds of recording, which never goes back."""
        last: int | None = None
        for frame in self._admitted():
            if frame.stamp is None:
                self.seconds += STILL_SECONDS if self.read > 1 else 0.0
                self.temporal = None
            elif last is not None and 0 < frame.stamp - last <= 1e9 * PAUSE_SECONDS:
                self.seconds += (frame.stamp - last) / 1e9
            last = frame.stamp
            yield frame, self.seconds

    def _admitted(self) -> Iterator[Frame]:
        if self.realtime:
            return (frame for frame in self._counted() if not self._loop.admit(frame.stamp))
        return self._loop.admit_recorded(self._counted(), lambda frame: frame.stamp)

    def _counted(self) -> Iterator[Frame]:
        for frame in self.source:
            self.read += 1
            yield frame

    def _every_frame(self, arrivals: Iterator[tuple[Frame, float]]) -> Iterator[tuple[Frame, Lanes | Instances]]:
        stream = getattr(self.pipeline, "stream", self._one_by_one)
        given: deque[tuple[Frame, float]] = deque()

        def frames() -> Iterator[Frame]:
            for entry in arrivals:
                given.append(entry)
                yield entry[0]

        def refused(frame: Frame, error: ImageError) -> None:
            self._refuse(frame, error)
            given.pop()  # refused before the next is asked for

        for result in stream(frames(), refused):
            frame, arrival = given.popleft()
            self._record(result, arrival)
            yield frame, result

    def _one_by_one(
        self, frames: Iterator[Frame], refused: Callable[[Frame, ImageError], None]
    ) -> Iterator[Lanes | Instances]:
        for frame in frames:
            try:
                yield self.pipeline(frame)
            except ImageError as error:
                refused(frame, error)

    def _newest_win(self, arrivals: Iterator[tuple[Frame, float]]) -> Iterator[tuple[Frame, Lanes | Instances]]:
        """One frame is in work and one waits, as in the node; a newer one takes its place."""
        for entry in arrivals:
            if self._free <= entry[1]:
                yield from self._work()
            self._loop.put(entry)
        yield from self._work()

    def _work(self) -> Iterator[tuple[Frame, Lanes | Instances]]:
        """Process the frame that waits, if one does and is not too old, and now or then is not too old to be shown."""
        entry = self._loop.take()
        if entry is None:
            return
        frame, arrival = entry
        if self._loop.is_old(max(0.0, self._free - arrival)):
            self._loop.drop(OLD)
            return
        begin = self._now()
        try:
            result = self.pipeline(frame)
        except ImageError as error:
            self._refuse(frame, error)
            return
        self._free = max(self._free, arrival) + self._now() - begin
        if self._loop.is_old(self._free - arrival):
            self._loop.drop(OLD)
            return
        self._record(result, arrival)
        yield frame, result

    def _refuse(self, frame: Frame, error: ImageError) -> None:
        self.failed[str(error).split(", got")[0]] += 1
        if frame.name and len(self.refused) < MOST_NAMED:
            self.refused.append((frame.name, str(error)))

    def _record(self, result: Lanes | Instances, arrival: float) -> None:
        self.processed += 1
        self.degraded.update(result.degraded)
        if result.restart:
            self.restarts[result.restart] += 1
            if self.temporal:
                self.temporal.reset()
        total = sum(result.times.values())
        late = {STAMP_TO_RESULT: 1e3 * (self._free - arrival)} if self.realtime else {}
        self.latency.record({**result.times, "total": total, **late})
        self._rows.append((arrival, total, len(result), certainty(result)))
        if isinstance(result, Instances):
            self.temporal = None
            return
        if self.temporal:
            self.temporal.update(result)
        if self._camera is not None:
            self._watch.update(result, self._camera)
