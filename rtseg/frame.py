"""A camera frame on its way through the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ImageError


@dataclass(frozen=True)
class RawImage:
    """A picture as its camera sent it, not converted yet; :func:`rtseg.media.raw_image` makes one.

    Attributes:
        encoding: as in sensor_msgs/Image, none of its aliases.
        width: columns.
        rows: (H, bytes a row) uint8, without padding at their ends; a view keeps alive what it was borrowed from.
        convert: gives (H, W, 3) uint8 BGR.

    Raises:
        ImageError: if it is smaller than 2x2 pixels.
    """

    encoding: str
    width: int
    rows: NDArray[np.uint8]
    convert: Callable[[], NDArray[np.uint8]]

    def __post_init__(self) -> None:
        _check_size(len(self.rows), self.width)


@dataclass(frozen=True)
class Frame:
    """One image with the time and the coordinate frame it was taken in.

    The stamp makes the difference between the two kinds of images. **With a stamp** a frame belongs to a stream: a
    video, a bag, a camera. What is found in it keeps its id from frame to frame. **Without** it is a still, as a bare
    array, a picture or a folder of unrelated pictures are: its result is as if it came alone, with ids 1..n, and what
    is remembered of a stream is neither read nor changed.

    Attributes:
        pixels: (H, W, 3) uint8 BGR, or what a camera sent, which a GPU converts on the way.
        stamp: acquisition time in nanoseconds since the epoch of its source; copied to the result, never replaced.
            None for a still.
        frame_id: name of the camera's coordinate frame (``header.frame_id`` in ROS).
        name: what it was read from where that is a file of its own, else empty.
    """

    pixels: NDArray[np.uint8] | RawImage
    stamp: int | None = None
    frame_id: str = ""
    name: str = ""

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, BGR; converted when first asked for."""
        return self.pixels.convert() if isinstance(self.pixels, RawImage) else self.pixels

    @property
    def converted(self) -> bool:
        """Whether `image` costs nothing: it came as BGR, or was asked for before. On a GPU it may never be."""
        return not isinstance(self.pixels, RawImage) or self.pixels.encoding == "bgr8" or "image" in vars(self)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        if isinstance(self.pixels, RawImage):
            return len(self.pixels.rows), self.pixels.width
        return self.pixels.shape[0], self.pixels.shape[1]


def check_image(image: object) -> NDArray[np.uint8]:
    """Return `image` if it is a non-empty (H, W, 3) uint8 array.

    Raises:
        ImageError: if it is anything else.
    """
    if image is None:
        raise ImageError("expected an (H, W, 3) uint8 BGR image, got None, as of cv2.imread; check the file's path")
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        what = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"expected an (H, W, 3) uint8 BGR image, got {what}; convert it with cv2.cvtColor first")
    _check_size(*image.shape[:2])
    return image


def _check_size(height: int, width: int) -> None:
    if height < 2 or width < 2:
        raise ImageError(f"expected an image of at least 2x2 pixels, got {width}x{height}")
