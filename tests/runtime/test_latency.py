from __future__ import annotations

import numpy as np
import pytest

from rtseg.runtime.latency import LatencyLog, StageClock


def test_a_clock_keeps_the_order_of_stages_and_adds_up_repeats():
    clock = StageClock()
    for name in ("a", "b", "a"):
        with clock.stage(name):
            pass
    assert list(clock.times) == ["a", "b"]


def test_a_stage_that_raises_is_still_timed():
    clock = StageClock()
    with pytest.raises(ZeroDivisionError), clock.stage("a"):
        _ = 1 / 0
    assert "a" in clock.times


def test_percentiles_are_those_of_the_recorded_values():
    log = LatencyLog()
    values = np.random.default_rng(0).gamma(2.0, 3.0, 500)
    for value in values:
        log.record({"one": value, "two": 1.0})
    one, two, total = log.summary()
    assert (one.stage, two.stage, total.stage) == ("one", "two", "total")
    assert one.p99 == pytest.approx(np.percentile(values, 99))
    assert total.p50 == pytest.approx(np.percentile(values + 1.0, 50))
    assert one.count == 500


def test_a_window_forgets_the_oldest():
    log = LatencyLog(window=3)
    for value in range(10):
        log.record({"a": float(value)})
    np.testing.assert_array_equal(log.values("a"), [7, 8, 9])
    assert LatencyLog().summary() == []
