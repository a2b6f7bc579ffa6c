"""Values in place of labels, beside the plain rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtseg.label_image import look_up


@given(
    st.integers(0, 10**6),
    st.sampled_from([0, 1, 2, 100, 254, 255, 256, 257, 1000]),
    st.sampled_from([np.uint8, np.uint16, np.int32]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 3),
)
def test_every_label_becomes_its_value(seed: int, count: int, dtype: type, size: tuple[int, int], step: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, np.iinfo(dtype).max, count, endpoint=True)
    labels = rng.integers(0, count, size, endpoint=True).astype(np.int32)[::step, ::step]
    got = look_up(labels, values, dtype)
    expected = np.array([[0 if label == 0 else values[label - 1] for label in row] for row in labels.tolist()])
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_values_are_taken_as_they_are_whatever_their_kind(dtype: type) -> None:
    labels = np.array([[0, 1], [2, 1]], np.int32)
    np.testing.assert_array_equal(look_up(labels, np.float64([254.0, 7.0]), dtype), [[0, 254], [7, 254]])
