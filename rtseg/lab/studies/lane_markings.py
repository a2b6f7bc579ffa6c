"""Solid or dashed: how often a lane model tells, and is right, on labelled pictures and on rendered drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.optimize import minimize

from rtseg.frame import Frame
from rtseg.lab.data.cityscapes import read_picture
from rtseg.lab.data.tusimple import LabelledImage
from rtseg.lab.render import Drive
from rtseg.lab.scores.lanes.culane import match_lanes
from rtseg.lab.scores.lanes.evaluate import LanePipeline
from rtseg.lanes.paint import paint_of
from rtseg.results import Lanes

SOLID, DASHED = "solid", "dashed"
_DRAWN = {SOLID: SOLID, "double": SOLID, DASHED: DASHED, "dots": DASHED}  # what the renderer calls them


@dataclass(frozen=True)
class MarkingScore:
    """What was said of lines that were found and of which it is known whether they are solid.

    Attributes:
        solid: (n,) bool, the truth.
        told: (n,) of :attr:`rtseg.results.Lanes.markings`.
        paint: (n,) float32 of :func:`rtseg.lanes.paint.paint_of`, of single pictures; else empty.
    """

    solid: NDArray[np.bool_]
    told: NDArray[np.str_]
    paint: NDArray[np.float32]

    def right(self, solid: bool) -> tuple[float, float]:
        """Of the lines that are (not) solid the share that was told, and of these that which was told right."""
        told = self.told[self.solid == solid]
        if not len(told):
            return np.nan, np.nan
        sure = told != ""
        right = told == (SOLID if solid else DASHED)
        return float(sure.mean()), float(right[sure].mean()) if sure.any() else np.nan


def score_pictures(
    pipeline: LanePipeline, labels: Sequence[LabelledImage], progress: Callable[[str], None] = lambda name: None
) -> dict[str, MarkingScore]:
    """Score single pictures whose labels say which line is solid and which dashed, by their groups."""
    scores: dict[str, list[tuple[bool, str, float]]] = {}
    for label in labels:
        progress(label.name)
        kinds = [kind for kind, lane in zip(label.kinds, label.lanes, strict=True) if (lane >= 0).sum() >= 2]
        if not {SOLID, DASHED} & set(kinds):
            continue
        image = read_picture(label.image)
        lanes = pipeline(Frame(image))
        paint = paint_of(image, lanes.polylines)
        for i, kind in _matched(lanes, label.polylines(), kinds):
            if kind in (SOLID, DASHED):
                scores.setdefault(label.group, []).append((kind == SOLID, lanes.markings[i], paint[i]))
    return {group: _score(rows) for group, rows in sorted(scores.items())}


def score_markings(
    pipeline: LanePipeline,
    drives: Iterator[tuple[str, Drive]],
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, MarkingScore]:
    """Run a lane pipeline over drives, each from its beginning; scores by condition."""
    scores: dict[str, list[tuple[bool, str, float]]] = {}
    for name, drive in drives:
        progress(name)
        pipeline.reset()
        kinds = [_DRAWN.get(line.kind, "") for line in drive.style.lines]
        for road in drive:
            lanes = pipeline(Frame(road.image, road.stamp))
            for i, kind in _matched(lanes, road.lanes, [kinds[identity - 1] for identity in road.ids]):
                if kind:
                    scores.setdefault(name, []).append((kind == SOLID, lanes.markings[i], np.nan))
    return {name: _score(rows) for name, rows in scores.items()}


def fitted_curve(scores: Mapping[str, MarkingScore]) -> tuple[float, float]:
    """The steepness of the logistic curve of paint and the paint at which both are as probable.

    Every group counts the same, and in it solid lines as much as dashed ones.
    """
    paint = np.concatenate([score.paint for score in scores.values()])
    solid = np.concatenate([score.solid for score in scores.values()])
    weight = np.concatenate(
        [np.where(s.solid, 1 / max(s.solid.sum(), 1), 1 / max((~s.solid).sum(), 1)) for s in scores.values()]
    )
    known = np.isfinite(paint)
    paint, sign, weight = paint[known], np.where(solid[known], 1, -1), weight[known]
    found = minimize(
        lambda curve: np.sum(weight * np.logaddexp(0, -sign * curve[0] * (paint - curve[1]))),
        (15.0, 0.2),
        method="Nelder-Mead",
    )
    return float(found.x[0]), float(found.x[1])


def table(scores: Mapping[str, MarkingScore]) -> Table:
    """The scores for the terminal."""
    shown = Table("lines of", "solid", "told %", "right %", "dashed", "told %", "right %")
    for name, score in scores.items():
        cells = [name]
        for solid in (True, False):
            told, right = score.right(solid)
            cells += [str(int((score.solid == solid).sum())), *(_percent(share) for share in (told, right))]
        shown.add_row(*cells)
    return shown


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if np.isfinite(share) else ""


def _matched(lanes: Lanes, truth: Sequence[NDArray[np.float32]], kinds: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(index of a found line, kind of the true line it is)."""
    for i, j in enumerate(match_lanes(lanes.polylines, truth, lanes.mask.shape)):
        if j >= 0:
            yield i, kinds[j]


def _score(rows: list[tuple[bool, str, float]]) -> MarkingScore:
    solid, told, paint = zip(*rows, strict=True)
    return MarkingScore(np.array(solid), np.array(told, np.str_), np.array(paint, np.float32))
