"""The study of markings: what is told of true lines, and the curve fitted to it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rtseg.frame import Frame
from rtseg.lab.render import Drive
from rtseg.lab.studies.lane_markings import MarkingScore, fitted_curve, score_markings, table
from rtseg.lanes.paint import paint_of, solid_of
from rtseg.results import Lanes
from tests.lab.pipelines import WithoutModel


class _SeesTrueLines(WithoutModel):
    def __init__(self, drive: Drive) -> None:
        super().__init__()
        self._roads = iter(drive)

    def __call__(self, frame: Frame | NDArray[np.uint8]) -> Lanes:
        road = next(self._roads)
        ids = np.array(road.ids, np.int32)
        solid = solid_of(paint_of(road.image, road.lanes))
        return Lanes(road.mask, ids, np.ones(len(ids), np.float32), road.lanes, solid=solid)


def test_lines_of_a_drive_are_compared_with_their_kinds() -> None:
    drive = Drive(3, 0.4, 5.0, (180, 320))
    score = score_markings(_SeesTrueLines(drive), iter([("day", drive)]))["day"]
    kinds = [line.kind for line in drive.style.lines]
    assert len(score.solid) == 2 * sum(kind in ("solid", "double", "dashed", "dots") for kind in kinds)
    assert table({"day": score}).row_count == 1


def test_the_curve_is_even_between_the_two_kinds() -> None:
    rng = np.random.default_rng(0)
    solid = rng.random(400) < 0.8  # of which there are more, and that must not pull it
    paint = np.clip(np.where(solid, 0.5, 0.1) + rng.normal(0, 0.1, 400), 0, 1).astype(np.float32)
    steep, even = fitted_curve({"drive": MarkingScore(solid, np.full(400, ""), paint)})
    assert even == pytest.approx(0.3, abs=0.03)
    assert steep > 10
