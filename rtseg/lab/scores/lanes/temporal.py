"""How steady lanes are through time, judged without truth."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.ops.assignment import assign
from rtseg.results import Lanes

_ROWS = 24
_MEMORY = 5  # frames that a lane may be missing before its return counts as another lane
_NEAR = 0.03  # of the image's width: how far apart two lanes in neighboring frames may be and still be the same


@dataclass(frozen=True)
class TemporalScore:
    """Estimates over a run.

    Attributes:
        frames: frames looked at.
        lanes: lanes seen in all of them together.
        id_switches: times a line went on at its place under another id.
        flicker_frames: frames in which a line was missing that was there before and after (up to 5 frames).
        jitter: median over lanes and frames of how far, in pixels, a line lies from the middle of its places in the
            frames before and after; steady motion does not count.
        carried: how many of the lanes were not seen in their frame but carried on from those before.
    """

    frames: int
    lanes: int
    id_switches: int
    flicker_frames: int
    jitter: float
    carried: int = 0

    @property
    def flicker(self) -> float:
        """Share of frames that flicker."""
        return self.flicker_frames / self.frames if self.frames else 0.0


@dataclass(frozen=True)
class FrameSteadiness:
    """What one frame adds to the estimates; sums over frames, and the median of all residuals, are the run's.

    Attributes:
        lanes: seen in it, as in :class:`TemporalScore`.
        switches: lines that went on under another id.
        flickers: earlier frames of which this one shows that a line was missing there.
        residuals: pixels, one for each lane, how far it lay from the middle of its places before and after.
        carried: lanes that were not seen but carried on.
    """

    lanes: int
    switches: int
    flickers: int
    residuals: tuple[float, ...]
    carried: int


def carried_lanes(lanes: Lanes) -> int:
    """How many lanes have no pixel in the mask: the tracker carried them on, for they were not seen."""
    pixels = lanes.mask.tobytes()  # searched at the speed of memory; a histogram takes milliseconds
    return sum(bytes((identity,)) not in pixels for identity in lanes.ids.tolist())


class TemporalLog:
    """Collects lanes frame by frame."""

    def __init__(self) -> None:
        self._frames = 0
        self._lanes = 0
        self._switches = 0
        self._carried = 0
        self._flickers: set[int] = set()
        self._jitter: list[float] = []
        # id -> (frame, x at the rows) of where each lane was last seen
        self._last: dict[int, tuple[int, NDArray[np.float64]]] = {}
        self._recent: deque[dict[int, NDArray[np.float64]]] = deque(maxlen=2)

    def reset(self) -> None:
        """Forget where lanes were, as when the recording jumps; counts stay."""
        self._last.clear()
        self._recent.clear()

    def update(self, lanes: Lanes) -> FrameSteadiness:
        """Add one frame."""
        switches, flickers, residuals = self._switches, len(self._flickers), len(self._jitter)
        height, width = lanes.mask.shape
        now = self._frames
        sampled = lanes.sample(np.linspace(0.5 * height, height - 1, _ROWS))
        current = {int(i): x for i, x in zip(lanes.ids, sampled, strict=True) if np.isfinite(x).any()}
        remembered = {i: x for i, (seen, x) in self._last.items() if now - seen <= _MEMORY}
        for identity in current.keys() & remembered.keys():
            missing = range(self._last[identity][0] + 1, now)
            self._flickers.update(missing)
        self._count_switches(current, remembered, _NEAR * width)
        if len(self._recent) == 2:
            before, middle = self._recent
            for identity in before.keys() & middle.keys() & current.keys():
                residual = _apart(middle[identity], (before[identity] + current[identity]) / 2)
                if residual < np.inf:
                    self._jitter.append(residual)
        self._last.update({identity: (now, x) for identity, x in current.items()})
        self._recent.append(current)
        self._frames += 1
        self._lanes += len(current)
        carried = carried_lanes(lanes)
        self._carried += carried
        return FrameSteadiness(
            len(current),
            self._switches - switches,
            len(self._flickers) - flickers,
            tuple(self._jitter[residuals:]),
            carried,
        )

    def score(self) -> TemporalScore:
        """The estimates so far."""
        jitter = float(np.median(self._jitter)) if self._jitter else 0.0
        return TemporalScore(self._frames, self._lanes, self._switches, len(self._flickers), jitter, self._carried)

    def _count_switches(
        self, current: dict[int, NDArray[np.float64]], remembered: dict[int, NDArray[np.float64]], near: float
    ) -> None:
        # Lanes that kept their id explain each other; what is left over may be one line under two ids.
        new = [i for i in current if i not in remembered]
        gone = [i for i in remembered if i not in current]
        distances = np.full((len(new), len(gone)), np.inf)
        for r, i in enumerate(new):
            for c, j in enumerate(gone):
                distances[r, c] = _apart(current[i], remembered[j])
        for c in assign(distances, near):
            if c >= 0:
                self._switches += 1
                del self._last[gone[c]]
        # Two lines that exchanged their ids are both in both frames.
        moved = [i for i in current if i in remembered and near < _apart(current[i], remembered[i]) < np.inf]
        for a in moved:
            for b in moved:
                if a < b and max(_apart(current[a], remembered[b]), _apart(current[b], remembered[a])) < near:
                    self._switches += 2


def _apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean distance of two lines over the rows that both reach; infinite where there is none."""
    distance = np.abs(a - b)
    seen = distance == distance  # not NaN; np.nanmean takes ten times as long
    count = int(np.count_nonzero(seen))
    return float(np.where(seen, distance, 0.0).sum()) / count if count else np.inf
