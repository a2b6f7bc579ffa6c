"""Vehicles of a street as hulls that can be looked at from any side: cars, vans, trucks, buses and trams."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.canvas import Canvas, Color
from rtseg.lab.render.vehicles import paint_color

DETAIL = 16.0  # pixels of height below which a vehicle is its hull alone
Corners = list[tuple[float, float, float]]  # metres forward, left and up from the middle of the vehicle's ground


@dataclass(frozen=True)
class Face:
    """A flat part of a hull, seen from one side, with what is painted on it; each part has its tone 0..1 and up."""

    corners: Corners
    color: Color
    decals: list[tuple[Corners, Color]] = field(default_factory=list)


@dataclass(frozen=True)
class Hull:
    """A vehicle's body.

    Attributes:
        length, width, height: metres.
        faces: the outside.
        thing: name of its class.
        lamps: (x, y, z) of lamps that shine, with their color.
    """

    length: float
    width: float
    height: float
    faces: tuple[Face, ...]
    thing: str
    lamps: tuple[tuple[tuple[float, float, float], Color], ...]


ROUND = [(float(np.cos(t)), float(np.sin(t))) for t in np.linspace(0, 2 * np.pi, 13)[:-1]]
DARK: Color = (0.035, 0.033, 0.03)
GLASS: Color = (0.12, 0.11, 0.09)
SHEEN: Color = (0.30, 0.28, 0.25)
TYRE: Color = (0.03, 0.03, 0.03)
RED: Color = (0.06, 0.06, 0.42)
WHITE: Color = (0.75, 0.75, 0.72)


def vivid_color(rng: np.random.Generator) -> Color:
    """A color of clothes and tarpaulins: anything, often dark or gray."""
    if rng.random() < 0.45:
        gray = float(rng.choice([0.04, 0.08, 0.15, 0.3, 0.7])) * float(rng.uniform(0.7, 1.3))
        b, g, r = gray * (1 + rng.normal(0, 0.08, 3))
        return float(b), float(g), float(r)
    b, g, r = rng.uniform(0.03, 0.75, 3) ** 1.3
    return float(b), float(g), float(r)


def livery(rng: np.random.Generator) -> Color:
    """A color of buses and trams: bright, or white."""
    if rng.random() < 0.35:
        return 0.68, 0.70, 0.70
    b, g, r = rng.uniform(0.03, 0.6, 3)
    strong = [float(b), float(g), float(r)]
    strong[int(rng.integers(3))] = float(rng.uniform(0.4, 0.75))
    return strong[0], strong[1], strong[2]


def _scaled(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


def _wheel(x: float, y: float, radius: float) -> list[tuple[Corners, Color]]:
    def disc(r: float) -> Corners:
        return [(x + r * c, y, radius + r * s) for c, s in ROUND]

    return [(disc(1.22 * radius), DARK), (disc(radius), TYRE), (disc(0.6 * radius), (0.32, 0.32, 0.32))]


def _quad(x: float, y0: float, y1: float, z0: float, z1: float) -> Corners:
    return [(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)]


def car(rng: np.random.Generator) -> Hull:
    """A saloon, hatchback, estate, off-roader or van, as Cityscapes' class car has them."""
    kind = str(rng.choice(["saloon", "hatch", "estate", "suv", "van"], p=[0.24, 0.32, 0.18, 0.18, 0.08]))
    high = {"saloon": 1.43, "hatch": 1.48, "estate": 1.47, "suv": 1.68, "van": 1.95}[kind] * float(
        rng.uniform(0.97, 1.04)
    )
    long = {"saloon": 4.6, "hatch": 4.0, "estate": 4.6, "suv": 4.5, "van": 4.9}[kind] * float(rng.uniform(0.94, 1.06))
    w = float(rng.uniform(0.86, 0.96))
    body = paint_color(rng)
    belt, bonnet, sill = 0.60 * high, 0.55 * high, 0.24
    # Along the car, from its rear (0) to its front (1): boot, foot of the rear window, roof, foot of the windscreen.
    boot, back, front, cowl = {
        "saloon": (0.14, 0.30, 0.56, 0.72),
        "hatch": (0.02, 0.14, 0.55, 0.73),
        "estate": (0.02, 0.10, 0.56, 0.72),
        "suv": (0.02, 0.11, 0.56, 0.73),
        "van": (0.01, 0.03, 0.70, 0.86),
    }[kind]
    tail, tip = -long / 2, long / 2

    def at(share: float) -> float:
        return tail + share * long

    c = 0.76 * w
    glass = _scaled(GLASS, float(rng.uniform(0.6, 1.6)))
    rear_belt = belt if kind == "saloon" else belt + 0.02
    rear_window: Corners = [
        (at(boot), w * 0.95, belt), (at(boot), -w * 0.95, belt), (at(back), -c, high), (at(back), c, high),
    ]  # fmt: skip
    screen: Corners = [
        (at(front), c, high), (at(front), -c, high), (at(cowl), -w * 0.95, belt), (at(cowl), w * 0.95, belt),
    ]  # fmt: skip
    gleam: Corners = [
        (at(front), c, high),
        (at(front), 0.1, high),
        (at(cowl), w * 0.3, belt),
        (at(cowl), w * 0.9, belt),
    ]
    nose = tip - 0.08
    faces = [
        Face(_quad(tail, w, -w, sill, rear_belt), _scaled(body, 0.9), [
            (_quad(tail, w * 0.98, w * 0.66, rear_belt - 0.30, rear_belt - 0.08), RED),
            (_quad(tail, -w * 0.98, -w * 0.66, rear_belt - 0.30, rear_belt - 0.08), RED),
            (_quad(tail, 0.26, -0.26, 0.52, 0.63), WHITE),
            (_quad(tail, w * 0.97, -w * 0.97, sill, sill + 0.14), DARK),
        ]),
        Face([(tail, w, rear_belt), (tail, -w, rear_belt), (at(boot), -w, belt), (at(boot), w, belt)],
             _scaled(body, 1.05)),
        Face(rear_window, _scaled(body, 1.0), [(_inset(rear_window, 0.84), glass)]),
        Face([(at(back), c, high), (at(back), -c, high), (at(front), -c, high), (at(front), c, high)],
             _scaled(body, 1.15)),
        Face(screen, _scaled(body, 1.0), [(_inset(screen, 0.88), glass), (_inset(gleam, 0.7), _scaled(SHEEN, 0.8))]),
        Face([(at(cowl), w * 0.95, belt), (at(cowl), -w * 0.95, belt), (nose, -w * 0.92, bonnet),
              (nose, w * 0.92, bonnet)], _scaled(body, 1.1)),
        Face([(tip, w, sill), (tip, -w, sill), (nose, -w * 0.94, bonnet), (nose, w * 0.94, bonnet)],
             _scaled(body, 0.9), [
            (_quad(tip, w * 0.95, w * 0.58, bonnet - 0.24, bonnet - 0.08), WHITE),
            (_quad(tip, -w * 0.95, -w * 0.58, bonnet - 0.24, bonnet - 0.08), WHITE),
            (_quad(tip, w * 0.5, -w * 0.5, bonnet - 0.26, bonnet - 0.10), DARK),
            (_quad(tip, 0.26, -0.26, 0.36, 0.47), WHITE),
            (_quad(tip, w * 0.96, -w * 0.96, sill, sill + 0.08), DARK),
        ]),
    ]  # fmt: skip
    panel_van = kind == "van" and rng.random() < 0.5
    seam, low, top = at(0.5 * (back + front)), belt + 0.02, high - 0.09
    for y in (w, -w):
        j, k = y * 0.96, y * c / w
        flank: Corners = [(tail, y, sill), (tip, y, sill), (nose, y * 0.97, bonnet), (at(cowl), y, belt),
                          (at(boot), y, belt), (tail, y, rear_belt)]  # fmt: skip
        side: Corners = [(at(boot), j, belt), (at(cowl), j, belt), (at(front), k, high), (at(back), k, high)]
        front_door: Corners = [(seam + 0.04, j, low), (at(cowl - 0.04), j, low), (at(front - 0.01), k, top),
                               (seam + 0.04, k, top)]  # fmt: skip
        rear_door: Corners = [(at(boot + 0.05), j, low), (seam - 0.04, j, low), (seam - 0.04, k, top),
                              (at(back + 0.02), k, top)]  # fmt: skip
        lower: Corners = [(tail, y, sill), (tip, y, sill), (tip, y, sill + 0.22), (tail, y, sill + 0.22)]
        wheels = _wheel(at(0.19), y, 0.31) + _wheel(at(0.81), y, 0.31)
        faces.append(Face(flank, _scaled(body, 0.85), [(lower, _scaled(body, 0.62)), *wheels]))
        windows = [(front_door, glass)] if panel_van else [(rear_door, glass), (front_door, glass)]
        faces.append(Face(side, _scaled(body, 0.9), windows))
    lamps = _lamps(tail, tip, w * 0.8, belt - 0.18)
    return Hull(long, 2 * w, high, tuple(faces), "car", lamps)


