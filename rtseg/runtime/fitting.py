"""How a frame of any shape becomes the input of a network: stretched, or inside a letterbox, perhaps its lower part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.ops.preprocess import normalize, resize_image
from rtseg.runtime.card import ModelInput

BORDER = 114.0
"""Gray level of a letterbox's borders, that with which YOLO networks are trained."""

_ALIGNED = 8  # pixels; borders end between the pixels of maps up to this stride


@dataclass(frozen=True)
class Window:
    """The part of a network's input that the frame fills, in its pixels."""

    top: int
    left: int
    height: int
    width: int

    def rows(self, stride: float) -> slice:
        """Rows of a map of that stride that show the frame, at least one."""
        return _span(self.top, self.height, stride)

    def columns(self, stride: float) -> slice:
        """Likewise its columns."""
        return _span(self.left, self.width, stride)


def unseen_rows(needs: ModelInput, height: int) -> int:
    """Rows at the top of a frame that a network does not see; two at least are seen."""
    return min(round(needs.top * height), max(0, height - 2))


def window_of(needs: ModelInput, size: tuple[int, int]) -> Window:
    """Say where what is seen of frames, (H, W) without unseen rows, lies in a network's input.

    In a letterbox a frame keeps its shape, but for what brings its sides and borders to multiples of 8 pixels, so that
    they end between the pixels of maps.
    """
    if needs.fit == "stretch":
        return Window(0, 0, needs.height, needs.width)
    scale = min(needs.height / size[0], needs.width / size[1])
    height, width = (
        min(side, max(_ALIGNED, round(scale * frame / _ALIGNED) * _ALIGNED))
        for side, frame in zip((needs.height, needs.width), size, strict=True)
    )
    return Window(_border(needs.height, height), _border(needs.width, width), height, width)


def network_input(image: NDArray[np.uint8], needs: ModelInput) -> NDArray[np.float32]:
    """Bring a frame (H, W, 3) uint8 BGR to a network's input, (1, 3, h, w) float32.

    Raises:
        ImageError: it is no such image.
    """
    tensor = np.empty((1, 3, needs.height, needs.width), np.float32)
    normalize(network_pixels(image, needs)[0], needs.mean, needs.std, tensor[0])
    return tensor


def network_pixels(image: NDArray[np.uint8], needs: ModelInput) -> NDArray[np.uint8]:
    """Bring a frame to what `network_input` normalizes, (1, h, w, 3) uint8 with channels in the order of `needs`.

    Raises:
        ImageError: it is no (H, W, 3) uint8 image.
    """
    image = image[unseen_rows(needs, len(image)) :]
    window = window_of(needs, (image.shape[0], image.shape[1]))
    inside = resize_image(image, (window.height, window.width), needs.order)
    if inside.shape[:2] == (needs.height, needs.width):
        return inside[None]
    pixels = np.full((1, needs.height, needs.width, 3), BORDER, np.uint8)
    pixels[:, window.top : window.top + window.height, window.left : window.left + window.width] = inside
    return pixels


def border_values(needs: ModelInput) -> NDArray[np.float32]:
    """Give (3,) what a letterbox's borders are in the three channels of a network's input."""
    return ((BORDER - np.asarray(needs.mean)) / np.asarray(needs.std)).astype(np.float32)


def _border(side: int, inside: int) -> int:
    return (side - inside) // 2 // _ALIGNED * _ALIGNED


def _span(start: int, length: int, stride: float) -> slice:
    first = round(start / stride)
    return slice(first, max(first + 1, round((start + length) / stride)))
