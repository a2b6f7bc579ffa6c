"""Ids that stay with an object from frame to frame."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.compiled import compiled
from rtseg.errors import ArgumentError
from rtseg.instances.masks import MaskStore
from rtseg.ops.assignment import assign
from rtseg.settings import Probability, Settings

MAX_ID = 65_535
"""Ids fit a 16-bit mask."""

_MAX_TRACKS = 2048
_GRID = 320  # masks are compared on a grid of at most so many points a side
_UNSTAMPED = 1 / 30  # seconds that pass between frames whose stamps do not say
_CLASS_DOUBT = 0.1
_LIMIT = 1.0 + _CLASS_DOUBT  # no pair costs more
_COVERED = 0.05  # an object of which others cover more than this share,
_WHOLE = 0.9  # and which shows less than this share of what is expected of it, is followed by one side only
_HIDDEN = 0.5  # and one of which they cover this much may show any small part of itself
_LIKE_SIZE = 4.0  # how much larger or smaller a box may be that does not overlap
_STRETCH = 2.0  # how much wider, or narrower, a mask is made on the way to its next frame
_GAIN = 0.5
_VOTE_DECAY = 0.9


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
    memory: Annotated[float, Field(ge=0, le=60)] = 0.7
    reset_after: Annotated[float, Field(ge=0, le=3600)] = 2.0


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
        # One row a track.
        self._ids = np.zeros(0, np.int32)
        self._boxes = np.zeros((0, 4))  # expected at the time of the frame, whole, pixels
        self._anchors = np.zeros((0, 4))  # when the mask was taken
        self._velocities = np.zeros((0, 4))  # of the sides, pixels a second
        self._unseen = np.zeros(0)  # seconds
        self._since = np.zeros(0)  # seconds since it was last measured
        self._ages = np.zeros(0, np.int64)  # times it was measured
        self._votes = np.zeros((0, self._classes))
        self._masks = MaskStore.empty()

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
        seen = np.asarray(boxes, dtype=np.float64)
        self._advance(labels.shape, stamp_ns)
        step = max(1, -(-max(labels.shape) // _GRID))
        # The middle of each step, or of a side shorter than one.
        first = [min(step, side) // 2 for side in labels.shape]
        grid = np.ascontiguousarray(labels[first[0] :: step, first[1] :: step])
        found = MaskStore.of(grid, count)
        shared, background = self._masks.overlaps(self._anchors / step, self._boxes / step, grid, count)
        tracks, instances = self._match(shared, background, found.sizes, seen, class_ids)

        self._unseen[tracks] = 0.0
        self._votes[tracks] *= _VOTE_DECAY
        self._votes[tracks, class_ids[instances]] += np.maximum(scores[instances], 0.05)
        by_others = shared[tracks].sum(axis=1) - shared[tracks, instances]
        expected = by_others + shared[tracks, instances] + background[tracks]
        covered = (by_others > _COVERED * expected) & (found.sizes[instances] < _WHOLE * expected)
        clear = ~covered | (self._since[tracks] > self._settings.memory)
        self._measure(tracks[clear], seen[instances[clear]], labels.shape)
        self._follow(tracks[~clear], seen[instances[~clear]])

        source = -1 - np.arange(len(self._ids))  # old mask i
        source[tracks[clear]] = instances[clear]
        ids, classes = np.zeros(count, np.int32), np.zeros(count, np.int32)
        ids[instances] = self._ids[tracks]
        classes[instances] = self._votes[tracks].argmax(axis=1)
        unpaired = np.ones(count, np.bool_)
        unpaired[instances] = False
        fresh = np.flatnonzero(unpaired)
        self._masks = self._masks.choose(found, np.concatenate([source, fresh]))
        self._add(seen[fresh], class_ids[fresh], scores[fresh])
        ids[fresh] = self._ids[len(self._ids) - len(fresh) :]
        classes[fresh] = class_ids[fresh]
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
        gone = self._unseen > 0
        self._unseen += elapsed
        self._since += elapsed
        self._boxes += self._velocities * elapsed
        for low, high in ((0, 2), (1, 3)):  # no side runs far from the other
            length = self._anchors[:, high] - self._anchors[:, low]
            middle = 0.5 * (self._boxes[:, low] + self._boxes[:, high])
            half = 0.5 * np.clip(self._boxes[:, high] - self._boxes[:, low], length / _STRETCH, length * _STRETCH)
            self._boxes[:, low], self._boxes[:, high] = middle - half, middle + half
        # A track that was seen in the frame before this one has been unseen for one frame, however long that took.
        keep = self._unseen <= max(self._settings.memory, 1.5 * elapsed)
        middles = 0.5 * (self._boxes[:, :2] + self._boxes[:, 2:])
        keep &= ~(gone & ((middles < 0) | (middles > (size[1], size[0]))).any(axis=1))
        kept = np.flatnonzero(keep)
        if len(kept) > _MAX_TRACKS:  # only garbage gets here: give up those not seen for longest
            kept = np.sort(kept[np.argsort(self._unseen[kept], kind="stable")[:_MAX_TRACKS]])
        if len(kept) < len(self._ids):
            self._masks = self._masks.choose(MaskStore.empty(), -1 - kept)
            for name in ("ids", "boxes", "anchors", "velocities", "unseen", "since", "ages", "votes"):
                setattr(self, f"_{name}", getattr(self, f"_{name}")[kept])

    def _match(
        self,
        shared: NDArray[np.float64],
        background: NDArray[np.float64],
        sizes: NDArray[np.int32],
        boxes: NDArray[np.float64],
        class_ids: NDArray[np.int32],
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pair tracks with instances: indices of the tracks and of their instances."""
        settings = self._settings
        votes = self._votes.argmax(axis=1) if len(self._ids) else np.zeros(0, np.int64)
        reach = settings.gate + settings.drift * self._since
        cost = np.empty(shared.shape)
        _costs(
            shared, background, sizes, self._boxes, boxes, votes, np.asarray(class_ids, np.int64), reach,
            settings.min_overlap, cost,
        )  # fmt: skip
        allowed = np.isfinite(cost)
        # Most tracks and instances have only each other.
        rows, columns = allowed.sum(axis=1), allowed.sum(axis=0)
        alone = allowed & (rows == 1)[:, None] & (columns == 1)[None]
        tracks, instances = np.nonzero(alone)
        open_rows = np.flatnonzero((rows > 0) & ~alone.any(axis=1))
        open_columns = np.flatnonzero((columns > 0) & ~alone.any(axis=0))
        chosen = assign(cost[np.ix_(open_rows, open_columns)], _LIMIT)
        paired = chosen >= 0
        return (
            np.concatenate([tracks, open_rows[paired]]),
            np.concatenate([instances, open_columns[chosen[paired]]]),
        )

    def _measure(self, tracks: NDArray[np.intp], boxes: NDArray[np.float64], size: tuple[int, ...]) -> None:
        """Take the boxes of objects that are seen whole, or cut off by the image's edge only."""
        change = boxes - self._boxes[tracks]
        # A side at the edge of the image tells nothing: it goes with the other one, and stays where both are.
        for low, high, end in ((0, 2, size[1]), (1, 3, size[0])):
            cut_low, cut_high = boxes[:, low] <= 0, boxes[:, high] >= end
            before = change[:, low].copy()
            change[cut_low, low] = np.where(cut_high, 0.0, change[:, high])[cut_low]
            change[cut_high, high] = np.where(cut_low, 0.0, before)[cut_high]
        gain = np.where(self._ages[tracks] == 1, 1.0, _GAIN) / self._since[tracks]
        self._velocities[tracks] += gain[:, None] * change
        self._boxes[tracks] += change
        # Never smaller than what is seen of it.
        self._boxes[tracks, :2] = np.minimum(self._boxes[tracks, :2], boxes[:, :2])
        self._boxes[tracks, 2:] = np.maximum(self._boxes[tracks, 2:], boxes[:, 2:])
        self._anchors[tracks] = self._boxes[tracks]
        self._since[tracks] = 0.0
        self._ages[tracks] += 1

    def _follow(self, tracks: NDArray[np.intp], boxes: NDArray[np.float64]) -> None:
        """Move whole boxes of objects that others cover in part with the side that is nearer to where it should be.

        The other one is where the cover begins.
        """
        change = boxes - self._boxes[tracks]
        for low, high in ((0, 2), (1, 3)):
            nearer = np.abs(change[:, low]) < np.abs(change[:, high])
            moved = np.where(nearer, change[:, low], change[:, high])
            self._boxes[tracks, low] += moved
            self._boxes[tracks, high] += moved

    def _add(self, boxes: NDArray[np.float64], class_ids: NDArray[np.int32], scores: NDArray[np.floating]) -> None:
        count = len(boxes)
        votes = np.zeros((count, self._classes))
        votes[np.arange(count), class_ids] = np.maximum(scores, 0.05)
        self._ids = np.concatenate([self._ids, self._free_ids(count)])
        self._boxes = np.concatenate([self._boxes, boxes])
        self._anchors = np.concatenate([self._anchors, boxes])
        self._velocities = np.concatenate([self._velocities, np.zeros((count, 4))])
        self._unseen = np.concatenate([self._unseen, np.zeros(count)])
        self._since = np.concatenate([self._since, np.zeros(count)])
        self._ages = np.concatenate([self._ages, np.ones(count, np.int64)])
        self._votes = np.concatenate([self._votes, votes])

    def _free_ids(self, count: int) -> NDArray[np.int32]:
        used = set(self._ids.tolist())
        ids = np.zeros(count, np.int32)
        for i in range(count):
            self._last_id = self._last_id % MAX_ID + 1
            while self._last_id in used:
                self._last_id = self._last_id % MAX_ID + 1
            used.add(self._last_id)
            ids[i] = self._last_id
        return ids


