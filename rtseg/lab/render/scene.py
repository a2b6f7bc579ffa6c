"""A road as a world that stays put, and the picture of it from one place: the parts of the renderer put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.camera import Camera, Mount
from rtseg.lab.render import photometrics, scenery
from rtseg.lab.render.canvas import Canvas
from rtseg.lab.render.decals import paint_decals
from rtseg.lab.render.markings import across_the_median, chunk_patches, lane_stripes, line_offset, misleading_stripes
from rtseg.lab.render.noise import profile
from rtseg.lab.render.road import RoadShape, grid, ground_maps, trace
from rtseg.lab.render.sky import paint_sky
from rtseg.lab.render.style import RoadStyle
from rtseg.lab.render.surface import Band, Dapple, Patch, shade_ground
from rtseg.lab.render.truth import lane_polylines, paint_mask
from rtseg.lab.render.vehicles import Vehicle, paint_vehicle, random_vehicle
from rtseg.lab.render.view import View

BEND = 420.0  # metres over which the curvature of a road swings
LIGHT = {"sun": 1.0, "overcast": 0.84, "dusk": 0.34, "night": 0.03}
BRIDGE_EVERY = 900.0  # metres from a bridge to the next
CHUNK = 60.0  # metres of kerb whose vehicles are drawn from one seed
HOOD = 2  # in a canvas' flags of what stands before the road
HIDDEN = 0.93  # a lane line covered to this part is not labelled


@dataclass(frozen=True)
class RenderedRoad:
    """One rendered frame with its truth.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        lanes: one (k, 2) float32 polyline (x, y) in pixels a lane line, y strictly increasing, left to right; it
            runs on through the gaps of dashes and behind vehicles.
        mask: (H, W) uint8, ids of the lane lines along their polylines, 0 elsewhere.
        ids: id of each polyline in `mask`; 1..n in a single picture, kept through time in a drive.
        camera: intrinsics and mount the frame was taken with.
        description: conditions (setting, lighting, weather, curvature, markings ...) for scoring by condition.
        stamp: nanoseconds since the start of the drive.
    """

    image: NDArray[np.uint8]
    lanes: tuple[NDArray[np.float32], ...]
    mask: NDArray[np.uint8]
    ids: tuple[int, ...]
    camera: Camera
    description: dict[str, str | float | list[str]]
    stamp: int = 0


@dataclass(frozen=True)
class Ego:
    """Where the vehicle is: metres along the road, metres u across it, heading against it in radians."""

    traveled: float
    offset: float
    heading: float = 0.0


def sample_camera(style: RoadStyle, size: tuple[int, int]) -> Camera:
    """The style's camera for pictures of `size` (height, width), pitched so that the horizon is where it should be."""
    height, width = size
    focal = style.focal * width
    center = (height - 1) / 2
    pitch = float(np.arctan((center - (style.horizon * height - 0.5)) / focal))
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, center], [0, 0, 1]])
    distortion = np.array([style.distortion, 0.0, 0.0, 0.0, 0.0])
    mount = Mount(style.camera_height, pitch, style.roll, style.yaw)
    return Camera(width, height, matrix, distortion, mount, name="rendered")


