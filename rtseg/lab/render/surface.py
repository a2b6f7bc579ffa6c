"""What the ground looks like at road coordinates (s, u): bands of material, stripes and patches, filtered per pixel.

A stripe's share of a pixel is integrated exactly over the pixel's footprint along s and u, so thin far dashes fade
instead of flickering. All scenes share one compiled kernel; what differs between them are three small float tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtseg.compiled import compiled
from rtseg.lab.render.noise import TILE, fractal, ground_tile
from rtseg.lab.render.road import GroundMaps

PATTERN = 512  # samples of a dash pattern's running integral over one period


@dataclass(frozen=True)
class Stripe:
    """A band that runs along the road: a painted stripe, a tar seam, a dark track of tyres.

    Lengths in metres; `pattern` is the painted fraction over one period, (k,) in [0, 1], or None for solid.
    `line` is the index of the lane line it belongs to, from 1, or 0 for what is no lane line.
    """

    offset: float
    half_width: float
    color: tuple[float, float, float]
    opacity: float = 1.0
    softness: float = 0.01
    wear: float = 0.0
    wobble: float = 0.0
    shift: float = 0.0
    taper_start: float = 0.0
    taper_length: float = 1.0
    start: float = -1e6
    end: float = 1e6
    period: float = 0.0
    phase: float = 0.0
    pattern: tuple[tuple[float, float], ...] = ()
    line: int = 0


@dataclass(frozen=True)
class Patch:
    """A rectangle on the road, blended (`multiply` false) or multiplied into it; `ragged` noise bends its edges."""

    s0: float
    s1: float
    u0: float
    u1: float
    color: tuple[float, float, float]
    opacity: float = 1.0
    soft: float = 0.02
    ragged: float = 0.0
    skew: float = 0.0
    multiply: bool = False


@dataclass(frozen=True)
class Band:
    """Ground material from the previous band's `right` edge to its own (u falls from band to band)."""

    right: float
    color: tuple[float, float, float]
    grain: float = 0.08
    mottle: float = 0.08
    streak: float = 0.0
    ragged: float = 0.0
    detail: float = 1.0


@dataclass(frozen=True)
class Dapple:
    """Shadows of leaves and trees: multiplies by `dark` where noise exceeds `level` between u0 and u1."""

    scale: float
    level: float
    dark: float
    edge: float
    u0: float
    u1: float


def _running(pattern: tuple[tuple[float, float], ...]) -> NDArray[np.float32]:
    """Running integral over one period of the painted intervals (start, end), both fractions of the period."""
    at = np.linspace(0, 1, PATTERN + 1)
    total = np.zeros(PATTERN + 1)
    for start, end in pattern:
        total += np.clip(at - start, 0, end - start)
    return total.astype(np.float32)


@compiled(inline="always")
def _noise(tile: np.ndarray, a: float, b: float) -> float:
    a *= TILE
    b *= TILE
    fa, fb = np.floor(a), np.floor(b)
    i, j = int(fa) & (TILE - 1), int(fb) & (TILE - 1)
    i1, j1 = (i + 1) & (TILE - 1), (j + 1) & (TILE - 1)
    p, q = a - fa, b - fb
    return (tile[i, j] * (1 - q) + tile[i, j1] * q) * (1 - p) + (tile[i1, j] * (1 - q) + tile[i1, j1] * q) * p


