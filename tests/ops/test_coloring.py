from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from rtseg.errors import ArgumentError, GroupingError
from rtseg.ops import upsample_argmax


def interpolated(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    """Interpolate in float64, one axis after the other, straight from the definition of half-pixel centers."""
    result = maps.astype(np.float64)
    for axis, target in ((1, size[0]), (2, size[1])):
        source = result.shape[axis]
        position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.floor(position).astype(int)
        fraction = (position - low).reshape([-1 if a == axis else 1 for a in range(3)])
        high = np.minimum(low + 1, source - 1)
        result = np.take(result, low, axis) * (1 - fraction) + np.take(result, high, axis) * fraction
    return result


def assert_winners(maps: NDArray[np.float32], size: tuple[int, int], winners: NDArray[np.uint8]) -> None:
    """The winner's value is the greatest, up to float32 rounding of the interpolation."""
    values = interpolated(maps, size)
    chosen = np.take_along_axis(values, winners[None].astype(np.intp), 0)[0]
    assert winners.shape == size
    assert winners.dtype == np.uint8
    assert (values.max(axis=0) - chosen).max() <= 1e-6 * max(1.0, float(np.abs(maps).max()))


def test_equals_resize_and_argmax_on_lane_maps() -> None:
    drawn = np.zeros((192, 320), np.uint8)
    for color, x in enumerate((10, 100, 200, 310)):
        cv2.line(drawn, (160, 80), (x, 191), color + 1, 3)
    masks = [cv2.resize((drawn == c).astype(np.float32), (80, 48), interpolation=cv2.INTER_AREA) for c in range(7)]
    maps = np.log(0.95 * np.stack(masks) + 0.007)
    enlarged = np.stack([cv2.resize(channel, (1280, 720), interpolation=cv2.INTER_LINEAR) for channel in maps])
    two_best = np.sort(enlarged, axis=0)[-2:]
    clear = two_best[1] - two_best[0] > 1e-4
    assert clear.mean() > 0.99
    winners = upsample_argmax(maps, (720, 1280))
    assert set(np.unique(winners)) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(winners[clear], enlarged.argmax(axis=0)[clear])


finite = st.floats(-100, 100, width=32) | st.sampled_from([0.0, 1.0, -1.0])
arrays = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=finite)
)


@given(arrays, st.integers(1, 40), st.integers(1, 200))
def test_the_greatest_interpolated_value_wins(maps: NDArray[np.float32], height: int, width: int) -> None:
    assert_winners(maps, (height, width), upsample_argmax(maps, (height, width)))


@given(arrays)
def test_same_size_is_argmax(maps: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(upsample_argmax(maps, maps.shape[1:]), maps.argmax(axis=0))


def test_ties_go_to_the_lower_channel() -> None:
    assert not upsample_argmax(np.zeros((5, 6, 7), np.float32), (50, 60)).any()
    maps = np.zeros((3, 4, 4), np.float32)
    maps[1:] = 1
    assert (upsample_argmax(maps, (9, 9)) == 1).all()


def test_a_channel_may_win_where_it_leads_at_no_corner() -> None:
    maps = np.array([[[3, 0]], [[0, 3]], [[2, 2]]], np.float32)
    assert list(np.unique(upsample_argmax(maps, (1, 30)))) == [0, 1, 2]


@given(arrays, st.randoms(use_true_random=False))
def test_permuting_channels_permutes_winners(maps: NDArray[np.float32], random: object) -> None:
    noise = np.random.default_rng(maps.size).normal(size=maps.shape).astype(np.float32)  # no ties
    order = list(range(len(noise)))
    random.shuffle(order)  # type: ignore[attr-defined]
    size = (3 * maps.shape[1] + 1, 5 * maps.shape[2])
    np.testing.assert_array_equal(np.array(order)[upsample_argmax(noise[order], size)], upsample_argmax(noise, size))


def test_takes_any_memory_layout_and_float_type() -> None:
    maps = np.random.default_rng(0).normal(size=(4, 10, 12)).astype(np.float32)
    expected = upsample_argmax(maps, (33, 77))
    np.testing.assert_array_equal(upsample_argmax(np.asfortranarray(maps), (33, 77)), expected)
    np.testing.assert_array_equal(upsample_argmax(maps.astype(np.float64), (33, 77)), expected)
    wide = np.repeat(maps, 2, axis=2)
    np.testing.assert_array_equal(upsample_argmax(wide[:, :, ::2], (33, 77)), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_values_that_are_not_finite(value: float) -> None:
    maps = np.zeros((3, 5, 5), np.float32)
    maps[2, 4, 3] = value
    with pytest.raises(GroupingError, match="finite"):
        upsample_argmax(maps, (10, 10))


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ArgumentError, match="C, h, w"):
        upsample_argmax(np.zeros((5, 5), np.float32), (10, 10))
    with pytest.raises(ArgumentError, match="C, h, w"):
        upsample_argmax(np.zeros((2, 0, 5), np.float32), (10, 10))
    with pytest.raises(ArgumentError, match="256"):
        upsample_argmax(np.zeros((257, 2, 2), np.float32), (10, 10))
    with pytest.raises(ArgumentError, match="size"):
        upsample_argmax(np.zeros((2, 2, 2), np.float32), (0, 10))
