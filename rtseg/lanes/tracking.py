"""Ids that stay with a lane line from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import GroupingError
from rtseg.lanes.decode import DetectedLanes
from rtseg.ops.assignment import assign

_MAX_ID = 255
_GRID = 32  # rows at which lines are compared
_UNSTAMPED = 1 / 30  # seconds that pass between frames whose stamps do not say
_BEYOND = 0.15  # weight of a row to which a line had to be drawn out
_MATURE = 10  # frames after which a line is established
_DOUBT = 0.3  # how much a line's youth, and rows that only one of two lines has, count beside their distance


@dataclass(frozen=True)
class LaneTrackerSettings:
    """When a line in this frame is a line of earlier frames.

    Attributes:
        distance: how far a line may have moved, as a share of the image's width.
        speed: how much further for every second that it was not seen, as a share of the width.
        memory: seconds for which a line that is not seen keeps its id.
        reset_after: seconds without a frame after which all lines are forgotten.
    """

    distance: float = 0.06
    speed: float = 0.1
    memory: float = 0.5
    reset_after: float = 2.0

    def __post_init__(self) -> None:
        for name in ("distance", "speed", "memory", "reset_after"):
            if not 0 <= getattr(self, name) < np.inf:
                raise GroupingError(f"expected {name} of 0 or more, got {getattr(self, name)}")


@dataclass
class _Track:
    id: int
    x: NDArray[np.float64]
    weight: NDArray[np.float64]
    seen: int = 1
    unseen: float = 0.0


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

    def update(self, detected: DetectedLanes, stamp_ns: int) -> NDArray[np.int32]:
        """Give each line of this frame its id.

        Lines are compared by their distance square to them, near rows counting most: there lines lie far apart, and far
        ahead all of them meet. The assignment is the best one-to-one. A stamp that jumps back, as when a bag starts
        over, or an image of another size resets the tracker; after a long gap lines are forgotten but ids go on.

        Args:
            detected: the lanes of a frame.
            stamp_ns: its stamp in nanoseconds. Frames with equal stamps count as taken at 30 Hz.

        Returns:
            (n,) int32 ids, 1..255, unlike each other; a freed id is not used again before the others were.
        """
        settings = self._settings
        height, width = detected.mask.shape
        last = stamp_ns if self._last_stamp is None else self._last_stamp
        if stamp_ns < last or self._size not in ((), (height, width)):
            self.reset()
            last = stamp_ns
        elapsed = (stamp_ns - last) / 1e9 or _UNSTAMPED
        if elapsed > settings.reset_after:
            self._tracks = []
        self._last_stamp, self._size = stamp_ns, (height, width)
        for track in self._tracks:
            track.unseen += elapsed
        # A track that was seen in the frame before this one has been unseen for one frame, however long that took.
        self._tracks = [t for t in self._tracks if t.unseen <= max(settings.memory, 1.5 * elapsed)]

        rows = np.linspace(0.3 * height, height - 1, _GRID)
        lines = [_sample(polyline, rows) for polyline in detected.polylines]
        cost = np.full((len(lines), len(self._tracks)), np.inf)
        for j, track in enumerate(self._tracks):
            gate = width * (settings.distance + settings.speed * track.unseen)
            for i, (x, weight) in enumerate(lines):
                distance = _distance(x, weight, track.x, track.weight, rows)
                if distance <= gate:
                    # A stray fragment of one frame must not take over a line that has been there for long.
                    youth = 1 - min(track.seen, _MATURE) / _MATURE
                    unshared = 1 - np.minimum(weight, track.weight).sum() / np.maximum(weight, track.weight).sum()
                    cost[i, j] = distance / gate + _DOUBT * (youth + unshared)
        matches = assign(cost, 1 + 2 * _DOUBT)
        ids = np.zeros(len(lines), np.int32)
        for i, j in enumerate(matches):
            if j >= 0:
                track = self._tracks[j]
                track.x, track.weight = lines[i]
                track.seen, track.unseen = track.seen + 1, 0.0
                ids[i] = track.id
        for i in range(len(lines)):
            if matches[i] >= 0:
                continue
            track = _Track(self._free_id(), *lines[i])
            self._tracks.append(track)
            ids[i] = track.id
        return ids

    def _free_id(self) -> int:
        if len(self._tracks) >= _MAX_ID:  # only garbage gets here: give up the line not seen for longest
            self._tracks.remove(max(self._tracks, key=lambda track: track.unseen))
        used = {track.id for track in self._tracks}
        while True:
            self._last_id = self._last_id % _MAX_ID + 1
            if self._last_id not in used:
                return self._last_id


def _sample(
    polyline: NDArray[np.float32], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give x at `rows`, drawn out straight beyond the ends, and weights that favour near rows and those in sight."""
    y, x = polyline[:, 1].astype(np.float64), polyline[:, 0].astype(np.float64)
    sampled = np.interp(rows, y, x)
    reach = max(1, len(y) // 4)
    if len(y) > 1:
        above, below = rows < y[0], rows > y[-1]
        sampled[above] += (x[reach] - x[0]) / (y[reach] - y[0]) * (rows[above] - y[0])
        sampled[below] += (x[-1] - x[-1 - reach]) / (y[-1] - y[-1 - reach]) * (rows[below] - y[-1])
    near = (rows / rows[-1]) ** 2
    return sampled, np.where((rows >= y[0]) & (rows <= y[-1]), near, _BEYOND * near)


def _distance(
    a: NDArray[np.float64],
    a_weight: NDArray[np.float64],
    b: NDArray[np.float64],
    b_weight: NDArray[np.float64],
    rows: NDArray[np.float64],
) -> float:
    slope = 0.5 * np.gradient(a + b, rows)
    weight = a_weight * b_weight
    return float((weight * np.abs(a - b) / np.sqrt(1 + slope * slope)).sum() / weight.sum())
