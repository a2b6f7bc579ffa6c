"""People of a street, on foot, on bicycles and on motorcycles: jointed figures that can be looked at from any side."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.lab.render.canvas import LIMIT, Canvas, Color
from rtseg.lab.render.street.models import DARK, TYRE, Light, vivid_color
from rtseg.lab.render.vehicles import paint_color
from rtseg.lab.render.view import NEAR

SKIN = ((0.45, 0.58, 0.75), (0.30, 0.42, 0.60), (0.20, 0.28, 0.42), (0.10, 0.15, 0.24))  # BGR
HAIR = ((0.03, 0.03, 0.04), (0.06, 0.10, 0.16), (0.20, 0.38, 0.50), (0.35, 0.35, 0.36))
COMPLEX = np.array([1.0, 1.0j])  # pixels as complex numbers: turning is multiplying
SEMICIRCLE = np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 7))
SMALL = 22.0  # pixels of height below which arms, hair and bags are left out
Point = tuple[float, float, float]  # metres forward, left and up from where the figure stands


@dataclass(frozen=True)
class Appearance:
    """A person's build and clothes."""

    height: float
    girth: float
    skin: Color
    hair: Color
    top: Color
    legs: Color
    shoes: Color
    skirt: bool
    long_hair: bool
    bag: Color | None
    hat: Color | None


def random_appearance(rng: np.random.Generator) -> Appearance:
    """Draw a person; one in seven is a child."""
    height = float(rng.uniform(1.05, 1.5) if rng.random() < 0.14 else rng.normal(1.72, 0.09))
    skirt = bool(rng.random() < 0.14)
    top = vivid_color(rng)
    return Appearance(
        height=height,
        girth=float(rng.uniform(0.85, 1.3)),
        skin=SKIN[rng.choice(4, p=[0.6, 0.2, 0.1, 0.1])],
        hair=HAIR[rng.integers(4)],
        top=top,
        legs=top if skirt and rng.random() < 0.5 else vivid_color(rng) if rng.random() < 0.4 else (0.16, 0.10, 0.07),
        shoes=vivid_color(rng),
        skirt=skirt,
        long_hair=bool(rng.random() < 0.35),
        bag=vivid_color(rng) if rng.random() < 0.35 else None,
        hat=vivid_color(rng) if rng.random() < 0.15 else None,
    )


