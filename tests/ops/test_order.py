"""Numbers by their order, beside NumPy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtseg.ops.order import greatest, median, select

# Few values, so that many are equal; and any that float32 has, but for NaN.
NUMBERS = st.one_of(
    st.lists(st.integers(0, 9), max_size=80),
    st.lists(st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), max_size=80),
)


@given(NUMBERS.filter(len), st.data())
def test_select_gives_what_sorting_would_have_there_and_parts_the_rest(
    numbers: list[float], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(numbers) - 1))
    values = np.array(numbers, np.float64)
    found = select(values, at)
    assert found == values[at] == np.sort(numbers)[at]
    assert (values[:at] <= found).all()
    assert (values[at:] >= found).all()
    assert sorted(values) == sorted(map(float, numbers))


@given(NUMBERS.filter(len))
def test_greatest_is_numpys(numbers: list[float]) -> None:
    assert greatest(np.array(numbers, np.float64)) == max(numbers)


@given(NUMBERS)
def test_medians_are_numpys_of_float32(numbers: list[float]) -> None:
    single = np.array(numbers, np.float32)
    expected = np.median(single) if numbers else np.nan
    np.testing.assert_array_equal(median(single.copy()), expected)
    np.testing.assert_array_equal(median(single.astype(np.float64)), expected)
