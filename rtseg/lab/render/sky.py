"""Sky, clouds, far hills and the tree line, by direction alone: what lies too far away to move with the vehicle."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.noise import TILE, fractal, profile
from rtseg.lab.render.style import RoadStyle
from rtseg.lab.render.view import View

Picture = NDArray[np.float32]


def paint_sky(view: View, style: RoadStyle, seed: int, heading: float) -> Picture:
    """(H, W, 3) float32 BGR; `heading` in radians turns it with the vehicle."""
    rng = np.random.default_rng([seed, 21])
    width, height = view.width, view.height
    # The gradient and the clouds are smooth: a third of the picture's size is enough for them.
    small = (max(width // 3, 8), max(height // 3, 8))
    rays = cv2.resize(view.rays, small, interpolation=cv2.INTER_LINEAR)
    up = rays[..., 2] / np.sqrt((rays * rays).sum(axis=2))
    azimuth = np.arctan2(rays[..., 1], np.maximum(rays[..., 0], 1e-3)) + np.float32(heading)
    zenith, rim, cloud = {
        "sun": ((0.77, 0.52, 0.27), (0.88, 0.78, 0.65), (0.97, 0.96, 0.95)),
        "overcast": ((0.66, 0.64, 0.62), (0.80, 0.79, 0.78), (0.55, 0.54, 0.53)),
        "dusk": ((0.42, 0.28, 0.22), (0.35, 0.50, 0.72), (0.36, 0.32, 0.42)),
        "night": ((0.035, 0.022, 0.018), (0.06, 0.05, 0.045), (0.05, 0.045, 0.04)),
    }[style.lighting]
    tint = rng.uniform(0.85, 1.15, 3) if style.lighting != "night" else rng.uniform(0.3, 1.6, 3)
    haze = np.array(rim, np.float32)
    blend = (np.clip(up / rng.uniform(0.25, 0.6), 0, 1)[..., None] ** 0.7).astype(np.float32)
    picture = haze + (np.array(zenith, np.float32) * tint.astype(np.float32) - haze) * blend
    cover = {"sun": rng.uniform(-0.4, 0.55), "overcast": rng.uniform(0.4, 1.0)}.get(style.lighting, rng.uniform(0, 0.6))
    if cover > 0.05:
        distance = 1 / np.maximum(up + 0.03, 0.02)
        shift = rng.uniform(0, TILE, 2)
        map_x = ((distance * np.sin(azimuth) * 30 + shift[0]) % TILE).astype(np.float32)
        map_y = ((distance * np.cos(azimuth) * 14 + shift[1]) % TILE).astype(np.float32)
        soft = cv2.remap(fractal(1.6), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        share = np.clip((soft + 2.2 * cover - 1.2) * 0.9, 0, 1)[..., None] * np.float32(0.85)
        lit = np.clip(1 + 0.12 * soft[..., None], 0.6, 1.2)
        picture += (np.array(cloud, np.float32) * lit - picture) * share
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    _ridges(picture, view, style, rng, seed, heading, haze)
    return picture


def _ridges(
    picture: Picture, view: View, style: RoadStyle, rng: np.random.Generator, seed: int, heading: float, haze: Picture
) -> None:
    """Paint hills and the tree line over the rows around the horizon, farthest first."""
    bright = {"night": 0.04, "dusk": 0.4, "overcast": 0.75}.get(style.lighting, 1.0)
    layers: list[tuple[float, float, NDArray[np.float64], float, int]] = []
    for depth in range(int(rng.integers(0, 4)), 0, -1):
        tall = rng.uniform(0.006, 0.075) * (2.0 if style.setting == "mountain" else 1.0) / (0.6 + 0.4 * depth)
        base = np.array([0.16, 0.24, 0.22]) if rng.random() < 0.6 else np.array([0.28, 0.40, 0.46])
        fade = float(np.clip(0.15 + 0.27 * depth + rng.normal(0, 0.12), 0.05, 0.92))
        layers.append((tall, float(rng.uniform(0.4, 1.5)), base, fade, 6))
    if rng.random() < 0.75:  # trees, nearer than the hills and rougher
        leaf = np.array([0.09, 0.17, 0.15]) * rng.uniform(0.5, 1.5) * rng.uniform(0.85, 1.15, 3)
        layers.append(
            (float(rng.uniform(0.008, 0.05)), float(rng.uniform(0.05, 0.3)), leaf, float(rng.uniform(0, 0.35)), 5)
        )
    if not layers:
        return
    top = max(layer[0] for layer in layers) * 2.4
    slope = view.rays[..., 2] / np.maximum(np.hypot(view.rays[..., 0], view.rays[..., 1]), 1e-6)
    rows = np.flatnonzero(((slope < top) & (slope > -0.12)).any(axis=1))
    if not rows.size:
        return
    band = slice(int(rows[0]), int(rows[-1]) + 1)
    rays, slope = view.rays[band], slope[band]
    azimuth = np.arctan2(rays[..., 1], np.maximum(rays[..., 0], 1e-3)) + np.float32(heading)
    columns = np.linspace(float(azimuth.min()) - 0.01, float(azimuth.max()) + 0.01, 1024)
    map_x = ((azimuth * 900) % TILE).astype(np.float32)
    map_y = ((slope * 1500) % TILE).astype(np.float32)
    grain = cv2.remap(fractal(0.8), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    part = picture[band]
    for number, (tall, wavelength, base, fade, octaves) in enumerate(layers):
        rough = profile(columns, seed * 7 + number, wavelength, octaves)
        ridge = np.interp(azimuth, columns, tall * (0.9 + 0.5 * rough)).astype(np.float32)
        body = (base * bright * (1 - fade) + haze * fade).astype(np.float32)
        above = np.clip((ridge - slope) * np.float32(view.focal) + 0.5 + 0.3 * grain, 0, 1)[..., None]
        part += (body * (1 + np.float32(0.3 * (1 - fade)) * grain[..., None]) - part) * above
