"""Class probabilities, bit for bit in the steps of the device, and close to the exact softmax."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg.errors import GroupingError
from rtseg.instances.methods.semantics import probabilities


def exp_negative(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """As in logistic.cuh, step by step in float32."""
    one = np.float32
    inside = np.minimum(x, one(87))
    n = np.rint(inside * one(1.44269504))
    r = (n * one(0.693359375) - inside) - n * one(2.12194440e-4)
    p = one(1 / 720) * r + one(1 / 120)
    for step in (1 / 24, 1 / 6, 0.5, 1.0, 1.0):
        p = p * r + one(step)
    return np.where(x <= 87, p * np.exp2(-n), one(0)).astype(np.float32)


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.1, 10.0, 60.0]),
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(1, 30),
)
def test_probabilities_are_the_softmax(seed: int, spread: float, channels: int, height: int, width: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(channels, height, width)).astype(np.float32) * np.float32(spread)
    found = probabilities(logits)
    shares = exp_negative(logits.max(axis=0) - logits)
    total = np.add.accumulate(shares, axis=0)[-1]
    np.testing.assert_array_equal(found, shares / total)
    exact = np.exp(logits.astype(float) - logits.max(axis=0))
    np.testing.assert_allclose(found, exact / exact.sum(axis=0), rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 2])
def test_logits_that_are_not_finite_are_refused(value: float, channel: int) -> None:
    logits = np.zeros((3, 4, 5), np.float32)
    logits[channel, 1, 2] = value
    with pytest.raises(GroupingError, match="finite semantic maps"):
        probabilities(logits)
