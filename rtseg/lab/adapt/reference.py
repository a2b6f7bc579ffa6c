"""What should be found in a frame that nobody labelled: lines that two of three witnesses tell.

The witnesses are the model as it was, the adapted one, and the paint in the picture. A model tells a line by the
frames before and after, never by the frame itself: it is steady if most of both sides have it, and the frame's line is
where these say. So a line that one of the models loses in a frame is known to be there, one that it makes up in a frame
is not, and one that it makes up all the time, such as the foot of a wall, counts only where there is paint. Where the
paint leaves open whether one model's line is one, as worn dashes do, it counts neither for nor against a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.adapt.clips import SIDE
from rtseg.lanes import DetectedLanes, LaneTracker, LaneTrackerSettings
from rtseg.lanes.paint import painted_share
from rtseg.results import Lanes

Line = NDArray[np.float32]

ROWS = 72
_SHARE = 0.6  # of the frames of a side that must have a line, and of its frames that must reach a row
_STEADY = 0.006  # of the width: how far, on the mean, a steady line lies from moving evenly
_SAME = 0.012  # of the width: lines nearer on the mean are one
_PAINTED = 0.15  # of a line's rows from which on there surely is paint: dashes may leave three quarters bare
_BARE = 0.08  # below which there surely is none


@dataclass(frozen=True)
class Reference:
    """Lines that should be found in the middle of a clip.

    Attributes:
        lines: (k, 2) float32 (x, y) in pixels each, y increasing.
        open: lines that may be some or not: one model tells them, and the paint leaves it open.
        by_paint: how many of `lines` only one model tells, and the paint.
    """

    lines: tuple[Line, ...]
    open: tuple[Line, ...]
    by_paint: int


def steady_lines(found: Sequence[Lanes], stamps: Sequence[int], size: tuple[int, int]) -> list[Line]:
    """The lines of a clip's middle as the frames before and after have them.

    Args:
        found: lanes of every frame of a clip, each found by itself.
        stamps: of the frames, nanoseconds.
        size: (height, width).
    """
    height, width = size
    tracker = LaneTracker(LaneTrackerSettings(show=0.0, carry=0.0))
    rows = np.linspace(0, height - 1, ROWS)
    x: dict[int, NDArray[np.float64]] = {}
    for number, (lanes, stamp) in enumerate(zip(found, stamps, strict=True)):
        tracked = tracker.update(DetectedLanes(size, lanes.confidence, lanes.polylines), stamp)
        for identity, line in zip(tracked.ids.tolist(), tracked.polylines, strict=True):
            at = x.setdefault(identity, np.full((len(found), ROWS), np.nan))
            at[number] = np.interp(rows, line[:, 1], line[:, 0], left=np.nan, right=np.nan)
    when = (np.asarray(stamps, np.float64) - stamps[SIDE]) / 1e9
    lines = (_between(places, when, rows, width) for places in x.values())
    return [line for line in lines if line is not None]


def _between(x: NDArray[np.float64], when: NDArray[np.float64], rows: NDArray[np.float64], width: int) -> Line | None:
    """Where a line is at time 0 by its places x (frames, rows) before and after; None if it is not steady."""
    sides = np.r_[:SIDE, SIDE + 1 : len(x)]
    x, when = x[sides], when[sides]
    seen = np.isfinite(x)
    there = np.asarray(seen.any(axis=1))
    if min(there[:SIDE].sum(), there[SIDE:].sum()) < _SHARE * SIDE:
        return None
    kept = np.flatnonzero(
        (seen.sum(axis=0) >= _SHARE * there.sum()) & seen[:SIDE].any(axis=0) & seen[SIDE:].any(axis=0)
    )
    if len(kept) < 3:
        return None
    x, seen = x[:, kept], seen[:, kept]
    # A straight line through time, row by row, by least squares.
    count, time = seen.sum(axis=0), np.where(seen, when[:, None], 0.0)
    value = np.where(seen, x, 0.0)
    mean_time, mean_x = time.sum(axis=0) / count, value.sum(axis=0) / count
    apart = np.where(seen, when[:, None] - mean_time, 0.0)
    slope = (apart * np.where(seen, x - mean_x, 0.0)).sum(axis=0) / np.maximum((apart**2).sum(axis=0), 1e-9)
    left = np.abs(x - mean_x - slope * apart)[seen]
    if float(left.mean()) > _STEADY * width:
        return None
    middle = mean_x - slope * mean_time
    inside = np.flatnonzero((middle >= 0) & (middle <= width - 1))
    if len(inside) < 3:
        return None
    return np.stack([middle[inside], rows[kept][inside]], axis=1).astype(np.float32)


def reference(images: Sequence[NDArray[np.uint8]], before: Sequence[Line], after: Sequence[Line]) -> Reference:
    """What two of three witnesses tell.

    Args:
        images: (H, W, 3) uint8 BGR, some of the clip: where one shows the gap of a dashed line, others show paint.
        before: steady lines of the model as it was.
        after: those of the adapted one.
    """
    width = images[0].shape[1]
    both: list[Line] = []
    alone = list(after)
    for line in before:
        distances = [apart(line, other) for other in alone]
        if min(distances, default=np.inf) <= _SAME * width:
            both.append(_mean(line, alone.pop(int(np.argmin(distances)))))
        else:
            alone.append(line)
    shares = [np.nan_to_num(painted_share(image, [*alone, *both])[: len(alone)]) for image in images]
    painted = list(zip(alone, np.mean(shares, axis=0).tolist(), strict=True))
    told = [line for line, share in painted if share >= _PAINTED]
    left_open = [line for line, share in painted if _BARE <= share < _PAINTED]
    return Reference((*both, *told), tuple(left_open), len(told))


def apart(a: Line, b: Line) -> float:
    """Mean distance in pixels across two lines over the rows that both have; infinite where these are few."""
    top, bottom = max(a[0, 1], b[0, 1]), min(a[-1, 1], b[-1, 1])
    shorter = min(a[-1, 1] - a[0, 1], b[-1, 1] - b[0, 1])
    if bottom - top < 0.5 * shorter or bottom <= top:
        return float("inf")
    rows = np.linspace(top, bottom, 24)
    ours, theirs = (np.interp(rows, line[:, 1], line[:, 0]) for line in (a, b))
    slope = np.gradient((ours + theirs) / 2, rows)
    return float((np.abs(ours - theirs) / np.sqrt(1 + slope * slope)).mean())


def _mean(a: Line, b: Line) -> Line:
    """The mean where both are, and what the longer one has beyond."""
    rows = np.unique(np.concatenate([a[:, 1], b[:, 1]]))
    x = np.array([np.interp(rows, line[:, 1], line[:, 0], left=np.nan, right=np.nan) for line in (a, b)])
    return np.stack([np.nanmean(x, axis=0), rows], axis=1).astype(np.float32)
