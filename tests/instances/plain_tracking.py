"""The tracker of instances in plain NumPy, with which the compiled one is compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.instances import InstanceTrackerSettings
from rtseg.instances.track_table import CLASS_DOUBT
from rtseg.instances.tracking import MAX_ID
from rtseg.ops.assignment import assign

_GRID = 320
_UNSTAMPED = 1 / 30
_COVERED, _WHOLE, _HIDDEN, _LIKE_SIZE, _STRETCH, _GAIN, _VOTE_DECAY = 0.05, 0.9, 0.5, 3.0, 2.0, 0.35, 0.9
_OVERLAP = 0.8


class PlainTracker:
    def __init__(self, classes: int, settings: InstanceTrackerSettings | None = None, most: int = 2048) -> None:
        self._classes, self._most = classes, most
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
        self._masks: list[np.ndarray] = []

    def update(
        self,
        labels: NDArray[np.int32],
        boxes: NDArray[np.number],
        class_ids: NDArray[np.int32],
        scores: NDArray[np.floating],
        stamp_ns: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        count = len(boxes)
        seen = np.asarray(boxes, dtype=np.float64)
        self._advance(labels.shape, stamp_ns)
        step = max(1, -(-max(labels.shape) // _GRID))
        # The middle of each step, or of a side shorter than one.
        first = [min(step, side) // 2 for side in labels.shape]
        grid = np.ascontiguousarray(labels[first[0] :: step, first[1] :: step])
        found = [np.argwhere(grid == label + 1) for label in range(count)]
        sizes = np.array([len(mask) for mask in found], np.int64)
        scales, counts = self._overlaps(step, grid, count)
        shared, background, others = counts[:, 1:] * scales[:, None], counts[:, 0] * scales, counts[:, 1:].sum(axis=1)
        tracks, instances = self._match(shared, background, others * scales, sizes, seen, class_ids)

        self._unseen[tracks] = 0.0
        self._votes[tracks] *= _VOTE_DECAY
        self._votes[tracks, class_ids[instances]] += np.maximum(scores[instances], 0.05)
        by_others = (others[tracks] - counts[tracks, instances + 1]) * scales[tracks]
        expected = by_others + shared[tracks, instances] + background[tracks]
        covered = (by_others > _COVERED * expected) & (sizes[instances] < _WHOLE * expected)
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
        self._masks = [found[i] if i >= 0 else self._masks[-1 - i] for i in [*source, *fresh]]
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
        if len(kept) > self._most:  # only garbage gets here: give up those not seen for longest
            kept = np.sort(kept[np.argsort(self._unseen[kept], kind="stable")[: self._most]])
        if len(kept) < len(self._ids):
            self._masks = [self._masks[i] for i in kept]
            for name in ("ids", "boxes", "anchors", "velocities", "unseen", "since", "ages", "votes"):
                setattr(self, f"_{name}", getattr(self, f"_{name}")[kept])

    def _overlaps(
        self, step: int, grid: NDArray[np.int32], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        before, after = self._anchors / step, self._boxes / step
        scales = (after[:, 2:] - after[:, :2]) / np.maximum(before[:, 2:] - before[:, :2], 1e-9)
        counts = np.zeros((len(self._masks), count + 1), np.int64)
        for i, mask in enumerate(self._masks):
            at = np.floor(after[i, :2] + (mask[:, ::-1] + 0.5 - before[i, :2]) * scales[i]).astype(int)
            at = at[((at >= 0) & (at < grid.shape[::-1])).all(axis=1)]
            counts[i] = np.bincount(grid[at[:, 1], at[:, 0]], minlength=count + 1)
        return scales.prod(axis=1), counts

    def _match(
        self,
        shared: NDArray[np.float64],
        background: NDArray[np.float64],
        others: NDArray[np.float64],
        sizes: NDArray[np.int64],
        boxes: NDArray[np.float64],
        class_ids: NDArray[np.int32],
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pair tracks with instances: indices of the tracks and of their instances."""
        settings = self._settings
        votes = self._votes.argmax(axis=1) if len(self._ids) else np.zeros(0, np.int64)
        reach = settings.gate + settings.drift * self._since
        cost = np.full(shared.shape, np.inf)
        for i, j in np.ndindex(cost.shape):
            expected, present = self._boxes[i], boxes[j]
            area, other = (np.prod(box[2:] - box[:2]) for box in (expected, present))
            hidden = others[i] > 0 and others[i] >= _HIDDEN * (others[i] + background[i])
            overlap = shared[i, j] / max(background[i] + max(float(sizes[j]), shared[i, j]), 1.0)
            radius = np.sqrt(max(area, min(other, _LIKE_SIZE * area))) * reach[i]
            dx, dy = 0.5 * (present[:2] + present[2:]) - 0.5 * (expected[:2] + expected[2:])
            apart = np.sqrt(dx * dx + dy * dy) / max(radius, 1e-9)
            like = other <= _LIKE_SIZE * area and (hidden or _LIKE_SIZE * other >= area)
            unlike = class_ids[j] != votes[i]
            if (overlap > 0 and overlap >= settings.min_overlap) or (apart <= 1 and like and not unlike):
                cost[i, j] = _OVERLAP * (1 - overlap) + (1 - _OVERLAP) * min(apart, 1.0) + CLASS_DOUBT * unlike
        allowed = np.isfinite(cost)
        # Most tracks and instances have only each other.
        rows, columns = allowed.sum(axis=1), allowed.sum(axis=0)
        alone = allowed & (rows == 1)[:, None] & (columns == 1)[None]
        tracks, instances = np.nonzero(alone)
        open_rows = np.flatnonzero((rows > 0) & ~alone.any(axis=1))
        open_columns = np.flatnonzero((columns > 0) & ~alone.any(axis=0))
        chosen = assign(cost[np.ix_(open_rows, open_columns)], 1 + CLASS_DOUBT)
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
