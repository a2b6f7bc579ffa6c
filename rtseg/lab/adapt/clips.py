"""Short clips out of a recording: a frame, and those of the half seconds before and after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rtseg.frame import Frame

STEP = 0.1  # seconds between the frames of a clip, or more where the camera is slower
SIDE = 5  # frames before and after the one in the middle
_LONGEST_STEP = 0.3  # seconds; farther apart frames do not tell what is between them


@dataclass(frozen=True)
class Clip:
    """Frames about `STEP` apart, `SIDE` of them before and after the one in the middle."""

    name: str
    frames: tuple[Frame, ...]

    @property
    def middle(self) -> Frame:
        """The frame that is judged."""
        return self.frames[SIDE]


def clips(frames: Iterable[Frame], name: str, apart: float) -> Iterator[Clip]:
    """Cut clips that share no frame, the middles of which lie `apart` seconds or more from each other."""
    around: deque[Frame] = deque(maxlen=2 * SIDE + 1)
    due = 0.0
    for frame in frames:
        if frame.stamp is None:
            continue
        now = frame.stamp / 1e9
        before = around[-1].stamp if around else None
        since = STEP if before is None else now - before / 1e9
        if since < 0 or since > _LONGEST_STEP:
            around.clear()
        elif since < 0.9 * STEP:
            continue
        around.append(frame)
        if len(around) == 2 * SIDE + 1 and now >= due:
            middle = around[SIDE].stamp or 0
            yield Clip(f"{name} at {middle / 1e9:.1f} s", tuple(around))
            around.clear()
            due = now + apart - (SIDE + 1) * STEP
