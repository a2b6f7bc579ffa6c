"""Which of two models is better is told without labels: lines lost and lines made up count as they should."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rtseg.frame import Frame
from rtseg.lab.adapt.clips import SIDE, clips
from rtseg.lab.adapt.comparing import ClipComparison, compare_clips
from rtseg.lab.adapt.judgment import Comparison, conclude
from rtseg.lab.adapt.reference import apart, reference
from rtseg.lab.render import Drive, RenderedRoad
from rtseg.lab.scores.lanes.culane import CulaneScore
from rtseg.results import Lanes
from tests.lab.pipelines import WithoutModel

SIZE = (288, 512)
Lines = list[np.ndarray]
Fault = Callable[[Lines, np.random.Generator], Lines]


class Seer(WithoutModel):
    """Finds the true lines of rendered roads, but for a fault."""

    def __init__(self, roads: list[RenderedRoad], fault: Fault, seed: int = 0) -> None:
        super().__init__()
        self._truth = {road.image.tobytes(): [line for line in road.lanes if len(line) > 1] for road in roads}
        self._fault = fault
        self._rng = np.random.default_rng(seed)

    def __call__(self, frame: Frame) -> Lanes:
        lines = self._fault(list(self._truth[frame.image.tobytes()]), self._rng)
        count = len(lines)
        ids = np.arange(1, count + 1, dtype=np.int32)
        return Lanes(np.zeros(frame.size, np.uint8), ids, np.full(count, 0.9, np.float32), tuple(lines))


def sound(lines: Lines, _: np.random.Generator) -> Lines:
    return lines


def loses(lines: Lines, rng: np.random.Generator) -> Lines:
    return [line for line in lines if rng.random() > 0.3]


def makes_up(lines: Lines, rng: np.random.Generator) -> Lines:
    shifted = [line + np.float32([rng.uniform(0.1, 0.2) * SIZE[1], 0]) for line in lines[:1] if rng.random() < 0.5]
    return [*lines, *shifted]


def always_makes_up(lines: Lines, _: np.random.Generator) -> Lines:
    """A line midway between the first two, where there is no paint."""
    a, b = lines[:2]
    rows = np.arange(max(a[0, 1], b[0, 1]), min(a[-1, 1], b[-1, 1]), 2.0)
    x = np.mean([np.interp(rows, line[:, 1], line[:, 0]) for line in (a, b)], axis=0)
    return [*lines, np.stack([x, rows], axis=1).astype(np.float32)]


@pytest.fixture(scope="module")
def roads() -> list[RenderedRoad]:
    return list(Drive(4, seconds=9.0, fps=10, size=SIZE))


def compared(roads: list[RenderedRoad], before: Fault, after: Fault) -> ClipComparison:
    frames = [Frame(road.image, road.stamp) for road in roads]
    return compare_clips(Seer(roads, before), Seer(roads, after, 1), clips(frames, "drive", 1.1), "frames kept back")


def test_a_model_that_loses_no_line_is_better_than_one_that_does(roads: list[RenderedRoad]) -> None:
    found = compared(roads, loses, sound)
    before, after = found.scores.totals
    assert len(found.scores.before) == 8
    assert (after.false_positives, after.false_negatives) == (0, 0)
    assert after.true_positives >= 20
    assert before.recall == pytest.approx(0.7, abs=0.15)
    assert conclude(found.scores, same("rendered roads")).better
    assert found.pictures


def test_a_model_that_makes_lines_up_is_not_better(roads: list[RenderedRoad]) -> None:
    found = compared(roads, sound, makes_up)
    before, after = found.scores.totals
    assert before.f1 == 1.0
    assert after.precision < 0.95
    verdict = conclude(found.scores, same("rendered roads"))
    assert not verdict.better
    assert "F1 on frames kept back goes from 100.0 %" in verdict.reason


def test_what_a_model_makes_up_all_the_time_is_never_to_its_credit(roads: list[RenderedRoad]) -> None:
    found = compared(roads, sound, always_makes_up)
    before, after = found.scores.totals
    assert after.true_positives <= before.true_positives
    assert not conclude(found.scores, same("rendered roads")).better


def test_a_model_is_not_better_than_itself(roads: list[RenderedRoad]) -> None:
    found = compared(roads, sound, sound)
    assert found.scores.gain == 0
    assert "not surely better" in conclude(found.scores, same("rendered roads")).reason


def test_one_model_and_the_paint_tell_a_line(roads: list[RenderedRoad]) -> None:
    road = roads[SIDE]
    lines = [line for line in road.lanes if len(line) > 1]
    known = reference([road.image], [], lines)
    assert 2 <= len(known.lines) == known.by_paint
    assert all(min(apart(line, true) for true in lines) == 0 for line in known.lines)
    wrong = always_makes_up(lines, np.random.default_rng())[-1]
    assert not reference([road.image], [], [wrong]).lines
    assert len(reference([road.image], [wrong], [wrong]).lines) == 1


def same(name: str) -> Comparison:
    scores = (CulaneScore(4, 0, 1),) * 40
    return Comparison(name, scores, scores)


def test_what_is_lost_on_other_roads_or_labelled_frames_refuses_a_model() -> None:
    worse = Comparison("rendered roads", (CulaneScore(4, 0, 0),) * 40, (CulaneScore(3, 0, 1),) * 40)
    better = Comparison("frames kept back", (CulaneScore(3, 0, 1),) * 40, (CulaneScore(4, 0, 0),) * 40)
    assert conclude(better, same("rendered roads")).better
    assert "rendered roads goes from 100.0 % to 85.7 %" in conclude(better, worse).reason
    assert not conclude(better, same("rendered roads"), worse).better
    few = Comparison("frames kept back", better.before[:4], better.after[:4])
    assert "says nothing" in conclude(few, same("rendered roads")).reason
    labelled = Comparison("labelled frames", better.before, better.after)
    assert "labelled frames" in conclude(same("frames kept back"), same("rendered roads"), labelled).reason


def test_a_gain_that_chance_may_have_brought_is_none() -> None:
    one, other = CulaneScore(4, 0, 1), CulaneScore(4, 1, 0)
    mixed = Comparison("frames kept back", (one, other, one, other) * 10, (other, one, other, CulaneScore(5)) * 10)
    chance = Comparison("frames kept back", mixed.before[:8], (*mixed.before[:7], CulaneScore(5)))
    assert chance.gain > 0
    assert chance.least_gain <= 0
    assert not conclude(chance, same("rendered roads")).better
