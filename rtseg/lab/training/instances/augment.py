"""Augmentation of a picture and its instance labels together: window, scale, mirroring, light and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.lab.training.augment import AugmentConfig, Image, augment_appearance
from rtseg.ops import resize_image
from rtseg.settings import Settings


class InstanceAugmentConfig(Settings):
    """How strongly pictures are changed; every amount is drawn anew for each sample.

    Attributes:
        flip: probability of mirroring.
        scale: range of the size of objects against that in the runtime's input.
        brightness, gamma, contrast, saturation, tint, blur, noise, shadows: as in `AugmentConfig`.
    """

    flip: float = Field(0.5, ge=0, le=1)
    scale: tuple[float, float] = (0.7, 1.3)
    brightness: float = Field(0.25, ge=0, lt=1)
    gamma: float = Field(0.5, ge=0)
    contrast: float = Field(0.3, ge=0, lt=1)
    saturation: float = Field(0.5, ge=0, le=1)
    tint: float = Field(0.08, ge=0, lt=1)
    blur: float = Field(0.15, ge=0, le=1)
    noise: float = Field(6.0, ge=0)
    shadows: int = Field(1, ge=0)

    def appearance(self) -> AugmentConfig:
        """The same strengths for `augment_appearance`; nothing is painted over objects, since labels would be wrong."""
        strengths = self.model_dump(exclude={"flip", "scale"})
        return AugmentConfig(boxes=0, bonnet=0.0, **strengths)


Maps = tuple[NDArray[np.int32], NDArray[np.uint8]]
Window = tuple[float, float, float, float]


def sample_window(
    frame: tuple[int, int],
    view: tuple[int, int],
    size: tuple[int, int],
    config: InstanceAugmentConfig,
    rng: np.random.Generator,
) -> Window:
    """Draw the part of a frame that a sample shows.

    Args:
        frame: (height, width) of the picture.
        view: (height, width) to which the whole picture is scaled at run time.
        size: (height, width) of the sample.
        config: how far scale and place may go.
        rng: draws.

    Returns:
        (y, x, height, width) in the picture's pixels, partly outside it where the objects are drawn smaller than
        the sample has room for.
    """
    scale = float(np.exp(rng.uniform(*np.log(config.scale))))
    height, width = (size[i] * frame[i] / (scale * view[i]) for i in range(2))
    spare = frame[0] - height, frame[1] - width
    y, x = (float(rng.uniform(min(0.0, room), max(0.0, room))) for room in spare)
    return y, x, height, width


def cut_window(
    image: Image, maps: Maps, window: Window, size: tuple[int, int], fill: tuple[float, float, float]
) -> tuple[Image, Maps]:
    """Cut a window out of picture and label maps and scale it to `size`.

    The picture goes through the runtime's resize, labels take the nearest pixel. Outside the picture the sample has
    the color `fill`, and -1 and 255 in its instance and semantic map.

    Args:
        image: (H, W, 3) uint8.
        maps: instances (H, W) int32 and semantic (H, W) uint8.
        window: (y, x, height, width) in pixels of the picture.
        size: (h, w) of the result.
        fill: BGR.
    """
    spans = [_span(window[i], window[2 + i], image.shape[i], size[i]) for i in range(2)]
    source = tuple(slice(span[0], span[1]) for span in spans)
    target = tuple(slice(span[2], span[3]) for span in spans)
    inner = (spans[0][3] - spans[0][2], spans[1][3] - spans[1][2])
    picture = resize_image(image[source], inner)
    instances, semantic = (_nearest(values[source], inner) for values in maps)
    if inner == size:
        return picture, (instances, semantic)
    out = np.empty((*size, 3), np.uint8)
    out[:] = np.clip(np.rint(fill), 0, 255)
    out[target] = picture
    whole = (np.full(size, -1, np.int32), np.full(size, 255, np.uint8))
    whole[0][target], whole[1][target] = instances, semantic
    return out, whole


def _span(start: float, extent: float, limit: int, size: int) -> tuple[int, int, int, int]:
    """First and end pixel of the source and of the target along one axis; at least two pixels of each."""
    first = min(max(round(start), 0), limit - 2)
    end = max(min(round(start + extent), limit), first + 2)
    to_first = min(max(round((first - start) / extent * size), 0), size - 2)
    to_end = max(min(round((end - start) / extent * size), size), to_first + 2)
    return first, end, to_first, to_end


def _nearest(values: NDArray, size: tuple[int, int]) -> NDArray:
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT), values.dtype)


def augment_instances(
    image: Image,
    maps: Maps,
    view: tuple[int, int],
    size: tuple[int, int],
    config: InstanceAugmentConfig,
    rng: np.random.Generator,
    fill: tuple[float, float, float] = (114.0, 114.0, 114.0),
) -> tuple[Image, Maps]:
    """Draw a window, cut it out, mirror it, and change light, color and noise; instance ids stay as they were."""
    window = sample_window((image.shape[0], image.shape[1]), view, size, config, rng)
    picture, (instances, semantic) = cut_window(image, maps, window, size, fill)
    if rng.random() < config.flip:
        picture = np.ascontiguousarray(picture[:, ::-1])
        instances, semantic = np.ascontiguousarray(instances[:, ::-1]), np.ascontiguousarray(semantic[:, ::-1])
    return augment_appearance(picture, config.appearance(), rng), (instances, semantic)
