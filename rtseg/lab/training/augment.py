"""Augmentation of a road picture and its lane polylines together: geometry, light, weather-like dirt, occlusion."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rtseg.settings import Settings

Image = NDArray[np.uint8]
Lines = list[NDArray[np.float32]]


class AugmentConfig(Settings):
    """How strongly pictures are changed; every amount is drawn anew for each sample.

    Attributes:
        flip: probability of mirroring.
        zoom: range of the scale factor about a random center.
        shift: greatest translation, fraction of the image's sides (x, y).
        rotation: greatest rotation, degrees.
        stretch: range of the factor of heights against widths: the road of a camera higher or lower above it, and
            pictures of other aspect.
        perspective: greatest displacement of each image corner, fraction of the sides.
        brightness: greatest relative gain change.
        gamma: greatest exponent of 2 of the gamma curve.
        contrast: greatest relative contrast change.
        saturation: greatest relative saturation change.
        tint: greatest relative gain change of a single color channel.
        blur: probability of Gaussian or motion blur.
        noise: greatest standard deviation of sensor noise, gray levels.
        shadows: greatest number of shadow or glare polygons.
        boxes: greatest number of cut-out boxes (other cars).
        bonnet: probability that a bonnet covers the bottom rows.
    """

    flip: float = Field(0.5, ge=0, le=1)
    zoom: tuple[float, float] = (0.92, 1.5)
    shift: tuple[float, float] = (0.08, 0.08)
    rotation: float = Field(3.0, ge=0)
    stretch: tuple[float, float] = (1.0, 1.0)
    perspective: float = Field(0.05, ge=0, lt=0.3)
    brightness: float = Field(0.25, ge=0, lt=1)
    gamma: float = Field(0.6, ge=0)
    contrast: float = Field(0.3, ge=0, lt=1)
    saturation: float = Field(0.5, ge=0, le=1)
    tint: float = Field(0.1, ge=0, lt=1)
    blur: float = Field(0.25, ge=0, le=1)
    noise: float = Field(8.0, ge=0)
    shadows: int = Field(3, ge=0)
    boxes: int = Field(2, ge=0)
    bonnet: float = Field(0.25, ge=0, le=1)


def augment_geometry(
    image: Image,
    lanes: Sequence[NDArray[np.float32]],
    config: AugmentConfig,
    rng: np.random.Generator,
    mask: Image | None = None,
) -> tuple[Image, Lines, Image | None]:
    """Mirror, zoom, shift, rotate, stretch and tilt image and lines by one homography; the canvas keeps its size.

    Args:
        image: (H, W, 3) uint8.
        lanes: polylines (k, 2) of (x, y) pixels.
        config: how far each may go.
        rng: draws.
        mask: (H, W) uint8 of classes, or None.

    Returns:
        The warped image, lines, which may leave the canvas, and mask, 255 outside of the picture.
    """
    height, width = image.shape[:2]
    homography = _homography((height, width), config, rng)
    fill = tuple(float(value) for value in image[:: max(height // 8, 1), :: max(width // 8, 1)].mean((0, 1)))
    warped = cv2.warpPerspective(image, homography, (width, height), flags=cv2.INTER_LINEAR, borderValue=fill)
    lines: Lines = [
        np.asarray(cv2.perspectiveTransform(np.asarray(lane, np.float32)[:, None], homography)[:, 0], np.float32)
        for lane in lanes
    ]
    if mask is not None:
        mask = np.asarray(
            cv2.warpPerspective(mask, homography, (width, height), flags=cv2.INTER_NEAREST, borderValue=255), np.uint8
        )
    return np.asarray(warped, dtype=np.uint8), lines, mask


def _homography(size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    height, width = size
    center = np.array([rng.uniform(0.3, 0.7) * width, rng.uniform(0.4, 0.8) * height])
    zoom = np.exp(rng.uniform(*np.log(config.zoom)))
    angle = np.deg2rad(rng.uniform(-config.rotation, config.rotation))
    shift = np.array([rng.uniform(-1, 1) * config.shift[0] * width, rng.uniform(-1, 1) * config.shift[1] * height])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = (corners - center) @ turn.T
    if config.stretch != (1.0, 1.0):
        target[:, 1] *= np.exp(rng.uniform(*np.log(config.stretch)))
    target += center + shift
    target += rng.uniform(-1, 1, (4, 2)) * config.perspective * np.array([width, height])
    if rng.random() < config.flip:
        target[:, 0] = width - 1 - target[:, 0]
    return np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32)), np.float64)


def augment_appearance(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """Change light, color, sharpness and noise, and cover parts; geometry stays."""
    picture = _occlude(_shade(image, config, rng), config, rng)
    if rng.random() < config.blur:
        picture = _blur(picture, rng)
    picture = _recolor(picture, config, rng)
    if config.noise > 0:
        sigma = rng.uniform(0, config.noise) ** 2 / config.noise
        picture = _add_noise(picture, sigma, rng)
    return picture


def _recolor(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    keep = 1.0 - config.saturation * rng.uniform(-0.4, 1.0)
    if keep != 1.0:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        image = np.asarray(cv2.addWeighted(image, keep, gray, 1.0 - keep, 0.0), dtype=np.uint8)
    levels = np.linspace(0.0, 1.0, 256)[:, None]
    gains = (1.0 + config.brightness * rng.uniform(-1, 1)) * (1.0 + config.tint * rng.uniform(-1, 1, 3))
    contrast = 1.0 + config.contrast * rng.uniform(-1, 1)
    gamma = 2.0 ** (config.gamma * rng.uniform(-1, 1))
    curve = ((levels**gamma - 0.5) * contrast + 0.5) * gains
    table = np.clip(np.round(curve * 255.0), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[:, None, :]), dtype=np.uint8)


def _shade(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """Darken or brighten random quadrangles, edges soft or hard, as trees, bridges and wet patches do."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(0, config.shadows + 1)):
        y0, y1 = np.sort(rng.uniform(0.3, 1.1, 2)) * height
        xs = rng.uniform(-0.3, 1.3, 4) * width
        polygon = np.array([[xs[0], y0], [xs[1], y0], [xs[2], y1], [xs[3], y1]])
        gain = np.full((height, width), 128, np.uint8)
        level = int(128 * (rng.uniform(0.35, 0.9) if rng.random() < 0.75 else rng.uniform(1.05, 1.5)))
        cv2.fillPoly(gain, [np.round(polygon).astype(np.int32)], level)
        soft = int(rng.integers(0, 12))
        if soft:
            gain = np.asarray(cv2.blur(gain, (2 * soft + 1, 2 * soft + 1)), dtype=np.uint8)
        image = np.asarray(cv2.multiply(image, cv2.cvtColor(gain, cv2.COLOR_GRAY2BGR), scale=1 / 128), dtype=np.uint8)
    return image


