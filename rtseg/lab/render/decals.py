"""Arrows, words, figures and diamonds painted on the road: paint that is no lane line."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.noise import fractal
from rtseg.lab.render.road import GroundMaps, RoadShape
from rtseg.lab.render.style import RoadStyle
from rtseg.lab.render.view import View

WORDS = ("SLOW", "STOP", "BUS", "ONLY", "XING", "50", "30", "80", "TAXI", "A4", "EXIT", "LANE", "AHEAD")
CHUNK = 45.0


@lru_cache(maxsize=32)
def texture(kind: str) -> NDArray[np.float32]:
    """(256, 128) float32 paint cover; row 0 lies farthest from the driver."""
    picture: NDArray[np.uint8] = np.zeros((256, 128), np.uint8)
    if kind in WORDS:
        (wide, tall), _ = cv2.getTextSize(kind, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 5)
        word = np.zeros((tall + 12, wide + 12), np.uint8)
        cv2.putText(word, kind, (6, tall + 4), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 5)
        picture = np.asarray(cv2.resize(word, (128, 256), interpolation=cv2.INTER_LINEAR), np.uint8)
    elif kind == "diamond":
        cv2.polylines(picture, [np.array([[64, 6], [118, 128], [64, 250], [10, 128]])], True, 255, 12)
    else:
        cv2.rectangle(picture, (56, 90), (72, 250), 255, -1)
        if "straight" in kind:
            cv2.fillPoly(picture, [np.array([[64, 4], [100, 96], [28, 96]])], 255)
        if "left" in kind or "right" in kind:
            head = np.array([[64, 130], [28, 130], [28, 160], [2, 104], [28, 52], [28, 84], [64, 84]])
            if "right" in kind:
                head = np.stack([127 - head[:, 0], head[:, 1]], axis=1)
            cv2.fillPoly(picture, [head], 255)
    return (picture / np.float32(255)).astype(np.float32)


def paint_decals(
    ground: NDArray[np.float32],
    maps: GroundMaps,
    shape: RoadShape,
    view: View,
    style: RoadStyle,
    seed: int,
    traveled: float,
) -> None:
    """Paint the decals of the next 70 m into the (H, W, 3) reflectance `ground`, in place."""
    share = {"city": 0.55, "country": 0.12, "mountain": 0.08}.get(style.setting, 0.16)
    for chunk in range(int((traveled - 5) // CHUNK), int((traveled + 70) // CHUNK) + 1):
        rng = np.random.default_rng([seed, 71, chunk & 0xFFFFFFFF])
        if rng.random() > share:
            continue
        kind = str(rng.choice(["straight", "left", "right", "straight left", "straight right", "diamond", "word"]))
        kind = str(rng.choice(WORDS)) if kind == "word" else kind
        start = chunk * CHUNK + float(rng.uniform(0, CHUNK - 8)) - traveled
        long, wide = float(rng.uniform(2.2, 6.0)), float(rng.uniform(0.9, 2.4))
        tone, wear = float(rng.uniform(0.55, 0.92)), float(rng.uniform(0, 0.6))
        for k in range(len(style.lines) - 1):
            if rng.random() < 0.55:
                middle = (style.lines[k].offset + style.lines[k + 1].offset) / 2
                _paint(ground, maps, shape, view, texture(kind), (start, middle, long, wide), tone, wear)


def _paint(
    ground: NDArray[np.float32],
    maps: GroundMaps,
    shape: RoadShape,
    view: View,
    cover: NDArray[np.float32],
    place: tuple[float, float, float, float],
    tone: float,
    wear: float,
) -> None:
    start, middle, long, wide = place
    half = wide / 2 + 0.2
    s = np.array([start, start, start + long, start + long])
    outline = view.polygon(shape.points(s, middle + np.array([half, -half, -half, half])))
    if outline is None or start > 70:
        return
    x0, y0 = np.clip(np.floor(outline.min(axis=0)), 0, [view.width, view.height]).astype(int)
    x1, y1 = np.clip(np.ceil(outline.max(axis=0)) + 1, 0, [view.width, view.height]).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    where = (slice(y0, y1), slice(x0, x1))
    along, across = maps.s[where], maps.u[where]
    footprint = float(np.median(maps.ds[where])) if np.isfinite(maps.ds[where]).any() else 1.0
    shrink = max(1.0, footprint / long * cover.shape[0])
    if shrink > 1.5:
        cover = np.asarray(cv2.blur(cover, (1, int(shrink))), np.float32)
    rows = (1 - (along - start) / long) * (cover.shape[0] - 1)
    columns = (0.5 - (across - middle) / wide) * (cover.shape[1] - 1)
    bad = ~np.isfinite(rows) | ~np.isfinite(columns)
    rows, columns = np.where(bad, -9, rows).astype(np.float32), np.where(bad, -9, columns).astype(np.float32)
    alpha = cv2.remap(cover, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if wear > 0.1:
        worn = cv2.remap(fractal(0.6), columns * 2, rows * 2, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        alpha *= np.clip(1.3 - 2 * wear + 0.5 * worn, 0.1, 1)
    ground[where] += (np.float32(tone) - ground[where]) * (alpha * np.float32(0.9))[..., None]
