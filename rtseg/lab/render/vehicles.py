"""Cars and trucks: shaded hulls with windows, lights, wheels and a shadow under them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtseg.lab.render.canvas import Canvas, Color
from rtseg.lab.render.road import RoadShape

Corner = tuple[float, float, float]  # metres forward, left and up from the middle of the nearer end
Part = tuple[list[Corner], Color]

PAINT = (
    (0.85, 0.85, 0.85),
    (0.60, 0.60, 0.60),
    (0.30, 0.30, 0.30),
    (0.05, 0.05, 0.05),
    (0.08, 0.08, 0.45),
    (0.40, 0.20, 0.10),
    (0.20, 0.25, 0.30),
    (0.12, 0.30, 0.12),
    (0.35, 0.45, 0.50),
)  # BGR
PAINT_SHARE = (0.24, 0.16, 0.17, 0.17, 0.08, 0.08, 0.04, 0.02, 0.04)
DETAIL = 14.0  # pixels of height below which a vehicle is its hull alone


@dataclass(frozen=True)
class Vehicle:
    """A vehicle at road coordinates.

    Attributes:
        s, u: metres, of its nearer end and its middle.
        length, width, height: metres.
        color: BGR reflectance.
        truck: a box on wheels, with no cabin to look through.
        oncoming: the nearer end is its front.
        braking: its tail lamps are lit.
    """

    s: float
    u: float
    length: float
    width: float
    height: float
    color: Color
    truck: bool = False
    oncoming: bool = False
    braking: bool = False


def paint_color(rng: np.random.Generator) -> Color:
    """A car's color, as common as on the road."""
    base = np.array(PAINT[rng.choice(len(PAINT), p=PAINT_SHARE)])
    b, g, r = (float(v) for v in np.clip(base * rng.uniform(0.7, 1.15) * rng.uniform(0.93, 1.07, 3), 0.02, 1))
    return b, g, r


def random_vehicle(rng: np.random.Generator, s: float, u: float, oncoming: bool) -> Vehicle:
    """A car, van or truck at (s, u)."""
    color = paint_color(rng)
    if rng.random() < 0.15:
        return Vehicle(s, u, float(rng.uniform(7, 16)), 2.5, float(rng.uniform(2.8, 4.0)), color, True, oncoming)
    high = float(rng.choice([1.45, 1.7, 1.95], p=[0.6, 0.32, 0.08]))
    long, wide = float(rng.uniform(3.9, 5.1)), float(rng.uniform(1.7, 1.95))
    return Vehicle(s, u, long, wide, high, color, False, oncoming, bool(rng.random() < 0.2))


def _tones(color: Color, light: float) -> dict[str, Color]:
    def tone(factor: float) -> Color:
        return (color[0] * light * factor, color[1] * light * factor, color[2] * light * factor)

    tones = {"flank": tone(0.75), "roof": tone(1.15), "end": tone(0.92), "deck": tone(1.02), "low": tone(0.45)}
    tones["dark"] = (0.03 * light + 0.004,) * 3
    tones["glass"] = (0.11 * light, 0.10 * light, 0.085 * light)
    tones["sheen"] = (0.24 * light, 0.22 * light, 0.20 * light)
    return tones


def _wheels(v: Vehicle, f: float, radius: float, dark: Color) -> list[Part]:
    turns = np.linspace(0, 2 * np.pi, 11)[:-1]
    parts: list[Part] = []
    for at in (0.17 * v.length, 0.81 * v.length):
        rim = [(at + radius * float(np.cos(t)), f * 1.01, radius + radius * float(np.sin(t))) for t in turns]
        parts.append((rim, dark))
    return parts


