"""Ids that stay with a lane line from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.compiled import compiled_in_place
from rtseg.errors import ArgumentError
from rtseg.lanes.decode import DetectedLanes
from rtseg.lanes.motion import moved, road_motion, slopes
from rtseg.ops.assignment import assign
from rtseg.results import bottom_x
from rtseg.settings import NonNegative, Settings, Share

_MAX_ID = 255
_GRID = 32  # rows at which lines are compared
_UNSTAMPED = 1 / 30  # seconds that pass between frames whose stamps do not say
_BEYOND = 0.15  # weight of a row to which a line had to be drawn out
_MATURE = 10  # frames after which a line is established
_PATIENCE = 0.25  # seconds in which belief follows the confidence
_STAYING = 0.5  # of the belief that it takes to be shown is enough to stay
_NEWCOMER = 0.5  # of its confidence is believed of a line that comes up
_SAME = 0.015  # of the width: a carried line this near to one that was seen is that one
_DOUBT = 0.3  # how much a line's youth, and rows that only one of two lines has, count beside their distance


_Sampled = tuple[NDArray[np.float64], NDArray[np.float64]]  # x at the rows compared, and its weight there


class LaneTrackerSettings(Settings):
    """When a line in this frame is a line of earlier frames.

    Attributes:
        distance: how far a line may have moved, as a share of the image's width.
        speed: how much further for every second that it was not seen, as a share of the width.
        memory: seconds for which a line that is not seen keeps its id.
        reset_after: seconds without a frame after which all lines are forgotten.
        show: belief from which on a line is shown; it then is until less than half of that is left, and half is enough
            in the first frame, when nothing speaks against it. Belief follows the line's confidence, a frame without
            the line counting as 0.
        carry: seconds for which a shown line that is not seen is carried on, moving as those that are.
    """

    distance: Share = 0.06
    speed: NonNegative = 0.1
    memory: Annotated[float, Field(ge=0, le=60)] = 0.5
    reset_after: Annotated[float, Field(ge=0, le=3600)] = 2.0
    show: Annotated[float, Field(ge=0, le=2)] = 0.3
    carry: Annotated[float, Field(ge=0, le=60)] = 0.25


@dataclass(frozen=True)
class TrackedLanes:
    """Lane lines to show, from left to right by where they meet, or would meet, the image's bottom.

    Attributes:
        ids: (n,) int32, 1..255, unlike each other.
        numbers: (n,) int32, the value that each has in the mask of :class:`DetectedLanes`; 0 for those that were not
            seen in this frame but are carried on.
        confidence: (n,) float32; of carried lines what is left of the belief in them.
        polylines: n arrays as of :class:`DetectedLanes`.
    """

    ids: NDArray[np.int32]
    numbers: NDArray[np.int32]
    confidence: NDArray[np.float32]
    polylines: tuple[NDArray[np.float32], ...]


@dataclass
class _Track:
    id: int
    x: NDArray[np.float64]
    weight: NDArray[np.float64]
    polyline: NDArray[np.float32]
    belief: float
    shown: bool = False
    seen: int = 1
    unseen: float = 0.0
    number: int = 0
    confidence: float = 0.0


class LaneTracker:
    """Gives the lane lines of successive frames of one camera ids that last."""

    def __init__(self, settings: LaneTrackerSettings | None = None) -> None:
        self._settings = settings or LaneTrackerSettings()
        self.reset()

    def reset(self) -> None:
        """Forget all lines; ids start at 1 again."""
        self._tracks: list[_Track] = []
        self._last_id = 0
        self._last_stamp: int | None = None
        self._size: tuple[int, ...] = ()

    def update(self, detected: DetectedLanes, stamp_ns: int) -> TrackedLanes:
        """Give the lines of this frame their ids, and say which to show.

        Lines are compared by their distance square to them, near rows counting most: there lines lie far apart, and far
        ahead all of them meet. The assignment is the best one-to-one. A stamp that jumps back, as when a bag starts
        over, or an image of another size resets the tracker; after a long gap lines are forgotten but ids go on.

        In the first frame a line is shown if its confidence is enough; one that comes up later must be surer or last
        for some frames. A line that is shown and then not seen goes on for some tenths of a second.

        Args:
            detected: the lanes of a frame.
            stamp_ns: its stamp in nanoseconds. Frames with equal stamps count as taken at 30 Hz.

        Returns:
            The lines to show; a freed id is not used again before the others were.
        """
        settings = self._settings
        height, width = detected.size
        last = stamp_ns if self._last_stamp is None else self._last_stamp
        if stamp_ns < last or self._size not in ((), (height, width)):
            self.reset()
            last = stamp_ns
        elapsed = (stamp_ns - last) / 1e9 or _UNSTAMPED
        first = self._last_stamp is None or elapsed > settings.reset_after
        if elapsed > settings.reset_after:
            self._tracks = []
        self._last_stamp, self._size = stamp_ns, (height, width)
        gain = 1 - np.exp(-elapsed / _PATIENCE)
        for track in self._tracks:
            track.unseen += elapsed
            track.number = 0
        # A track that was seen in the frame before this one has been unseen for one frame, however long that took.
        self._tracks = [t for t in self._tracks if t.unseen <= max(settings.memory, 1.5 * elapsed)]

        rows = np.linspace(0.3 * height, height - 1, _GRID)
        lines = [_sample(polyline, rows) for polyline in detected.polylines]
        matches = self._match(lines, rows, width)
        motion = self._motion(lines, matches, rows)
        for i, j in enumerate(matches):
            if j >= 0:
                track = self._tracks[j]
                track.seen, track.unseen = track.seen + 1, 0.0
                sure = float(detected.confidence[i])
                track.belief = max(track.belief + gain * (sure - track.belief), _NEWCOMER * sure)
            else:
                belief = float(detected.confidence[i]) * (1.0 if first else _NEWCOMER)
                track = _Track(self._free_id(), *lines[i], detected.polylines[i], belief)
                self._tracks.append(track)
            track.x, track.weight, track.polyline = *lines[i], detected.polylines[i]
            track.number, track.confidence = i + 1, float(detected.confidence[i])
        unseen = [track for track in self._tracks if not track.number]
        carried = moved(np.array([track.x for track in unseen]), rows, motion) if unseen else ()
        for track, x in zip(unseen, carried, strict=True):
            track.belief -= gain * track.belief
            track.confidence = min(track.confidence, track.belief)
            track.x = x
            if track.shown:
                track.polyline = _carried(track.polyline, rows, motion, width)
        for track in self._tracks:
            track.shown = track.belief >= settings.show * (_STAYING if track.shown or first else 1.0)
        return self._shown(rows, height, width, elapsed)

    def _match(self, lines: list[_Sampled], rows: NDArray[np.float64], width: int) -> NDArray[np.int64]:
        """The track of each line, -1 where it is new."""
        settings, tracks = self._settings, self._tracks
        if not lines or not tracks:
            return np.full(len(lines), -1)
        gate = np.maximum(width * (settings.distance + settings.speed * np.array([t.unseen for t in tracks])), 1e-9)
        distance, unshared = _compared(lines, [(t.x, t.weight) for t in tracks], rows)
        # A stray fragment of one frame must not take over a line that has been there for long.
        youth = 1 - np.minimum([t.seen for t in tracks], _MATURE) / _MATURE
        cost = np.where(distance <= gate, distance / gate + _DOUBT * (youth + unshared), np.inf)
        return np.asarray(assign(cost, 1 + 2 * _DOUBT))

    def _motion(
        self, lines: list[_Sampled], matches: NDArray[np.int64], rows: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How the lines seen both in the frame before and in this one moved."""
        pairs = [(self._tracks[j], line) for line, j in zip(lines, matches, strict=True) if j >= 0]
        near = (rows / rows[-1]) ** 2
        # Where one of the two had to be drawn out it tells nothing.
        weight = [np.where(np.minimum(t.weight, w) >= near, near, 0.0) for t, (_, w) in pairs]
        parts = [t.x for t, _ in pairs], [x for _, (x, _) in pairs], weight
        before, after, weights = (np.array(part).reshape(-1, len(rows)) for part in parts)
        return road_motion(before, after, weights, rows)

    def _shown(self, rows: NDArray[np.float64], height: int, width: int, elapsed: float) -> TrackedLanes:
        carry = max(self._settings.carry, 1.5 * elapsed) if self._settings.carry else 0.0
        seen = [t for t in self._tracks if t.shown and t.number]
        carried = [
            t
            for t in self._tracks
            if t.shown and not t.number and t.unseen <= carry and t.seen > 1 and len(t.polyline) > 1
        ]
        # The same line may have come up under another id.
        if carried and seen:
            ours, others = ([(t.x, t.weight) for t in tracks] for tracks in (carried, seen))
            apart = _compared(ours, others, rows)[0].min(1) > _SAME * width
            carried = [track for track, kept in zip(carried, apart, strict=True) if kept]
        shown = sorted([*seen, *carried], key=lambda track: bottom_x(track.polyline, height))
        return TrackedLanes(
            np.array([track.id for track in shown], np.int32),
            np.array([track.number for track in shown], np.int32),
            np.array([track.confidence for track in shown], np.float32),
            tuple(track.polyline for track in shown),
        )

    def _free_id(self) -> int:
        if len(self._tracks) >= _MAX_ID:  # only garbage gets here: give up the line not seen for longest
            self._tracks.remove(max(self._tracks, key=lambda track: track.unseen))
        used = {track.id for track in self._tracks}
        while True:
            self._last_id = self._last_id % _MAX_ID + 1
            if self._last_id not in used:
                return self._last_id


