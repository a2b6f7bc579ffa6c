"""The roadside: plants, houses, poles, signs, walls, rails, banks and bridges, drawn far to near."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.canvas import Canvas, Color
from rtseg.lab.render.noise import TILE, fractal, profile
from rtseg.lab.render.road import RoadShape
from rtseg.lab.render.style import RoadStyle
from rtseg.lab.render.view import NEAR

SPRITE = 96


@lru_cache(maxsize=24)
def plant(kind: str, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Alpha and brightness, (SPRITE, SPRITE) float32 each, of one tree or bush; its foot is at the bottom middle."""
    rng = np.random.default_rng([31, number, len(kind)])
    y, x = np.mgrid[0:SPRITE, 0:SPRITE] / SPRITE
    shape = np.full((SPRITE, SPRITE), -1.0)
    if kind == "conifer":
        shape = np.maximum(shape, 0.42 * (y - 0.03) - np.abs(x - 0.5) * 1.1)
    elif kind == "bush":
        for _ in range(7):
            cx, cy, r = rng.uniform(0.2, 0.8), rng.uniform(0.45, 0.9), rng.uniform(0.12, 0.25)
            shape = np.maximum(shape, r - np.hypot(x - cx, y - cy))
    else:
        for _ in range(int(rng.integers(6, 14))):
            cx, cy, r = rng.normal(0.5, 0.17), rng.uniform(0.15, 0.62), rng.uniform(0.09, 0.22)
            shape = np.maximum(shape, r - np.hypot(x - cx, (y - cy) * 1.1))
    o = int(rng.integers(0, TILE - SPRITE))
    leaves = fractal(0.7, seed=5)[o : o + SPRITE, o : o + SPRITE]
    alpha = np.clip((shape + 0.045 * leaves) * 28 + 0.4, 0, 1)
    trunk = (np.abs(x - 0.5) < 0.012 + 0.018 * (y - 0.5)) & (y > 0.4)
    alpha = np.maximum(alpha, trunk * 0.95)
    light = np.clip(0.75 + 0.22 * leaves + 0.5 * np.clip(shape, 0, 0.2) + 0.35 * (0.5 - y) + 0.2 * (0.5 - x), 0.15, 1.5)
    light[trunk & (shape < 0)] = 0.45
    return alpha.astype(np.float32), light.astype(np.float32)


def strip(
    canvas: Canvas,
    shape: RoadShape,
    u: float,
    levels: list[tuple[float, Color]],
    traveled: float,
    texture: tuple[int, float, float],
    lean: float = 0.0,
    reach: float = 180.0,
) -> None:
    """Extrude a wall, rail, curb or bank along the road at `u`.

    Args:
        canvas: is painted on.
        shape: of the road.
        u: metres to the left of the road's axis.
        levels: heights in metres, rising, each with the color of the strip that ends there; the first one's is unused.
        traveled: arc length of the vehicle in metres; the texture is anchored to the road.
        texture: seed, contrast and wavelength in metres of the brightness along it.
        lean: metres that it leans away for each metre of height.
        reach: metres ahead to which it is drawn.
    """
    base = -(traveled % 8.0)
    s = np.unique(
        np.concatenate([np.arange(base - 8, 40, 2.0), np.arange(base + 40, 80, 4.0), np.arange(base + 80, reach, 8.0)])
    )
    s = s[s < shape.s[-1]]
    seed, contrast, wavelength = texture
    rows = [shape.points(s, u + lean * up, up) for up, _ in levels]
    optical = [canvas.view.optical(row) for row in rows]
    pixels = [canvas.view.pixels(row) for row in optical]
    shades = [1 + contrast * profile(s + traveled, seed + k, wavelength) for k in range(len(levels))]
    for i in range(len(s) - 2, -1, -1):
        for k in range(1, len(levels)):
            color, shade = levels[k][1], float(shades[k][i])
            tone = (color[0] * shade, color[1] * shade, color[2] * shade)
            corner = (k - 1, i), (k - 1, i + 1), (k, i + 1), (k, i)
            if all(optical[a][b, 2] > NEAR for a, b in corner):
                canvas.fill(np.stack([pixels[a][b] for a, b in corner]), tone, float(max(rows[k][i, 0], 0.5)))
            elif optical[k][i + 1, 2] > NEAR:
                canvas.face(np.stack([rows[a][b] for a, b in corner]), tone)