def _lamps(tail: float, tip: float, y: float, z: float) -> tuple[tuple[tuple[float, float, float], Color], ...]:
    front: Color = (0.85, 0.95, 1.0)
    rear: Color = (0.08, 0.08, 0.9)
    return ((tip, y, z), front), ((tip, -y, z), front), ((tail, y, z), rear), ((tail, -y, z), rear)


def _inset(corners: Corners, share: float) -> Corners:
    points = np.array(corners)
    middle = points.mean(axis=0)
    return [(float(x), float(y), float(z)) for x, y, z in middle + share * (points - middle)]


def _box(
    x0: float, x1: float, w: float, z0: float, z1: float, color: Color, rear: list[tuple[Corners, Color]],
    front: list[tuple[Corners, Color]], sides: list[list[tuple[Corners, Color]]],
) -> list[Face]:  # fmt: skip
    faces = [
        Face(_quad(x0, w, -w, z0, z1), _scaled(color, 0.92), rear),
        Face(_quad(x1, w, -w, z0, z1), _scaled(color, 0.92), front),
        Face([(x0, w, z1), (x0, -w, z1), (x1, -w, z1), (x1, w, z1)], _scaled(color, 1.1)),
    ]
    for y, decals in zip((w, -w), sides, strict=True):
        faces.append(Face([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)], _scaled(color, 0.85), decals))
    return faces