def _car(v: Vehicle, light: float, side: float, detailed: bool) -> list[Part]:
    """Parts of a car from the far ones to the near ones; `side` is the flank in sight, +1 left."""
    w, high, long = v.width / 2, v.height, v.length
    f, deck, rise = side * w, high * 0.57, 0.2
    front, back = (0.04, 0.68) if high > 1.6 else (0.12, 0.68)
    if v.oncoming:
        front, back = 0.30, 0.94 if high > 1.6 else 0.86
    a, b = front * long, back * long
    foot = max(a - (0.20 if v.oncoming else 0.09) * long, 0.02)
    tip = min(b + 0.15 * long, long)
    c, g = w * 0.74, side * w * 0.74
    t = _tones(v.color, light)
    parts: list[Part] = [
        ([(0, f, rise), (long, f, rise), (long, f * 0.97, deck * 0.93), (0, f * 0.97, deck)], t["flank"]),
        ([(0.03, w * 0.93, deck), (0.03, -w * 0.93, deck), (long, -w * 0.9, deck), (long, w * 0.9, deck)], t["deck"]),
        ([(foot, f * 0.95, deck), (tip, f * 0.95, deck), (b, g, high), (a, g, high)], t["glass"]),
        ([(a, c, high), (a, -c, high), (b, -c, high), (b, c, high)], t["roof"]),
        ([(foot, w * 0.94, deck), (foot, -w * 0.94, deck), (a, -c, high * 0.97), (a, -c * 0.9, high),
          (a, c * 0.9, high), (a, c, high * 0.97)], t["end"]),
    ]  # fmt: skip
    if detailed:
        low, top = deck + 0.04, high - 0.08
        near, far = foot - 0.01, a - 0.01
        parts += [
            ([(near, w * 0.84, low), (near, -w * 0.84, low), (far, -c * 0.92, top), (far, c * 0.92, top)], t["glass"]),
            ([(near, w * 0.80, low), (near, w * 0.2, low), (far, -c * 0.3, top), (far, c * 0.6, top)], t["sheen"]),
            *_wheels(v, f, 0.32, t["dark"]),
        ]
    bevel = 0.12
    parts.append(
        ([(0, w * 0.94, rise), (0, -w * 0.94, rise), (0, -w, rise + bevel), (0, -w, deck - bevel), (0, -w * 0.9, deck),
          (0, w * 0.9, deck), (0, w, deck - bevel), (0, w, rise + bevel)], t["end"])
    )  # fmt: skip
    if detailed:
        for y in (w * 0.80, -w * 0.80):
            parts.append(
                ([(0, y + 0.11, 0.02), (0, y - 0.11, 0.02), (0, y - 0.11, rise), (0, y + 0.11, rise)], t["dark"])
            )
        parts.append(([(0, w * 0.94, rise), (0, -w * 0.94, rise), (0, -w, 0.36), (0, w, 0.36)], t["low"]))
    return parts


def _truck(v: Vehicle, light: float, side: float, detailed: bool) -> list[Part]:
    w, high, long = v.width / 2, v.height, v.length
    f, rise = side * w, 0.6
    t = _tones(v.color, light)
    parts: list[Part] = [
        ([(0, w, high), (0, -w, high), (long, -w, high), (long, w, high)], t["roof"]),
        ([(0, f, rise), (long, f, rise), (long, f, high), (0, f, high)], t["flank"]),
        *_wheels(v, f, 0.5, t["dark"]),
        ([(0.3, w * 0.9, 0.1), (0.3, -w * 0.9, 0.1), (0.3, -w * 0.9, rise), (0.3, w * 0.9, rise)], t["dark"]),
        ([(0, w, rise), (0, -w, rise), (0, -w, high), (0, w, high)], t["end"]),
    ]
    if detailed:
        parts.append(([(0, w, rise), (0, -w, rise), (0, -w, rise + 0.35), (0, w, rise + 0.35)], t["low"]))
        if v.oncoming:
            glass: list[Corner] = [
                (0, w * 0.9, high * 0.5),
                (0, -w * 0.9, high * 0.5),
                (0, -w * 0.86, high * 0.78),
                (0, w * 0.86, high * 0.78),
            ]
            parts.append((glass, t["glass"]))
        else:
            parts.append(([(0, 0.02, rise), (0, -0.02, rise), (0, -0.02, high), (0, 0.02, high)], t["low"]))
    return parts


