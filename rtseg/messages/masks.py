"""Masks as images: what their pixels mean, and in which encoding they travel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.errors import ImageError
from rtseg.label_image import look_up
from rtseg.results import Instances, Lanes

JPEG_FORMAT = "bgr8; jpeg compressed bgr8"
"""As image_transport writes it."""

_FAST = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
"""Masks are runs of one value; anything slower makes them hardly smaller."""


@dataclass(frozen=True)
class Mask:
    """An image message's pixels.

    Attributes:
        pixels: (H, W) uint8 or uint16, little-endian.
        encoding: of sensor_msgs/Image.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    encoding: str

    @property
    def png_format(self) -> str:
        """Format of a sensor_msgs/CompressedImage of it, as image_transport writes it."""
        return f"{self.encoding}; png compressed "

    def png_bytes(self) -> NDArray[np.uint8]:
        """The (n,) bytes of a PNG of the same values, whose format is :attr:`png_format`.

        Raises:
            ImageError: it does not encode.
        """
        try:
            done, encoded = cv2.imencode(".png", self.pixels, _FAST)
        except cv2.error:
            done = False
        if not done:
            raise ImageError(f"expected a mask that PNG can hold, got one of shape {self.pixels.shape}; drop the frame")
        return np.asarray(encoded, dtype=np.uint8).reshape(-1)


def lane_mask(lanes: Lanes) -> Mask:
    """``lane_mask``: mono8, the id of the lane at each pixel, 0 where there is none."""
    return Mask(lanes.mask, "mono8")


def instance_mask(instances: Instances) -> Mask:
    """``instance_mask``: 16UC1, the id of the object at each pixel, 0 where there is none."""
    return Mask(look_up(instances.labels, instances.ids, np.uint16), "16UC1")


def class_mask(instances: Instances) -> Mask:
    """``class_mask``: mono8, 1 + the index of the class of the object at each pixel, 0 where there is none."""
    return Mask(look_up(instances.labels, instances.class_ids + 1, np.uint8), "mono8")


def jpeg_bytes(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """An (H, W, 3) BGR picture as the (n,) bytes of a JPEG, whose format is :data:`JPEG_FORMAT`.

    Raises:
        ImageError: it does not encode.
    """
    try:
        done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:
        done = False
    if not done:
        raise ImageError(f"expected a picture that JPEG can hold, got one of shape {image.shape}; drop the frame")
    return np.asarray(encoded, dtype=np.uint8).reshape(-1)