class Figure:
    """Paints limbs that hang on joints: tapered capsules in the picture, as wide as their depth makes them."""

    def __init__(self, canvas: Canvas, origin: NDArray[np.float64], axes: NDArray[np.float64], light: Light) -> None:
        self.canvas, self.origin, self.axes, self.light = canvas, origin, axes, light
        self.distance = max(float(origin[0]), 1.0)
        self.small = canvas.view.focal * 1.75 < SMALL * self.distance

    def limb(self, a: Point, b: Point, wide: tuple[float, float], color: Color, tone: float = 1.0) -> None:
        """A capsule from `a` to `b`, `wide` metres in radius at its two ends."""
        optical = self.canvas.view.optical(self.origin + np.array([a, b]) @ self.axes)
        if (optical[:, 2] < NEAR).any():
            return
        ends = self.canvas.view.pixels(optical) @ COMPLEX
        radii = self.canvas.view.focal * np.array(wide) / optical[:, 2]
        along = ends[1] - ends[0]
        turn = along / max(abs(along), 1e-9) if along != 0 else 1.0 + 0.0j
        outline = np.concatenate([ends[0] - radii[0] * turn * SEMICIRCLE, ends[1] + radii[1] * turn * SEMICIRCLE])
        self.canvas.fill(outline.view(np.float64).reshape(-1, 2), self._lit(color, tone), self.distance)

    def polygon(self, points: list[Point], color: Color, tone: float = 1.0) -> None:
        """A flat polygon, seen from both sides."""
        pixels = self.canvas.view.polygon(self.origin + np.array(points) @ self.axes)
        if pixels is not None:
            self.canvas.fill(pixels, self._lit(color, tone), self.distance)

    def ring(self, middle: Point, radius: float, thick: float, color: Color) -> None:
        """An upright wheel that rolls forward: its rim and spokes in the picture, its whole disc in the labels."""
        turns = np.linspace(0, 2 * np.pi, 25)[:-1]
        rim = np.stack(
            [middle[0] + radius * np.cos(turns), np.full(24, middle[1]), middle[2] + radius * np.sin(turns)], 1
        )
        optical = self.canvas.view.optical(self.origin + rim @ self.axes)
        if (optical[:, 2] < NEAR).any():
            return
        pixels = np.clip(self.canvas.view.pixels(optical), -LIMIT, LIMIT)
        points = np.rint(pixels * 16).astype(np.int32).reshape(-1, 1, 2)
        if self.canvas.labels is not None:
            cv2.fillPoly(self.canvas.labels, [points], self.canvas.label, cv2.LINE_8, 4)
        width = max(round(self.canvas.view.focal * thick / float(optical[:, 2].mean())), 1)
        cv2.polylines(self.canvas.image, [points], True, self._lit(color), width, cv2.LINE_8, 4)
        cv2.polylines(self.canvas.standing, [points], True, 1, width, cv2.LINE_8, 4)
        cv2.polylines(self.canvas.distance, [points], True, self.distance, width, cv2.LINE_8, 4)
        if self.canvas.labels is not None:
            cv2.polylines(self.canvas.labels, [points], True, self.canvas.label, width, cv2.LINE_8, 4)

    def rod(self, a: Point, b: Point, thick: float, color: Color) -> None:
        """A tube."""
        self.limb(a, b, (thick / 2, thick / 2), color)

    def _lit(self, color: Color, tone: float = 1.0) -> Color:
        level = self.light.level * tone
        return color[0] * level, color[1] * level, color[2] * level

    def nearer_left(self) -> bool:
        """Whether the figure's left side is the one towards the camera."""
        return bool((self.canvas.view.eye - self.origin) @ self.axes[1] > 0)


def paint_walker(figure: Figure, appearance: Appearance, phase: float, stride: float) -> None:
    """A person on foot.

    Args:
        figure: is painted.
        appearance: build and clothes.
        phase: of the gait, radians.
        stride: metres of a step; 0 stands.
    """
    h, g = appearance.height / 1.75, appearance.girth
    hip, neck = 0.92 * h, 1.47 * h
    if figure.small:
        for s in (0.4 * stride * float(np.sin(phase)), -0.4 * stride * float(np.sin(phase))):
            figure.limb((s, 0.3 * s, 0.06), (0.0, 0.0, hip), (0.07, 0.12 * g), appearance.legs)
        figure.limb((0.0, 0.0, hip), (0.0, 0.0, 1.3 * h), (0.17 * g, 0.2 * g), appearance.top)
        figure.limb((0.0, 0.0, 1.6 * h), (0.0, 0.0, 1.64 * h), (0.11 * h, 0.11 * h), appearance.hair)
        return
    swing = 0.5 * stride * np.sin(phase)
    limbs = []
    for side in (1.0, -1.0):
        s = float(side * swing)
        lift = float(max(-side * np.cos(phase), 0.0)) * 0.12 * (stride > 0)
        hip_joint = (0.0, 0.09 * side * g, hip)
        knee = (0.55 * s + 0.05, 0.09 * side * g, 0.5 * h + 0.3 * lift)
        foot = (s - 0.4 * lift, 0.09 * side * g, 0.08 * h + lift)
        toe = (foot[0] + 0.15, foot[1], foot[2] - 0.03)
        limbs.append((side, "leg", hip_joint, knee, foot, toe))
        shoulder = (0.0, 0.19 * side * g, 1.38 * h)
        elbow = (-0.35 * s - 0.02, 0.24 * side * g, 1.10 * h)
        hand = (-0.6 * s + 0.08, 0.24 * side * g, 0.84 * h)
        limbs.append((side, "arm", shoulder, elbow, hand, hand))
    near = 1.0 if figure.nearer_left() else -1.0
    for side, kind, a, b, c, d in sorted(limbs, key=lambda limb: (limb[0] == near, limb[1] == "arm")):
        if (side, kind) == (near, "leg"):
            _trunk_behind(figure, appearance, h, g)
        tone = 1.0 if side == near else 0.75
        if kind == "leg":
            bare = appearance.skirt
            figure.limb(b, c, (0.065 * g * h, 0.05 * h), appearance.skin if bare else appearance.legs, tone)
            figure.limb(a, b, (0.10 * g * h, 0.07 * g * h), appearance.skin if bare else appearance.legs, tone)
            figure.limb(c, d, (0.055 * h, 0.045 * h), appearance.shoes, tone)
        else:
            figure.limb(b, c, (0.05 * g * h, 0.04 * h), appearance.top, tone * 0.92)
            figure.limb(a, b, (0.065 * g * h, 0.05 * g * h), appearance.top, tone * 0.92)
            figure.limb(c, c, (0.05 * h, 0.05 * h), appearance.skin, tone)
        if (side, kind) == (near, "leg"):
            _trunk(figure, appearance, (0.0, 0.0, hip), (0.02, 0.0, neck), h, g)
            _head(figure, appearance, (0.03, 0.0, neck), h)