@compiled
def _costs(shared, background, sizes, expected, present, votes, kinds, reach, min_overlap, cost):  # type: ignore[no-untyped-def]
    """Write the cost of every pair, infinite where it is impossible; boxes `expected` (T, 4) and `present` (N, 4)."""
    for i in range(cost.shape[0]):
        area = (expected[i, 2] - expected[i, 0]) * (expected[i, 3] - expected[i, 1])
        x, y = 0.5 * (expected[i, 0] + expected[i, 2]), 0.5 * (expected[i, 1] + expected[i, 3])
        on_others = 0.0
        for j in range(cost.shape[1]):
            on_others += shared[i, j]
        hidden = on_others > 0 and on_others >= _HIDDEN * (on_others + background[i])
        for j in range(cost.shape[1]):
            # Of the union, what other objects cover is left out.
            overlap = shared[i, j] / max(background[i] + max(float(sizes[j]), shared[i, j]), 1.0)
            other = (present[j, 2] - present[j, 0]) * (present[j, 3] - present[j, 1])
            gate = np.sqrt(max(area, min(other, _LIKE_SIZE * area))) * reach[i]
            dx = 0.5 * (present[j, 0] + present[j, 2]) - x
            dy = 0.5 * (present[j, 1] + present[j, 3]) - y
            apart = np.sqrt(dx * dx + dy * dy) / max(gate, 1e-9)
            like = other <= _LIKE_SIZE * area and (hidden or _LIKE_SIZE * other >= area)
            unlike = kinds[j] != votes[i]
            if (overlap > 0 and overlap >= min_overlap) or (apart <= 1 and like and not unlike):
                cost[i, j] = 0.5 * (1 - overlap) + 0.5 * min(apart, 1.0) + _CLASS_DOUBT * unlike
            else:
                cost[i, j] = np.inf