def _panes(x0: float, x1: float, y: float, z0: float, z1: float, pitch: float) -> list[tuple[Corners, Color]]:
    count = max(int((x1 - x0) / pitch), 1)
    edges = np.linspace(x0, x1, count + 1)
    return [([(a + 0.06, y, z0), (b - 0.06, y, z0), (b - 0.06, y, z1), (a + 0.06, y, z1)], GLASS)
            for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]  # fmt: skip


def truck(rng: np.random.Generator) -> Hull:
    """A lorry with a box, a tarpaulin or an open bed behind its cabin."""
    w, high, long = float(rng.uniform(1.1, 1.27)), float(rng.uniform(2.7, 3.9)), float(rng.uniform(6, 13))
    load, cabin = vivid_color(rng) if rng.random() < 0.6 else (0.7, 0.7, 0.7), paint_color(rng)
    nose, tail = long / 2, -long / 2
    split, roof = nose - float(rng.uniform(1.5, 2.1)), min(high, float(rng.uniform(2.4, 2.9)))
    top = float(rng.uniform(1.4, 1.8)) if rng.random() < 0.2 else high
    rear = [
        (_quad(tail, 0.02, -0.02, 0.8, top), _scaled(load, 0.5)), (_quad(tail, w, w - 0.3, 0.5, 0.7), RED),
        (_quad(tail, -w, 0.3 - w, 0.5, 0.7), RED), (_quad(tail, w, -w, 0.75, 0.9), DARK),
    ]  # fmt: skip
    chassis = [[*_wheel(tail + 1.5, y, 0.48), *_wheel(tail + 2.6, y, 0.48)] if long > 9 else _wheel(tail + 1.6, y, 0.45)
               for y in (w, -w)]  # fmt: skip
    faces = _box(tail, split - 0.15, w, 0.75, top, load, rear, [], chassis)
    screen = [
        (_quad(nose, w * 0.92, -w * 0.92, 0.55 * roof, 0.9 * roof), GLASS), (_quad(nose, w, w - 0.35, 0.6, 0.8), WHITE),
        (_quad(nose, -w, 0.35 - w, 0.6, 0.8), WHITE), (_quad(nose, w, -w, 0.35, 0.55), DARK),
    ]  # fmt: skip
    doors = []
    low, top_of = 0.55 * roof, 0.9 * roof
    for y in (w, -w):
        pane: Corners = [
            (split + 0.3, y, low),
            (nose - 0.15, y, low),
            (nose - 0.2, y, top_of),
            (split + 0.4, y, top_of),
        ]
        doors.append([(pane, GLASS), *_wheel(nose - 0.9, y, 0.45)])
    faces += _box(split, nose, w, 0.35, roof, cabin, [], screen, doors)
    return Hull(long, 2 * w, max(top, roof), tuple(faces), "truck", _lamps(tail, nose, w - 0.2, 0.65))


