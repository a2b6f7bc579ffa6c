"""What becomes of the frames of one camera: which are worked on, and which are dropped and why."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from rtseg.results import Instances, Lanes

STALE, OLD, STAMP, INVALID, FAILED, INACTIVE = "stale", "old", "stamp", "invalid", "failed", "inactive"
REASONS = (STALE, OLD, STAMP, INVALID, FAILED, INACTIVE)
"""Why a frame was dropped: a newer one came first; it was older than allowed; its stamp is late or wrong; it could not
be decoded; the pipeline failed on it; work ended while it waited."""

MAX_AGE = 1.0
"""Seconds after which a frame is no longer worked on, nor its result published, unless another limit is set."""

AGREEING = 3
"""So many frames on end whose stamps fit each other, but not those before, are another stream; fewer are wrong."""

AHEAD_SECONDS = 2.0
"""A stamp may lie so far ahead of the last one, or a few times the usual step."""

APART_SECONDS = 60.0
"""Stamps that lie further from the clock are of another clock."""

MAX_IN_ORDER = 60
"""Items that build on each other and wait to be worked on, two seconds of a video, before all are given up."""

_FEW_STEPS = 8
_TOGETHER = 60.0  # seconds: stamps further apart do not fit each other
_CLOCK_SET = 30  # frames on end that are far from the clock, after which it is the clock that was set

Item = TypeVar("Item")
Recorded = TypeVar("Recorded")


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames of one camera so far.

    Attributes:
        received: frames that came.
        processed: frames that gave a result.
        dropped: frames by reason, all of :data:`REASONS`; ``received`` = ``processed`` + the sum of these + what is
            under way.
        restarts: times ids started anew, by the reasons of :mod:`rtseg.runtime.scenes`.
        degraded: what is wrong with the camera's pictures, of :data:`rtseg.camera.state.FAULTS`, by the latest result.
        degraded_frames: frames that gave a result in spite of it, by what was wrong.
        last_fault: what was wrong with the latest frame that was at fault, in a sentence.
        clocks_apart: seconds by which the clock is ahead of the stamps, where that is too much for an age; else 0.
    """

    received: int
    processed: int
    dropped: Mapping[str, int]
    restarts: Mapping[str, int]
    degraded: tuple[str, ...]
    degraded_frames: Mapping[str, int]
    last_fault: str
    clocks_apart: float


class StampCheck:
    """Tells wrong stamps from those of another stream.

    A stamp fits that does not lie before the last good one, nor far ahead of it unless as much time has passed by the
    clock, too. One that does not fit is late, or wrong: 0, of another clock, of a message that was held up. When
    several on end fit each other, a recording has begun anew, a clock was set, a camera that nobody times comes back
    after a pause.

    Args:
        step: seconds from frame to frame, where that is known beforehand.

    Attributes:
        cleared: frames before the latest one that were called wrong, and are good by what came since.
    """

    def __init__(self, step: float = 0.0) -> None:
        self.cleared = 0
        self._last: int | None = None
        self._last_age: float | None = None
        self._step = step  # largest of late, fading
        self._doubtful: list[int] = []

    def fault(self, stamp: int, by_clock: float | None = None) -> str:
        """What is wrong with the next frame's stamp, in a sentence; empty if it is good.

        Args:
            stamp: nanoseconds.
            by_clock: seconds since that stamp, by whatever clock, where there is one.
        """
        self.cleared = 0
        fault = self._fault(stamp, by_clock)
        if not fault:
            self._last_age = by_clock
        return fault

    def _fault(self, stamp: int, by_clock: float | None) -> str:
        if self._last is None or self._fits(stamp, self._last) or self._after_a_pause(stamp, self._last, by_clock):
            self._accept(stamp)
            return ""
        gone = (stamp - self._last) / 1e9
        limit = max(_TOGETHER, gone)  # of a camera that gives a frame every few minutes
        if not (self._doubtful and 0 <= stamp - self._doubtful[-1] <= 1e9 * limit):
            self._doubtful.clear()
        self._doubtful.append(stamp)
        if len(self._doubtful) < AGREEING:
            where = "ahead of" if gone > 0 else "before"
            return f"its stamp lies {abs(gone):.3f} s {where} the last one"
        self._step = (stamp - self._doubtful[-2]) / 1e9
        self.cleared = len(self._doubtful) - 1
        self._accept(stamp)
        return ""

    def _fits(self, stamp: int, last: int) -> bool:
        return 0 <= (stamp - last) / 1e9 <= max(AHEAD_SECONDS, _FEW_STEPS * self._step)

    def _after_a_pause(self, stamp: int, last: int, by_clock: float | None) -> bool:
        """Whether stamp and clock have gone on alike."""
        if stamp < last or by_clock is None or self._last_age is None:
            return False
        return abs(by_clock - self._last_age) <= AHEAD_SECONDS

    def _accept(self, stamp: int) -> None:
        if self._last is not None and stamp >= self._last and not self._doubtful:
            self._step = max(0.9 * self._step, (stamp - self._last) / 1e9)
        self._last = stamp
        self._doubtful.clear()


