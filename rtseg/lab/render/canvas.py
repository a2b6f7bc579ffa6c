"""The picture being painted: color, distance and what stands before the road, filled far to near."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.view import NEAR, View

Color = tuple[float, float, float]
LIMIT = 8000  # pixels; OpenCV's fixed-point coordinates overflow far outside the picture


class Canvas:
    """Float picture (H, W, 3) BGR with a distance in metres and a standing-object flag for every pixel.

    `glow` collects light that sources send into the lens, added after shading. Where `labels`, an (H, W) int32 map, is
    given, what is filled writes the current `label` into it.
    """

    def __init__(self, view: View, image: NDArray[np.float32], distance: NDArray[np.float32]) -> None:
        self.view = view
        self.image = image
        self.distance = distance
        self.standing = np.zeros(image.shape[:2], np.uint8)
        self.glow = np.zeros_like(image)
        self.labels: NDArray[np.int32] | None = None
        self.label = 0

    def fill(self, corners: NDArray[np.float64], color: Color, distance: float, standing: bool = True) -> None:
        """Fill a (k, 2) pixel polygon."""
        points = np.rint(np.clip(corners, -LIMIT, LIMIT) * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.fillPoly(self.image, [points], color, cv2.LINE_8, 4)
        cv2.fillPoly(self.distance, [points], distance, cv2.LINE_8, 4)
        if standing:
            cv2.fillPoly(self.standing, [points], 1, cv2.LINE_8, 4)
        if self.labels is not None:
            cv2.fillPoly(self.labels, [points], self.label, cv2.LINE_8, 4)
            cv2.fillPoly(self.glow, [points], (0.0, 0.0, 0.0), cv2.LINE_8, 4)  # it hides lamps behind it

    def face(self, corners: NDArray[np.float64], color: Color, standing: bool = True) -> None:
        """Fill a (k, 3) polygon of the vehicle frame."""
        pixels = self.view.polygon(corners)
        if pixels is not None:
            self.fill(pixels, color, max(float(corners[:, 0].sum()) / len(corners), 0.5), standing)

    def faces(self, parts: list[tuple[NDArray[np.float64], Color]], distance: float) -> None:
        """Fill standing (k, 3) polygons of the vehicle frame in this order, all at `distance`, projected in one go."""
        optical = self.view.optical(np.concatenate([corners for corners, _ in parts]))
        pixels = self.view.pixels(optical)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        behind = bool((optical[:, 2] < NEAR).any())
        if not behind and (high[0] < 0 or high[1] < 0 or low[0] > self.view.width or low[1] > self.view.height):
            return
        start = 0
        for corners, color in parts:
            part = pixels[start : start + len(corners)]
            cut = self.view.polygon(corners) if behind else part
            if cut is not None:
                self.fill(cut, color, distance)
            start += len(corners)

    def multiply(self, corners: NDArray[np.float64], factor: float, soft: float) -> None:
        """Darken a (k, 3) polygon on the ground by `factor` with an edge of `soft` pixels."""
        pixels = self.view.polygon(corners)
        if pixels is None:
            return
        low = np.floor(pixels.min(axis=0) - 2 * soft - 1).astype(int)
        high = np.ceil(pixels.max(axis=0) + 2 * soft + 2).astype(int)
        x0, y0 = np.clip(low, 0, [self.view.width, self.view.height])
        x1, y1 = np.clip(high, 0, [self.view.width, self.view.height])
        if x1 <= x0 or y1 <= y0:
            return
        cover = np.zeros((y1 - y0, x1 - x0), np.float32)
        points = np.rint(np.clip(pixels - [x0, y0], -LIMIT, LIMIT) * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.fillPoly(cover, [points], 1.0, cv2.LINE_AA, 4)
        if soft >= 1:
            cover = cv2.blur(cover, (2 * int(soft) + 1,) * 2)
        self.image[y0:y1, x0:x1] *= (1 - (1 - factor) * cover)[..., None]

    def sprite(self, alpha: NDArray[np.float32], color: NDArray[np.float32], box: tuple[float, float, float, float],
               distance: float) -> None:  # fmt: skip
        """Paint a sprite (h, w) alpha with (h, w, 3) color into the pixel box (x0, y0, x1, y1)."""
        x0, y0, x1, y1 = (round(v) for v in box)
        left, top = max(x0, 0), max(y0, 0)
        right, bottom = min(x1, self.view.width), min(y1, self.view.height)
        if right <= left or bottom <= top:
            return
        h, w = alpha.shape
        if (x1 - x0) * (y1 - y0) > 4 * (right - left) * (bottom - top) + 64:  # mostly outside: cut before resizing
            u0, u1 = (left - x0) * w // (x1 - x0), -(-(right - x0) * w // (x1 - x0))
            v0, v1 = (top - y0) * h // (y1 - y0), -(-(bottom - y0) * h // (y1 - y0))
            alpha, color = (
                alpha[v0 : max(v1, v0 + 1), u0 : max(u1, u0 + 1)],
                color[v0 : max(v1, v0 + 1), u0 : max(u1, u0 + 1)],
            )
            size, shift = (right - left, bottom - top), (0, 0)
        else:
            size, shift = (x1 - x0, y1 - y0), (left - x0, top - y0)
        how = cv2.INTER_AREA if size[0] < alpha.shape[1] else cv2.INTER_LINEAR
        window = (slice(shift[1], shift[1] + bottom - top), slice(shift[0], shift[0] + right - left))
        small = cv2.resize(alpha, size, interpolation=how)[window]
        paint = cv2.resize(color, size, interpolation=how)[window]
        where = (slice(top, bottom), slice(left, right))
        self.image[where] += (paint - self.image[where]) * small[..., None]
        solid = small > 0.5
        self.distance[where][solid] = distance
        self.standing[where][solid] = 1
        if self.labels is not None:
            self.labels[where][solid] = self.label

    def light(self, center: tuple[float, float], radius: float, color: Color) -> None:
        """Add a light source of `radius` pixels, with the halo it makes in the lens."""
        x, y = center
        if not (-50 < x < self.view.width + 50 and -50 < y < self.view.height + 50):
            return
        r = max(radius, 0.5)
        cv2.circle(self.glow, (round(x * 16), round(y * 16)), round(r * 16), color, -1, cv2.LINE_AA, 4)
