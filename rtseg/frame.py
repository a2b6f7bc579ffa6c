"""A camera frame on its way through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ImageError


@dataclass(frozen=True)
class Frame:
    """One image with the time and the coordinate frame it was taken in.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        stamp: acquisition time in nanoseconds since the epoch of its source; copied to the result, never replaced.
        frame_id: name of the camera's coordinate frame (``header.frame_id`` in ROS).
    """

    image: NDArray[np.uint8]
    stamp: int = 0
    frame_id: str = ""


def check_image(image: object) -> NDArray[np.uint8]:
    """Return `image` if it is a non-empty (H, W, 3) uint8 array.

    Raises:
        ImageError: if it is anything else.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        what = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"expected an (H, W, 3) uint8 BGR image, got {what}; convert it with cv2.cvtColor first")
    if image.shape[0] < 2 or image.shape[1] < 2:
        raise ImageError(f"expected an image of at least 2x2 pixels, got {image.shape[1]}x{image.shape[0]}")
    return image
