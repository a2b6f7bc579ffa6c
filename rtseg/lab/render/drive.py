"""A drive: the same road through time, with truth, one camera and lane ids that stay with their lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rtseg.camera import Camera
from rtseg.errors import ConfigError
from rtseg.lab.render.scene import HOOD, Ego, RenderedRoad, World, sample_camera
from rtseg.lab.render.style import RoadStyle, sample_style
from rtseg.lab.render.truth import lane_polylines, paint_mask
from rtseg.lab.render.vehicles import Vehicle, random_vehicle
from rtseg.lab.render.view import View

AHEAD, BEHIND = 260.0, 60.0  # metres of traffic around the vehicle; who leaves at one end comes in at the other
CHANGE = 5.0  # seconds that a lane change takes


@dataclass(frozen=True)
class _Mover:
    vehicle: Vehicle
    speed: float  # metres a second against the own vehicle


class Drive:
    """Frames of one drive, rendered while iterating; iterating again gives the same frames.

    Args:
        seed: any non-negative integer.
        seconds: length of the drive.
        fps: frames a second.
        size: (height, width) of the frames in pixels.
        style: the scene; by default a dry highway by day, drawn from the seed.
        detail: share of the size at which the picture is painted before it is enlarged; truth is always at full size.

    Attributes:
        camera: the one camera of all frames, at `size`.
        style: the scene.

    Raises:
        ConfigError: if the length, the rate or the size makes no drive.
    """

    def __init__(
        self,
        seed: int,
        seconds: float,
        fps: float,
        size: tuple[int, int] = (720, 1280),
        style: RoadStyle | None = None,
        detail: float = 0.6,
    ) -> None:
        if seed < 0 or seconds <= 0 or fps <= 0 or min(size) < 32:
            raise ConfigError(
                "expected a seed of 0 or more, positive seconds and fps and a size of at least 32x32 pixels, got "
                f"seed {seed}, {seconds} s, {fps} fps and {size[1]}x{size[0]}"
            )
        self.seed, self.seconds, self.fps, self.size = seed, float(seconds), float(fps), size
        self.style = style or _demo_style(seed)
        self.camera: Camera = sample_camera(self.style, size)
        self._painted = (max(round(size[0] * detail), 32), max(round(size[1] * detail), 32))
        self._world = World(self.style, seed)
        rng = np.random.default_rng([seed, 81])
        self._speed = {"city": 13.0, "country": 20.0, "mountain": 13.0}.get(self.style.setting, 29.0)
        self._speed *= float(rng.uniform(0.9, 1.1))
        self._sway = float(rng.uniform(0.05, 0.2)), float(rng.uniform(7, 12)), float(rng.uniform(0, 6))
        self._target = self._pick_target(rng)
        self._change_at = float(rng.uniform(0.25, 0.6)) * self.seconds
        self._movers = self._traffic(rng)

    def __len__(self) -> int:
        """Number of frames."""
        return max(round(self.seconds * self.fps), 1)

    def __iter__(self) -> Iterator[RenderedRoad]:
        view = View(self.camera)
        small = View(self.camera.scaled(self._painted[1], self._painted[0]))
        for k in range(len(self)):
            yield self._frame(k, view, small)

    def lines(self) -> Iterator[tuple[int, list[NDArray[np.float32]]]]:
        """The truth of each frame without its picture, in a hundredth of the time: stamps and the lines in sight."""
        view = View(self.camera)
        for k in range(len(self)):
            ego = self._ego(k / self.fps)
            lines = lane_polylines(self.style, self._world.shape(ego), view, ego.traveled)
            marked = zip(lines, self.style.lines, strict=True)
            yield round(k * 1e9 / self.fps), [line for line, of in marked if of.kind != "none" and len(line) > 1]

    def hood(self) -> NDArray[np.bool_]:
        """What the own vehicle's hood covers of every frame, (H, W)."""
        height, width = self._painted
        canvas = self._world.picture(self._ego(0.0), View(self.camera.scaled(width, height)), [])[1]
        covered = (canvas.standing == HOOD).astype(np.uint8)
        return np.asarray(cv2.resize(covered, self.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0)

    def _frame(self, k: int, view: View, small: View) -> RenderedRoad:
        seconds = k / self.fps
        ego = self._ego(seconds)
        vehicles = [self._moved(mover, seconds) for mover in self._movers]
        road = self._world.render(ego, small, vehicles, frame=k, stamp=round(k * 1e9 / self.fps))
        if self._painted == self.size:
            return replace(road, camera=self.camera)
        height, width = self.size
        image = np.asarray(cv2.resize(road.image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        # Pixel centers of the painted size onto those of the frame, as the enlargement has them.
        scale = np.array([width / self._painted[1], height / self._painted[0]])
        lanes = tuple(
            np.clip((line + 0.5) * scale - 0.5, 0, [width - 1, height - 1]).astype(np.float32) for line in road.lanes
        )
        mask = paint_mask(lanes, list(road.ids), self.size)
        return replace(road, image=image, lanes=lanes, mask=mask, camera=view.camera)

    def _pick_target(self, rng: np.random.Generator) -> int:
        """The lane to change to, or the own one."""
        own, lanes = self.style.own_lane, len(self.style.lines) - 1
        # Nobody changes lanes across a solid line: line k is the left one of lane k.
        crossed = {own - 1: own, own + 1: own + 1}
        open_ = ("dashed", "dots")
        beside = [k for k in crossed if 0 <= k < lanes and self.style.lines[crossed[k]].kind in open_]
        free = self.style.setting in ("highway", "motorway") and self.seconds > 2 * CHANGE
        return int(rng.choice(beside)) if beside and free and rng.random() < 0.7 else own

    def _middle(self, lane: int) -> float:
        return (self.style.lines[lane].offset + self.style.lines[lane + 1].offset) / 2

    def _offset(self, seconds: float) -> float:
        size, period, phase = self._sway
        t = np.clip((seconds - self._change_at) / CHANGE, 0, 1)
        share = t * t * t * (10 - 15 * t + 6 * t * t)
        start, end = self._middle(self.style.own_lane), self._middle(self._target)
        return float(start + (end - start) * share + size * np.sin(2 * np.pi * seconds / period + phase))

    def _ego(self, seconds: float) -> Ego:
        step = 0.05
        drift = (self._offset(seconds + step) - self._offset(seconds - step)) / (2 * step)
        return Ego(self._speed * seconds, self._offset(seconds), float(np.arctan2(drift, self._speed)))

    def _traffic(self, rng: np.random.Generator) -> list[_Mover]:
        movers = []
        style = self.style
        undivided = style.setting in ("country", "mountain", "city")
        for lane in range(len(style.lines) - 1):
            ours = lane in (style.own_lane, self._target)
            against = undivided and style.oncoming and lane < style.own_lane
            pace = 0.0 if ours else float(rng.normal(0, 2.5)) + 1.5 * (style.own_lane - lane)
            speed = -2 * self._speed if against else pace
            s = 26.0 + float(rng.uniform(0, 25)) if ours else float(rng.uniform(-BEHIND, 20))
            while s < AHEAD - 20:
                movers.append(
                    _Mover(random_vehicle(rng, s, self._middle(lane) + float(rng.normal(0, 0.15)), against), speed)
                )
                s += 28 + float(rng.exponential(60)) * (1.2 - style.traffic)
        if style.oncoming and not undivided:
            for row in (0.5, 1.5, 2.5):
                s = float(rng.uniform(-BEHIND, 0))
                while s < AHEAD - 20:
                    u = style.left_edge + style.median + 0.8 + 3.6 * row
                    movers.append(_Mover(random_vehicle(rng, s, u, True), -1.9 * self._speed - 3 * (2 - row)))
                    s += 25 + float(rng.exponential(50))
        return movers

    def _moved(self, mover: _Mover, seconds: float) -> Vehicle:
        span = AHEAD + BEHIND
        return replace(mover.vehicle, s=(mover.vehicle.s + mover.speed * seconds + BEHIND) % span - BEHIND)


def _demo_style(seed: int) -> RoadStyle:
    """A dry highway by day with plain paint, as most test drives are."""
    for attempt in range(50):
        style = sample_style(np.random.default_rng([seed, 80, attempt]), demo=True)
        if 4 <= len(style.lines) <= 5 and 0 < style.own_lane < len(style.lines) - 2:
            break
    lines = tuple(replace(line, shift=0.0, wear=min(line.wear, 0.35)) for line in style.lines)
    bend = np.clip(abs(style.curvature), 7e-4, 1.5e-3) * (1 if style.curvature > 0 else -1)
    return replace(
        style, lines=lines, curvature=float(bend), own_offset=0.5, own_heading=0.0, horizon=0.44, focal=0.9, roll=0.0,
        distortion=0.0, stray=0.2, clutter=min(style.clutter, 0.4), traffic=min(style.traffic, 0.6), hood="none",
    )  # fmt: skip
