"""How well the own lane is known, in metres, against the true lines of rendered drives.

Truth and lanes are seen by the same camera on the same flat ground, so that what differs is the lanes' doing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rtseg.frame import Frame
from rtseg.lab.render import Drive, RenderedRoad
from rtseg.lab.scores.lanes.evaluate import LanePipeline
from rtseg.lanes import EgoLane, GroundPlane, ego_lane

NEAR, AHEAD, FAR = 10.0, 20.0, 30.0
"""Metres at which the lane's middle is compared: near the vehicle, and ahead; and to which its curvature is."""

_SIDE = 8.0  # metres, where a line is left or right: about the nearest ground in sight


@dataclass(frozen=True)
class EgoScore:
    """Errors over drives.

    Attributes:
        frames: frames whose own lane has two lines in sight.
        known: of those the frames in which both boundaries were found.
        mistaken: of the frames known those whose lane is another, its middle more than half a lane off.
        near: (k,) metres by which the lane's middle is off at `NEAR`, of the frames known and not mistaken.
        ahead: (m,) the same at `AHEAD`, where the true lines reach it.
        width: (k,) metres by which the width at `NEAR` is off.
        heading: (k,) radians by which the heading is off.
        in_spreads: (k, 4) by how many of its own spreads each is off: the middle at `NEAR`, heading, curvature and
            width; NaN where the truth is not in sight.
    """

    frames: int
    known: int
    mistaken: int
    near: NDArray[np.float64]
    ahead: NDArray[np.float64]
    width: NDArray[np.float64]
    heading: NDArray[np.float64]
    in_spreads: NDArray[np.float64]

    def __add__(self, other: EgoScore) -> EgoScore:
        return EgoScore(
            self.frames + other.frames,
            self.known + other.known,
            self.mistaken + other.mistaken,
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in ("near", "ahead", "width", "heading", "in_spreads")
            ),
        )


def score_frame(found: EgoLane, road: RenderedRoad, plane: GroundPlane) -> EgoScore | None:
    """Compare with the true lines of one frame; None where the own lane has not two of them in sight."""
    truth = _true_lane(road, plane)
    if truth is None:
        return None
    left, right = truth
    none = np.empty(0)
    nothing = (none, none, none, none, np.empty((0, 4)))
    if not (found.left and found.right):
        return EgoScore(1, 0, 0, *nothing)

    def middle(ahead: float) -> float:
        return (left(ahead) + right(ahead)) / 2

    bounds = left(NEAR) - right(NEAR)
    off = found.center(NEAR) - middle(NEAR)
    if abs(off) > 0.5 * bounds:
        return EgoScore(1, 1, 1, *nothing)
    lane = found.boundaries(NEAR)
    far = found.center(AHEAD) - middle(AHEAD)
    # At the vehicle, not where the slope is measured: the bend in between is taken from the lane itself.
    slope = (middle(NEAR + 2) - middle(NEAR - 2)) / 4
    heading = found.heading + float(np.arctan(slope - found.curvature * NEAR))
    width = lane[0] - lane[1] - bounds
    bend = (middle(FAR) - 2 * middle(AHEAD) + middle(NEAR)) / (AHEAD - NEAR) ** 2
    _, *spreads = found.spreads
    # The spread of the heading holds that of the bend, so here the bend is the road's.
    errors = np.array([off, found.heading + np.arctan(slope - bend * NEAR), found.curvature - bend, width])
    return EgoScore(
        1,
        1,
        0,
        np.array([abs(off)]),
        np.array([abs(far)]) if np.isfinite(far) else none,
        np.array([abs(width)]),
        np.array([abs(heading)]),
        np.abs(errors / [found.center_spread(NEAR), *spreads])[None],
    )


