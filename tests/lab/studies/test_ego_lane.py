"""The study of the own lane: true lines score no error, and another lane is told from the own one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rtseg.lab.render import Drive, RenderedRoad
from rtseg.lab.studies.ego_lane import HEADER, SPREADS_HEADER, rows, score_ego, score_frame, spread_rows
from rtseg.lanes import GroundPlane, ego_lane
from rtseg.results import Lanes
from tests.lab.pipelines import WithoutModel


def _truth(road: RenderedRoad) -> Lanes:
    ids = np.array(road.ids, np.int32)
    return Lanes(road.mask, ids, np.ones(len(ids), np.float32), road.lanes)


class _Knows(WithoutModel):
    """Gives the true lines of a drive's frames, one by one."""

    def __init__(self, drive: Drive) -> None:
        super().__init__()
        self._roads = iter(drive)

    def __call__(self, frame: object) -> Lanes:
        return _truth(next(self._roads))


def test_true_lines_are_right_to_the_centimetre() -> None:
    drive = Drive(3, 0.4, 5.0, (180, 320))
    scores = score_ego(_Knows(drive), iter([("day", drive)]))
    score = scores["day"]
    assert score.known == score.frames == 2
    assert score.mistaken == 0
    assert score.near.max() < 0.02
    assert score.ahead.max() < 0.05
    assert score.in_spreads.shape == (2, 4)
    table = rows(scores)
    assert [row[0] for row in table] == ["day", "all"]
    assert all(len(row) == len(HEADER) for row in table)
    assert all(len(row) == len(SPREADS_HEADER) for row in spread_rows(scores))


def test_another_lane_is_a_mistake_and_a_missing_boundary_unknown() -> None:
    road = next(iter(Drive(3, 0.2, 5.0, (180, 320))))
    plane = GroundPlane(road.camera)
    found = ego_lane(_truth(road), plane)
    wide = score_frame(replace(found, left_distance=found.left_distance + 2.0), road, plane)
    aside = score_frame(replace(found, left=0), road, plane)
    moved = replace(found, left_distance=found.left_distance + 3, right_distance=found.right_distance - 3)
    wrong = score_frame(moved, road, plane)
    assert wide
    assert wide.width[0] > 1.9
    assert aside
    assert aside.known == 0
    assert wrong
    assert wrong.mistaken == 1