def _trunk_behind(figure: Figure, appearance: Appearance, h: float, g: float) -> None:
    if appearance.bag is not None and figure.axes[0] @ (figure.canvas.view.eye - figure.origin) > 0:
        figure.limb((-0.17, 0.0, 1.1 * h), (-0.17, 0.0, 1.35 * h), (0.16 * g, 0.14 * g), appearance.bag)


def _trunk(figure: Figure, appearance: Appearance, hip: Point, neck: Point, h: float, g: float) -> None:
    """Shoulders to hips, as wide as they look from where the camera is."""
    for y in (-0.09, 0.0, 0.09):
        low, high = (hip[0], y * g, hip[2] + 0.02), (neck[0] - 0.01, 1.15 * y * g, neck[2] - 0.14 * h)
        figure.limb(low, high, (0.115 * g * h, 0.11 * g * h), appearance.top, 1.0 - 0.6 * abs(y))
    figure.limb(
        (neck[0], 0.12 * g, neck[2] - 0.1 * h),
        (neck[0], -0.12 * g, neck[2] - 0.1 * h),
        (0.07 * h, 0.07 * h),
        appearance.top,
    )
    if appearance.skirt:
        wide = 0.2 * g
        figure.limb((hip[0], -0.04, 0.58 * h), (hip[0], 0.0, hip[2]), (0.17 * g, 0.12 * g), appearance.legs)
        figure.limb((hip[0], 0.04, 0.58 * h), (hip[0], 0.0, hip[2]), (wide, 0.12 * g), appearance.legs)
    if appearance.bag is not None and figure.axes[0] @ (figure.canvas.view.eye - figure.origin) <= 0:
        figure.limb((-0.17, 0.0, 1.08 * h), (-0.17, 0.0, 1.33 * h), (0.15 * g, 0.13 * g), appearance.bag)