def bus(rng: np.random.Generator) -> Hull:
    """A city bus or a coach, windows all along."""
    w, high, long = 1.27, float(rng.uniform(2.9, 3.6)), float(rng.uniform(9.5, 13.5))
    body = livery(rng)
    tail, nose = -long / 2, long / 2
    low, top = 0.42 * high, 0.86 * high
    rear = [(_quad(tail, w * 0.85, -w * 0.85, 0.55 * high, top), GLASS), (_quad(tail, w, w - 0.25, 0.8, 1.2), RED),
            (_quad(tail, -w, 0.25 - w, 0.8, 1.2), RED), (_quad(tail, w, -w, 0.3, 0.45), DARK)]  # fmt: skip
    front = [(_quad(nose, w * 0.95, -w * 0.95, 0.38 * high, 0.84 * high), GLASS),
             (_quad(nose, w * 0.7, -w * 0.7, 0.88 * high, 0.96 * high), (0.05, 0.35, 0.5)),
             (_quad(nose, w, w - 0.35, 0.6, 0.8), WHITE), (_quad(nose, -w, 0.35 - w, 0.6, 0.8), WHITE)]  # fmt: skip
    stripe = vivid_color(rng)
    sides = []
    for y in (w, -w):
        decals = [([(tail, y, 0.3), (nose, y, 0.3), (nose, y, 0.75), (tail, y, 0.75)], stripe)]
        decals += _panes(tail + 0.3, nose - 0.2, y, low, top, 1.5)
        sides.append([*decals, *_wheel(tail + 2.6, y, 0.48), *_wheel(nose - 2.5, y, 0.48)])
    faces = _box(tail, nose, w, 0.3, high, body, rear, front, sides)
    return Hull(long, 2 * w, high, tuple(faces), "bus", _lamps(tail, nose, w - 0.2, 0.7))


