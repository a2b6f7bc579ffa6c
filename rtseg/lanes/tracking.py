"""Ids that stay with a lane line from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.lanes.decode import DetectedLanes
from rtseg.lanes.motion import carried, moved, road_motion, steadied
from rtseg.lanes.sampling import Sampled, compared, sample
from rtseg.ops.assignment import assign
from rtseg.results import bottom_x
from rtseg.settings import NonNegative, Settings, Share

_MAX_ID = 255
_GRID = 32  # rows at which lines are compared
_UNSTAMPED = 1 / 30  # seconds that pass between frames whose stamps do not say
_MATURE = 10  # frames after which a line is established
_PATIENCE = 0.25  # seconds in which belief follows the confidence
_STAYING = 0.5  # of the belief that it takes to be shown is enough to stay
_NEWCOMER = 0.5  # of its confidence is believed of a line that comes up
_SAME = 0.015  # of the width: a carried line this near to one that was seen is that one
_STEADY = 0.5  # seconds over which the road's motion is taken to be the same
_SUREST = 0.98  # of lines surer than this none counts for more
_UNSURE, _SLOWER = 0.2, 4.0  # where a line is so much less sure than usual, it goes slower by so many times `smoothing`
_USUAL = 5.0  # seconds after which most of how sure a line once was is forgotten
_LONGEST = 3.0  # times that: so long at most a sure line holds its place against an unsure one
_DOUBT = 0.3  # how much a line's youth, and rows that only one of two lines has, count beside their distance


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
        smoothing: seconds in which a shown line goes most of the way to where it is seen, from where it is expected,
            up to five times as slowly in frames that are less sure of it than others; 0 shows it where it is seen.
    """

    distance: Share = 0.06
    speed: NonNegative = 0.1
    memory: Annotated[float, Field(ge=0, le=60)] = 0.5
    reset_after: Annotated[float, Field(ge=0, le=3600)] = 2.0
    show: Annotated[float, Field(ge=0, le=2)] = 0.3
    carry: Annotated[float, Field(ge=0, le=60)] = 0.25
    smoothing: Annotated[float, Field(ge=0, le=60)] = 0.2


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
    usual: float = 0.0  # how sure it is in its surest frames
    known: float = 0.0  # how surely its place is: the sum of what its frames told, which fades
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
        self._rate = np.zeros(3)  # motion of the road by second, as it was lately
        self._watched = 0.0  # frames that told of it, fading

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
        gain = 1 - exp(-elapsed / _PATIENCE)
        for track in self._tracks:
            track.unseen += elapsed
            track.number = 0
        # A track that was seen in the frame before this one has been unseen for one frame, however long that took.
        self._tracks = [t for t in self._tracks if t.unseen <= max(settings.memory, 1.5 * elapsed)]

        rows = _compared_rows(height)
        lines = [sample(polyline, rows) for polyline in detected.polylines]
        matches = self._match(lines, rows, width)
        motion = self._motion(lines, matches, rows)
        # At first the mean of as many frames as there were, and of one that stood still.
        self._watched = self._watched * exp(-elapsed / _STEADY) + any(j >= 0 for j in matches)
        self._rate += (motion / elapsed - self._rate) / (self._watched + 1.0)
        for i, j in enumerate(matches):
            polyline, sure = detected.polylines[i], float(detected.confidence[i])
            if j >= 0:
                track = self._tracks[j]
                polyline = self._steadied(track, polyline, sure, rows, elapsed, width)
                track.seen, track.unseen = track.seen + 1, 0.0
                track.belief = max(track.belief + gain * (sure - track.belief), _NEWCOMER * sure)
            else:
                belief = sure * (1.0 if first else _NEWCOMER)
                track = _Track(self._free_id(), *lines[i], polyline, belief, usual=sure, known=_information(sure))
                self._tracks.append(track)
            track.x, track.weight, track.polyline = *lines[i], polyline
            track.number, track.confidence = i + 1, sure
        unseen = [track for track in self._tracks if not track.number]
        shifted = moved(np.array([track.x for track in unseen]), rows, motion) if unseen else ()
        for track, x in zip(unseen, shifted, strict=True):
            track.belief -= gain * track.belief
            track.confidence = min(track.confidence, track.belief)
            track.x = x
            if track.shown:
                track.polyline = carried(track.polyline, rows, motion, width)
        for track in self._tracks:
            track.shown = track.belief >= settings.show * (_STAYING if track.shown or first else 1.0)
        return self._shown(rows, height, width, elapsed)

    def _match(self, lines: list[Sampled], rows: NDArray[np.float64], width: int) -> NDArray[np.int64]:
        """The track of each line, -1 where it is new."""
        settings, tracks = self._settings, self._tracks
        if not lines or not tracks:
            return np.full(len(lines), -1)
        gate = np.maximum(width * (settings.distance + settings.speed * np.array([t.unseen for t in tracks])), 1e-9)
        distance, unshared = compared(lines, [(t.x, t.weight) for t in tracks], rows)
        # A stray fragment of one frame must not take over a line that has been there for long.
        youth = 1 - np.minimum([t.seen for t in tracks], _MATURE) / _MATURE
        cost = np.where(distance <= gate, distance / gate + _DOUBT * (youth + unshared), np.inf)
        return np.asarray(assign(cost, 1 + 2 * _DOUBT))

    def _motion(
        self, lines: list[Sampled], matches: NDArray[np.int64], rows: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How the lines seen both in the frame before and in this one moved."""
        pairs = [(self._tracks[j], line) for line, j in zip(lines, matches, strict=True) if j >= 0]
        near = (rows / rows[-1]) ** 2
        # Where one of the two had to be drawn out it tells nothing.
        weight = [np.where(np.minimum(t.weight, w) >= near, near, 0.0) for t, (_, w) in pairs]
        parts = [t.x for t, _ in pairs], [x for _, (x, _) in pairs], weight
        before, after, weights = (np.array(part).reshape(-1, len(rows)) for part in parts)
        return road_motion(before, after, weights, rows)

    def _steadied(
        self,
        track: _Track,
        seen: NDArray[np.float32],
        confidence: float,
        rows: NDArray[np.float64],
        elapsed: float,
        width: int,
    ) -> NDArray[np.float32]:
        """Where to show a line that is seen: its track was not seen for so long as it says, this frame included."""
        if not self._settings.smoothing:
            return seen
        # Against the line's own, for not every model's confidence says how often it is right.
        track.usual += (1 - exp(-elapsed / _USUAL)) * (confidence - track.usual)
        track.usual = max(track.usual, confidence)
        fade = self._settings.smoothing * (1 + _SLOWER * min((track.usual - confidence) / _UNSURE, 1.0))
        told, known = _information(confidence), track.known * exp(-track.unseen / fade)
        if not (track.shown or track.unseen <= elapsed):
            track.known = told
            return seen
        track.known = known + told
        # The motion of this frame alone is as unsure as where its lines are.
        expected = carried(track.polyline, rows, elapsed * self._rate, width)
        share = min(known / track.known, exp(-track.unseen / (_LONGEST * fade)))
        return steadied(expected, seen, share, width)

    def _shown(self, rows: NDArray[np.float64], height: int, width: int, elapsed: float) -> TrackedLanes:
        carry = max(self._settings.carry, 1.5 * elapsed) if self._settings.carry else 0.0
        seen = [t for t in self._tracks if t.shown and t.number]
        unseen = [
            t
            for t in self._tracks
            if t.shown and not t.number and t.unseen <= carry and t.seen > 1 and len(t.polyline) > 1
        ]
        # The same line may have come up under another id.
        if unseen and seen:
            ours, others = ([(t.x, t.weight) for t in tracks] for tracks in (unseen, seen))
            apart = compared(ours, others, rows)[0].min(1) > _SAME * width
            unseen = [track for track, kept in zip(unseen, apart, strict=True) if kept]
        shown = sorted([*seen, *unseen], key=lambda track: bottom_x(track.polyline, height))
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


@lru_cache(maxsize=8)
def _compared_rows(height: int) -> NDArray[np.float64]:
    """(m,) y of the rows of an image at which lines are compared, which nobody writes to."""
    return np.linspace(0.3 * height, height - 1, _GRID)


def _information(confidence: float) -> float:
    """How much the place of a line counts that is so sure: by the square of its odds.

    On rendered roads lines of the least sure quarter are three to four times as far off as those of the surest.
    """
    sure = min(max(confidence, 1 - _SUREST), _SUREST)
    return (sure / (1 - sure)) ** 2
