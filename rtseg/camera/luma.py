"""Some of a frame's pixels, as gray levels: enough to tell how the camera does, and cheap to come by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtseg.frame import Frame, RawImage

COLUMNS = 256
"""Most columns that are sampled."""

_LUMA_BYTE = {"yuv422": 1, "bgr8": 1, "rgb8": 1, "bgra8": 1, "rgba8": 1}  # of a pixel; 0 for the others


def sparse_luma(frame: Frame) -> NDArray[np.uint8]:
    """Sample a frame on a regular grid, at most 256 columns wide: its luma, or its green.

    Single pixels, not means: a grid of means would be as sharp of a blurred picture. Of what a camera sent the bytes
    are read where they lie, except for 16-bit channels, which are converted.

    Returns:
        (h, w) uint8, C-contiguous, a copy: what the kernels of the camera's health are compiled for, and no view that
        keeps a message alive.
    """
    width = frame.size[1]
    step = -(-width // COLUMNS)
    pixels = frame.pixels
    if isinstance(pixels, RawImage) and not pixels.encoding.endswith("16"):
        wide = pixels.rows.shape[1] // width
        if pixels.encoding.startswith("bayer"):
            step += step % 2  # sites of one color
        start = step // 2 * wide + _LUMA_BYTE.get(pixels.encoding, 0)
        return np.array(pixels.rows[step // 2 :: step, start : width * wide : step * wide], order="C")
    return np.array(frame.image[step // 2 :: step, step // 2 :: step, 1], order="C")
