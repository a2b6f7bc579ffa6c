"""Frames of any shape in a network's input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtseg.ops import preprocess
from rtseg.runtime.card import ModelInput
from rtseg.runtime.fitting import BORDER, network_input, network_pixels, unseen_rows, window_of

SHAPE = {"order": "rgb", "mean": (10.0, 20.0, 30.0), "std": (2.0, 3.0, 4.0)}


def needs(width: int = 640, height: int = 640, **fields: object) -> ModelInput:
    return ModelInput.model_validate({"width": width, "height": height, **SHAPE, **fields})


@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((720, 1280), (136, 0, 360, 640)),
        ((1080, 1920), (136, 0, 360, 640)),
        ((480, 640), (80, 0, 480, 640)),
        ((1280, 720), (0, 136, 640, 360)),
        ((640, 640), (0, 0, 640, 640)),
    ],
)
def test_a_letterbox_keeps_the_shape_of_frames(size, window):
    found = window_of(needs(fit="letterbox"), size)
    assert (found.top, found.left, found.height, found.width) == window
    assert window_of(needs(), size) == type(found)(0, 0, 640, 640)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(2, 4000), st.integers(2, 4000)), st.integers(1, 90), st.integers(1, 90))
def test_a_window_lies_inside_and_keeps_the_shape_within_rounding(size, width, height):
    needed = needs(8 * width, 8 * height, fit="letterbox")
    window = window_of(needed, size)
    assert 0 <= window.top <= window.top + window.height <= needed.height
    assert 0 <= window.left <= window.left + window.width <= needed.width
    assert window.height == needed.height or window.width == needed.width
    scale = min(needed.height / size[0], needed.width / size[1])
    assert abs(window.height - scale * size[0]) <= 8
    assert abs(window.width - scale * size[1]) <= 8
    for stride in (1, 4, 8, 32):
        rows = window.rows(stride)
        assert rows.stop > rows.start >= 0


def test_borders_are_gray_and_the_frame_lies_between_them():
    image = np.random.default_rng(0).integers(0, 256, (100, 160, 3), dtype=np.uint8)
    needed = needs(64, 64, fit="letterbox")
    tensor = network_input(image, needed)
    window = window_of(needed, (100, 160))
    inside = tensor[:, :, window.top : window.top + window.height]
    np.testing.assert_array_equal(inside, preprocess(image, (40, 64), needed.mean, needed.std, "rgb"))
    for channel in range(3):
        gray = np.float32((BORDER - needed.mean[channel]) / needed.std[channel])
        assert (tensor[0, channel, : window.top] == gray).all()
        assert (tensor[0, channel, window.top + window.height :] == gray).all()


def test_rows_at_the_top_may_not_be_seen():
    image = np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        network_input(image, needs(32, 16, top=0.4)), network_input(image[40:], needs(32, 16))
    )
    assert unseen_rows(needs(top=0.9), 2) == 0


@given(st.integers(4, 200), st.integers(4, 200), st.sampled_from(["rgb", "bgr"]), st.sampled_from([0.0, 0.3]))
def test_pixels_are_what_is_normalized(height: int, width: int, order: str, top: float) -> None:
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for fit in ("stretch", "letterbox"):
        needed = needs(64, 40, fit=fit, order=order, top=top)
        pixels = network_pixels(image, needed)
        assert (pixels.dtype, pixels.shape, pixels.flags.c_contiguous) == (np.uint8, (1, 40, 64, 3), True)
        expected = ((pixels - np.array(needed.mean)) / np.array(needed.std)).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(network_input(image, needed), expected, atol=1e-4)