def tram(rng: np.random.Generator) -> Hull:
    """A tram, which Cityscapes calls a train."""
    w, high, long = 1.2, float(rng.uniform(3.2, 3.6)), float(rng.uniform(16, 30))
    body, band = livery(rng), livery(rng)
    tail, nose = -long / 2, long / 2
    ends = []
    for x in (tail, nose):
        ends.append([(_quad(x, w * 0.9, -w * 0.9, 0.45 * high, 0.82 * high), GLASS),
                     (_quad(x, w, -w, 0.25, 0.6), _scaled(band, 0.8)),
                     (_quad(x, w * 0.8, w * 0.5, 0.7, 0.85), WHITE if x > 0 else RED),
                     (_quad(x, -w * 0.8, -w * 0.5, 0.7, 0.85), WHITE if x > 0 else RED)])  # fmt: skip
    sides = []
    for y in (w, -w):
        decals = [([(tail, y, 0.25), (nose, y, 0.25), (nose, y, 0.9), (tail, y, 0.9)], band)]
        sides.append([*decals, *_panes(tail + 0.5, nose - 0.5, y, 0.45 * high, 0.82 * high, 1.7)])
    faces = _box(tail, nose, w, 0.15, high, body, ends[0], ends[1], sides)
    return Hull(long, 2 * w, high, tuple(faces), "train", _lamps(tail, nose, w * 0.65, 0.78))


@dataclass(frozen=True)
class Light:
    """How things are lit: brightness, direction to the sun (3,), whether lamps shine."""

    level: float
    sun: NDArray[np.float64]
    lamps: bool


def paint_hull(
    canvas: Canvas, hull: Hull, origin: NDArray[np.float64], axes: NDArray[np.float64], light: Light
) -> None:
    """Paint a vehicle, the faces that look at the camera from far to near.

    Args:
        canvas: is painted on.
        hull: of the vehicle.
        origin: (3,) middle of its ground, vehicle frame.
        axes: (3, 3) rows forward, left and up of the vehicle.
        light: of the scene.
    """
    eye = (canvas.view.eye - origin) @ axes.T
    distance = max(float(origin[0]), 1.0)
    nearest = max(float(np.linalg.norm(eye[:2])) - hull.length / 2, 1.0)
    detailed = canvas.view.focal * hull.height / nearest > DETAIL
    sun = axes @ light.sun
    lit: list[tuple[float, list[tuple[Corners, Color]]]] = []
    for face in hull.faces:
        points = np.array(face.corners)
        middle = points.mean(axis=0)
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        normal /= np.linalg.norm(normal) + 1e-9
        # Hulls are convex enough that outward is away from their middle.
        if normal @ (middle - [0.0, 0.0, 0.5 * hull.height]) < 0:
            normal = -normal
        if normal @ (eye - middle) <= 0:
            continue
        tone = light.level * (0.78 + 0.3 * max(float(normal @ sun), 0.0) + 0.1 * float(normal[2]))
        parts = [(face.corners, _scaled(face.color, tone))]
        if detailed:
            parts += [(corners, _scaled(color, tone)) for corners, color in face.decals]
        lit.append((float(np.linalg.norm(eye - middle)), parts))
    lit.sort(key=lambda item: -item[0])
    # What carries the body: wheels and shade under it, seen under every hull.
    w, half = hull.width / 2 * 0.92, hull.length / 2 * 0.86
    skirt = [_quad(x, w, -w, 0.02, 0.35) for x in (-half, half)]
    skirt += [[(-half, y, 0.06), (half, y, 0.06), (half, y, 0.35), (-half, y, 0.35)] for y in (w, -w)]
    painted = [(corners, _scaled(DARK, light.level)) for corners in skirt]
    painted += [part for _, parts in lit for part in parts]
    canvas.faces([(origin + np.array(corners) @ axes, color) for corners, color in painted], distance)
    if light.lamps:
        for at, color in hull.lamps:
            if (eye - at) @ np.array([np.sign(at[0]), 0, 0]) <= 0:
                continue
            pixels, depth = canvas.view.project((origin + np.array(at) @ axes)[None])
            if depth[0] > 1.0 and not np.isnan(pixels).any():
                where = (float(pixels[0, 0]), float(pixels[0, 1]))
                canvas.light(where, 0.09 * canvas.view.focal / float(depth[0]), _scaled(color, 0.7))
