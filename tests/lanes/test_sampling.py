"""Values between the points of a line, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.lanes.sampling import interpolated


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@given(
    steps=st.lists(st.floats(0.125, 50.0), min_size=1, max_size=40),
    even=st.booleans(),
    start=st.integers(0, 700),
    shares=st.lists(st.floats(-0.1, 1.1), min_size=1, max_size=20),
)
def test_values_are_numpys_to_the_bit(
    kind: type, steps: list[float], even: bool, start: int, shares: list[float]
) -> None:
    distances = np.ones(len(steps)) if even else np.array(steps)
    rows = (start + np.concatenate([[0.0], np.cumsum(distances)])).astype(kind)
    values = np.random.default_rng(len(steps)).normal(300, 200, len(rows)).astype(kind)
    between = rows[0] + np.array(shares) * (rows[-1] - rows[0])
    for at in np.concatenate([rows, np.nextafter(rows, 0), between]).astype(np.float64):
        assert interpolated(at, rows, values) == np.interp(at, rows, values)