def score_ego(
    pipeline: LanePipeline,
    drives: Iterator[tuple[str, Drive]],
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, EgoScore]:
    """Run a lane pipeline over drives, each from its beginning; scores by condition."""
    scores: dict[str, EgoScore] = {}
    for name, drive in drives:
        progress(name)
        pipeline.reset()
        plane = GroundPlane(drive.camera)
        for road in drive:
            one = score_frame(ego_lane(pipeline(Frame(road.image, road.stamp)), plane), road, plane)
            if one is not None:
                scores[name] = scores[name] + one if name in scores else one
    return scores


HEADER = (
    "condition", "frames", "known %", "mistaken %", "10 m: median cm", "p95 cm", "20 m: median cm", "p95 cm",
    "width: median cm", "heading: median deg",
)  # fmt: skip


SPREADS_HEADER = ("condition", "% within 1, 2 spreads: 10 m", "heading", "curvature", "width")


def rows(scores: Mapping[str, EgoScore]) -> list[list[str]]:
    """The scores by condition and of all together, as cells of a table."""
    return [_row(name, score) for name, score in _with_all(scores)]


def spread_rows(scores: Mapping[str, EgoScore]) -> list[list[str]]:
    """Shares of the true values that lie within one and within two of the spreads told, likewise."""
    return [[name, *(_within(score.in_spreads[:, i]) for i in range(4))] for name, score in _with_all(scores)]


def tables(scores: Mapping[str, EgoScore]) -> list[Table]:
    """The scores as tables for the terminal."""
    shown = []
    for header, cells in ((HEADER, rows(scores)), (SPREADS_HEADER, spread_rows(scores))):
        table = Table(*header)
        for row in cells:
            table.add_row(*row)
        shown.append(table)
    return shown


def _with_all(scores: Mapping[str, EgoScore]) -> list[tuple[str, EgoScore]]:
    if not scores:
        return []
    parts = list(scores.items())
    whole = parts[0][1]
    for _, score in parts[1:]:
        whole = whole + score
    return [*parts, ("all", whole)]


def _row(name: str, score: EgoScore) -> list[str]:
    def at(errors: NDArray[np.float64], percent: float, scale: float = 100, digits: int = 1) -> str:
        return f"{scale * np.percentile(errors, percent):.{digits}f}" if len(errors) else ""

    return [
        name,
        str(score.frames),
        f"{100 * score.known / score.frames:.1f}",
        f"{100 * score.mistaken / max(score.known, 1):.1f}",
        at(score.near, 50),
        at(score.near, 95),
        at(score.ahead, 50),
        at(score.ahead, 95),
        at(score.width, 50),
        at(score.heading, 50, float(np.degrees(1)), 2),
    ]


def _within(in_spreads: NDArray[np.float64]) -> str:
    known = in_spreads[np.isfinite(in_spreads)]
    return ", ".join(f"{100 * np.mean(known <= count):.0f}" for count in (1, 2)) if len(known) else ""


Curve = Callable[[float], float]


def _true_lane(road: RenderedRoad, plane: GroundPlane) -> tuple[Curve, Curve] | None:
    """The y of the true boundaries at x, NaN where a line is not in sight."""
    curves: list[Curve] = []
    for line in road.lanes:
        ground = plane.project(line)[:, :2]
        ground = ground[np.isfinite(ground).all(axis=1) & (ground[:, 0] > 0)]
        if len(ground) > 1:
            curves.append(_curve(ground[np.argsort(ground[:, 0])]))
    near: Sequence[float] = [curve(_SIDE) for curve in curves]
    lefts = [i for i, y in enumerate(near) if y >= 0]
    rights = [i for i, y in enumerate(near) if y < 0]
    if not lefts or not rights:
        return None
    return curves[min(lefts, key=lambda i: near[i])], curves[max(rights, key=lambda i: near[i])]


def _curve(points: NDArray[np.float64]) -> Curve:
    return lambda ahead: float(np.interp(ahead, points[:, 0], points[:, 1], left=np.nan, right=np.nan))