def _head(figure: Figure, appearance: Appearance, neck: Point, h: float) -> None:
    x, y, z = neck
    figure.limb((x, y, z - 0.05 * h), (x, y, z + 0.05 * h), (0.055 * h, 0.055 * h), appearance.skin)
    skull = (x + 0.01, y, z + 0.155 * h)
    if appearance.long_hair:
        figure.limb((x - 0.06, y, z + 0.0), (x - 0.03, y, z + 0.17 * h), (0.09 * h, 0.115 * h), appearance.hair)
    figure.limb(skull, (skull[0], y, skull[2] + 0.015), (0.105 * h, 0.105 * h), appearance.hair)
    figure.limb((x + 0.05, y, z + 0.10 * h), (x + 0.05, y, z + 0.15 * h), (0.075 * h, 0.08 * h), appearance.skin)
    if figure.axes[0] @ (figure.canvas.view.eye - figure.origin) <= 0:  # from behind hair covers the face
        figure.limb((x - 0.03, y, z + 0.12 * h), (x - 0.03, y, z + 0.17 * h), (0.085 * h, 0.1 * h), appearance.hair)
    if appearance.hat is not None:
        figure.limb((x, y, z + 0.21 * h), (x, y, z + 0.24 * h), (0.115 * h, 0.085 * h), appearance.hat)


@dataclass(frozen=True)
class Cycle:
    """A bicycle or a motorcycle; its wheels touch the ground 1 m or 1.35 m apart."""

    motor: bool
    color: Color
    parts: Color
    basket: bool


def random_cycle(rng: np.random.Generator, motor: bool) -> Cycle:
    """Draw a bicycle or a motorcycle."""
    color = paint_color(rng) if motor or rng.random() < 0.6 else vivid_color(rng)
    return Cycle(motor, color, (0.25, 0.25, 0.25) if rng.random() < 0.5 else DARK, bool(rng.random() < 0.3))


def paint_cycle(figure: Figure, cycle: Cycle, phase: float) -> None:
    """The machine without its rider; `phase` turns its pedals."""
    if cycle.motor:
        _motorcycle(figure, cycle)
        return
    frame, seat, bars = cycle.color, (-0.16, 0.0, 0.90), (0.40, 0.0, 1.0)
    rear, front, crank, head = (-0.50, 0.0, 0.34), (0.52, 0.0, 0.34), (-0.04, 0.0, 0.30), (0.38, 0.0, 0.80)
    for hub in (rear, front):
        figure.ring(hub, 0.33, 0.045, TYRE)
    for k in range(4):
        turn = phase + k * np.pi / 4
        arm = (0.31 * float(np.cos(turn)), 0.0, 0.31 * float(np.sin(turn)))
        for hub in (rear, front):
            figure.rod(
                (hub[0] - arm[0], 0.0, hub[2] - arm[2]), (hub[0] + arm[0], 0.0, hub[2] + arm[2]), 0.008, (0.3,) * 3
            )
    for a, b in ((crank, seat), (crank, head), (rear, crank), (rear, seat), (seat, head), (head, front), (head, bars)):
        figure.rod(a, b, 0.04, frame)
    figure.rod((seat[0] - 0.12, 0.0, 0.93), (seat[0] + 0.12, 0.0, 0.92), 0.09, DARK)
    figure.rod((bars[0], 0.27, 1.02), (bars[0], -0.27, 1.02), 0.035, cycle.parts)
    for side in (1.0, -1.0):
        turn = phase + (0.0 if side > 0 else np.pi)
        pedal = (crank[0] + 0.17 * float(np.cos(turn)), 0.1 * side, crank[2] + 0.17 * float(np.sin(turn)))
        figure.rod((crank[0], 0.1 * side, crank[2]), pedal, 0.03, cycle.parts)
    if cycle.basket:
        figure.polygon([(-0.75, 0.0, 0.70), (-0.30, 0.0, 0.72), (-0.30, 0.0, 0.92), (-0.78, 0.0, 0.94)], cycle.parts)


