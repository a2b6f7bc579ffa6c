"""Two models on the same frames: those kept back of recordings, rendered roads, and labelled ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.counted import counted
from rtseg.frame import Frame
from rtseg.lab.adapt.clips import SIDE, Clip
from rtseg.lab.adapt.judgment import Comparison
from rtseg.lab.adapt.reference import Line, Reference, apart, reference, steady_lines
from rtseg.lab.report.report import Picture
from rtseg.lab.scores.lanes.culane import CulaneScore, count_matches, match_lanes
from rtseg.lab.scores.lanes.evaluate import LanePipeline
from rtseg.lab.scores.lanes.samples import LaneSample
from rtseg.media.overlay import draw_lanes
from rtseg.results import Lanes

_SHOWN = 9


@dataclass
class ClipComparison:
    """Two models on clips.

    Attributes:
        scores: of the frame in the middle of each clip.
        by_paint: lines that one model and the paint tell.
        placed: pixels, as shares of the width, by which lines lie beside where the frames around have them; by model.
        pictures: of clips that the models differ on, the most first: above as it was, below as it is.
    """

    scores: Comparison
    by_paint: int
    placed: tuple[list[float], list[float]]
    pictures: tuple[Picture, ...]


def compare_clips(before: LanePipeline, after: LanePipeline, clips: Iterable[Clip], name: str) -> ClipComparison:
    """Score two models on the middles of clips, by the lines that :mod:`rtseg.lab.adapt.reference` tells."""
    log = _Log()
    for clip in clips:
        log.add(clip, *(_alone(model, clip) for model in (before, after)))
    scores = Comparison(name, tuple(log.counts[0]), tuple(log.counts[1]))
    return ClipComparison(scores, log.by_paint, log.placed, tuple(picture for _, picture in log.shown))


def compare_samples(before: LanePipeline, after: LanePipeline, samples: Iterable[LaneSample], name: str) -> Comparison:
    """Score two models on pictures with truth, each picture by itself."""
    counts: tuple[list[CulaneScore], list[CulaneScore]] = ([], [])
    for sample in samples:
        for model, kept in zip((before, after), counts, strict=True):
            model.reset()
            kept.append(_counts(model(Frame(sample.image)).polylines, sample.truth, sample.image))
    return Comparison(name, tuple(counts[0]), tuple(counts[1]))


@dataclass
class _Log:
    counts: tuple[list[CulaneScore], list[CulaneScore]] = field(default_factory=lambda: ([], []))
    placed: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    by_paint: int = 0
    shown: list[tuple[int, Picture]] = field(default_factory=list)  # those that differ most, in that order

    def add(self, clip: Clip, before: list[Lanes], after: list[Lanes]) -> None:
        image = clip.middle.image
        stamps = [frame.stamp or 0 for frame in clip.frames]
        steady = [steady_lines(found, stamps, clip.middle.size) for found in (before, after)]
        known = reference([clip.frames[i].image for i in (0, SIDE, -1)], *steady)
        self.by_paint += known.by_paint
        scores = []
        for found, kept, placed in zip((before, after), self.counts, self.placed, strict=True):
            lines = found[SIDE].polylines
            scores.append(_counts(lines, known.lines, image, known.open))
            kept.append(scores[-1])
            placed += _distances(lines, known.lines, image.shape[1])
        wrong = [one.false_positives + one.false_negatives for one in scores]
        if wrong[0] != wrong[1]:
            told = counted(wrong[0], "line")
            caption = f"{clip.name}: {told} wrong or missed before (above), {wrong[1]} after; white: known"
            drawn = _draw(image, known, before[SIDE], after[SIDE])
            self.shown.append((abs(wrong[0] - wrong[1]), Picture.of(caption, drawn)))
            self.shown = sorted(self.shown, key=lambda entry: -entry[0])[:_SHOWN]


def _alone(model: LanePipeline, clip: Clip) -> list[Lanes]:
    """The lanes of every frame of a clip, each found as if it came alone: nothing is carried from one to the next."""
    model.reset()
    return [model(Frame(frame.image)) for frame in clip.frames]


def _counts(
    found: Sequence[Line], true: Sequence[Line], image: NDArray[np.uint8], left_open: Sequence[Line] = ()
) -> CulaneScore:
    """Count the lines of one picture; those found that match a line left open do not count."""
    matches = match_lanes(found, [*true, *left_open], (image.shape[0], image.shape[1]))
    counted = matches < len(true)
    kept = [line for line, counts in zip(found, counted.tolist(), strict=True) if counts]
    return count_matches(matches[counted], kept, true)


def _distances(found: Iterable[Line], true: Iterable[Line], width: int) -> list[float]:
    lines = [line for line in found if len(line) > 1]
    nearest = [min((apart(line, other) for other in lines), default=np.inf) for line in true]
    return [distance / width for distance in nearest if distance <= 0.02 * width]


def _draw(image: NDArray[np.uint8], known: Reference, before: Lanes, after: Lanes) -> NDArray[np.uint8]:
    rows = []
    for lanes in (before, after):
        picture = draw_lanes(image, lanes)
        for line in known.lines:
            points = np.rint(line * 8).astype(np.int32)[:, None]
            cv2.polylines(picture, [points], False, (255, 255, 255), max(1, len(picture) // 400), cv2.LINE_AA, 3)
        rows.append(picture)
    return np.concatenate(rows)
