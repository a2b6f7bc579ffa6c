"""Scores of drives: the truth itself, and the truth spoilt in ways whose counts are plain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rtseg.frame import Frame
from rtseg.lab.render import Drive, RenderedRoad
from rtseg.lab.studies.lane_drives import (
    CONDITIONS,
    DriveLog,
    DriveScore,
    added_up,
    rendered_drives,
    road_name,
    score_drives,
)
from rtseg.results import Lanes
from tests.lab.pipelines import WithoutModel

SIZE = (96, 160)


@pytest.fixture(scope="module")
def roads() -> list[RenderedRoad]:
    return list(Drive(3, 0.8, 10.0, SIZE))


def true_lanes(road: RenderedRoad) -> Lanes:
    return Lanes(road.mask, np.array(road.ids, np.int32), np.ones(len(road.ids), np.float32), road.lanes, road.stamp)


def score(roads: list[RenderedRoad], spoil: Callable[[int, Lanes], Lanes] = lambda k, lanes: lanes) -> DriveScore:
    log = DriveLog()
    for k, road in enumerate(roads):
        log.update(spoil(k, true_lanes(road)), road)
    return log.score


def test_the_truth_is_perfect(roads):
    perfect = score(roads)
    assert perfect.frames == len(roads) == 8
    assert perfect.recall == 1
    assert (perfect.wrong, perfect.wrong_frames, perfect.switches, perfect.flickers) == (0, 0, 0, 0)
    assert perfect.jitter == pytest.approx(0)
    assert perfect.jitters > 8


def without(lanes: Lanes, i: int) -> Lanes:
    return replace(
        lanes,
        ids=np.delete(lanes.ids, i),
        confidence=np.delete(lanes.confidence, i),
        polylines=tuple(line for k, line in enumerate(lanes.polylines) if k != i),
    )


def test_a_line_lost_for_two_frames_flickers_in_two(roads):
    lost = score(roads, lambda k, lanes: without(lanes, 0) if k in (3, 4) else lanes)
    assert lost.flickers == 2
    assert lost.found == lost.true - 2
    assert score(roads, lambda k, lanes: without(lanes, 0) if k >= 3 else lanes).flickers == 0  # it never came back


def test_another_id_is_a_switch(roads):
    def renamed(k: int, lanes: Lanes) -> Lanes:
        ids = lanes.ids.copy()
        ids[0] += 100 if k >= 4 else 0
        return replace(lanes, ids=ids)

    assert score(roads, renamed).switches == 1
    assert score(roads, renamed).flickers == 0


def test_what_is_made_up_is_counted(roads):
    def added(k: int, lanes: Lanes) -> Lanes:
        line = np.array([[2.0, 90.0], [140.0, 94.0]], np.float32)
        return replace(
            lanes,
            ids=np.append(lanes.ids, 77).astype(np.int32),
            confidence=np.append(lanes.confidence, 1).astype(np.float32),
            polylines=(*lanes.polylines, line),
        )

    made_up = score(roads, added)
    assert (made_up.wrong, made_up.wrong_frames, made_up.recall) == (8, 8, 1)


def test_shaking_is_jitter_and_a_steady_offset_is_not(roads):
    def moved(by: Callable[[int], float]) -> Callable[[int, Lanes], Lanes]:
        return lambda k, lanes: replace(
            lanes, polylines=tuple((line + np.float32([by(k), 0])).astype(np.float32) for line in lanes.polylines)
        )

    assert score(roads, moved(lambda k: 0.5)).mean_jitter == pytest.approx(0, abs=1e-3)
    assert score(roads, moved(lambda k: 0.5 * (k % 2))).mean_jitter == pytest.approx(0.5, abs=1e-3)


class Nothing(WithoutModel):
    """Finds nothing, and counts its beginnings."""

    def __init__(self) -> None:
        super().__init__()
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def __call__(self, frame: Frame) -> Lanes:
        empty = np.zeros(0)
        return Lanes(np.zeros(frame.image.shape[:2], np.uint8), empty.astype(np.int32), empty.astype(np.float32), ())


@pytest.mark.slow
def test_every_condition_is_driven():
    pipeline, reported = Nothing(), []
    driven = score_drives(pipeline, rendered_drives([1], seconds=0.2, fps=10.0, size=SIZE), reported.append)
    scores = added_up(driven, 0)
    assert list(scores) == reported == list(CONDITIONS)
    (road,) = added_up(driven, 1).items()
    assert road == (road_name(Drive(1, 0.2, 10.0, SIZE)), sum(scores.values(), DriveScore()))
    assert pipeline.resets == len(CONDITIONS)
    assert all(one.frames == 2 and one.recall == 0 and one.true > 0 for one in scores.values())
    images = {name: next(iter(drive)).image for name, drive in rendered_drives([1], 0.2, 10.0, SIZE)}
    assert images["night"].mean() < 0.5 * images["day"].mean()