def _motorcycle(figure: Figure, cycle: Cycle) -> None:
    rear, front = (-0.68, 0.0, 0.31), (0.70, 0.0, 0.31)
    for hub in (rear, front):
        if abs(figure.axes[1][0]) > 0.5:  # seen from the side there is no looking through
            figure.limb(hub, hub, (0.30, 0.30), (0.1, 0.1, 0.1))
        for y in (-0.05, 0.05):
            figure.ring((hub[0], y, hub[2]), 0.28, 0.12, TYRE)
    figure.limb((-0.25, 0.0, 0.45), (0.25, 0.0, 0.48), (0.20, 0.20), (0.16, 0.16, 0.16))
    figure.limb((-0.55, 0.0, 0.72), (-0.1, 0.0, 0.74), (0.14, 0.13), cycle.color, 0.9)
    figure.limb((-0.60, 0.0, 0.82), (-0.05, 0.0, 0.80), (0.08, 0.09), DARK)
    figure.limb((0.05, 0.0, 0.86), (0.40, 0.0, 0.84), (0.17, 0.15), cycle.color)
    figure.limb((0.45, 0.0, 0.95), front, (0.07, 0.05), (0.3, 0.3, 0.3))
    figure.limb((0.58, 0.0, 0.88), (0.60, 0.0, 0.95), (0.13, 0.11), cycle.color, 1.1)
    figure.rod((0.42, 0.36, 1.05), (0.42, -0.36, 1.05), 0.05, cycle.parts)
    facing = figure.axes[0] @ (figure.canvas.view.eye - figure.origin) > 0
    lamp: Point = (0.66, 0.0, 0.90) if facing else (-0.70, 0.0, 0.74)
    figure.limb(lamp, lamp, (0.08, 0.08), (0.8, 0.8, 0.8) if facing else (0.06, 0.06, 0.5))


def paint_rider(figure: Figure, appearance: Appearance, cycle: Cycle, phase: float) -> None:
    """The person on the machine, painted over it."""
    h, g = appearance.height / 1.75, appearance.girth
    seat: Point = (-0.22, 0.0, 0.92) if cycle.motor else (-0.16, 0.0, 1.0)
    neck: Point = (0.02 if cycle.motor else 0.10, 0.0, seat[2] + 0.56 * h)
    bars: Point = (0.40, 0.0, 1.05)
    near = 1.0 if figure.nearer_left() else -1.0
    for side in (-near, near):
        tone = 1.0 if side == near else 0.75
        if cycle.motor:
            knee, foot = (0.22, 0.2 * side, 0.72), (0.0, 0.2 * side, 0.34)
        else:
            turn = phase + (0.0 if side > 0 else np.pi)
            foot = (-0.04 + 0.17 * float(np.cos(turn)), 0.1 * side, 0.34 + 0.17 * float(np.sin(turn)))
            knee = (0.5 * (foot[0] + seat[0]) + 0.28, 0.1 * side, 0.5 * (foot[2] + seat[2]) + 0.1)
        if side == near:
            _trunk(figure, appearance, seat, neck, h, g)
            _head(figure, appearance, neck, h)
            if cycle.motor or appearance.hat is not None:
                shell = appearance.hat or cycle.color
                figure.limb((neck[0], 0.0, neck[2] + 0.14 * h), (neck[0], 0.0, neck[2] + 0.18 * h), (0.13, 0.13), shell)
        figure.limb(knee, foot, (0.065 * g, 0.05), appearance.legs, tone)
        figure.limb((seat[0], 0.09 * side, seat[2]), knee, (0.1 * g, 0.075 * g), appearance.legs, tone)
        figure.limb(foot, (foot[0] + 0.14, foot[1], foot[2] - 0.02), (0.05, 0.045), appearance.shoes, tone)
        elbow = (0.5 * (neck[0] + bars[0]), 0.27 * side, 0.5 * (neck[2] + bars[2]) - 0.1)
        figure.limb((neck[0], 0.19 * side * g, neck[2] - 0.09), elbow, (0.06 * g, 0.05), appearance.top, tone * 0.92)
        figure.limb(elbow, (bars[0], 0.25 * side, bars[2]), (0.05, 0.04), appearance.top, tone * 0.92)
