"""How steady objects are through time, judged without truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.scores.instances.boxes import box_overlaps
from rtseg.ops.assignment import assign
from rtseg.results import Instances

_MEMORY = 5  # frames that an object may be missing before its return counts as another object
_SAME = 0.5  # intersection over union from which two boxes of frames near each other are of one object


@dataclass(frozen=True)
class ObjectSteadiness:
    """What one frame adds to the estimates; sums over frames are the run's.

    Attributes:
        switches: objects that went on at their place under another id, whatever their class.
        flickers: earlier frames of which this one shows that an object was missing there (up to 5 frames).
    """

    switches: int
    flickers: int


class ObjectLog:
    """Follows objects frame by frame, by their ids and boxes."""

    def __init__(self) -> None:
        self._frames = 0
        self._flickers: set[int] = set()
        # id -> (frame, box) of where each object was last seen
        self._last: dict[int, tuple[int, NDArray[np.float32]]] = {}

    def reset(self) -> None:
        """Forget where objects were, as when the recording jumps."""
        self._last.clear()

    def update(self, found: Instances) -> ObjectSteadiness:
        """Add one frame."""
        now = self._frames
        current = dict(zip(found.ids.tolist(), found.boxes, strict=True))
        self._last = {i: (seen, box) for i, (seen, box) in self._last.items() if now - seen <= _MEMORY}
        self._flickers = {frame for frame in self._flickers if now - frame <= _MEMORY}
        known = len(self._flickers)
        kept = [i for i in current if i in self._last]
        for identity in kept:
            self._flickers.update(range(self._last[identity][0] + 1, now))
        switches = self._count_switches(current, kept)
        self._last.update({identity: (now, box) for identity, box in current.items()})
        self._frames += 1
        return ObjectSteadiness(switches, len(self._flickers) - known)

    def _count_switches(self, current: dict[int, NDArray[np.float32]], kept: list[int]) -> int:
        # Objects that kept their id explain each other; what is left over may be one object under two ids.
        new = [i for i in current if i not in self._last]
        gone = [i for i in self._last if i not in current]
        overlaps = box_overlaps([current[i] for i in new], [self._last[i][1] for i in gone])
        pairs = [column for column in assign(1 - overlaps, 1 - _SAME).tolist() if column >= 0]
        for column in pairs:
            del self._last[gone[column]]
        # Two objects that exchanged their ids are both in both frames.
        cross = box_overlaps([current[i] for i in kept], [self._last[i][1] for i in kept])
        exchanged = (cross >= _SAME) & (cross.T >= _SAME) & (np.diagonal(cross) < _SAME)[:, None]
        return len(pairs) + int(np.count_nonzero(exchanged & exchanged.T))