def _occlude(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """Put boxes with a darker lower part (cars) on the road, and a bonnet over the bottom rows."""
    height, width = image.shape[:2]
    picture = image.copy()
    for _ in range(rng.integers(0, config.boxes + 1)):
        bottom = rng.uniform(0.5, 0.98)
        side = (bottom - 0.35) * rng.uniform(0.3, 0.7)
        w, h = int(side * width), int(side * rng.uniform(0.6, 1.1) * height)
        x, y = int(rng.uniform(-0.1, 1.0) * width), int(bottom * height)
        color = rng.integers(0, 256, 3).tolist()
        cv2.rectangle(picture, (x, y - h), (x + w, y), color, -1)
        cv2.rectangle(picture, (x, y - h // 5), (x + w, y), [value // 4 for value in color], -1)
    if rng.random() < config.bonnet:
        rows = int(rng.uniform(0.01, 0.09) * height)
        bow = rng.uniform(0, 0.5) * rows
        columns = np.linspace(0, width, 9)
        top = height - rows + bow * (2 * columns / width - 1) ** 2
        polygon = np.concatenate([np.stack([columns, top], 1), [[width, height], [0, height]]])
        cv2.fillPoly(picture, [np.round(polygon).astype(np.int32)], rng.integers(0, 160, 3).tolist())
    return picture


def _blur(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.3, 1.2))
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)
    length = int(rng.integers(2, 6))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = 0.5 * (length - 1) * np.array([np.cos(angle), np.sin(angle)])
    middle = 0.5 * (length - 1)
    start, end = np.round(middle - reach).astype(int), np.round(middle + reach).astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), dtype=np.uint8)


def _add_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    if sigma < 0.5:
        return image
    # A tile of noise rolled to a random place is as good as fresh noise over the whole frame, and faster.
    tile = rng.normal(0.0, sigma, (64, 96, 3)).astype(np.int16)
    repeats = (image.shape[0] // 64 + 1, image.shape[1] // 96 + 1, 1)
    noise = np.tile(tile, repeats)[: image.shape[0], : image.shape[1]]
    return np.clip(image + noise, 0, 255).astype(np.uint8)
