"""Reliability on confidences whose truth is drawn to fit them, or not."""

from __future__ import annotations

import numpy as np
import pytest

from rtseg.lab.scores.lanes.reliability import BINS, Reliability, plot_precision_recall, plot_reliability


def test_honest_confidence_has_no_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(200_000)
    honest = Reliability(confidence, rng.random(confidence.size) < confidence, confidence.size)
    assert honest.expected_error < 0.01
    boastful = Reliability(np.sqrt(confidence), rng.random(confidence.size) < confidence, confidence.size)
    assert boastful.expected_error == pytest.approx(2 / 3 - 1 / 2, abs=0.01)


def test_chance_explains_an_honest_confidence_and_no_boastful_one():
    rng = np.random.default_rng(3)
    confidence = rng.random(400)
    inside = 0
    for _ in range(20):
        honest = Reliability(confidence, rng.random(confidence.size) < confidence, confidence.size)
        low, high = honest.honest_error(100)
        inside += low <= honest.expected_error <= high
    assert inside >= 14
    boastful = Reliability(np.sqrt(confidence), honest.right, confidence.size)
    assert boastful.expected_error > boastful.honest_error(100)[1]
    assert boastful.brier > honest.brier
    few = Reliability(confidence[:12], honest.right[:12], 12)
    assert few.honest_error()[1] > high, "of few lines nothing can be said"


def test_bins():
    one = Reliability(np.array([0.0, 0.05, 0.95, 1.0]), np.array([False, True, True, True]), 5)
    mean, share, counts = one.bins()
    assert len(mean) == BINS
    assert counts.tolist() == [2, *[0] * 8, 2]
    assert (mean[0], share[0], share[-1]) == pytest.approx((0.025, 0.5, 1.0))
    assert np.isnan(mean[1:-1]).all()
    assert one.expected_error == pytest.approx((0.475 + 0.025) / 2)


def test_precision_falls_as_mistakes_come_in():
    one = Reliability(np.array([0.2, 0.9, 0.5, 0.5]), np.array([False, True, True, False]), 4)
    recall, precision = one.precision_recall()
    np.testing.assert_allclose(recall, [0.25, 0.5, 0.5])
    np.testing.assert_allclose(precision, [1, 2 / 3, 1 / 2])  # what is tied comes in together


def test_nothing_found():
    none = Reliability(np.zeros(0), np.zeros(0, np.bool_), 3)
    assert np.isnan([none.expected_error, none.brier, *none.honest_error()]).all()
    assert len(none.precision_recall()[0]) == 0
    assert plot_reliability({}) == ""
    for plot in (plot_reliability, plot_precision_recall):
        assert plot({"none": none}).startswith("<svg")
