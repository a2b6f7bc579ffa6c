"""Lanes through time against the truth of rendered drives: ids, flicker, jitter, lines missed and made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame
from rtseg.lab.render import Drive, RenderedRoad
from rtseg.lab.scores.lanes.culane import match_lanes
from rtseg.lab.scores.lanes.evaluate import LanePipeline
from rtseg.lab.scores.lanes.temporal import carried_lanes
from rtseg.results import Lanes

FIRST_SEED = 950_000  # away from the seeds that training draws
_ROWS = 24
_MEMORY = 5  # frames that a line may be lost before its return is no flicker

CONDITIONS: dict[str, dict[str, object]] = {
    "day": {"lighting": "sun", "weather": "clear", "visibility": 5000.0},
    "overcast": {"lighting": "overcast", "weather": "clear", "visibility": 5000.0},
    "dusk": {"lighting": "dusk", "weather": "clear", "visibility": 5000.0},
    "night": {"lighting": "night", "weather": "clear", "visibility": 5000.0},
    "rain": {"lighting": "overcast", "weather": "rain", "visibility": 1500.0},
    "fog": {"lighting": "overcast", "weather": "fog", "visibility": 120.0},
}
"""What each drive is rendered in, the road being the same."""


@dataclass(frozen=True)
class DriveScore:
    """Counts over drives; sums of several are their scores together.

    Attributes:
        frames: frames.
        true: lines in sight, over all frames.
        found: of those the ones found (CULane's rule).
        wrong: lanes given that match no line.
        wrong_frames: frames with such a lane.
        switches: times a line in sight went on under another id.
        flickers: frames in which a line in sight was lost that was found before and up to 5 frames later.
        jitter: sum over `jitters` of how far, in pixels, a lane moved against its line from one frame to the next.
        jitters: how many such steps.
        carried: lanes given that have no pixel in the mask: they were not seen but carried on.
    """

    frames: int = 0
    true: int = 0
    found: int = 0
    wrong: int = 0
    wrong_frames: int = 0
    switches: int = 0
    flickers: int = 0
    jitter: float = 0.0
    jitters: int = 0
    carried: int = 0

    def __add__(self, other: DriveScore) -> DriveScore:
        return DriveScore(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def recall(self) -> float:
        """Share of the lines in sight that were found."""
        return self.found / self.true if self.true else 0.0

    @property
    def mean_jitter(self) -> float:
        """Pixels from one frame to the next."""
        return self.jitter / self.jitters if self.jitters else 0.0


class DriveLog:
    """Collects the lanes found in one drive, frame by frame."""

    def __init__(self) -> None:
        self.score = DriveScore()
        self._flickered: set[int] = set()
        self._ids: dict[int, int] = {}  # true line -> id it was last found under
        self._seen: dict[int, int] = {}  # true line -> frame in which it was last found
        self._error: dict[int, NDArray[np.float64]] = {}  # true line -> offsets by row in the frame before

    def update(self, lanes: Lanes, road: RenderedRoad) -> None:
        """Add one frame."""
        now, (height, width) = self.score.frames, lanes.mask.shape
        matches = match_lanes(lanes.polylines, road.lanes, (height, width))
        visible = {identity for identity, line in zip(road.ids, road.lanes, strict=True) if len(line) >= 2}
        found = {road.ids[j]: i for i, j in enumerate(matches) if j >= 0}
        switches, steps = 0, []
        errors = {line: self._offsets(lanes, i, road, line, height) for line, i in found.items()}
        for line, i in found.items():
            identity = int(lanes.ids[i])
            switches += self._ids.get(line, identity) != identity
            lost = now - self._seen.get(line, now) - 1
            if 0 < lost <= _MEMORY:
                self._flickered.update(range(now - lost, now))
            if line in self._error:
                step = np.abs(errors[line] - self._error[line])
                if np.isfinite(step).any():
                    steps.append(float(np.nanmean(step)))
            self._ids[line], self._seen[line] = identity, now
        # A line that left the picture may come back as another.
        for line in self._ids.keys() - visible:
            del self._ids[line], self._seen[line]
        self._error = errors
        wrong = int((matches < 0).sum())
        self.score += DriveScore(
            1,
            len(visible),
            len(found),
            wrong,
            int(wrong > 0),
            int(switches),
            0,
            sum(steps),
            len(steps),
            carried_lanes(lanes),
        )
        self.score = replace(self.score, flickers=len(self._flickered))

    def _offsets(self, lanes: Lanes, i: int, road: RenderedRoad, line: int, height: int) -> NDArray[np.float64]:
        rows = np.linspace(0.5 * height, height - 1, _ROWS)
        found, true = lanes.polylines[i], road.lanes[road.ids.index(line)]
        at = [np.interp(rows, each[:, 1], each[:, 0], left=np.nan, right=np.nan) for each in (found, true)]
        return np.asarray(at[0] - at[1], dtype=np.float64)


def rendered_drives(
    seeds: Sequence[int], seconds: float = 6.0, fps: float = 10.0, size: tuple[int, int] = (360, 640)
) -> Iterator[tuple[str, Drive]]:
    """The same highways in every condition; the same arguments give the same drives."""
    for seed in seeds:
        plain = Drive(seed, seconds, fps, size)
        for name, changes in CONDITIONS.items():
            yield name, Drive(seed, seconds, fps, size, style=replace(plain.style, **changes))  # type: ignore[arg-type]


def road_name(drive: Drive) -> str:
    """A drive's road, by its seed and how its lines are painted, from left to right."""
    return f"{drive.seed}: {', '.join(line.kind for line in drive.style.lines)}"


def score_drives(
    pipeline: LanePipeline,
    drives: Iterator[tuple[str, Drive]],
    progress: Callable[[str], None] = lambda name: None,
) -> dict[tuple[str, str], DriveScore]:
    """Run `pipeline` over drives, each from its beginning.

    Args:
        pipeline: a loaded lane model.
        drives: (condition, drive).
        progress: is told the condition of every drive before it begins.

    Returns:
        Scores by condition and road, in the order of the drives.
    """
    scores: dict[tuple[str, str], DriveScore] = {}
    for name, drive in drives:
        progress(name)
        pipeline.reset()
        log = DriveLog()
        for road in drive:
            log.update(pipeline(Frame(road.image, road.stamp)), road)
        scores[name, road_name(drive)] = log.score
    return scores


def added_up(scores: Mapping[tuple[str, str], DriveScore], part: Literal[0, 1]) -> dict[str, DriveScore]:
    """Add up what `score_drives` gave by condition (part 0) or by road (part 1)."""
    totals: dict[str, DriveScore] = {}
    for names, score in scores.items():
        totals[names[part]] = totals.get(names[part], DriveScore()) + score
    return totals
