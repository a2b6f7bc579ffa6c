"""Class probabilities, bit for bit as plain NumPy gives them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.errors import GroupingError
from rtseg.instances.methods.semantics import probabilities


@given(st.integers(0, 10**6))
def test_probabilities_are_the_softmax(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(rng.integers(1, 12), *rng.integers(1, 30, 2))) * 10).astype(np.float32)
    shares = np.exp(logits - logits.max(axis=0))
    np.testing.assert_array_equal(probabilities(logits), shares / shares.sum(axis=0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channel", [0, 2])
def test_logits_that_are_not_finite_are_refused(value: float, channel: int) -> None:
    logits = np.zeros((3, 4, 5), np.float32)
    logits[channel, 1, 2] = value
    with pytest.raises(GroupingError, match="finite semantic maps"):
        probabilities(logits)