def _lamps(v: Vehicle, light: float, night: bool) -> list[Part]:
    """The two lamps and the plate of the nearer end."""
    up = 0.85 if v.truck else v.height * 0.57 * 0.76
    glow = max(light, 0.9) if night or v.braking else light
    tail = 0.85 if v.braking or night else 0.40
    color: Color = (0.9 * glow,) * 3 if v.oncoming else (0.09 * glow, 0.08 * glow, tail * glow)
    parts: list[Part] = []
    for y in (v.width * 0.40, -v.width * 0.40):
        parts.append(
            (
                [
                    (0, y + 0.16, up - 0.08),
                    (0, y - 0.16, up - 0.08),
                    (0, y - 0.16, up + 0.08),
                    (0, y + 0.16, up + 0.08),
                ],
                color,
            )
        )
    plate, p = 0.45 * light + (0.3 if night else 0.0), up - 0.22
    parts.append(([(0, 0.25, p), (0, -0.25, p), (0, -0.25, p + 0.11), (0, 0.25, p + 0.11)], (plate,) * 3))
    return parts


def paint_vehicle(
    canvas: Canvas, shape: RoadShape, vehicle: Vehicle, light: float, night: bool, shadow: float, sun: float = 0.0
) -> None:
    """Paint one vehicle; call far to near.

    Args:
        canvas: is painted on.
        shape: of the road.
        vehicle: and where it is.
        light: scales its colors.
        night: lamps shine.
        shadow: what share of light is left under it.
        sun: metres by which its shadow leans to the left.
    """
    v = vehicle
    if v.s < -v.length or v.s > min(shape.s[-1], 260):
        return
    ends = shape.points(np.array([v.s, v.s + v.length]), v.u)
    rear = ends[0]
    if rear[0] < 1.0:
        return
    forward = (ends[1] - rear) / np.linalg.norm(ends[1] - rear)
    left = np.array([-forward[1], forward[0], 0.0])
    side = 1.0 if rear @ left < 0 else -1.0
    size = canvas.view.focal * v.height / rear[0]
    detailed = size > DETAIL
    w, m = v.width / 2, 0.2
    ground: list[Corner] = [(-m, w + m, 0), (-m, -w - m, 0), (v.length + m, -w - m, 0), (v.length + m, w + m, 0)]
    if sun > 0:
        ground[0], ground[3] = (-m, w + m + sun, 0), (v.length + m, w + m + sun, 0)
    elif sun < 0:
        ground[1], ground[2] = (-m, -w - m + sun, 0), (v.length + m, -w - m + sun, 0)
    frame = np.stack([forward, left, np.array([0.0, 0.0, 1.0])])
    canvas.multiply(rear + np.array(ground) @ frame, shadow, min(0.1 * size / v.height, 6.0))
    parts = (_truck if v.truck else _car)(v, light, side, detailed)
    lamps = _lamps(v, light, night) if detailed or night else []
    canvas.faces([(rear + np.array(corners) @ frame, color) for corners, color in parts + lamps], float(rear[0]))
    if lamps and (night or (v.braking and not v.oncoming)):
        strength = 1.0 if v.oncoming else (0.5 if night else 0.12)
        radius = (0.16 if v.oncoming else 0.1) * canvas.view.focal / rear[0]
        for corners, color in lamps[:2]:
            pixels, _ = canvas.view.project(rear + np.array(corners).mean(axis=0, keepdims=True) @ frame)
            if not np.isnan(pixels).any():
                at = (float(pixels[0, 0]), float(pixels[0, 1]))
                canvas.light(at, radius, (strength * color[0], strength * color[1], strength * color[2]))