def _carried(
    polyline: NDArray[np.float32], rows: NDArray[np.float64], motion: NDArray[np.float64], width: int
) -> NDArray[np.float32]:
    """What of a polyline (k, 2) is in an image after it moved as :func:`rtseg.lanes.motion.moved` says."""
    carried = np.empty_like(polyline)
    first, end = _carry(polyline, rows, motion, width, *np.empty((3, len(rows))), carried)
    return carried[first:end]


def _sample(polyline: NDArray[np.float32], rows: NDArray[np.float64]) -> _Sampled:
    """Give x at `rows`, drawn out straight beyond the ends, and weights that favour near rows and those in sight."""
    if not len(polyline):
        raise ArgumentError("expected lines of at least one point, got an empty one; leave it out")
    sampled, weight = np.empty(len(rows)), np.empty(len(rows))
    _sample_rows(polyline, rows, sampled, weight)
    return sampled, weight


@compiled_in_place
def _sample_rows(polyline, rows, sampled, weight):  # type: ignore[no-untyped-def]
    count = len(polyline)
    reach = max(1, count // 4)
    top, bottom = np.float64(polyline[0, 1]), np.float64(polyline[count - 1, 1])
    upper = lower = 0.0
    if count > 1:
        upper = (np.float64(polyline[reach, 0]) - np.float64(polyline[0, 0])) / (np.float64(polyline[reach, 1]) - top)
        before = count - 1 - reach
        lower = (np.float64(polyline[count - 1, 0]) - np.float64(polyline[before, 0])) / (
            bottom - np.float64(polyline[before, 1])
        )
    at = 0
    for i in range(len(rows)):
        y = rows[i]
        near = (y / rows[-1]) * (y / rows[-1])
        weight[i] = near if top <= y <= bottom else _BEYOND * near
        if y <= top or count == 1:
            sampled[i] = polyline[0, 0]
            if y < top and count > 1:
                sampled[i] += upper * (y - top)
        elif y >= bottom:
            sampled[i] = polyline[count - 1, 0]
            if y > bottom:
                sampled[i] += lower * (y - bottom)
        else:
            while polyline[at + 1, 1] <= y:
                at += 1
            x0, y0 = np.float64(polyline[at, 0]), np.float64(polyline[at, 1])
            sampled[i] = x0
            if y != y0:
                slope = (np.float64(polyline[at + 1, 0]) - x0) / (np.float64(polyline[at + 1, 1]) - y0)
                sampled[i] += slope * (y - y0)


@compiled_in_place
def _interpolated(at, rows, values):  # type: ignore[no-untyped-def]
    """Like ``np.interp(at, rows, values)`` of one number, to the last bit."""
    last = len(rows) - 1
    if at >= rows[last]:
        return values[last]
    if at <= rows[0]:
        return values[0]
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        if rows[middle] <= at:
            low = middle
        else:
            high = middle
    if rows[low] == at:
        return values[low]
    return (values[high] - values[low]) / (rows[high] - rows[low]) * (at - rows[low]) + values[low]


@compiled_in_place
def _carry(polyline, rows, motion, width, sampled, weight, slope, out):  # type: ignore[no-untyped-def]
    """Write the points of a polyline that moved; give the first of those in the image and the one after the last."""
    count = len(polyline)
    first, end = 0, 0
    if count > 1:
        _sample_rows(polyline, rows, sampled, weight)
        slopes(sampled, rows, slope)
    for i in range(count):
        out[i, 0], out[i, 1] = polyline[i, 0], polyline[i, 1]
        if count > 1:
            y = np.float64(polyline[i, 1])
            pitched = motion[2] * _interpolated(y, rows, slope)
            out[i, 0] = np.float32(polyline[i, 0] + motion[0] + motion[1] * y / rows[-1] + pitched)
        if 0 <= out[i, 0] <= width - 1:
            if end == 0:
                first = i
            end = i + 1
    for i in range(first, end):
        out[i, 0] = min(max(out[i, 0], np.float32(0)), np.float32(width - 1))
    return first, end


@compiled_in_place
def _sum(values, part):  # type: ignore[no-untyped-def]
    """In the order of NumPy's sums of up to 128 numbers, so that they are the same to the last bit; `part` is (8,)."""
    whole = len(values) - len(values) % 8
    total = 0.0
    if whole:
        for k in range(8):
            part[k] = values[k]
        for i in range(8, whole, 8):
            for k in range(8):
                part[k] += values[i + k]
        total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))
    for i in range(whole, len(values)):
        total += values[i]
    return total


