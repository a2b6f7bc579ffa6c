"""Light, weather and the camera's own marks: everything that happens to the picture after its geometry."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.lab.render.canvas import Canvas
from rtseg.lab.render.road import GroundMaps
from rtseg.lab.render.style import RoadStyle

CURVE, CURVE_TOP = 1024, 3.0  # samples of the sensor curve and the brightest value it tells apart
METERED, BRIGHTEST = 75, 0.6  # by night this percentile of the picture's lower half is kept from being brighter


def headlights(maps: GroundMaps, style: RoadStyle, rng: np.random.Generator, traveled: float) -> NDArray[np.float32]:
    """(H, W, 3) float32 light on the ground at night: own headlights, street lamps, a little sky."""
    x = np.where(np.isfinite(maps.x), np.maximum(maps.x, 0.5), 300.0).astype(np.float32)
    y = np.where(np.isfinite(maps.x), maps.y, 0.0)
    power, range_ = float(rng.uniform(0.7, 1.5)), float(rng.uniform(22, 50))
    spread = 2.2 + 0.22 * x
    beam = power * np.exp(-(((y + 0.3) / spread) ** 2)) / (1 + (x / range_) ** 2.2) * np.clip((x - 1.0) / 4, 0.25, 1)
    ambient = float(rng.uniform(0.01, 0.05))
    light = (beam[..., None] * np.array([0.86, 0.95, 1.0]) + ambient).astype(np.float32)
    if style.setting == "city" or rng.random() < 0.45:
        gap, strength = float(rng.uniform(22, 45)), float(rng.uniform(0.2, 0.75))
        sodium = np.array([0.35, 0.7, 1.0]) if rng.random() < 0.6 else np.array([0.95, 0.95, 0.9])
        s = np.where(np.isfinite(maps.s), maps.s + traveled, 0.0)
        pool = np.exp(-(((s % gap) - gap / 2) ** 2) / (2 * (gap / 4.2) ** 2)) * 0.8 + 0.2
        edge = style.right_edge if rng.random() < 0.5 else style.left_edge
        across = np.exp(-(((np.where(np.isfinite(maps.u), maps.u, 0) - edge) / 14) ** 2))
        light += (strength * pool * across)[..., None].astype(np.float32) * sodium.astype(np.float32)
    return light


def fog(canvas: Canvas, color: NDArray[np.float64], visibility: float) -> None:
    """Blend everything towards `color` by distance; at `visibility` metres 5 % is left (Koschmieder)."""
    left = cv2.exp(np.minimum(canvas.distance, 5000.0) * np.float32(-3.0 / visibility))[..., None]
    canvas.image *= left
    canvas.image += color.astype(np.float32) * (1 - left)
    canvas.glow *= np.sqrt(left)


def wet_road(canvas: Canvas, maps: GroundMaps, style: RoadStyle, rng: np.random.Generator) -> None:
    """Mirror what stands above the horizon in the road, more at grazing angles, broken up by puddles and ripples."""
    ground = np.isfinite(maps.x) & (canvas.standing == 0)
    height, width = ground.shape
    rows = np.arange(height, dtype=np.float32)[:, None]
    seen = np.isfinite(maps.x).any(axis=1)
    horizon = float(np.argmax(seen)) if seen.any() else height / 2
    jitter = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 2.0) * 10
    map_y = np.clip(2 * horizon - rows + jitter, 0, height - 1).astype(np.float32)
    map_x = np.clip(np.arange(width, dtype=np.float32)[None] + jitter * 0.3, 0, width - 1).astype(np.float32)
    both = np.clip(canvas.image + canvas.glow * 2.0, 0, 1.6)
    mirror = cv2.remap(both, map_x, np.broadcast_to(map_y, (height, width)).astype(np.float32), cv2.INTER_LINEAR)
    mirror = cv2.blur(mirror, (3, max(height // 14, 1)))
    grazing = np.clip(1.0 - (rows - horizon) / (0.75 * height), 0, 1) ** 2
    puddles = cv2.resize(
        rng.standard_normal((12, 9)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    paved = np.where(ground & (maps.u < style.left_edge + 0.5) & (maps.u > style.right_edge - 0.5), 1.0, 0.25 * ground)
    share = np.clip(grazing * rng.uniform(0.25, 0.65) * (1 + 0.4 * puddles), 0, 0.85) * paved
    canvas.image *= (1 - 0.35 * ground[..., None]).astype(np.float32)
    canvas.image += (mirror - canvas.image) * share[..., None].astype(np.float32)


def expose(
    canvas: Canvas, style: RoadStyle, per_drive: np.random.Generator, per_frame: np.random.Generator
) -> NDArray[np.uint8]:
    """Turn the float picture into camera bytes: halo, glare, exposure, white balance, lens, blur, noise, JPEG.

    Args:
        canvas: the finished picture.
        style: the scene.
        per_drive: generator of what stays the same in a drive (exposure, color, lens).
        per_frame: generator of what changes with every frame (noise, drops).
    """
    image = canvas.image
    height, width = image.shape[:2]
    if canvas.glow.any():
        small = cv2.resize(canvas.glow, (max(width // 4, 1), max(height // 4, 1)), interpolation=cv2.INTER_AREA)
        halo = cv2.GaussianBlur(small, (0, 0), max(width / 160, 0.5)) * 2.0
        halo += cv2.GaussianBlur(small, (0, 0), max(width / 40, 0.8)) * 1.2
        image = np.asarray(image + canvas.glow * 1.5 + cv2.resize(halo, (width, height)), np.float32)
    rain, stray = style.weather == "rain", style.stray
    if style.lighting == "sun" and per_drive.random() < 0.12 * stray:  # low sun into the lens
        cx, cy = per_drive.uniform(0, width), per_drive.uniform(0, 0.45) * height
        y, x = np.ogrid[0:height, 0:width]
        distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2) / width
        veil = per_drive.uniform(0.2, 0.7) * np.exp(-distance / per_drive.uniform(0.1, 0.5))
        image = image + veil[..., None].astype(np.float32) * np.array([0.85, 0.95, 1.0], np.float32)
    if rain:
        image = _drops(np.asarray(image, np.float32), per_frame, per_drive)
    gain = float(np.exp(per_drive.normal(0.05, 0.2 * stray)))
    if style.lighting == "night":  # a camera meters what its headlights show: the road is not blown out
        lit = float(np.percentile(image[height // 2 :, :, 1], METERED))
        gain = min(gain * float(per_drive.uniform(1.0, 1.9)), BRIGHTEST / max(lit, 1e-3))
    else:
        gain *= 1.15
    balance = np.exp(per_drive.normal(0, 0.04 * stray, 3)).astype(np.float32)
    gamma = float(np.clip(per_drive.normal(1.0, 0.18 * stray), 0.6, 1.6))
    contrast, lift = (
        float(np.clip(per_drive.normal(1.0, 0.13 * stray), 0.55, 1.35)),
        float(per_drive.normal(0.0, 0.025 * stray)),
    )
    saturation = float(np.clip(per_drive.normal(0.95, 0.2 * stray), 0.1, 1.35))
    vignette = float(per_drive.uniform(0, 0.4)) * stray if per_drive.random() < 0.6 else 0.0
    # The sensor's curve: linear with a shoulder, then gamma.
    levels = np.linspace(0, CURVE_TOP, CURVE)
    curve = np.where(levels > 0.8, 0.8 + 0.2 * (1 - np.exp(-(levels - 0.8) / 0.2)), levels) ** gamma
    image = _tone(
        np.ascontiguousarray(image, np.float32),
        gain * balance,
        curve.astype(np.float32),
        saturation,
        contrast,
        lift,
        vignette,
    )
    blur = float(per_drive.choice([0.0, per_drive.uniform(0.3, 0.7), per_drive.uniform(0.7, 1.5)], p=[0.45, 0.4, 0.15]))
    blur *= width / 640 * min(stray, 1.0)
    if blur > 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.float32)
    if per_drive.random() < 0.15 * stray:  # shake while the shutter is open
        long = 2 * int(per_drive.integers(1, 4)) + 1
        kernel = np.zeros((long, long), np.float32)
        angle = float(per_drive.uniform(0, np.pi))
        reach = np.array([np.cos(angle), np.sin(angle)]) * (long // 2)
        start, end = (np.rint(long // 2 + sign * reach).astype(int).tolist() for sign in (-1, 1))
        cv2.line(kernel, start, end, 1.0)
        image = np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.float32)
    noise = abs(float(per_drive.normal(0, 0.007))) * stray + (
        float(per_drive.uniform(0.005, 0.035)) if style.lighting == "night" else 0.0
    )
    if noise > 0.002:
        image = image + (per_frame.standard_normal((height, width), dtype=np.float32) * np.float32(noise))[..., None]
    if noise > 0.01:
        rough = per_frame.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32) * (0.7 * noise)
        image = image + cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = np.asarray(cv2.convertScaleAbs(np.maximum(image, 0), alpha=255.0), np.uint8)
    if per_drive.random() < 0.6:
        _, data = cv2.imencode(
            ".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(per_drive.integers(35, 96) if stray > 0.5 else 95)]
        )
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return picture


@compiled
def _tone(
    image: np.ndarray,
    gain: np.ndarray,
    curve: np.ndarray,
    saturation: float,
    contrast: float,
    lift: float,
    vignette: float,
) -> np.ndarray:
    """Gain, sensor curve, saturation, contrast and vignette in one pass."""
    height, width = image.shape[:2]
    out = np.empty_like(image)
    scale = np.float32((curve.size - 1) / CURVE_TOP)
    last = np.float32(curve.size - 1.001)
    for v in range(height):
        dy = 2 * v / height - 1
        for w in range(width):
            dx = 2 * w / width - 1
            edge = np.float32(1 - vignette * (dx * dx + dy * dy) / 2)
            b = _curve_at(curve, min(max(image[v, w, 0] * gain[0] * scale, np.float32(0)), last))
            g = _curve_at(curve, min(max(image[v, w, 1] * gain[1] * scale, np.float32(0)), last))
            r = _curve_at(curve, min(max(image[v, w, 2] * gain[2] * scale, np.float32(0)), last))
            gray = np.float32(0.114) * b + np.float32(0.587) * g + np.float32(0.299) * r
            base = gray * np.float32(1 - saturation)
            offset = np.float32(0.4 - 0.4 * contrast + lift)
            out[v, w, 0] = ((base + b * np.float32(saturation)) * np.float32(contrast) + offset) * edge
            out[v, w, 1] = ((base + g * np.float32(saturation)) * np.float32(contrast) + offset) * edge
            out[v, w, 2] = ((base + r * np.float32(saturation)) * np.float32(contrast) + offset) * edge
    return out


@compiled(inline="always")
def _curve_at(curve: np.ndarray, t: float) -> float:
    i = int(t)
    return curve[i] + (curve[i + 1] - curve[i]) * (t - i)


def _drops(
    image: NDArray[np.float32], per_frame: np.random.Generator, per_drive: np.random.Generator
) -> NDArray[np.float32]:
    """Falling streaks, and on some cameras drops on the lens that bend what is behind them."""
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.float32)
    slant = float(per_drive.normal(0, 0.15))
    for _ in range(int(per_frame.integers(0, 160))):
        x, y, long = per_frame.uniform(0, width), per_frame.uniform(0, height), per_frame.uniform(0.01, 0.06) * height
        cv2.line(
            streaks, (int(x), int(y)), (int(x + slant * long), int(y + long)), float(per_frame.uniform(0.05, 0.25)), 1
        )
    image = image + streaks[..., None] * np.float32(0.6)
    if per_drive.random() < 0.6:
        map_x, map_y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        for _ in range(int(per_drive.integers(3, 45))):
            r = max(float(per_drive.uniform(0.004, 0.022)) * width, 1.5)
            cx, cy = float(per_drive.uniform(0, width)), float(per_drive.uniform(0, height))
            x0, x1 = int(max(cx - r, 0)), int(min(cx + r + 1, width))
            y0, y1 = int(max(cy - r, 0)), int(min(cy + r + 1, height))
            if x1 <= x0 or y1 <= y0:
                continue
            dx, dy = map_x[y0:y1, x0:x1] - cx, map_y[y0:y1, x0:x1] - cy
            inside = dx * dx + dy * dy < r * r
            map_x[y0:y1, x0:x1] -= np.where(inside, dx * 2.4, 0)
            map_y[y0:y1, x0:x1] -= np.where(inside, dy * 2.4, 0)
        bent = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        image = np.asarray(bent, np.float32)
    return image