def bank(
    canvas: Canvas, shape: RoadShape, u: float, side: float, light: float, rng: np.random.Generator, traveled: float
) -> None:
    """A slope of grass, earth or rock that rises away from the road."""
    colors = ((0.13, 0.28, 0.22), (0.32, 0.48, 0.57), (0.25, 0.33, 0.40), (0.35, 0.36, 0.37))
    color = np.array(colors[rng.integers(4)]) * rng.uniform(0.6, 1.15) * light
    high, lean = float(rng.uniform(1.5, 9)), float(rng.uniform(0.5, 3.0))
    steps = np.linspace(0, high, 7)
    levels: list[tuple[float, Color]] = []
    for up in steps:
        c = color * rng.uniform(0.93, 1.07)
        levels.append((float(up), (float(c[0]), float(c[1]), float(c[2]))))
    strip(canvas, shape, u, levels, traveled, (int(rng.integers(1000)), 0.08, 11.0), side * lean, 250.0)


def border(canvas: Canvas, shape: RoadShape, kind: str, u: float, style: RoadStyle, rng: np.random.Generator,
           traveled: float, light: float) -> None:  # fmt: skip
    """Concrete wall, guard rail or curb at lateral position `u`."""
    tone = float(rng.uniform(0.25, 0.62)) * light
    if kind == "wall":
        high = float(rng.choice([0.8, 1.1, rng.uniform(2, 5)], p=[0.55, 0.3, 0.15]))
        body = (tone * 0.8, tone * 0.82, tone * 0.84)
        top = (tone * 1.25, tone * 1.25, tone * 1.25)
        levels: list[tuple[float, Color]] = [(0.0, top), (0.3, (tone * 0.6,) * 3), (high, body), (high + 0.08, top)]
        strip(canvas, shape, u, levels, traveled, (int(rng.integers(1000)), 0.06, 14.0))
    elif kind == "rail":
        steel = (tone * 0.95, tone * 0.95, tone * 0.93)
        posts = np.arange(-(traveled % 3.8), 120, 3.8)
        posts = posts[(posts > -3) & (posts < shape.s[-1])]
        foot, head = shape.points(posts, u, 0.0), shape.points(posts, u, 0.7)
        for k in range(len(posts) - 1, -1, -1):
            side = np.array([0.0, 0.06, 0.0])
            canvas.face(np.stack([foot[k] - side, foot[k] + side, head[k] + side, head[k] - side]), (tone * 0.4,) * 3)
        levels = [(0.42, steel), (0.58, (tone * 0.7,) * 3), (0.74, steel)]
        strip(canvas, shape, u, levels, traveled, (int(rng.integers(1000)), 0.05, 16.0))
    elif kind == "curb":
        gray = (tone, tone, tone)
        strip(canvas, shape, u, [(0.0, gray), (0.14, gray)], traveled, (int(rng.integers(1000)), 0.06, 9.0), 0.0, 90.0)