@compiled_in_place
def _compare_two(a, a_weight, b, b_weight, rows, line, slope, weight, both, part):  # type: ignore[no-untyped-def]
    """Give the mean distance of two lines (m,) across them, and the share of weight that one lacks."""
    for r in range(len(rows)):
        line[r] = a[r] + b[r]
    slopes(line, rows, slope)
    for r in range(len(rows)):
        half = 0.5 * slope[r]
        weight[r] = a_weight[r] * b_weight[r]
        line[r] = weight[r] * abs(a[r] - b[r]) / np.sqrt(1 + half * half)
    distance = _sum(line, part) / _sum(weight, part)
    for r in range(len(rows)):
        both[r] = min(a_weight[r], b_weight[r])
        weight[r] = max(a_weight[r], b_weight[r])
    return distance, 1 - _sum(both, part) / _sum(weight, part)


@compiled_in_place
def _compare(a, a_weight, b, b_weight, rows, line, slope, weight, both, part, distance, unshared):  # type: ignore[no-untyped-def]
    """Write what `_compare_two` gives for lines a (n, m) and b (k, m)."""
    for i in range(len(a)):
        for j in range(len(b)):
            distance[i, j], unshared[i, j] = _compare_two(
                a[i], a_weight[i], b[j], b_weight[j], rows, line, slope, weight, both, part
            )


def _compared(
    lines: Sequence[_Sampled], others: Sequence[_Sampled], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`_compare`; both (n, k)."""
    (a, a_weight), (b, b_weight) = (
        (np.array([x for x, _ in part]), np.array([weight for _, weight in part])) for part in (lines, others)
    )
    distance, unshared = np.empty((len(a), len(b))), np.empty((len(a), len(b)))
    _compare(a, a_weight, b, b_weight, rows, *np.empty((4, len(rows))), np.empty(8), distance, unshared)
    return distance, unshared
