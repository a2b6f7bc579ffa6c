"""Ids that stay with an object from frame to frame."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.errors import ArgumentError
from rtseg.instances.masks import choose_masks, mask_runs
from rtseg.instances.track_table import (
    AGE,
    ANCHOR,
    BOX,
    CLASS_DOUBT,
    ID,
    UNSEEN,
    VOTES,
    advance,
    compare,
    pair_alone,
    take,
)
from rtseg.ops.assignment import assign
from rtseg.settings import Probability, Settings

MAX_ID = 65_535
"""Ids fit a 16-bit mask."""

_MAX_TRACKS = 2048
_GRID = 320  # masks are compared on a grid of at most so many points a side
_UNSTAMPED = 1 / 30  # seconds that pass between frames whose stamps do not say
_LIMIT = 1.0 + CLASS_DOUBT  # no pair costs more
_LEAST_VOTE = 0.05


class InstanceTrackerSettings(Settings):
    """When an object in this frame is an object of earlier frames.

    Attributes:
        min_overlap: least overlap (intersection over union, what others cover left out) of the earlier mask, moved to
            where it is expected, with the present one; below,
        gate: the boxes' centers must lie this near, in multiples of the square root of the larger box, the boxes be of
            like size, and the class agree;
        drift: and how much further for every second that the whole object was not seen.
        memory: seconds for which an object that is not seen keeps its id.
        reset_after: seconds without a frame after which all objects are forgotten.
    """

    min_overlap: Probability = 0.1
    gate: Annotated[float, Field(ge=0, le=10)] = 0.75
    drift: Annotated[float, Field(ge=0, le=100)] = 1.5
    memory: Annotated[float, Field(ge=0, le=60)] = 0.4
    reset_after: Annotated[float, Field(ge=0, le=3600)] = 2.0


_NO_MASKS = np.zeros(1, np.int32), np.zeros((0, 3), np.int32)


class InstanceTracker:
    """Gives the instances of successive frames of one camera ids that last, and steadies their classes.

    Every object is remembered with its mask, its box, and a constant velocity of each side of the box, so that it may
    come nearer as well as pass. In the next frame the mask is moved and stretched into the box that is expected and
    laid over the new label image. What other objects cover of it, or what lies outside the image, speaks neither for
    nor against a pair; overlap of the rest, distance and class make the cost, and the best one-to-one assignment is
    taken. While others cover an object in part its whole box and mask go with the side that shows, and once it is
    hidden with the last good velocity, so that it is found again on the other side.

    Args:
        classes: number of classes.
        settings: see :class:`InstanceTrackerSettings`.
    """

    def __init__(self, classes: int, settings: InstanceTrackerSettings | None = None) -> None:
        self._classes = classes
        self._settings = settings or InstanceTrackerSettings()
        self.reset()

    def reset(self) -> None:
        """Forget all objects; ids start at 1 again."""
        self._last_id = 0
        self._last_stamp: int | None = None
        self._size: tuple[int, ...] = ()
        self._forget()

    def _forget(self) -> None:
        self._tracks = np.zeros((0, VOTES + self._classes))
        self._masks = _NO_MASKS

    def update(
        self,
        labels: NDArray[np.int32],
        boxes: NDArray[np.number],
        class_ids: NDArray[np.int32],
        scores: NDArray[np.floating],
        stamp_ns: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Give each instance of this frame its id and its class as voted over the frames seen.

        A stamp that jumps back, as when a bag starts over, or an image of another size resets the tracker; after a
        long gap objects are forgotten but ids go on.

        Args:
            labels: (H, W) int32, 0 = nothing, else 1..n.
            boxes: (n, 4) (x0, y0, x1, y1) in pixels, x1 and y1 exclusive.
            class_ids: (n,) 0..classes - 1.
            scores: (n,) in [0, 1], the weights of the votes.
            stamp_ns: nanoseconds; frames with equal stamps count as taken at 30 Hz.

        Returns:
            (n,) int32 ids, 1..65535, unlike each other; a freed id is not used again before the others were. And (n,)
            int32 classes.

        Raises:
            ArgumentError: if there are more instances than ids.
        """
        count = len(boxes)
        if count > MAX_ID:
            raise ArgumentError(f"expected at most {MAX_ID} instances, got {count}: drop the small ones")
        present = np.ascontiguousarray(boxes, dtype=np.float64)
        kinds = np.ascontiguousarray(class_ids, dtype=np.int64)
        weights = np.maximum(scores, _LEAST_VOTE).astype(np.float64)
        self._advance(labels.shape, stamp_ns)
        step = max(1, -(-max(labels.shape) // _GRID))
        image = np.ascontiguousarray(labels, dtype=np.int32).view()
        image.setflags(write=False)  # Numba compiles a kernel for each of the two kinds
        grid, starts, runs, sizes = mask_runs(image, step, count)
        chosen = self._settings
        limits = chosen.min_overlap, chosen.gate, chosen.drift
        cost, shared, scales = compare(self._tracks, *self._masks, grid, step, sizes, present, kinds, *limits)
        ids, classes, source = take(
            self._tracks, _pairs(cost), shared, scales, sizes, present, kinds, weights, chosen.memory, self._size
        )
        fresh = np.flatnonzero(ids == 0)
        self._masks = choose_masks(*self._masks, starts, runs, np.concatenate([source, fresh]))
        if len(fresh):
            ids[fresh] = self._add(present[fresh], kinds[fresh], weights[fresh])
        return ids, classes

    def _advance(self, size: tuple[int, ...], stamp_ns: int) -> None:
        """Move the tracks to the time of this frame, forgetting what has been gone for too long."""
        last = stamp_ns if self._last_stamp is None else self._last_stamp
        if stamp_ns < last or self._size not in ((), size):
            self.reset()
            last = stamp_ns
        elapsed = (stamp_ns - last) / 1e9 or _UNSTAMPED
        self._last_stamp, self._size = stamp_ns, size
        if elapsed > self._settings.reset_after:
            self._forget()
        keep = advance(self._tracks, elapsed, self._settings.memory, *size)
        kept = np.flatnonzero(keep)
        if len(kept) > _MAX_TRACKS:  # only garbage gets here: give up those not seen for longest
            kept = np.sort(kept[np.argsort(self._tracks[kept, UNSEEN], kind="stable")[:_MAX_TRACKS]])
        if len(kept) < len(keep):
            self._tracks, self._masks = self._tracks[kept], choose_masks(*self._masks, *_NO_MASKS, -1 - kept)

    def _add(
        self, boxes: NDArray[np.float64], class_ids: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """Begin a track for each of these; give their ids."""
        ids = self._free_ids(len(boxes))
        rows = np.zeros((len(boxes), self._tracks.shape[1]))
        rows[:, BOX : BOX + 4] = rows[:, ANCHOR : ANCHOR + 4] = boxes
        rows[:, AGE], rows[:, ID] = 1, ids
        rows[np.arange(len(boxes)), VOTES + class_ids] = weights
        self._tracks = np.concatenate([self._tracks, rows])
        return ids

    def _free_ids(self, count: int) -> NDArray[np.int32]:
        used = set(self._tracks[:, ID].tolist())
        ids = np.zeros(count, np.int32)
        for i in range(count):
            self._last_id = self._last_id % MAX_ID + 1
            while self._last_id in used:
                self._last_id = self._last_id % MAX_ID + 1
            used.add(self._last_id)
            ids[i] = self._last_id
        return ids


def _pairs(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The label of each track, -1 where it has none, so that as little as possible is paid."""
    pairs, rows, columns = pair_alone(cost)
    if rows.any() and columns.any():
        open_rows, open_columns = np.flatnonzero(rows), np.flatnonzero(columns)
        chosen = assign(cost[np.ix_(open_rows, open_columns)], _LIMIT)
        paired = chosen >= 0
        pairs[open_rows[paired]] = open_columns[chosen[paired]]
    return pairs  # type: ignore[no-any-return]
