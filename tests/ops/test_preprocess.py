from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtseg.errors import ArgumentError, ImageError
from rtseg.ops import preprocess, resize_image

MEAN, STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def axis_matrix(source: int, target: int) -> NDArray[np.float64]:
    """Row i holds what target pixel i takes of each source pixel, from the definition of the two filters."""
    matrix = np.zeros((target, source))
    for i in range(target):
        if target < source:
            for j in range(source):
                matrix[i, j] = max(0.0, min(j + 1, (i + 1) * source / target) - max(j, i * source / target))
        else:
            position = min(max((i + 0.5) * source / target - 0.5, 0), source - 1)
            low = int(position)
            matrix[i, low] += 1 - (position - low)
            matrix[i, min(low + 1, source - 1)] += position - low
    return matrix / matrix.sum(axis=1, keepdims=True)


sides = st.integers(2, 60)


@given(sides, sides, st.integers(1, 60), st.integers(1, 60))
def test_resize_follows_its_definition(height: int, width: int, rows: int, columns: int) -> None:
    image = picture(height, width)
    exact = np.einsum("ij,jkc,lk->ilc", axis_matrix(height, rows), image, axis_matrix(width, columns))
    resized = resize_image(image, (rows, columns))
    assert resized.shape == (rows, columns, 3)
    assert np.abs(resized - exact).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("size", [(180, 320), (192, 320), (288, 512), (719, 1279)])
def test_shrinking_equals_opencv_area(size: tuple[int, int]) -> None:
    image = cv2.GaussianBlur(picture(720, 1280), (0, 0), 1)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    difference = np.abs(resize_image(image, size).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05


def test_enlarging_equals_opencv_linear() -> None:
    image = picture(90, 160)
    expected = cv2.resize(image, (320, 192), interpolation=cv2.INTER_LINEAR)
    assert np.abs(resize_image(image, (192, 320)).astype(int) - expected).max() <= 1


def test_same_size_changes_nothing() -> None:
    image = picture(31, 47)
    np.testing.assert_array_equal(resize_image(image, (31, 47)), image)


@pytest.mark.parametrize("offset", range(8))
def test_a_thin_line_keeps_its_brightness_wherever_it_lies(offset: int) -> None:
    image = np.zeros((720, 1280, 3), np.uint8)
    image[:, 640 + offset : 642 + offset] = 200
    resized = resize_image(image, (192, 320))
    np.testing.assert_allclose(resized[..., 0].sum(axis=1, dtype=int), 200 * 2 / 4, atol=1)


@given(sides, sides, st.sampled_from(["rgb", "bgr"]))
def test_preprocess_is_the_resize_normalized(height: int, width: int, order: str) -> None:
    image = picture(height, width)
    tensor = preprocess(image, (24, 40), MEAN, STD, order)  # type: ignore[arg-type]
    resized = resize_image(image, (24, 40))[..., :: -1 if order == "rgb" else 1]
    expected = ((resized - np.array(MEAN)) / np.array(STD)).transpose(2, 0, 1)[None]
    assert tensor.shape == (1, 3, 24, 40)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor, expected, atol=1e-5)


@given(sides, sides)
def test_channels_come_in_either_order(height: int, width: int) -> None:
    image = picture(height, width)
    np.testing.assert_array_equal(resize_image(image, (24, 41), "rgb"), resize_image(image, (24, 41))[..., ::-1])


def test_odd_sizes_of_a_large_image() -> None:
    image = picture(700, 1001)
    tall = preprocess(image, (191, 320), MEAN, STD)
    resized = resize_image(image, (191, 320))[..., ::-1]
    np.testing.assert_allclose(tall[0], ((resized - np.array(MEAN)) / np.array(STD)).transpose(2, 0, 1), atol=1e-5)


def test_takes_any_memory_layout() -> None:
    image = picture(200, 300)
    for view in (image[::2, ::-1], image.transpose(1, 0, 2), np.asfortranarray(image), image[5:-7, 3:]):
        np.testing.assert_array_equal(resize_image(view, (33, 44)), resize_image(view.copy(), (33, 44)))
    expected = resize_image(image, (33, 44))
    image.flags.writeable = False
    np.testing.assert_array_equal(resize_image(image, (33, 44)), expected)


def test_writes_to_out() -> None:
    out = np.full((1, 3, 24, 40), np.nan, np.float32)
    image = picture(50, 70)
    assert preprocess(image, (24, 40), MEAN, STD, out=out) is out
    np.testing.assert_array_equal(out, preprocess(image, (24, 40), MEAN, STD))


def test_refuses_what_does_not_fit() -> None:
    image = picture(50, 70)
    with pytest.raises(ImageError):
        preprocess(image[..., 0], (24, 40), MEAN, STD)
    with pytest.raises(ImageError):
        resize_image(image.astype(np.float32), (24, 40))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="size"):
        resize_image(image, (24, 0))
    with pytest.raises(ArgumentError, match="order"):
        preprocess(image, (24, 40), MEAN, STD, "yuv")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="order"):
        resize_image(image, (24, 40), "yuv")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="deviations"):
        preprocess(image, (24, 40), MEAN, (1, 0, 1))
    with pytest.raises(ArgumentError, match="out"):
        preprocess(image, (24, 40), MEAN, STD, out=np.empty((1, 3, 40, 24), np.float32))
