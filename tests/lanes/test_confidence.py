"""Calibrations of lane confidence: what was drawn comes back, and nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import ArgumentError
from rtseg.lanes import LaneDecoder, LaneDecoderSettings
from rtseg.lanes.confidence import fit_calibration
from tests.lanes.calibrated import calibrated
from tests.lanes.lane_logits import SIZE, lane_logits, line

TRUE = (-8.0, 1.2, 3.0)


def measured(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(0.05, 0.95, count), np.exp(rng.uniform(1, 4, count))], axis=1)


def test_a_calibration_comes_back_from_what_it_drew():
    measures = measured(40_000)
    right = np.random.default_rng(1).random(len(measures)) < calibrated(measures, TRUE)
    np.testing.assert_allclose(fit_calibration(measures, right, np.ones(len(right))), TRUE, rtol=0.08)


def test_weights_count_as_so_many_lines():
    measures = measured(400)
    right = np.random.default_rng(1).random(len(measures)) < calibrated(measures, TRUE)
    weight = np.random.default_rng(2).integers(1, 4, len(right))
    repeated = fit_calibration(
        np.repeat(measures, weight, axis=0), np.repeat(right, weight), np.ones(int(weight.sum()))
    )
    np.testing.assert_allclose(fit_calibration(measures, right, weight), repeated, atol=2e-3)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 200), st.floats(0, 200))
def test_more_evidence_and_length_never_make_a_line_less_sure(a: float, b: float, short: float, long: float):
    (evidence, more), (width, length) = sorted((a, b)), sorted((short, long))
    found = calibrated([[evidence, width], [more, length]], TRUE)
    assert 0 <= found[0] <= found[1] <= 1


def test_separable_lines_give_finite_numbers():
    measures = np.array([[0.2, 3.0], [0.3, 4.0], [0.8, 20.0], [0.9, 30.0]])
    found = fit_calibration(measures, measures[:, 0] > 0.5, np.ones(4))
    assert np.isfinite(found).all()
    assert calibrated(measures, found)[[0, -1]] == pytest.approx([0, 1], abs=0.1)


def test_nonsense_is_refused():
    measures = measured(200)
    with pytest.raises(ArgumentError, match="one kind only"):
        fit_calibration(measures, np.ones(200, bool), np.ones(200))
    with pytest.raises(ArgumentError, match="surer"):
        fit_calibration(measures, measures[:, 0] < 0.5, np.ones(200))
    for wrong in ((1.0, 2.0), (0.0, -1.0, 1.0), (np.nan, 1.0, 1.0), ("a", 1.0, 1.0)):
        with pytest.raises(ArgumentError, match="calibration"):
            LaneDecoderSettings(calibration=wrong)


def test_the_decoder_gives_calibrated_confidence():
    logits = lane_logits([line(300), line(900, end=400)])
    found = LaneDecoder(LaneDecoderSettings(calibration=TRUE))(logits, SIZE)
    np.testing.assert_allclose(found.confidence, calibrated(found.measures, TRUE), rtol=1e-5)
    assert found.measures.shape == (2, 2)
    assert found.measures[0, 1] > 2 * found.measures[1, 1], "the first is the longer one"
