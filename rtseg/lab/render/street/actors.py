"""What stands and moves in a street, where it is at a time, in what order it is painted, and the painting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.canvas import Canvas
from rtseg.lab.render.road import RoadShape
from rtseg.lab.render.scenery import plant
from rtseg.lab.render.street.models import DARK, Hull, Light, paint_hull
from rtseg.lab.render.street.people import Appearance, Cycle, Figure, paint_cycle, paint_rider, paint_walker

REACH = 140.0  # metres ahead to which things are painted


@dataclass(frozen=True)
class Walker:
    """A person on foot; `stride` metres a step, 0 for one who stands."""

    appearance: Appearance
    stride: float


@dataclass(frozen=True)
class Ride:
    """A bicycle or motorcycle, with its rider or parked."""

    cycle: Cycle
    rider: Appearance | None


@dataclass(frozen=True)
class Prop:
    """Street furniture that hides what is behind it: pole, tree, sign or bin, drawn from `seed`."""

    kind: str
    seed: int


@dataclass(frozen=True)
class Actor:
    """A thing in the street.

    Attributes:
        key: what it is told apart by through time.
        thing: what it is.
        s, u: metres along the road from the vehicle, and to the left of the road's reference.
        heading: radians to the left of the road's direction.
        speed: metres a second along its heading; the wheels and legs follow it.
        phase: of legs or pedals, radians.
    """

    key: tuple[int, ...]
    thing: Hull | Walker | Ride | Prop
    s: float
    u: float
    heading: float = 0.0
    speed: float = 0.0
    phase: float = 0.0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each of its instances, in the order in which they are painted."""
        if isinstance(self.thing, Hull):
            return (self.thing.thing,)
        if isinstance(self.thing, Walker):
            return ("person",)
        if isinstance(self.thing, Ride):
            machine = "motorcycle" if self.thing.cycle.motor else "bicycle"
            return (machine, "rider") if self.thing.rider else (machine,)
        return ()

    def extent(self) -> tuple[float, float]:
        """Half its length along and across the road, metres."""
        if isinstance(self.thing, Hull):
            half = 0.5 * self.thing.length, 0.5 * self.thing.width
        elif isinstance(self.thing, Ride):
            half = 0.9, 0.3
        else:
            half = 0.3, 0.3
        c, d = abs(np.cos(self.heading)), abs(np.sin(self.heading))
        return float(half[0] * c + half[1] * d), float(half[0] * d + half[1] * c)

    def at(self, seconds: float, traveled: float) -> Actor:
        """The actor after `seconds`, seen from a vehicle that has `traveled` so many metres; `s` starts at 0."""
        way = self.speed * seconds
        pace = np.pi / max(self.thing.stride, 0.3) if isinstance(self.thing, Walker) else 3.0
        return replace(
            self,
            s=self.s + way * float(np.cos(self.heading)) - traveled,
            u=self.u + way * float(np.sin(self.heading)),
            phase=self.phase + way * float(pace),
        )


def painting_order(actors: list[Actor], own: float) -> list[int]:
    """Indices of `actors` from the farthest to the nearest, so that each is painted before what hides it.

    Of two things beside each other along the road the one nearer to the vehicle's own path, `own` metres to the left
    of the reference, hides the other: long vehicles hide people behind them and are hidden by those before them.
    """
    if not actors:
        return []
    halves = np.array([actor.extent() for actor in actors])
    s, u = np.array([actor.s for actor in actors]), np.array([actor.u for actor in actors])
    near, far = s - halves[:, 0], s + halves[:, 0]
    aside = np.maximum(np.abs(u - own) - halves[:, 1], 0.0)
    # hides[i, j]: i has to be painted after j.
    before = far[:, None] <= near[None]
    beside = ~before & ~before.T
    hides = before | (beside & (aside[:, None] < aside[None] - 1e-9))
    left = np.ones(len(actors), bool)
    order = []
    for _ in actors:
        free = left & ~(hides & left[None]).any(axis=1)
        candidates = np.flatnonzero(free if free.any() else left)
        chosen = int(candidates[np.argmax(s[candidates])])
        order.append(chosen)
        left[chosen] = False
    return order


def paint_actor(
    canvas: Canvas, shape: RoadShape, actor: Actor, light: Light, shadow: float, lean: float, first_label: int
) -> None:
    """Paint one actor with its shadow; its instances get `first_label`, `first_label` + 1, ... in the labels.

    Args:
        canvas: is painted on, with labels.
        shape: of the road.
        actor: and where it is.
        light: of the scene.
        shadow: what share of light is left under it.
        lean: metres to the left that shadows lean for each metre of height.
        first_label: of its instances.
    """
    half = actor.extent()[0]
    if not -half < actor.s + 0.5 * half or actor.s - half > min(REACH, float(shape.s[-1])):
        return
    origin = shape.points(actor.s, actor.u)[0]
    if origin[0] + half < 0.6 or _aside(canvas, actor, origin):
        return
    angle = float(np.interp(actor.s, shape.s, shape.heading)) + actor.heading
    c, d = float(np.cos(angle)), float(np.sin(angle))
    axes = np.array([[c, d, 0.0], [-d, c, 0.0], [0.0, 0.0, 1.0]])
    canvas.label = 0
    if isinstance(actor.thing, Prop):
        _paint_prop(canvas, actor.thing, origin, light)
        return
    _shadow(canvas, actor, origin, axes, shadow, lean)
    canvas.label = first_label
    figure = Figure(canvas, origin, axes, light)
    if isinstance(actor.thing, Hull):
        paint_hull(canvas, actor.thing, origin, axes, light)
    elif isinstance(actor.thing, Walker):
        paint_walker(figure, actor.thing.appearance, actor.phase, actor.thing.stride)
    else:
        paint_cycle(figure, actor.thing.cycle, actor.phase)
        if actor.thing.rider is not None:
            canvas.label = first_label + 1
            paint_rider(figure, actor.thing.rider, actor.thing.cycle, actor.phase)
    canvas.label = 0