class AgeLimit:
    """Tells frames that are too old to act on.

    A frame's age is the time since its stamp, by the clock that stamps come from. Where stamps are of another clock (a
    recording played without its clock, a camera that counts from when it was switched on) only the time since it
    arrived is known.

    Args:
        seconds: greatest age; 0 for no limit.

    Attributes:
        seconds: as given; may be changed.
        apart: seconds by which the clock is ahead of the stamps where these are of another one, else 0.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.apart = 0.0
        self._agreed = False
        self._strange = 0

    def note(self, by_clock: float) -> None:
        """Compare the clocks by a frame that has just come.

        Args:
            by_clock: seconds since its stamp, by the clock.
        """
        if abs(by_clock) <= APART_SECONDS:
            self._agreed, self._strange, self.apart = True, 0, 0.0
            return
        self._strange += 1
        if not self._agreed or self._strange >= _CLOCK_SET:
            self._agreed, self.apart = False, by_clock

    def age(self, waited: float, by_clock: float | None) -> float:
        """Give a frame's age in seconds.

        Args:
            waited: seconds since it came.
            by_clock: seconds since its stamp, by the clock; None where that is not known.
        """
        return max(waited, by_clock) if by_clock is not None and self._agreed else waited

    def exceeded(self, age: float) -> bool:
        """Whether a frame of this age is too old."""
        return 0 < self.seconds < age


class FrameLoop(Generic[Item]):
    """The policy for the frames of one camera, live or recorded.

    One place between who receives frames and who works on them: **the newest frame wins**, so that waiting frames never
    add to the latency. A frame whose stamp is wrong never enters it, and one that is too old is not worked on. Every
    frame that gives no result is counted under its reason. May be used from several threads.

    Args:
        max_age: seconds after which a frame is too old; 0 for no limit.
        step: seconds from frame to frame, where that is known beforehand, as of a recording.
    """

    def __init__(self, max_age: float = 0.0, step: float = 0.0) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._in_order: deque[Item] = deque()
        self._closed = False
        self._stamps = StampCheck(step)
        self._limit = AgeLimit(max_age)
        self._received = 0
        self._processed = 0
        self._dropped = Counter(dict.fromkeys(REASONS, 0))
        self._restarts: Counter[str] = Counter()
        self._degraded: tuple[str, ...] = ()
        self._degraded_frames: Counter[str] = Counter()
        self._last_fault = ""

    @property
    def max_age(self) -> float:
        """Seconds after which a frame is too old; 0 for no limit."""
        return self._limit.seconds

    @max_age.setter
    def max_age(self, seconds: float) -> None:
        self._limit.seconds = seconds

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called: what is still worked on is of use to nobody."""
        return self._closed

    # Who receives.

    def admit(self, stamp: int | None, by_clock: float | None = None) -> str:
        """Count a frame that has just come, and look at its stamp.

        Args:
            stamp: nanoseconds; None for a still.
            by_clock: seconds since that stamp, where there is a clock to tell.

        Returns:
            Why the frame was dropped, in a sentence; empty for one that is to be :meth:`put`.
        """
        with self._condition:
            self._received += 1
            fault = self._stamps.fault(stamp, by_clock) if stamp is not None else ""
            if fault:
                self._drop(STAMP, fault)
            elif by_clock is not None:
                self._limit.note(by_clock)
        return fault

    def admit_recorded(
        self,
        recorded: Iterable[Recorded],
        stamp: Callable[[Recorded], int | None],
        refused: Callable[[Recorded], None] = lambda frame: None,
    ) -> Iterator[Recorded]:
        """Give the frames of a recording whose stamps are good; by a pause none is lost, since this reads ahead.

        Args:
            recorded: frames, in order.
            stamp: nanoseconds of one; None for a still.
            refused: is told of those whose stamps are wrong.
        """
        doubtful: list[Recorded] = []
        for frame in recorded:
            with self._condition:
                fault = self.admit(stamp(frame))
                cleared = self._stamps.cleared
                self._dropped[STAMP] -= cleared
            doubtful.append(frame)
            good = AGREEING - 1 if fault else cleared + 1  # or may be, as long as there is a fault
            wrong, doubtful = doubtful[:-good], doubtful[-good:]
            for late in wrong:
                refused(late)
            if not fault:
                yield from doubtful
                doubtful = []
        for late in doubtful:
            refused(late)

    def put(self, item: Item) -> None:
        """Leave an item for who works; the one that waits, if any, gives way to it."""
        with self._condition:
            if self._item is not None:
                self._drop(STALE)
            self._item = item
            self._condition.notify()

    def put_in_order(self, item: Item) -> int:
        """Leave what others build on (a packet of a video), so that none may be left out: it is taken before frames.

        Args:
            item: of a kind that :meth:`get` gives.

        Returns:
            How many were given up, since more than :data:`MAX_IN_ORDER` would have to wait: all that did, and this one.
        """
        with self._condition:
            if len(self._in_order) == MAX_IN_ORDER:
                self._in_order.clear()
                return MAX_IN_ORDER + 1
            self._in_order.append(item)
            self._condition.notify()
        return 0

    # Who works.

    def get(self) -> Item | None:
        """Wait for an item and take it, those left in order first; None once the loop is closed."""
        with self._condition:
            while self._item is None and not self._in_order and not self._closed:
                self._condition.wait()
            return self._in_order.popleft() if self._in_order else self._take()

    def take(self) -> Item | None:
        """Take the item that waits; None where there is none."""
        with self._condition:
            return self._take()

    def is_old(self, waited: float, by_clock: float | None = None) -> bool:
        """Whether a frame is too old to be worked on, or its result to be published.

        Args:
            waited: seconds since it came.
            by_clock: seconds since its stamp, where there is a clock to tell.
        """
        with self._condition:
            return self._limit.exceeded(self._limit.age(waited, by_clock))

    def drop(self, reason: str, fault: str = "") -> None:
        """Count a frame that gives no result; `fault` says what was wrong with it, if anything was."""
        with self._condition:
            self._drop(reason, fault)

    def finish(self, results: Iterable[Lanes | Instances]) -> list[str]:
        """Count a frame that gave results, one for each model.

        Returns:
            Why ids started anew with it, each reason once.
        """
        results = list(results)
        restarts = sorted({result.restart for result in results if result.restart})
        # Models of one camera's frames see the same.
        degraded = tuple(dict.fromkeys(fault for result in results for fault in result.degraded))
        with self._condition:
            self._degraded = degraded
            self._degraded_frames.update(degraded)
            self._processed += 1
            self._restarts.update(restarts)
        return restarts

    def close(self) -> None:
        """Wake who waits for the last time; what is left is dropped."""
        with self._condition:
            self._closed = True
            self._in_order.clear()
            if self._item is not None:
                self._item = None
                self._drop(INACTIVE)
            self._condition.notify_all()

    # Everybody.

    def counts(self) -> FrameCounts:
        """What became of the frames so far."""
        with self._condition:
            return FrameCounts(
                self._received,
                self._processed,
                dict(self._dropped),
                dict(self._restarts),
                self._degraded,
                dict(self._degraded_frames),
                self._last_fault,
                self._limit.apart,
            )

    def _take(self) -> Item | None:
        item, self._item = self._item, None
        return item

    def _drop(self, reason: str, fault: str = "") -> None:
        self._dropped[reason] += 1
        if fault:
            self._last_fault = fault
