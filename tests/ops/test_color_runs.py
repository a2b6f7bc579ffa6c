from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from rtseg.errors import ArgumentError, GroupingError
from rtseg.ops import label_runs, upsample_argmax
from rtseg.ops.color_runs import label_color_runs

few = st.sampled_from([0.0, 1.0, -1.0, 2.0]) | st.floats(-100, 100, width=32)  # many ties
arrays = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=few)
)


@given(arrays, st.integers(1, 40), st.integers(1, 200), st.none() | st.integers(0, 2**32 - 1))
def test_equals_labelling_the_upsampled_winners(
    maps: NDArray[np.float32], height: int, width: int, seed: int | None
) -> None:
    size = height, width
    colors = upsample_argmax(maps, size)
    ignored = None if seed is None else np.random.default_rng(seed).random(size) < 0.3
    if ignored is not None:
        colors[ignored] = 0
    expected = label_runs(colors, 8)
    runs, values = label_color_runs(maps, size, ignored)
    for name in ("starts", "ends", "rows", "components"):
        np.testing.assert_array_equal(getattr(runs, name), getattr(expected, name), err_msg=name)
        assert getattr(runs, name).dtype == np.int32
    assert runs.count == expected.count
    rows = np.repeat(np.arange(height), np.diff(runs.rows))
    np.testing.assert_array_equal(values, colors[rows, runs.starts])


def test_a_run_a_pixel_at_the_size_of_a_camera() -> None:
    maps = np.random.default_rng(0).normal(size=(7, 72, 128)).astype(np.float32)
    runs, _ = label_color_runs(maps, (72, 128))
    expected = label_runs(upsample_argmax(maps, (72, 128)), 8)
    np.testing.assert_array_equal(runs.components, expected.components)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(GroupingError):
        label_color_runs(np.full((2, 3, 3), np.nan, np.float32), (6, 6))
    with pytest.raises(ArgumentError, match="size"):
        label_color_runs(np.zeros((2, 3, 3), np.float32), (0, 6))