class World:
    """A road with everything on and beside it, anchored to its arc length; made from a style and a seed."""

    def __init__(self, style: RoadStyle, seed: int) -> None:
        self.style, self.seed = style, seed
        rng = np.random.default_rng([seed, 1])
        self.stripes = [*misleading_stripes(style, rng), *lane_stripes(style, rng)]
        self.bands = _bands(style, rng)
        self.dapples = _dapples(style, rng)
        self.phase = float(rng.uniform(0, 2 * np.pi))
        low = style.lighting == "sun" and rng.random() < 0.6
        self.sun = float(rng.uniform(-3.0, 3.0)) if low else 0.0  # metres that shadows lean to the left
        self.bridge = _bridge(style, rng)

    def shape(self, ego: Ego) -> RoadShape:
        """The road as seen from `ego`."""
        s = grid() + ego.traveled
        amplitude = self.style.curvature
        curvature = amplitude * (0.75 + 0.9 * np.sin(2 * np.pi * s / BEND + self.phase))
        hills = self.style.hilliness * 2.2e-4 * profile(s, self.seed, 380.0, octaves=2)
        return trace(curvature, hills, ego.offset, ego.heading)

    def start(self) -> Ego:
        """Where a single picture is taken."""
        a, b = (self.style.lines[self.style.own_lane + k].offset for k in (0, 1))
        return Ego(0.0, a + (b - a) * self.style.own_offset, self.style.own_heading)

    def parked_traffic(self, ego: Ego) -> list[Vehicle]:
        """Vehicles around a single picture."""
        rng = np.random.default_rng([self.seed, 51])
        vehicles = []
        style = self.style
        lanes = list(zip(style.lines, style.lines[1:], strict=False))
        for k, (left, right) in enumerate(lanes):
            own = k == style.own_lane
            s = float(rng.uniform(6, 40) if own else rng.uniform(-4, 50))
            while s < 230:
                if rng.random() < 0.25 + 0.6 * style.traffic:
                    u = float((line_offset(left, np.array([s]))[0] + line_offset(right, np.array([s]))[0]) / 2)
                    against = style.oncoming and k < style.own_lane and style.setting in ("country", "mountain", "city")
                    vehicles.append(random_vehicle(rng, s, u + float(rng.normal(0, 0.3)), against))
                s += float(rng.exponential(35) / (0.25 + style.traffic)) + 12
        if style.oncoming and style.setting in ("highway", "motorway"):
            s = float(rng.uniform(0, 60))
            while s < 260:
                u = style.left_edge + style.median + 0.8 + 3.6 * float(rng.choice([0.5, 1.5, 2.5]))
                vehicles.append(random_vehicle(rng, s, u, True))
                s += float(rng.exponential(40)) + 10
        return vehicles

    def kerb_vehicles(self, traveled: float) -> list[Vehicle]:
        """Vehicles that stand along the kerbs, anchored to the road."""
        style, vehicles = self.style, []
        for side, edge, share in ((1, style.left_edge, style.parked[0]), (-1, style.right_edge, style.parked[1])):
            for chunk in range(int((traveled - 20) // CHUNK), int((traveled + 120) // CHUNK) + 1) if share else ():
                rng = np.random.default_rng([self.seed, 52, side + 1, chunk & 0xFFFFFFFF])
                at = chunk * CHUNK + float(rng.uniform(0, 2))
                while at < (chunk + 1) * CHUNK - 5:
                    vehicle = random_vehicle(rng, at - traveled, edge + side * float(rng.uniform(0.6, 1.4)), side > 0)
                    if rng.random() < share and vehicle.length < 6:
                        vehicles.append(vehicle)
                    at += 5.3 + float(rng.exponential(0.8))
        return vehicles

    def picture(
        self,
        ego: Ego,
        view: View,
        vehicles: list[Vehicle],
        frame: int = 0,
        things: Callable[[Canvas, RoadShape, float, bool, float], None] | None = None,
    ) -> tuple[NDArray[np.uint8], Canvas, NDArray[np.uint8], RoadShape]:
        """Paint the frame.

        Args:
            ego: where the vehicle is.
            view: its camera.
            vehicles: the others, in any order.
            frame: number of the frame, which seeds noise.
            things: paints what else stands in the scene, given canvas, road, light, whether it is night, and the share
                of light that shadows leave.

        Returns:
            the image, its canvas, (H, W) uint8 with the line id where lane paint is seen, and the road's shape.
        """
        style, traveled = self.style, ego.traveled
        per_drive = np.random.default_rng([self.seed, 61])
        per_frame = np.random.default_rng([self.seed, 62, frame])
        shape = self.shape(ego)
        maps = ground_maps(shape, view.rays, style.camera_height, view.focal)
        light = LIGHT[style.lighting]
        patches = [*chunk_patches(style, self.seed, traveled - 20, traveled + 320), *self._bridge_shadow(traveled)]
        ground, painted = shade_ground(maps, traveled, self.bands, self.stripes, patches, self.dapples)
        paint_decals(ground, maps, shape, view, style, self.seed, traveled)
        seen = np.isfinite(maps.x)
        headed = float(np.interp(0.0, shape.s, shape.heading))
        sky = paint_sky(view, style, self.seed, ego.heading + headed)
        if style.lighting == "night":
            ground *= photometrics.headlights(maps, style, per_drive, traveled)
            object_light = 0.06
        else:
            ground *= np.float32(light * 1.1)
            object_light = light
        image = np.where(seen[..., None], ground, sky)
        distance = np.where(seen, maps.x, 3000.0).astype(np.float32)
        canvas = Canvas(view, image, distance)
        rng = np.random.default_rng([self.seed, 63])
        build = np.random.default_rng([self.seed, 65])
        for side, edge in ((1.0, style.left_edge), (-1.0, style.right_edge)):
            other = across_the_median(style)
            clear = other[1] if side > 0 and other else edge
            share = {"mountain": 0.7, "highway": 0.35, "motorway": 0.4, "country": 0.25, "city": 0.03}[style.setting]
            if build.random() < share:
                scenery.bank(
                    canvas, shape, clear + side * float(build.uniform(1.5, 7)), side, object_light, build, traveled
                )
        scenery.roadside(canvas, shape, style, self.seed, traveled, object_light)
        vehicles = [*vehicles, *self.kerb_vehicles(traveled)]
        beyond = [v for v in vehicles if not style.right_edge - 1 < v.u < style.left_edge + 1]
        within = [v for v in vehicles if style.right_edge - 1 <= v.u <= style.left_edge + 1]
        night = style.lighting == "night"
        shadow = {"sun": 0.35, "overcast": 0.6}.get(style.lighting, 0.7)
        self._vehicles(canvas, shape, beyond, object_light, night, shadow)
        for kind, u in ((style.left_border, style.left_edge), (style.right_border, style.right_edge)):
            if kind != "none":
                scenery.border(canvas, shape, kind, u, style, rng, traveled, object_light)
        if self.bridge is not None:
            at, deep = self.bridge
            ahead = (at - traveled) % BRIDGE_EVERY
            if 6 < ahead < 200:
                scenery.bridge(
                    canvas, shape, (ahead, deep), style, object_light, np.random.default_rng([self.seed, 64])
                )
        self._vehicles(canvas, shape, within, object_light, night, shadow)
        if things is not None:
            things(canvas, shape, object_light, night, shadow)
        if style.weather == "rain":
            photometrics.wet_road(canvas, maps, style, per_drive)
        haze = np.array([0.72, 0.71, 0.70] if style.weather == "fog" else [0.85, 0.78, 0.70])
        if style.visibility < 4000:
            dim = {"sun": 1.0, "overcast": 0.95, "dusk": 0.45, "night": 0.1}[style.lighting]
            photometrics.fog(canvas, haze * dim, style.visibility)
        hood(canvas, style, per_drive)
        return photometrics.expose(canvas, style, per_drive, per_frame), canvas, painted, shape

    def _bridge_shadow(self, traveled: float) -> list[Patch]:
        if self.bridge is None:
            return []
        at, deep = self.bridge
        first = traveled - 40 + (at - traveled + 40) % BRIDGE_EVERY
        dark = {"sun": 0.3, "overcast": 0.5, "dusk": 0.5}.get(self.style.lighting, 0.9)
        return [Patch(first, first + deep, -300, 300, (dark, dark, dark), 1.0, 0.3, multiply=True)]

    def _vehicles(
        self, canvas: Canvas, shape: RoadShape, vehicles: list[Vehicle], light: float, night: bool, shadow: float
    ) -> None:
        for vehicle in sorted(vehicles, key=lambda v: -v.s):
            lit = light
            if night and not vehicle.oncoming:
                lit = light + 0.5 / (1 + (max(vehicle.s, 0) / 25) ** 2)
            paint_vehicle(canvas, shape, vehicle, lit, night, shadow, self.sun)

    def render(self, ego: Ego, view: View, vehicles: list[Vehicle], frame: int = 0, stamp: int = 0) -> RenderedRoad:
        """Paint the frame and its truth."""
        image, canvas, painted, shape = self.picture(ego, view, vehicles, frame)
        present = np.bincount(painted.ravel(), minlength=len(self.style.lines) + 1) > 0
        lines = lane_polylines(self.style, shape, view, ego.traveled)
        lanes, ids = [], []
        for i, line in enumerate(lines):
            line = _above_hood(line, canvas)
            if not present[i + 1] or len(line) < 3 or line[-1, 1] - line[0, 1] < 0.05 * view.height:
                continue
            at = np.rint(line).astype(int)
            if canvas.standing[at[:, 1], at[:, 0]].mean() > HIDDEN:
                continue
            lanes.append(line)
            ids.append(i + 1)
        mask = paint_mask(lanes, ids, (view.height, view.width))
        return RenderedRoad(image, tuple(lanes), mask, tuple(ids), view.camera, self.style.describe(), stamp)


def _bands(style: RoadStyle, rng: np.random.Generator) -> list[Band]:
    tone = {
        "asphalt": (0.26, 0.42),
        "fresh": (0.14, 0.28),
        "concrete": (0.38, 0.60),
        "worn": (0.30, 0.48),
        "cobbles": (0.22, 0.45),
    }[style.surface]
    level = float(rng.uniform(*tone))
    tint = 1 + rng.normal(0, 0.03, 3)
    rough, streak = float(rng.uniform(0.015, 0.085)), float(rng.uniform(0.0, 0.09))
    mottle = float(rng.uniform(0.02, 0.09))
    if style.surface == "cobbles":
        rough, mottle = 3 * rough + 0.05, 2 * mottle

    def road(factor: float, right: float, ragged: float = 0.02) -> Band:
        color = tuple(float(c) for c in np.clip(level * factor * tint, 0.03, 0.85))
        return Band(right, color, rough, mottle, streak, ragged)  # type: ignore[arg-type]

    def wild(right: float) -> Band:
        grass, dry, dirt, paved = (0.12, 0.30, 0.22), (0.32, 0.50, 0.60), (0.25, 0.33, 0.40), (0.42, 0.43, 0.44)
        weights = [0.15, 0.05, 0.1, 0.7] if style.setting == "city" else [0.42, 0.28, 0.25, 0.05]
        color = (
            np.array([grass, dry, dirt, paved][rng.choice(4, p=weights)])
            * rng.uniform(0.6, 1.2)
            * rng.uniform(0.85, 1.15, 3)
        )
        return Band(right, tuple(color), 0.25, 0.16, 0.0, 0.5, 1.0)  # type: ignore[arg-type]

    other = across_the_median(style)
    if other:
        near, far = other
        bands = [wild(far), road(float(rng.uniform(0.8, 1.2)), near), wild(style.left_edge)]
    else:
        bands = [wild(style.left_edge + float(rng.uniform(2, 12))), wild(style.left_edge)]
    lines = style.lines
    if rng.random() < 0.4:
        bands.append(road(float(rng.uniform(0.6, 1.4)), lines[0].offset + float(rng.uniform(0.1, 0.5))))
    for line in lines[1:]:
        factor = float(rng.choice([1.0, rng.uniform(0.75, 1.3)], p=[0.8, 0.2]))
        bands.append(road(factor, line.offset + float(rng.normal(0, 0.25))))
    bands.append(road(float(rng.choice([1.0, rng.uniform(0.55, 1.5)])), style.right_edge, 0.05))
    bands.append(wild(style.right_edge - float(rng.uniform(1, 8))))
    bands.append(wild(-1e6))
    rights = np.minimum.accumulate([band.right for band in bands])
    return [Band(**{**band.__dict__, "right": float(right)}) for band, right in zip(bands, rights, strict=True)]


def _bridge(style: RoadStyle, rng: np.random.Generator) -> tuple[float, float] | None:
    """Arc length and depth along the road of the bridge, if there is one."""
    at, deep, roll = float(rng.uniform(-10, 160)), float(rng.uniform(6, 30)), rng.random()
    return (at, deep) if roll < 0.12 and style.setting != "mountain" else None


def _dapples(style: RoadStyle, rng: np.random.Generator) -> list[Dapple]:
    if style.lighting != "sun" or style.weather == "rain" or rng.random() < 0.55:
        return []
    dark = float(rng.uniform(0.28, 0.65))
    side = rng.random()
    left, right = (style.left_edge + 15, style.right_edge - 15)
    if side < 0.4:
        right = float(rng.uniform(style.right_edge, style.left_edge))
    elif side < 0.8:
        left = float(rng.uniform(style.right_edge, style.left_edge))
    return [
        Dapple(
            float(rng.uniform(25, 160)), float(rng.uniform(-0.4, 1.0)), dark, float(rng.uniform(0.2, 0.9)), right, left
        )
    ]


def hood(canvas: Canvas, style: RoadStyle, rng: np.random.Generator) -> None:
    """The own vehicle's hood along the bottom; it hides the road, so lane lines end at it."""
    if style.hood == "none":
        return
    height, width = canvas.image.shape[:2]
    share = float(rng.uniform(0.02, 0.16))
    x = np.linspace(0, 1, 41)
    arch = float(rng.uniform(0.01, 0.06)) * (1 - (2 * x - float(rng.uniform(0.8, 1.2))) ** 2)
    top = height * (1 - share - arch + 0.02)
    corners = np.stack([np.append(x * width, [width, 0]), np.append(top, [height + 2.0, height + 2.0])], axis=1)
    before = canvas.image.copy()
    cover = np.zeros((height, width), np.uint8)
    cv2.fillPoly(cover, [np.rint(corners).astype(np.int32).reshape(-1, 1, 2)], 1)
    base = np.array([0.04, 0.04, 0.045]) if style.hood == "dark" else rng.uniform(0.05, 0.5, 3)
    light = {"sun": 1.0, "overcast": 0.7, "dusk": 0.35, "night": 0.06}[style.lighting]
    paint = np.broadcast_to((base * light).astype(np.float32), before.shape).copy()
    rows = np.linspace(1.15, 0.8, height, dtype=np.float32)[:, None, None]
    paint *= rows
    if style.hood == "mirror":
        paint = 0.35 * paint + 0.45 * cv2.blur(before[::-1], (9, 9))
    inside = cover > 0
    canvas.image[inside] = paint[inside]
    canvas.distance[inside] = 1.0
    canvas.glow[inside] *= 0.1
    canvas.standing[inside] = HOOD


def _above_hood(line: NDArray[np.float32], canvas: Canvas) -> NDArray[np.float32]:
    """Cut the near end of a polyline where the hood covers it."""
    if not len(line):
        return line
    at = np.rint(line).astype(int)
    under = canvas.standing[at[:, 1], at[:, 0]] == HOOD
    return line[: int(np.argmax(under))] if under.any() else line
