"""Switches, flicker and jitter on runs whose counts are plain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.frame import Frame
from rtseg.lab.scores.lanes.temporal import TemporalLog, TemporalScore
from tests.lab.replay.runs import ColumnPipeline, road


def score(columns: list[dict[int, int]]) -> TemporalScore:
    log, pipeline = TemporalLog(), ColumnPipeline()
    for entry in columns:
        log.update(pipeline(Frame(road(entry))))
    return log.score()


def test_a_steady_drive_has_nothing() -> None:
    assert score([{1: 30, 2: 90}] * 10) == TemporalScore(10, 20, 0, 0, 0.0)


def test_steady_motion_is_no_jitter() -> None:
    assert score([{1: 30 + i} for i in range(20)]).jitter == 0
    assert score([{1: 30 + i % 2} for i in range(20)]).jitter == pytest.approx(1)


def test_another_id_at_the_same_place_is_a_switch() -> None:
    assert score([{1: 30}] * 3 + [{2: 30}] * 3).id_switches == 1
    assert score([{1: 30}] * 3 + [{2: 31}] * 3 + [{1: 31}] * 3).id_switches == 2
    assert score([{1: 30}] * 3 + [{}] * 2 + [{2: 30}] * 3).id_switches == 1, "through a gap too"
    assert score([{1: 30, 2: 90}] * 3 + [{2: 30, 1: 90}] * 3).id_switches == 2, "exchanged ids"


def test_new_and_leaving_lanes_are_no_switches() -> None:
    assert score([{1: 30}] * 3 + [{1: 30, 2: 90}] * 3 + [{2: 90}] * 3).id_switches == 0
    assert score([{1: 30}] * 3 + [{2: 60}] * 3).id_switches == 0
    assert score([{1: 30}] * 3 + [{}] * 9 + [{2: 30}] * 3).id_switches == 0, "long gone"


def test_flicker_counts_frames_with_a_gap() -> None:
    assert score([{1: 30}, {}, {1: 30}]).flicker_frames == 1
    assert score([{1: 30, 2: 90}, {}, {}, {1: 30, 2: 90}]).flicker_frames == 2
    assert score([{1: 30}, *[{}] * 9, {1: 30}]).flicker_frames == 0
    assert score([{1: 30}, {}, {1: 30}]).flicker == pytest.approx(1 / 3)


def test_reset_forgets_places_but_not_counts() -> None:
    log, pipeline = TemporalLog(), ColumnPipeline()
    for entry in ({1: 30}, {2: 30}):
        log.update(pipeline(Frame(road(entry))))
    log.reset()
    log.update(pipeline(Frame(road({3: 30}))))
    assert (log.score().id_switches, log.score().frames) == (1, 3)


def test_empty_run() -> None:
    assert TemporalLog().score() == TemporalScore(0, 0, 0, 0, 0.0)
    assert TemporalLog().score().flicker == 0


@given(st.lists(st.dictionaries(st.integers(1, 5), st.integers(5, 120), max_size=4), max_size=12))
def test_counts_stay_within_what_is_there(columns: list[dict[int, int]]) -> None:
    result = score(columns)
    assert result.frames == len(columns)
    assert 0 <= result.flicker_frames <= len(columns)
    assert 0 <= result.id_switches <= 5 * len(columns)
    assert np.isfinite(result.jitter)