def _aside(canvas: Canvas, actor: Actor, origin: NDArray[np.float64]) -> bool:
    """Whether the actor, ahead as a whole, stands beside the picture."""
    radius = max(actor.extent()) + (4.0 if isinstance(actor.thing, Prop) else 0.6)
    depth = float(origin[0]) - radius
    if depth < 1.0:
        return False
    pixels, _ = canvas.view.project((origin + np.array([0.0, 0.0, 1.0]))[None])
    margin = canvas.view.focal * radius / depth
    return not -margin < float(pixels[0, 0]) < canvas.view.width + margin


def _shadow(
    canvas: Canvas, actor: Actor, origin: NDArray[np.float64], axes: NDArray[np.float64], shadow: float, lean: float
) -> None:
    if isinstance(actor.thing, Hull):
        long, wide, high = 0.5 * actor.thing.length + 0.15, 0.5 * actor.thing.width + 0.1, actor.thing.height
    else:
        long, wide, high = (0.8, 0.15, 1.2) if isinstance(actor.thing, Ride) else (0.18, 0.22, 1.7)
    corners = origin + np.array([(-long, wide, 0), (-long, -wide, 0), (long, -wide, 0), (long, wide, 0)]) @ axes
    cast = corners + np.array([0.0, lean * high, 0.0])
    soft = min(0.08 * canvas.view.focal / max(float(origin[0]), 1.0), 6.0)
    canvas.multiply(corners, shadow, soft)
    if abs(lean) > 0.1:
        side = np.argsort(corners[:, 1] * np.sign(lean))[2:]
        canvas.multiply(np.stack([corners[side[0]], corners[side[1]], cast[side[1]], cast[side[0]]]), shadow, soft)


def _paint_prop(canvas: Canvas, prop: Prop, origin: NDArray[np.float64], light: Light) -> None:
    rng = np.random.default_rng([prop.seed, 17])
    distance = max(float(origin[0]), 0.6)
    level = light.level

    def board(y0: float, y1: float, z0: float, z1: float, color: NDArray[np.float64]) -> None:
        corners = origin + np.array([(0, y0, z0), (0, y1, z0), (0, y1, z1), (0, y0, z1)])
        b, g, r = (color * level).tolist()
        pixels = canvas.view.polygon(corners)
        if pixels is not None:
            canvas.fill(pixels, (b, g, r), distance)

    gray = np.full(3, float(rng.uniform(0.1, 0.5)))
    if prop.kind == "bin":
        wide, high = float(rng.uniform(0.2, 0.6)), float(rng.uniform(0.6, 1.3))
        board(wide, -wide, 0.0, high, rng.uniform(0.03, 0.5, 3))
        board(wide, -wide, high, high + 0.08, np.array(DARK))
    elif prop.kind == "tree":
        bark, thick = np.array([0.10, 0.14, 0.18]) * rng.uniform(0.6, 1.3), float(rng.uniform(0.1, 0.28))
        tall = float(rng.uniform(5, 11))
        board(thick, -thick, 0.0, 0.45 * tall, bark)
        pixels, depth = canvas.view.project((origin + np.array([0.0, 0.0, 0.3 * tall]))[None])
        if depth[0] > 1.0 and not np.isnan(pixels).any():
            size = canvas.view.focal * tall / float(depth[0])
            wide = size * float(rng.uniform(0.6, 0.9))
            alpha, brightness = plant("tree", int(rng.integers(8)))
            leaf = np.array([0.10, 0.21, 0.18]) * rng.uniform(0.6, 1.3) * rng.uniform(0.88, 1.12, 3) * level
            x, y = pixels[0]
            box = (float(x - wide / 2), float(y - 0.85 * size), float(x + wide / 2), float(y + 0.15 * size))
            canvas.sprite(alpha[:70], brightness[:70, :, None] * leaf.astype(np.float32), box, distance)
    else:
        thick, high = float(rng.uniform(0.04, 0.1)), float(rng.uniform(2.3, 6.0) if prop.kind == "pole" else 2.4)
        board(thick, -thick, 0.0, high, gray)
        if prop.kind == "sign":
            plates = np.array([(0.1, 0.1, 0.6), (0.55, 0.2, 0.08), (0.75, 0.75, 0.75), (0.05, 0.6, 0.8)])
            wide = float(rng.uniform(0.25, 0.45))
            board(wide, -wide, high - 2 * wide, high, plates[rng.integers(4)])
        elif rng.random() < 0.3:  # traffic lights
            board(0.17, -0.17, min(high, 2.6), min(high, 2.6) + 0.9, np.array(DARK))