def roadside(canvas: Canvas, shape: RoadShape, style: RoadStyle, seed: int, traveled: float, light: float) -> None:
    """Trees, bushes, buildings, poles and signs on both sides, anchored to the road, far to near."""
    build = np.random.default_rng([seed, 41])
    density = {"highway": 3.0, "motorway": 3.0, "city": 1.5, "country": 3.5, "mountain": 5.0}[style.setting]
    density *= float(build.uniform(0.4, 2.5))
    houses = {"city": 2.2, "motorway": 0.15, "highway": 0.12, "country": 0.15, "mountain": 0.05}[style.setting]
    poles = float(build.choice([0.0, 1.0, 2.0])) * (1.5 if style.setting == "city" else 0.7)
    cones = 6.0 if build.random() < 0.06 else 0.0
    leaf = np.array([0.10, 0.21, 0.18]) * build.uniform(0.6, 1.3) * build.uniform(0.85, 1.15, 3)
    things: list[tuple[float, str, float, np.random.Generator]] = []
    for chunk in range(int((traveled - 10) // 30), int((traveled + 300) // 30) + 1):
        rng = np.random.default_rng([seed, 42, chunk & 0xFFFFFFFF])
        for kind, mean in (("plant", density), ("house", houses), ("pole", poles), ("sign", 0.25), ("cone", cones)):
            for _ in range(rng.poisson(mean)):
                s = chunk * 30 + rng.uniform(0, 30) - traveled
                side = 1.0 if rng.random() < 0.5 else -1.0
                things.append((s, kind, side, np.random.default_rng(rng.integers(1 << 62))))
    for s, kind, side, rng in sorted(things, key=lambda item: -item[0]):
        edge = style.left_edge if side > 0 else style.right_edge
        if not -8 < s < min(300, shape.s[-1]):
            continue
        if kind == "plant":
            _plant(canvas, shape, s, edge + side * float(rng.uniform(3.5, 30)), leaf * light, rng)
        elif kind == "house":
            _house(canvas, shape, s, edge, side, style, light, rng)
        elif kind == "pole":
            _pole(canvas, shape, s, edge + side * float(rng.uniform(1.0, 3.0)), style, side, light, rng)
        elif kind == "cone":
            _cone(canvas, shape, s, edge - side * float(rng.uniform(0.1, 0.5)), light)
        else:
            _sign(canvas, shape, s, edge + side * float(rng.uniform(1.5, 5.0)), light, rng)


def _plant(
    canvas: Canvas, shape: RoadShape, s: float, u: float, leaf: NDArray[np.float64], rng: np.random.Generator
) -> None:
    kind = str(rng.choice(["tree", "conifer", "bush"], p=[0.5, 0.2, 0.3]))
    tall = float(rng.uniform(0.8, 3) if kind == "bush" else rng.uniform(4, 17))
    pixels, depth = canvas.view.project(shape.points(s, u))
    if np.isnan(pixels).any() or depth[0] < 3:
        return
    size = canvas.view.focal * tall / depth[0]
    wide = size * (float(rng.uniform(0.35, 0.5)) if kind == "conifer" else float(rng.uniform(0.8, 1.3)))
    alpha, brightness = plant(kind, int(rng.integers(8)))
    color = (leaf * rng.uniform(0.6, 1.35) * rng.uniform(0.88, 1.12, 3)).astype(np.float32)
    x, y = pixels[0]
    canvas.sprite(
        alpha, brightness[..., None] * color, (x - wide / 2, y - size, x + wide / 2, y + size * 0.02), float(depth[0])
    )


def _box(canvas: Canvas, shape: RoadShape, s: tuple[float, float], u: tuple[float, float], up: tuple[float, float],
         front: Color, flank: Color) -> None:  # fmt: skip
    """Paint the sides of an upright box that the camera can see: the one towards it and the one towards the road."""
    far = shape.points(np.array([s[1], s[1]]), np.array(u))
    near = shape.points(np.array([s[0], s[0]]), np.array(u))
    lift_low, lift_high = np.array([0, 0, up[0]]), np.array([0, 0, up[1]])
    canvas.face(np.stack([near[0] + lift_low, far[0] + lift_low, far[0] + lift_high, near[0] + lift_high]), flank)
    canvas.face(np.stack([near[0] + lift_low, near[1] + lift_low, near[1] + lift_high, near[0] + lift_high]), front)


def _house(canvas: Canvas, shape: RoadShape, s: float, edge: float, side: float, style: RoadStyle, light: float,
           rng: np.random.Generator) -> None:  # fmt: skip
    start = edge + side * float(rng.uniform(3.0, 8.0) if style.setting == "city" else rng.uniform(12, 30))
    long, wide, high = float(rng.uniform(8, 30)), float(rng.uniform(8, 25)), float(rng.uniform(4, 25))
    wall = np.array([rng.uniform(0.15, 0.6)] * 3) * (1 + rng.normal(0, 0.06, 3)) * light
    a, b = tuple(wall * 0.7), tuple(wall)
    _box(canvas, shape, (s, s + long), (start, start + side * wide), (0, high), a, b)
    lit = style.lighting in ("night", "dusk")
    if s > 60:
        return
    for floor in range(int(high // 3)):
        for k in range(int(long // 3)):
            up = floor * 3 + 1.2
            glass = (0.35, 0.6, 0.7) if lit and rng.random() < 0.4 else (0.08 * light, 0.07 * light, 0.06 * light)
            at = s + k * 3 + 0.8
            ends = shape.points(np.array([at, at + 1.3]), start - side * 0.02)
            lift = np.array([0, 0, 1.4])
            base = ends + np.array([0, 0, up])
            canvas.face(np.stack([base[0], base[1], base[1] + lift, base[0] + lift]), glass)


def _pole(canvas: Canvas, shape: RoadShape, s: float, u: float, style: RoadStyle, side: float, light: float,
          rng: np.random.Generator) -> None:  # fmt: skip
    high = float(rng.uniform(5, 11))
    foot = shape.points(s, u)[0]
    half = np.array([0.0, 0.09, 0.0])
    top = foot + np.array([0, 0, high])
    tone = float(rng.uniform(0.1, 0.45)) * light
    canvas.face(np.stack([foot - half, foot + half, top + half, top - half]), (tone, tone, tone))
    arm = shape.points(s, u - side * 2.2, high)[0]
    thick = np.array([0, 0, 0.08])
    canvas.face(np.stack([top - thick, arm - thick, arm + thick, top + thick]), (tone, tone, tone))
    if style.lighting in ("night", "dusk"):
        pixels, depth = canvas.view.project(arm[None])
        if not np.isnan(pixels).any():
            warm = (0.55, 0.8, 1.0) if rng.random() < 0.6 else (1.0, 0.95, 0.9)
            canvas.light((float(pixels[0, 0]), float(pixels[0, 1])), 0.16 * canvas.view.focal / float(depth[0]), warm)


def _cone(canvas: Canvas, shape: RoadShape, s: float, u: float, light: float) -> None:
    """A traffic cone of a road works."""
    foot = shape.points(s, u)[0]
    for low, high, color in (
        (0.0, 0.35, (0.05, 0.3, 0.9)),
        (0.35, 0.5, (0.9, 0.9, 0.9)),
        (0.5, 0.75, (0.05, 0.3, 0.9)),
    ):
        a, b = 0.2 * (1 - low), 0.2 * (1 - high)
        corners = [(0, a, low), (0, -a, low), (0, -b, high), (0, b, high)]
        canvas.face(foot + np.array(corners), (color[0] * light, color[1] * light, color[2] * light))


def _sign(canvas: Canvas, shape: RoadShape, s: float, u: float, light: float, rng: np.random.Generator) -> None:
    foot = shape.points(s, u)[0]
    low, wide, high = float(rng.uniform(1.5, 5)), float(rng.uniform(0.3, 2.2)), float(rng.uniform(0.4, 1.3))
    half = np.array([0.0, 0.04, 0.0])
    canvas.face(
        np.stack([foot - half, foot + half, foot + half + [0, 0, low], foot - half + [0, 0, low]]), (0.3 * light,) * 3
    )
    across, up = np.array([0.0, wide, 0.0]), np.array([0.0, 0.0, low])
    colors = [(0.25, 0.42, 0.05), (0.75, 0.75, 0.75), (0.5, 0.2, 0.08), (0.05, 0.6, 0.8), (0.1, 0.1, 0.6)]
    color = colors[int(rng.integers(len(colors)))]
    plate = np.stack(
        [foot - across + up, foot + across + up, foot + across + up + [0, 0, high], foot - across + up + [0, 0, high]]
    )
    canvas.face(plate, (color[0] * light, color[1] * light, color[2] * light))


def bridge(
    canvas: Canvas,
    shape: RoadShape,
    along: tuple[float, float],
    style: RoadStyle,
    light: float,
    rng: np.random.Generator,
) -> None:
    """A bridge across the road: underside, girder and piers; `along` is its arc length and its depth along the road."""
    s, deep = along
    clear, thick = float(rng.uniform(4.6, 7)), float(rng.uniform(0.9, 2.2))
    tone = float(rng.uniform(0.2, 0.5)) * light
    left, right = style.left_edge + 70, style.right_edge - 70
    near, far = shape.points(s, 0.0)[0], shape.points(s + deep, 0.0)[0]

    def slab(*corners: tuple[NDArray[np.float64], float, float]) -> NDArray[np.float64]:
        return np.stack([point + np.array([0.0, u, up]) for point, u, up in corners])

    under = tone * 0.35
    canvas.face(slab((near, left, clear), (near, right, clear), (far, right, clear), (far, left, clear)), (under,) * 3)
    for u, side in ((style.left_edge + 1.5, 1.0), (style.right_edge - 1.5, -1.0)):
        for k in (0.3, 0.7):
            at = s + deep * k
            _box(canvas, shape, (at, at + 1), (u, u + side), (0, clear), (tone * 0.7,) * 3, (tone * 0.5,) * 3)
    top = clear + thick
    canvas.face(slab((near, left, clear), (near, right, clear), (near, right, top), (near, left, top)), (tone,) * 3)