@compiled(inline="always")
def _smooth(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


@compiled(inline="always")
def _running_at(table: np.ndarray, t: float) -> float:
    turns = np.floor(t)
    f = (t - turns) * PATTERN
    i = min(int(f), PATTERN - 1)
    return turns * table[PATTERN] + table[i] + (table[i + 1] - table[i]) * (f - i)


@compiled
def _shade(  # noqa: C901
    maps: np.ndarray,
    traveled: float,
    bands: np.ndarray,
    stripes: np.ndarray,
    patterns: np.ndarray,
    patches: np.ndarray,
    dapples: np.ndarray,
    tile: np.ndarray,
    cloud: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    height, width = maps.shape[1:]
    image = np.zeros((height, width, 3), np.float32)
    painted = np.zeros((height, width), np.uint8)
    for v in range(height):
        for w in range(width):
            x = maps[2, v, w]
            if not np.isfinite(x):
                continue
            s, u = maps[0, v, w] + traveled, float(maps[1, v, w])
            ds, du = maps[4, v, w], maps[5, v, w]
            size = np.sqrt(ds * du) + 1e-4
            # Octaves fade as their texels shrink under the pixel's footprint.
            fine = _noise(tile, s / 2.1, u / 1.9) * min(1.0, 0.006 / size) ** 0.5
            coarse = _noise(tile, s / 23.0, u / 17.0) * min(1.0, 0.06 / size) ** 0.5
            broad = _noise(tile, s / 260.0 + 0.37, u / 140.0 + 0.11) * min(1.0, 0.7 / size) ** 0.5
            streak = _noise(tile, s / 900.0, u / 31.0) * min(1.0, 0.07 / du)
            wander = _noise(cloud, s / 90.0, 0.5) + 0.15 * _noise(tile, s / 90.0, 0.5)
            edge = u + 0.6 * coarse * 0.5
            b = 0
            last = bands.shape[0] - 1
            while b < last and u + (edge - u) * bands[b, 7] < bands[b, 0]:
                b += 1
            detail = bands[b, 8]
            value = 1 + bands[b, 4] * fine * detail + bands[b, 5] * (coarse * 0.6 + broad * 0.8) + bands[b, 6] * streak
            # Soft borders between bands where the pixel covers both.
            blue, green, red = bands[b, 1] * value, bands[b, 2] * value, bands[b, 3] * value

            for k in range(patches.shape[0]):
                sp = s + patches[k, 10] * u
                ragged = patches[k, 9] * coarse
                soft_s = patches[k, 8] + ds * 0.5
                soft_u = patches[k, 8] + du * 0.5
                if sp < patches[k, 0] - soft_s - 1 or sp > patches[k, 1] + soft_s + 1:
                    continue
                a = min((sp + ragged - patches[k, 0]) / soft_s, (patches[k, 1] - sp - ragged) / soft_s)
                c = min((u + ragged - patches[k, 2]) / soft_u, (patches[k, 3] - u - ragged) / soft_u)
                cover = min(max(a * 0.5 + 0.5, 0.0), 1.0) * min(max(c * 0.5 + 0.5, 0.0), 1.0) * patches[k, 7]
                long = (patches[k, 1] - patches[k, 0]) / ds
                if long < 1:
                    cover *= long
                if cover <= 0:
                    continue
                if patches[k, 11] > 0:
                    blue *= 1 - cover * (1 - patches[k, 4])
                    green *= 1 - cover * (1 - patches[k, 5])
                    red *= 1 - cover * (1 - patches[k, 6])
                else:
                    tint = 1 + 0.6 * (value - 1)
                    blue += cover * (patches[k, 4] * tint - blue)
                    green += cover * (patches[k, 5] * tint - green)
                    red += cover * (patches[k, 6] * tint - red)

            best = 0.0
            for k in range(stripes.shape[0]):
                reach = stripes[k, 1] + stripes[k, 2] + 0.5 * du
                at = stripes[k, 0] + stripes[k, 8] * wander
                if stripes[k, 9] != 0.0:
                    at += stripes[k, 9] * _smooth((s - stripes[k, 10]) / stripes[k, 11])
                away = abs(u - at)
                if away >= reach or s < stripes[k, 12] or s > stripes[k, 13]:
                    continue
                # Box of the pixel's width against the stripe, its edges widened by the softness.
                box = 0.5 * du + stripes[k, 2]
                low, high = max(u - box, at - stripes[k, 1]), min(u + box, at + stripes[k, 1])
                cover = max(high - low, 0.0) / (2 * box)
                p = int(stripes[k, 16])
                if p >= 0:
                    t = (s - stripes[k, 15]) / stripes[k, 14]
                    half = max(0.5 * ds / stripes[k, 14], 1e-4)
                    cover *= (_running_at(patterns[p], t + half) - _running_at(patterns[p], t - half)) / (2 * half)
                wear = stripes[k, 7]
                if wear > 0:
                    scratch = 0.7 * _noise(tile, s / 3.7 + 0.21, u / 2.3 + k * 0.173) * min(1.0, 0.02 / size) ** 0.5
                    scratch += 0.6 * coarse + 0.5 * streak
                    cover *= min(max(0.5 + (1.15 - 2.3 * wear - scratch) * 1.1, 1.0 - wear * 1.05), 1.0)
                cover = min(cover * stripes[k, 6], 1.0)
                if cover <= 0.0:
                    continue
                tint = 1 + 0.5 * (value - 1)
                blue += cover * (stripes[k, 3] * tint - blue)
                green += cover * (stripes[k, 4] * tint - green)
                red += cover * (stripes[k, 5] * tint - red)
                if stripes[k, 17] > 0 and cover > max(best, 0.35):
                    best = cover
                    painted[v, w] = int(stripes[k, 17])

            shade = 1.0
            for k in range(dapples.shape[0]):
                if u < dapples[k, 4] or u > dapples[k, 5]:
                    continue
                # Crowns in the large, leaves in the small; the small ones fade before they flicker.
                leaf = _noise(cloud, s / (4 * dapples[k, 0]) + 0.13, u / (4 * dapples[k, 0]) + 0.4)
                leaf += 0.6 * _noise(cloud, s / dapples[k, 0] + 0.71, u / dapples[k, 0]) * min(1.0, 0.6 / size) ** 0.5
                rim = min(u - dapples[k, 4], dapples[k, 5] - u)
                leaf += min(0.5 * rim, 0.5) - 0.5
                shade *= 1 - (1 - dapples[k, 2]) * min(max((leaf - dapples[k, 1]) / dapples[k, 3] + 0.5, 0.0), 1.0)
            image[v, w, 0], image[v, w, 1], image[v, w, 2] = (
                max(blue, 0.0) * shade,
                max(green, 0.0) * shade,
                max(red, 0.0) * shade,
            )
    return image, painted


def shade_ground(
    maps: GroundMaps,
    traveled: float,
    bands: list[Band],
    stripes: list[Stripe],
    patches: list[Patch],
    dapples: list[Dapple],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Color of the ground and which lane line's paint a pixel shows.

    Args:
        maps: road coordinates of the pixels.
        traveled: arc length of the vehicle in metres; bands, stripes and patches are anchored to the road.
        bands: materials from left to right.
        stripes: paint on them, later over earlier.
        patches: wear and repairs over those.
        dapples: shadows over all.

    Returns:
        (H, W, 3) float32 BGR reflectance, 0 where no ground is seen, and (H, W) uint8, `Stripe.line` of the paint.
    """
    band_table = np.array([[b.right, *b.color, b.grain, b.mottle, b.streak, b.ragged, b.detail] for b in bands])
    shapes = sorted({s.pattern for s in stripes if s.pattern})
    stripe_table = np.array(
        [
            [s.offset, s.half_width, s.softness, *s.color, s.opacity, s.wear, s.wobble, s.shift, s.taper_start,
             s.taper_length, s.start, s.end, max(s.period, 1e-3), s.phase,
             shapes.index(s.pattern) if s.pattern else -1, s.line]
            for s in stripes
        ]
    ).reshape(-1, 18)  # fmt: skip
    patch_table = np.array(
        [[p.s0, p.s1, p.u0, p.u1, *p.color, p.opacity, p.soft, p.ragged, p.skew, float(p.multiply)] for p in patches]
    ).reshape(-1, 12)
    dapple_table = np.array([[d.scale, d.level, d.dark, d.edge, d.u0, d.u1] for d in dapples]).reshape(-1, 6)
    patterns = np.stack([_running(shape) for shape in shapes]) if shapes else np.zeros((1, PATTERN + 1), np.float32)
    stacked = np.stack([maps.s, maps.u, maps.x, maps.y, maps.ds, maps.du])
    return _shade(
        stacked, traveled, band_table, stripe_table, patterns, patch_table, dapple_table, ground_tile(), fractal(1.1)
    )
